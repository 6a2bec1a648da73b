"""Runs a test of localisers on a dataset; each pass is computed once, however many rows share it."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from keras_vgg.data.split import Split
from keras_vgg.errors import InputError
from keras_vgg.evaluation.results import Posteriors
from keras_vgg.inference.class_labels import labels_of
from keras_vgg.inference.code_digest import digest_of_code
from keras_vgg.inference.images import LIST, Images, look_through
from keras_vgg.inference.net_files import NetFile
from keras_vgg.inference.passes import BATCH, check_scale
from keras_vgg.inference.views import CENTER, Views
from keras_vgg.localisation.blacklist import read_blacklist
from keras_vgg.localisation.candidates import Candidates, find_candidates
from keras_vgg.localisation.class_guesses import ClassGuesses, class_guesses, known_classes
from keras_vgg.localisation.guessing import guess
from keras_vgg.localisation.recipe import Row
from keras_vgg.localisation.results import Localised, empty
from keras_vgg.localisation.scoring import MOST_GUESSES
from keras_vgg.localisation.truth import Truth, digest_of_boxed, truth_of
from keras_vgg.precision import FLOAT32, told
from keras_vgg.regression import PCR
from keras_vgg.support import files
from keras_vgg.support.counts import agree, counted
from keras_vgg.support.progress import Progress


@dataclasses.dataclass(frozen=True)
class LocalisationSettings:
    """Settings of a test of localisers.

    Attributes:
        pooling: see `Localiser`.
        batch: see `passes.run_pass`.
        devices: devices with a copy of the nets each; `None` leaves the placement to TensorFlow.
        blacklist: a file of images to ignore, see `blacklist`.
        above: whether the IoU must be above one half, as the paper states, instead of at least one half.
        precision: compute precision, one of `precision.PRECISIONS`.
    """

    pooling: str = "floor"
    batch: int = BATCH
    devices: tuple[str | None, ...] = (None,)
    blacklist: str | None = None
    above: bool = False
    precision: str = FLOAT32

    @property
    def scoring(self) -> str:
        """Non-default scoring, for tables."""
        return ", ".join([*(["IoU above 0.5"] if self.above else []), *(["blacklist"] if self.blacklist else [])])

    def told_of(self, row: Row) -> str:
        """Returns the settings of a row, for tables."""
        is_single = row.protocol == CENTER and len(row.localisers) == 1 and not row.flip
        differs = {
            f"merged up to {row.merging.threshold:g}": not is_single,
            counted(row.merging.classes, "class"): row.classes,
            f"{self.pooling} pooling": self.pooling != "floor",
            self.precision: told(self.precision),
            self.scoring: self.scoring,
        }
        return ", ".join(text for text, is_so in differs.items() if is_so)


@dataclasses.dataclass(frozen=True)
class _Tested:
    """The tested images: ground truth, classes, names, and which to ignore."""

    truth: Truth
    classes: tuple[str, ...]
    names: np.ndarray
    blacklist: np.ndarray


def localise(
    split: Split,
    classes: tuple[str, ...],
    sources: Mapping[str, NetFile],
    posteriors: Mapping[str, Posteriors],
    rows: Sequence[Row],
    folder: pathlib.Path,
    settings: LocalisationSettings = LocalisationSettings(),
    *,
    data: str = "",
    say: Callable[[str], None] = print,
    stream=None,
) -> list[Localised]:
    """Tests localisers on the images of a split and returns the guesses of each row.

    A pass shared by several rows is computed once. Passes already in `folder`, and the finished part of a pass whose test was
    killed, are not computed again.

    Args:
        split: the images, with boxes as targets.
        classes: names of their classes.
        sources: the localisers by name.
        posteriors: posteriors of classifiers, by name.
        rows: the localisers and classifiers to combine.
        folder: folder for passes, in `passes/`, and for the list of images that could not be tested, `broken_images.csv`.
        settings: the settings.
        data: description of the images in tables.
        say: called with lines to print.
        stream: stream for the progress display, if any.

    Raises:
        InputError: for anything the user can fix.
    """
    views_of = {id(row): _views_of(row, sources) for row in rows}
    images, unusable = look_through(split, stream=stream)
    names = np.array([split.name_of(index) for index in range(split.size)])
    blacklist = np.zeros(split.size, bool)
    if settings.blacklist:
        blacklist = read_blacklist(settings.blacklist).of_images([*names])
        listed = int(blacklist.sum())
        are = agree(listed, "is", "are")
        say(f"{listed} of {counted(split.size, 'image')} {are} on the blacklist {settings.blacklist} and {are} ignored")
    tested = _Tested(truth_of(images.survey), classes, names, blacklist)
    told = {id(row): _classes_of(row, tested.truth, classes, posteriors, images) for row in rows}
    labels = {(id(row), name): _labels_for(sources[name], told[id(row)], say) for row in rows for name in row.localisers}
    asked = [(name, sources[name], views, labels[id(row), name]) for row in rows for name, views in views_of[id(row)].items()]
    options = {"pooling": settings.pooling, "batch": settings.batch, "devices": settings.devices, "stream": stream}
    options["precision"] = settings.precision
    found, digests = find_candidates(asked, images, folder / "passes", **options)
    of_images = {
        "images sha256": digest_of_boxed(images.survey),
        "code sha256": digest_of_code(),
    }
    with files.telling(folder / LIST):
        number = unusable.write(folder, {"nets sha256": " + ".join(digests.values())} | of_images)
    if number:
        count = agree(number, "counts as an error", "count as errors")
        say(f"{counted(number, 'image')} could not be tested and {count}: {folder / LIST}")
    results = []
    for row in rows:
        given = told[id(row)]
        candidates = [
            found[name, each, labels[id(row), name].tobytes()] for name, views in views_of[id(row)].items() for each in views
        ]
        facts = _facts(row, sources, views_of[id(row)], given, digests, settings) | {"data": data} | of_images
        results.append(_result(row, given, candidates, tested, facts, settings.above, say, stream))
    return results


def _views_of(row: Row, sources: Mapping[str, NetFile]) -> dict[str, list[Views]]:
    found = {}
    for name, scales in zip(row.localisers, row.scales, strict=True):
        every = [Views(row.protocol, scale, row.flip) for scale in dict.fromkeys(scales or (sources[name].default_scale,))]
        for views in every:
            check_scale(views, sources[name].smallest_input)
        found[name] = every
    return found


def _classes_of(
    row: Row, truth: Truth, classes: tuple[str, ...], posteriors: Mapping[str, Posteriors], images: Images
) -> ClassGuesses:
    if not row.classes:
        return known_classes(truth.labels, classes)
    return class_guesses([posteriors[name] for name in row.classes], images.survey, max(row.merging.classes, MOST_GUESSES))


def _labels_for(source: NetFile, told: ClassGuesses, say: Callable[[str], None]) -> np.ndarray:
    """Returns the guessed classes as indices of a localiser, `(N, k)`; zeros if it has one box for all."""
    if source.regression != PCR:
        return np.zeros((len(told.labels), 1), np.int64)
    own = labels_of(told.classes, source.classes, source.count_classes(), told=str(source.path), say=say)
    return np.append(own, 0)[told.labels]  # any value for images without guesses


def _facts(row, sources, views_of, told: ClassGuesses, digests, settings: LocalisationSettings) -> dict:
    flips = "" if not row.flip else ", flips"
    scales = dict.fromkeys(views.scale for views in [each for every in views_of.values() for each in every])
    facts = {
        "net": " + ".join(row.localisers),
        "S": " + ".join(dict.fromkeys(filter(None, (sources[name].training_text for name in row.localisers)))),
        "Q": ", ".join(map(str, scales)),
        "protocol": f"{row.protocol}{flips}, {'class known' if not row.classes else f'classes of {told.name}'}",
        "settings": settings.told_of(row),
        "nets sha256": " + ".join([*(digests[name] for name in row.localisers), *filter(None, [told.digest])]),
        "class known": not row.classes,
    }
    return facts | {f"paper top-{k}": row.paper[f"top{k}_error"] for k in (1, 5) if f"top{k}_error" in row.paper}


def _result(
    row: Row,
    told: ClassGuesses,
    candidates: Sequence[Candidates],
    tested: _Tested,
    facts: dict,
    above: bool,
    say: Callable[[str], None],
    stream,
) -> Localised:
    truth, names = tested.truth, tested.names
    labels, boxes, ratings = empty(len(names))
    rows, most = [each.store.rows for each in candidates], 1 if not row.classes else MOST_GUESSES
    with Progress(len(names), stream=stream) as progress:
        for image in range(len(names)):
            progress.count(1)
            progress.show("merging")
            sources = [each.of(of_store, image) for each, of_store in zip(candidates, rows, strict=True)]
            if told.labels[image, 0] < 0 or not all(map(len, sources)):
                continue
            guessed = guess(sources, told.labels[image], told.scores[image], row.merging, most)
            count = len(guessed.labels)
            labels[image, :count], ratings[image, :count] = guessed.labels, guessed.ratings
            boxes[image, :count] = guessed.boxes * truth.frames[image]
    true_labels = truth.labels
    if row.classes:
        of_guesser = labels_of(tested.classes, told.classes, len(told.classes), told=f"The classifier {told.name}", say=say)
        true_labels = np.append(of_guesser, -1)[truth.labels]
    told_truth = dataclasses.replace(truth, labels=true_labels)
    return Localised(labels, boxes, ratings, told_truth, names, told.classes, facts, tested.blacklist, above)


def check_localisers(sources: Mapping[str, NetFile]) -> None:
    """Raises `InputError` if a net is a classifier."""
    for source in sources.values():
        if source.regression is None:
            raise InputError(
                "`--model` must be a localiser trained by `keras_vgg.fit --task localisation`. "
                f"Received: {source.path}, a classifier; pass it as --classifier."
            )
