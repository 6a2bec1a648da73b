"""From the boxes that localisers predict to guesses: merging, then rating by class scores (Appendix A)."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_vgg.localisation.merging import merge
from keras_vgg.localisation.merging_settings import Merging
from keras_vgg.localisation.scoring import MOST_GUESSES


@dataclasses.dataclass(frozen=True)
class Guesses:
    """The guesses of an image, the best first.

    Attributes:
        labels: `(G,)` int64, their classes.
        boxes: `(G, 4)` float64, edges in fractions of the image.
        ratings: `(G,)` float64 in 0–1.
    """

    labels: np.ndarray
    boxes: np.ndarray
    ratings: np.ndarray


def guess(
    boxes: Sequence[np.ndarray], labels: np.ndarray, scores: np.ndarray, merging: Merging, most: int = MOST_GUESSES
) -> Guesses:
    """Returns the guesses of an image.

    For each class, the boxes of all sources are combined and merged. The rating of a merged box is its class score times its
    share of the original boxes, so the box on which most positions agree ranks first in its class. Equal ratings keep the order
    of classes, and of `merge`.

    Args:
        boxes: for each source (a localiser at a scale) `(places, k, 4)`, edges in fractions of the image; or `(places, 1, 4)`,
            the same for all classes.
        labels: `(k,)` classes, the most probable first.
        scores: `(k,)` their scores.
        merging: the settings of merging.
        most: maximum number of guesses.
    """
    found: list[tuple[float, int, np.ndarray]] = []
    merged_of: dict[tuple[int, ...], list[tuple[float, np.ndarray]]] = {}
    for place in range(min(len(labels), merging.classes)):
        columns = tuple(min(place, each.shape[1] - 1) for each in boxes)
        if columns not in merged_of:  # with single-class regression all classes have the same boxes
            united = np.concatenate([each[:, column] for each, column in zip(boxes, columns, strict=True)])
            merged = merge(united, threshold=merging.threshold)
            merged_of[columns] = list(zip(merged.weights / merged.weights.sum(), merged.boxes, strict=True))
        found += [(scores[place] * share, labels[place], box) for share, box in merged_of[columns]]
    order = np.argsort([-rating for rating, _, _ in found], kind="stable")[:most]
    ratings, chosen, edges = zip(*(found[place] for place in order), strict=True)
    return Guesses(np.array(chosen, np.int64), np.array(edges), np.array(ratings))
