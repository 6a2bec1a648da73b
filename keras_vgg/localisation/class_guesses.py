"""Which classes a classifier takes the images of a test for: from posteriors to the most probable classes of each image."""

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
        labels: `(N, k)` int64 by the numbers of `classes`, the most probable first; -1 where an image could not be read.
        scores: `(N, k)` float64, their posteriors.
        classes: class names in label order.
        name: whose posteriors they are, for people.
        digest: of the nets that gave them.
    """

    labels: np.ndarray
    scores: np.ndarray
    classes: tuple[str, ...]
    name: str
    digest: str


def known_classes(labels: np.ndarray, classes: tuple[str, ...]) -> ClassGuesses:
    """Returns the guesses of whoever knows the class of each image: `(N,)` labels by the numbers of `classes`."""
    labels = labels[:, np.newaxis].astype(np.int64)
    return ClassGuesses(labels, np.ones(labels.shape), classes, "known", "")


def class_guesses(posteriors: Sequence[Posteriors], survey: Survey, most: int) -> ClassGuesses:
    """Returns the guesses of classifiers whose posteriors are averaged (Sec. 4.4).

    Images are found by their fingerprints, whatever order they were tested in.

    Args:
        posteriors: of `keras_vgg.evaluate`, of one class an image.
        survey: the images.
        most: how many classes an image.

    Raises:
        InputError: if posteriors are of other images, or do not say of which.
    """
    fused = fuse(posteriors) if len(posteriors) > 1 else posteriors[0]
    name = fused.facts.get("net", "")
    if fused.fingerprints is None or fused.labels.ndim != 1:
        raise InputError(
            f"Posteriors of {name} must be of one class an image and say of which images they are. Received: those of an earlier "
            "version or of another task; run keras_vgg.evaluate again."
        )
    order = np.argsort(fused.fingerprints, kind="stable")
    sorted_fingerprints = fused.fingerprints[order]
    place = np.minimum(np.searchsorted(sorted_fingerprints, survey.fingerprints), len(order) - 1)
    is_read = survey.sizes[:, 0] > 0
    if missing := int(((sorted_fingerprints[place] != survey.fingerprints) & is_read).sum()):
        raise InputError(
            f"Posteriors of {name} must be of the images that are tested. Received: none of {missing} of {len(place)}."
        )
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
