"""Greedy merging of an image's boxes (Sermanet et al. 2014, OverFeat): repeatedly merges the two most similar ones."""

import dataclasses
import math

import numpy as np

from keras_vgg.errors import InputError


@dataclasses.dataclass(frozen=True)
class Merged:
    """Merged boxes in descending order of weight; of equal weights, the one that contains the earliest input box comes first.

    Attributes:
        boxes: `(m, 4)` float64, weighted means of their original boxes.
        weights: `(m,)` float64, sums of the original weights.
        counts: `(m,)` int64, numbers of original boxes.
    """

    boxes: np.ndarray
    weights: np.ndarray
    counts: np.ndarray


def match_score(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the dissimilarity of boxes, 0 to 2, float64 in the broadcast shape of `a` and `b`.

    It is `1 - IoU + (distance of the centers)² / (diagonal of the smallest enclosing box)²`: the distance-IoU loss of Zheng et
    al. 2020, which combines OverFeat's two terms, distance of centers and overlap, without units. Equal boxes with an area score
    0, disjoint boxes at least 1, and a box without area at least 1 with any box.

    Args:
        a: `(..., 4)` edges, not reversed.
        b: `(..., 4)` edges, not reversed.
    """
    from keras_vgg.localisation.compiled_merging import match_scores

    return match_scores(*np.moveaxis(np.asarray(a, np.float64), -1, 0), *np.moveaxis(np.asarray(b, np.float64), -1, 0))


def merge(boxes: np.ndarray, weights: np.ndarray | None = None, *, threshold: float) -> Merged:
    """Merges similar boxes.

    Equal boxes are merged first. Then, as in OverFeat, the pair with the lowest `match_score` is replaced by its weighted mean,
    in the place of the earlier box, as long as the score is not above `threshold`. Ties go to the pair whose first box comes
    first, then to the one whose second box does.

    Args:
        boxes: `(n, 4)` edges; corners of reversed boxes are reordered.
        weights: `(n,)` nonnegative, such as class scores; by default 1 each. Two boxes without weight have a plain mean.
        threshold: maximum match score of boxes to merge; below 0, only equal boxes are merged.

    Raises:
        InputError: for incompatible shapes, numbers that are not finite, or negative weights.
    """
    from keras_vgg.localisation.compiled_merging import merge_in_place

    box, weight = _checked(boxes, weights, threshold)
    box, weight, count = _without_equal(box, weight)
    left = merge_in_place(box, weight, count, float(threshold))
    box, weight, count = box[:, :left], weight[:left], count[:left]
    order = np.argsort(-weight, kind="stable")
    return Merged(np.ascontiguousarray(box.T[order]), weight[order], count[order])


def _checked(boxes, weights, threshold) -> tuple[np.ndarray, np.ndarray]:
    """Returns validated boxes by coordinate, `(4, n)`, with ordered corners, and their weights."""
    boxes = np.asarray(boxes, np.float64)
    weights = np.ones(len(boxes)) if weights is None else np.asarray(weights, np.float64)
    if boxes.shape != (len(boxes), 4) or weights.shape != (len(boxes),):
        raise InputError(f"Expected boxes (n, 4) and weights (n,). Received: {boxes.shape} and {weights.shape}.")
    for name, wrong in (("boxes", ~np.isfinite(boxes).all(axis=1)), ("weights", ~(np.isfinite(weights) & (weights >= 0)))):
        if wrong.any():
            rule = "finite" if name == "boxes" else "finite and nonnegative"
            raise InputError(f"`{name}` to merge must be {rule}. Received: {wrong.sum()} invalid of {len(wrong)}.")
    if not math.isfinite(threshold):
        raise InputError(f"`threshold` must be a finite number. Received: {threshold}.")
    corners = boxes.T.reshape(2, 2, len(boxes))
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)]), weights


def _without_equal(box: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the distinct boxes in order of first occurrence, the sums of their weights, and their counts."""
    order = np.lexsort(box[::-1])  # stable, so that equal boxes keep their order
    ordered = box[:, order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    first = order[is_new]
    places = np.empty(len(order), np.int64)
    places[order] = np.argsort(np.argsort(first))[np.cumsum(is_new) - 1] if len(order) else 0
    first.sort()
    return box[:, first], np.bincount(places, weight, len(first)), np.bincount(places, minlength=len(first))
