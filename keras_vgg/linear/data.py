"""Images and labels to test on: from datasets, whose descriptors are computed later, or from descriptor files."""

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
from keras_vgg.support.counts import counted, none_could


@dataclasses.dataclass(frozen=True)
class Data:
    """Images and their labels.

    Attributes:
        labels: `(N,)` int64; for a `multi-label` benchmark `(N, classes)` int8, 1, 0 or -1 (difficult).
        parts: `(N,)` str, the split or set of each image.
        usable: `(N,)` bool; false for images that cannot be read or have no finite features.
        classes: class names in label order.
        description: readable description, one line.
        split: where to read the images; `None` for descriptors from files.
        survey: what was read of the images; `None` for descriptors from files.
        notes: readable lines on how the dataset was read.
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
        """Returns the indices of the usable images in some parts."""
        return np.flatnonzero(self.usable & np.isin(self.parts, parts))


def open_data(benchmark: Benchmark, *, stream=None) -> Data:
    """Opens a benchmark's images and reads their labels.

    Args:
        benchmark: the benchmark.
        stream: where progress is shown, if anywhere.

    Raises:
        InputError: if there is no such dataset, or a class to leave out is not in it.
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
    assert opened.parts is not None  # of a dataset
    data = Data(labels, opened.parts, labels >= 0, opened.classes, opened.description, opened.split, surveyed)
    return dataclasses.replace(_without(data, benchmark.leave_out)[0], notes=opened.notes)


def open_files(
    paths: Sequence[str | pathlib.Path], benchmark: Benchmark
) -> tuple[Data, np.ndarray, np.ndarray, np.ndarray | None, dict]:
    """Reads descriptors that `keras_vgg.extract` wrote.

    Returns:
        The images and labels, the descriptors `(N, D)` float32, the images' names `(N,)` str, their fingerprints
        `(N,)` int64 (`None` if a file of an earlier version has none), and the facts of the files, all
        joined by `joining.join`.

    Raises:
        InputError: if a file is not a descriptor file, or files do not fit each other or the benchmark.
    """
    if benchmark.protocol == "multi-label":
        raise InputError("The protocol multi-label needs several labels per image, but `--features` have one. Pass --model.")
    read = [DescriptorFile.read(path) for path in paths]
    told = ", ".join(pathlib.Path(path).name for path in paths)
    for path, each in zip(paths, read, strict=True):
        if benchmark.protocol == "fixed" and each.split is None:
            raise InputError(f"The protocol fixed needs the split of each image. Received: {path}, without `split`.")
    whole = join(read, told)
    data = Data(whole.labels, whole.parts, whole.labels >= 0, whole.classes, told)
    data, kept = _without(data, benchmark.leave_out)
    fingerprints = whole.fingerprints if whole.fingerprints is None else whole.fingerprints[kept]
    return data, whole.features[kept], whole.images[kept], fingerprints, whole.facts


def with_descriptors(data: Data, values: np.ndarray, names: np.ndarray, problems: Mapping[str, str]) -> Data:
    """Returns `data` with the images marked unusable whose descriptors are NaN, as `extract` writes them for broken images.

    Args:
        data: the images.
        values: `(N, D)` float32.
        names: `(N,)` str.
        problems: known reasons why images cannot be used, by name.

    Raises:
        InputError: if descriptors are partly NaN or infinite, or none is left.
    """
    numbers = np.array([np.isfinite(row).sum() for row in values], np.int64)  # row by row: they may be a mapped file of gigabytes
    odd = [index for index in np.flatnonzero(numbers < values.shape[1]) if not np.isnan(values[index]).all()]
    if odd:
        raise InputError(
            f"Features of an image must be all finite or all NaN. Received: partly NaN or infinite features for "
            f"{counted(len(odd), 'image')}, such as {names[odd[0]]}."
        )
    usable = data.usable & (numbers > 0)
    if not usable.any():
        reason = statistics.mode(problems.values()) if problems else ""
        told = f", such as {next(name for name in problems if problems[name] == reason)}: {reason}" if reason else ""
        raise InputError(f"{data.description}: {none_could(len(values), 'image', 'be used')}{told}.")
    return dataclasses.replace(data, usable=usable)


def _classes_kept(classes: Sequence[str], leave_out: Sequence[str]) -> list[int]:
    lowered = [name.lower() for name in classes]
    if missing := [name for name in leave_out if name.lower() not in lowered]:
        raise InputError(f"`leave_out` must name classes of the dataset. Received: {', '.join(missing)}.")
    without = {name.lower() for name in leave_out}
    return [label for label, name in enumerate(lowered) if name not in without]


def _without(data: Data, leave_out: Sequence[str]) -> tuple[Data, np.ndarray]:
    """Returns the data without some classes, and the indices of the remaining images."""
    kept = _classes_kept(data.classes, leave_out)
    renumbered = np.full(len(data.classes) + 1, -1)
    renumbered[kept] = np.arange(len(kept))  # the last stays -1, so that index -1 maps to -1
    # Unreadable images have no label and might be of any class; they stay, to be counted.
    left = np.flatnonzero((data.labels < 0) | (renumbered[data.labels] >= 0))
    split, surveyed = data.split and data.split.subset(left), data.survey and data.survey.subset(left)
    classes = tuple(data.classes[label] for label in kept)
    labels = renumbered[data.labels[left]]
    return Data(labels, data.parts[left], data.usable[left], classes, data.description, split, surveyed), left
