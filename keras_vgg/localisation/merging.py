"""Greedy merging of an image's boxes (Sermanet et al. 2014, OverFeat): again and again the two that are most alike become one."""

import dataclasses
import math

import numpy as np

from keras_vgg.errors import InputError


@dataclasses.dataclass(frozen=True)
class Merged:
    """Merged boxes, that of the largest weight first; of equal weights that first which holds the box given first.

    Attributes:
        boxes: `(m, 4)` float64, weighted means of the boxes of which they were made.
        weights: `(m,)` float64, the sums of their weights.
        counts: `(m,)` int64, how many they were.
    """

    boxes: np.ndarray
    weights: np.ndarray
    counts: np.ndarray


def match_score(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns how little two boxes are alike, 0 to 2, float64 of the shape that `a` and `b` broadcast to.

    It is `1 - IoU + (distance of the centres)² / (diagonal of the smallest box around both)²`: the distance-IoU loss of Zheng et
    al. 2020, which has the two terms that OverFeat names, the centres' distance and the overlap, without units. Equal boxes with
    an area have 0, boxes that do not overlap at least 1, and a box without area has at least 1 with any.

    Args:
        a: `(..., 4)` edges, not reversed.
        b: `(..., 4)` edges, not reversed.
    """
    from keras_vgg.localisation.compiled_merging import match_scores

    return match_scores(*np.moveaxis(np.asarray(a, np.float64), -1, 0), *np.moveaxis(np.asarray(b, np.float64), -1, 0))


def merge(boxes: np.ndarray, weights: np.ndarray | None = None, *, threshold: float) -> Merged:
    """Merges boxes that are alike.

    Equal boxes become one at first. Then the pair of the least `match_score` becomes one box, their weighted mean, in the place of
    that of the two which stood first, as long as this score is not above `threshold`, as in OverFeat. Of pairs with the
    same score it is the one whose first box stands first, and of these the one whose second does.

    Args:
        boxes: `(n, 4)` edges; corners of reversed ones are put in order.
        weights: `(n,)` not negative, such as the scores of their class; unsaid, 1 each. Of two without weight the mean is the plain
            one.
        threshold: the largest match score of boxes to be merged; below 0, not even nearly equal ones are.

    Raises:
        InputError: if the shapes do not go together, or numbers are not finite or weights negative.
    """
    from keras_vgg.localisation.compiled_merging import merge_in_place

    box, weight = _checked(boxes, weights, threshold)
    box, weight, count = _without_equal(box, weight)
    left = merge_in_place(box, weight, count, float(threshold))
    box, weight, count = box[:, :left], weight[:left], count[:left]
    order = np.argsort(-weight, kind="stable")
    return Merged(np.ascontiguousarray(box.T[order]), weight[order], count[order])


def _checked(boxes, weights, threshold) -> tuple[np.ndarray, np.ndarray]:
    """Boxes by coordinates, `(4, n)`, in order, and their weights."""
    boxes = np.asarray(boxes, np.float64)
    weights = np.ones(len(boxes)) if weights is None else np.asarray(weights, np.float64)
    if boxes.shape != (len(boxes), 4) or weights.shape != (len(boxes),):
        raise InputError(f"Expected boxes (n, 4) and weights (n,). Received: {boxes.shape} and {weights.shape}.")
    for name, wrong in (("boxes", ~np.isfinite(boxes).all(axis=1)), ("weights", ~(np.isfinite(weights) & (weights >= 0)))):
        if wrong.any():
            rule = "finite" if name == "boxes" else "finite and not negative"
            raise InputError(f"`{name}` to be merged must be {rule}. Received: {wrong.sum()} of {len(wrong)} that are not.")
    if not math.isfinite(threshold):
        raise InputError(f"`threshold` must be a finite number. Received: {threshold}.")
    corners = boxes.T.reshape(2, 2, len(boxes))
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)]), weights


def _without_equal(box: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes that are not equal, in the order of their first places, the sums of their weights, and how many they were."""
    order = np.lexsort(box[::-1])  # stable, so that of equal ones the first stays the first
    ordered = box[:, order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    first = order[is_new]
    places = np.empty(len(order), np.int64)
    places[order] = np.argsort(np.argsort(first))[np.cumsum(is_new) - 1] if len(order) else 0
    first.sort()
    return box[:, first], np.bincount(places, weight, len(first)), np.bincount(places, minlength=len(first))
