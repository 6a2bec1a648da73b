"""What is tested and what it shows: of data sets, whose descriptors are yet to be computed, or from files of descriptors."""

import dataclasses
import pathlib
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from keras_vgg.data import voc
from keras_vgg.data.datasets import open_dataset
from keras_vgg.data.split import Split
from keras_vgg.descriptors.descriptor_file import DescriptorFile
from keras_vgg.descriptors.inputs import of_dataset
from keras_vgg.errors import InputError
from keras_vgg.inference.batches import Survey, survey
from keras_vgg.linear.benchmarks import Benchmark
from keras_vgg.linear.joining import join


@dataclasses.dataclass(frozen=True)
class Data:
    """Images and what they show.

    Attributes:
        labels: `(N,)` int64; of a `multi-label` benchmark `(N, classes)` int8, 1, 0 or -1 (difficult).
        parts: `(N,)` str, the split or set that each is of.
        usable: `(N,)` bool; images that cannot be read, or that a net made nothing of, are not.
        classes: class names in label order.
        description: one line for people.
        split: where the images are read; `None` of descriptors from files.
        survey: what was read of them; `None` of descriptors from files.
        notes: lines for people on how the data set was read.
    """

    labels: np.ndarray
    parts: np.ndarray
    usable: np.ndarray
    classes: tuple[str, ...]
    description: str
    split: Split | None = None
    survey: Survey | None = None
    notes: tuple[str, ...] = ()

    def indices(self, *parts: str) -> np.ndarray:
        """Returns the usable images of some parts."""
        return np.flatnonzero(self.usable & np.isin(self.parts, parts))


def open_data(benchmark: Benchmark, *, stream=None) -> Data:
    """Opens a benchmark's images and finds out what they show.

    Args:
        benchmark: the benchmark.
        stream: where progress is shown, if anywhere.

    Raises:
        InputError: if there is no such data set, or it has no class that is to be left out.
    """
    if benchmark.protocol == "multi-label":
        found = voc.open_multi_label(benchmark.dataset, ("train", "val") if benchmark.test_set == "val" else voc.SETS)
        kept = _classes_kept(found.classes, benchmark.leave_out)
        classes, surveyed = tuple(found.classes[label] for label in kept), survey(found.split, stream=stream)
        readable = surveyed.labels >= 0
        return Data(found.labels[:, kept], found.parts, readable, classes, found.description, found.split, surveyed)
    opened = of_dataset(open_dataset(benchmark.dataset))
    surveyed = survey(opened.split, stream=stream)
    labels = surveyed.labels.astype(np.int64)
    assert opened.parts is not None  # of a data set
    data = Data(labels, opened.parts, labels >= 0, opened.classes, opened.description, opened.split, surveyed)
    return dataclasses.replace(_without(data, benchmark.leave_out)[0], notes=opened.notes)


def open_files(
    paths: Sequence[str | pathlib.Path], benchmark: Benchmark
) -> tuple[Data, np.ndarray, np.ndarray, np.ndarray | None, dict]:
    """Reads descriptors that `keras_vgg.extract` wrote.

    Returns:
        What they show, the descriptors `(N, D)` float32, the images' names `(N,)` str, their fingerprints
        `(N,)` int64 (`None` if a file of an earlier version has none), and what the files tell of themselves, all
        of it joined by `joining.join`.

    Raises:
        InputError: if a file is none of these, they do not fit each other or the benchmark.
    """
    if benchmark.protocol == "multi-label":
        raise InputError("`--features` have one label an image, which does not do for the protocol multi-label; give --model.")
    read = [DescriptorFile.read(path) for path in paths]
    told = ", ".join(pathlib.Path(path).name for path in paths)
    for path, each in zip(paths, read, strict=True):
        if benchmark.protocol == "fixed" and each.split is None:
            raise InputError(f"The protocol fixed needs to know which images are for training. Received: {path}, without `split`.")
    whole = join(read, told)
    data = Data(whole.labels, whole.parts, whole.labels >= 0, whole.classes, told)
    data, kept = _without(data, benchmark.leave_out)
    fingerprints = whole.fingerprints if whole.fingerprints is None else whole.fingerprints[kept]
    return data, whole.features[kept], whole.images[kept], fingerprints, whole.facts


def with_descriptors(data: Data, values: np.ndarray, names: np.ndarray, problems: Mapping[str, str]) -> Data:
    """Returns `data` without the images whose descriptors are NaN, which is how `extract` leaves those it could not use.

    Args:
        data: the images.
        values: `(N, D)` float32.
        names: `(N,)` str.
        problems: what is known of why images cannot be used, by name.

    Raises:
        InputError: for descriptors that are NaN or infinite in part, or if none is left.
    """
    numbers = np.array([np.isfinite(row).sum() for row in values], np.int64)  # row by row: they may be a mapped file of gigabytes
    odd = [index for index in np.flatnonzero(numbers < values.shape[1]) if not np.isnan(values[index]).all()]
    if odd:
        raise InputError(
            f"Features must be finite, or NaN throughout where an image cannot be used. Received: NaN or infinite in part for "
            f"{len(odd)} images, such as {names[odd[0]]}."
        )
    usable = data.usable & (numbers > 0)
    if not usable.any():
        reason = statistics.mode(problems.values()) if problems else ""
        told = f", such as {next(name for name in problems if problems[name] == reason)}: {reason}" if reason else ""
        raise InputError(f"{data.description} must have images that can be used. Received: none out of {len(values)}{told}.")
    return dataclasses.replace(data, usable=usable)


def _classes_kept(classes: Sequence[str], leave_out: Sequence[str]) -> list[int]:
    lowered = [name.lower() for name in classes]
    if missing := [name for name in leave_out if name.lower() not in lowered]:
        raise InputError(f"`leave_out` must name classes of the data set. Received: {', '.join(missing)}.")
    without = {name.lower() for name in leave_out}
    return [label for label, name in enumerate(lowered) if name not in without]


def _without(data: Data, leave_out: Sequence[str]) -> tuple[Data, np.ndarray]:
    """Returns the data without some classes, and which images are left."""
    kept = _classes_kept(data.classes, leave_out)
    renumbered = np.full(len(data.classes) + 1, -1)
    renumbered[kept] = np.arange(len(kept))  # the last stays -1: what -1 stands for
    # Images that cannot be read have no label and might be of any class; they stay, to be counted.
    left = np.flatnonzero((data.labels < 0) | (renumbered[data.labels] >= 0))
    split, surveyed = data.split and data.split.subset(left), data.survey and data.survey.subset(left)
    classes = tuple(data.classes[label] for label in kept)
    labels = renumbered[data.labels[left]]
    return Data(labels, data.parts[left], data.usable[left], classes, data.description, split, surveyed), left
