"""A classifier's guesses for the images of a test: from posteriors to the most probable classes of each image."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.evaluation.results import Posteriors, fuse
from keras_vgg.inference.batches import Survey

_ROWS = 4096


@dataclasses.dataclass(frozen=True)
class ClassGuesses:
    """The most probable classes of images.

    Attributes:
        labels: `(N, k)` int64 indices into `classes`, the most probable first; -1 for unreadable images.
        scores: `(N, k)` float64, their posteriors.
        classes: class names in label order.
        name: display name of the classifiers.
        digest: digest of the classifiers.
    """

    labels: np.ndarray
    scores: np.ndarray
    classes: tuple[str, ...]
    name: str
    digest: str


def known_classes(labels: np.ndarray, classes: tuple[str, ...]) -> ClassGuesses:
    """Returns the true class of each image as its only guess, from `(N,)` labels, indices into `classes`."""
    labels = labels[:, np.newaxis].astype(np.int64)
    return ClassGuesses(labels, np.ones(labels.shape), classes, "known", "")


def class_guesses(posteriors: Sequence[Posteriors], survey: Survey, most: int) -> ClassGuesses:
    """Returns the guesses of classifiers whose posteriors are averaged (Sec. 4.4).

    Images are matched by fingerprint, in any order.

    Args:
        posteriors: posteriors of `keras_vgg.evaluate`, for one class per image.
        survey: the images.
        most: number of classes per image.

    Raises:
        InputError: if posteriors are for other images, or do not identify theirs.
    """
    fused = fuse(posteriors) if len(posteriors) > 1 else posteriors[0]
    name = fused.facts.get("net", "")
    if fused.fingerprints is None or fused.labels.ndim != 1:
        raise InputError(
            f"Posteriors of {name} must be for one class per image and identify their images. Received: those of an earlier "
            "version or another task; run keras_vgg.evaluate again."
        )
    order = np.argsort(fused.fingerprints, kind="stable")
    sorted_fingerprints = fused.fingerprints[order]
    place = np.minimum(np.searchsorted(sorted_fingerprints, survey.fingerprints), len(order) - 1)
    is_read = survey.sizes[:, 0] > 0
    if missing := int(((sorted_fingerprints[place] != survey.fingerprints) & is_read).sum()):
        raise InputError(f"Posteriors of {name} must cover the tested images. Received: none for {missing} of {len(place)}.")
    rows, most = order[place], min(most, fused.values.shape[1])
    labels, scores = np.full((len(rows), most), -1, np.int64), np.zeros((len(rows), most))
    for start in range(0, len(rows), _ROWS):
        part = slice(start, start + _ROWS)
        values = fused.values[rows[part]].astype(np.float64)
        known = np.isfinite(values).all(axis=1) & is_read[part]
        best = np.argsort(-values[known], axis=1, kind="stable")[:, :most]
        labels[part][known] = best
        scores[part][known] = np.take_along_axis(values[known], best, axis=1)
    return ClassGuesses(labels, scores, fused.classes, name, fused.facts.get("nets sha256", ""))
