"""Runs an evaluation of nets on a dataset; each pass is computed once, however many rows share it."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from keras_vgg.data.dataset import ALL, Dataset
from keras_vgg.data.sets import TEST, TRAIN, VALIDATION
from keras_vgg.errors import InputError
from keras_vgg.evaluation.recipe import Row
from keras_vgg.evaluation.results import Posteriors, fuse, mean_over
from keras_vgg.identity import digest_of_copies, digest_of_images
from keras_vgg.inference.class_labels import same_classes
from keras_vgg.inference.code_digest import digest_of_code
from keras_vgg.inference.images import LIST, Images, look_through
from keras_vgg.inference.net_files import NetFile
from keras_vgg.inference.passes import BATCH, Pass, check_scale, run_passes
from keras_vgg.inference.row_cache import PassStore
from keras_vgg.inference.views import Views
from keras_vgg.precision import FLOAT32, noted, told
from keras_vgg.support import files
from keras_vgg.support.counts import agree, counted

PASSES = "passes"
"""The subfolder of the results folder that keeps computed passes."""


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Attributes:
        average, pooling: see `network.Network`.
        batch: see `evaluator.run_pass`.
        devices: devices with a copy of the net each; `None` leaves the placement to TensorFlow.
        precision: compute precision, one of `precision.PRECISIONS`.
    """

    average: str = "posteriors"
    pooling: str = "floor"
    batch: int = BATCH
    devices: tuple[str | None, ...] = (None,)
    precision: str = FLOAT32

    def told_of(self, source: NetFile) -> str:
        """Returns the non-default settings of a net's test, for tables."""
        differs = {
            "scores averaged": self.average == "scores",
            f"{self.pooling} pooling": self.pooling != "floor",
            f"preprocessing {source.preprocessing}": source.preprocessing,
            self.precision: told(self.precision),
        }
        return ", ".join(text for text, is_so in differs.items() if is_so)


def devices_for(replicas: int | None) -> tuple[str | None, ...]:
    """Returns the devices of `replicas` replicas: by default all GPUs, or TensorFlow's default device.

    Raises:
        InputError: for more replicas than devices of the kind.
    """
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    found = tuple(f"{kind}:{number}" for number in range(len(tf.config.list_logical_devices(kind))))
    if replicas is None:
        return found if kind == "GPU" else (None,)
    if not 1 <= replicas <= len(found):
        raise InputError(
            f"`replicas` must be between 1 and the number of available devices. Received: {replicas} for {', '.join(found)}."
        )
    return found[:replicas]


def evaluate(
    dataset: Dataset,
    sources: Mapping[str, NetFile],
    rows: Sequence[Row],
    folder: pathlib.Path,
    settings: EvaluationSettings = EvaluationSettings(),
    *,
    split: str | None = None,
    say: Callable[[str], None] = print,
    stream=None,
) -> list[Posteriors]:
    """Tests nets on a split of a dataset and returns the posteriors of each row.

    A pass shared by several rows is computed once. Passes already in `folder`, and the finished part of a pass whose evaluation
    was killed, are not computed again.

    Args:
        dataset: the images.
        sources: the nets by name.
        rows: the nets and passes to average.
        folder: folder for passes, in `passes/`, and for the list of images that could not be tested, `broken_images.csv`.
        settings: the settings.
        split: `"train"`, `"validation"`, `"test"` or `"all"`; by default `default_split`.
        say: called with lines to print.
        stream: stream for the progress display, if any.

    Raises:
        InputError: for anything the user can fix.
    """
    # Only once, since ImageNet's list may have to be downloaded.
    used = dict.fromkeys(name for row in rows for name in row.models)
    classes = {name: sources[name].class_names(sources[name].count_classes()) for name in used}
    wanted = _wanted_passes(sources, classes, rows)
    trained_on = _trained_on(dataset, sources, used)
    which = split_of(dataset, sources, used, split)
    tested_images = dataset.split(which)
    say(f"data: {dataset.description}, {_told_of(dataset, which)}")
    for note in dataset.notes:
        say(note)
    if which in (ALL, TRAIN) and trained_on:
        say(f"Warning: {', '.join(trained_on)} trained on images that are tested here; pass --split val for held-out images.")
    images, unusable = look_through(tested_images, stream=stream)
    names = np.array([tested_images.name_of(index) for index in range(tested_images.size)])
    # For all nets before any pass, so that errors of the last net do not surface hours later.
    labels = {name: sources[name].labels_of(dataset.classes, sources[name].count_classes(), say=say) for name in wanted}
    tested = {
        name: _test(name, sources[name], views, images, folder, settings, dataset.description, stream)
        for name, views in wanted.items()
    }
    for index, reason in unusable.refused.items():
        say(f"not tested, counted as an error: {tested_images.name_of(index)}, {reason}")
    digests = {
        "images sha256": digest_of_images(images.survey.fingerprints, images.survey.labels),
        "code sha256": digest_of_code(),
    }
    with files.telling(folder / LIST):
        number = unusable.write(folder, {"nets sha256": " + ".join(each.digest for each in tested.values())} | digests)
    if number:
        count = agree(number, "counts as an error", "count as errors")
        say(f"{counted(number, 'image')} could not be tested and {count}: {folder / LIST}")
    of_all = {"data": dataset.description} | digests
    told = {name: {"settings": settings.told_of(sources[name]), "nets sha256": tested[name].digest} | of_all for name in wanted}
    known = {name: _Known(classes[name], labels[name], told[name]) for name in wanted}
    return [_posteriors(row, sources, tested, known, images, names) for row in rows]


def split_of(dataset: Dataset, sources: Mapping[str, NetFile], used: Iterable[str], split: str | None = None) -> str:
    """Returns the split that `evaluate` tests: `split`, or if `None`, `default_split` given the nets' training sets."""
    may_be = any(sources[name].training_digest == "" for name in used)  # from an earlier version, which did not record it
    return split or default_split(dataset, may_be or bool(_trained_on(dataset, sources, used)))


def _trained_on(dataset: Dataset, sources: Mapping[str, NetFile], used: Iterable[str]) -> list[str]:
    return [name for name in used if sources[name].training_digest == (dataset.training_digest or None)]


def default_split(dataset: Dataset, was_trained_on: bool) -> str:
    """Returns the split that is tested by default.

    This is the validation set. Without one, a net trained on this dataset is tested on the images held out of it; any other on
    the test set, or else on all images.
    """
    if VALIDATION in dataset.sets or (was_trained_on and TRAIN in dataset.sets):
        return VALIDATION
    return TEST if TEST in dataset.sets else ALL


def _told_of(dataset: Dataset, which: str) -> str:
    """Returns a description of the tested images, with the number of classes."""
    held_out = which == VALIDATION and VALIDATION not in dataset.sets
    use = {TRAIN: " for training", VALIDATION: " held out of training" if held_out else " for validation", TEST: " for testing"}
    told = f"{counted(dataset.split(which).size, 'image')}{use.get(which, '')}, {counted(len(dataset.classes), 'class')}"
    if which in (TEST, ALL) or not dataset.test:
        return told
    return f"{told}; the test set of {counted(dataset.test.size, 'image')} is not used"


def _wanted_passes(
    sources: Mapping[str, NetFile], classes: Mapping[str, tuple[str, ...]], rows: Sequence[Row]
) -> dict[str, list[Views]]:
    """Returns the distinct passes of each net; raises for invalid rows before anything is computed."""
    wanted: dict[str, list[Views]] = {}
    for row in rows:
        known = dict.fromkeys(classes[name] for name in row.models)
        if not all(same_classes(each, next(iter(known))) for each in known):
            told = " and ".join(f"{len(each)} from {each[0]} to {each[-1]}" for each in sorted(known))
            raise InputError(f"Fused nets must predict the same classes. Received: {', '.join(row.models)} with {told}.")
        for name in row.models:
            all_views = row.passes_of(name, sources[name].default_scale, sources[name].flip)
            for views in all_views:
                check_scale(views, sources[name].smallest_input)
            wanted[name] = list(dict.fromkeys([*wanted.get(name, []), *all_views]))
    return wanted


@dataclasses.dataclass(frozen=True)
class _Tested:
    """A net with its completed passes."""

    digest: str
    passes: dict[Views, PassStore]


@dataclasses.dataclass(frozen=True)
class _Known:
    """A net's classes, its label for each class of the dataset, and its table columns."""

    classes: tuple[str, ...]
    labels: np.ndarray
    facts: dict


def _test(name, source: NetFile, all_views, images: Images, folder, settings: EvaluationSettings, data: str, stream) -> _Tested:
    options = {"pooling": settings.pooling, "average": settings.average}
    networks = [source.load(device=device, precision=settings.precision, **options) for device in settings.devices]
    # Of the loaded model, since `fit` may have replaced the file by now.
    digest, num_classes, passes = digest_of_copies([network.model for network in networks], source.path), networks[0].classes, {}
    for views in all_views:
        depends_on = ["posteriors", digest, dataclasses.astuple(views), settings.average, settings.pooling]
        facts = {"net": str(source.path), "net sha256": digest, "views": str(views), "data": data, **options}
        facts |= noted(settings.precision)
        passes[views] = PassStore(folder / PASSES, depends_on, images.survey.fingerprints, num_classes, facts)
    to_run = [Pass(f"net {name}", networks, views, store) for views, store in passes.items()]
    run_passes(to_run, images, batch=settings.batch, stream=stream)
    return _Tested(digest, passes)


def _posteriors(
    row: Row,
    sources: Mapping[str, NetFile],
    tested: Mapping[str, _Tested],
    known: Mapping[str, _Known],
    images: Images,
    names: np.ndarray,
) -> Posteriors:
    results = []
    for name in row.models:
        source, net = sources[name], known[name]
        stores = {views: tested[name].passes[views] for views in row.passes_of(name, source.default_scale, source.flip)}
        seconds = sum(store.seconds for store in stores.values())
        facts = {
            "net": source.name,
            "S": source.training_text,
            "Q": ", ".join(map(str, dict.fromkeys(views.scale for views in stores))),
            "protocol": row.protocol + ("" if all(views.flip for views in stores) else ", no flip"),
        } | net.facts
        if seconds:
            facts["images/s"] = len(names) / seconds
        labels = _by_classes_of_net(images.survey.labels, net)
        values = mean_over([store.posteriors for store in stores.values()])
        results.append(Posteriors(values, labels, names, net.classes, facts, images.survey.fingerprints))
    result = fuse(results) if len(results) > 1 else results[0]
    return dataclasses.replace(
        result, facts=result.facts | {f"paper top-{k}": row.paper[f"top{k}_error"] for k in (1, 5) if f"top{k}_error" in row.paper}
    )


def _by_classes_of_net(labels: np.ndarray, net: _Known) -> np.ndarray:
    """Maps labels, or rows of them, to the net's class indices; classes missing from the dataset become unknown."""
    if labels.ndim == 1:
        return np.append(net.labels, -1)[labels]  # -1 stays -1
    of_net = np.full((len(labels), len(net.classes)), -1, labels.dtype)
    of_net[:, net.labels] = labels
    return of_net
