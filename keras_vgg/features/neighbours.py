"""Improved precision and recall (Kynkäänniemi et al. 2019): do generated images look like real ones, and like all of them?

A set's manifold is the union of spheres around its images, each with the distance to the k-th nearest neighbor in the set as
radius. Precision is the share of generated images in the manifold of the real ones, recall the share of real images in the
manifold of the generated ones.
"""

from collections.abc import Callable, Iterator, Sized
from typing import NamedTuple, Protocol

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.support.counts import counted

NEIGHBOUR = 3
"""k of the paper."""

BLOCK = 2048
"""Rows per block of either set: 64 MB in float64 for fc2."""

_ROUNDING = 1e-12  # of squared distances, relative to squared lengths: smaller differences count as equal


class Rows(Sized, Protocol):
    """Features of images: an array, or an object that returns one for a slice, so that a file need not be in memory."""

    def __getitem__(self, part: slice, /) -> np.ndarray:
        """Returns the rows of a slice, `(n, D)`."""


class PrecisionRecall(NamedTuple):
    """Precision and recall of generated images.

    Attributes:
        precision: the share of generated images in the manifold of the real ones, 0 to 1.
        recall: the share of real images in the manifold of the generated ones, 0 to 1.
    """

    precision: float
    recall: float


def precision_recall(
    real: Rows, generated: Rows, *, k: int = NEIGHBOUR, on_done: Callable[[int], None] = lambda pairs: None
) -> PrecisionRecall:
    """Returns improved precision and recall, eq. 1 of the paper, from features such as `fc2` of net D.

    Distances are computed in float64, by blocks: memory grows with the number of images, not with its square.

    Args:
        real: `(N, D)` features of real images.
        generated: `(M, D)` features of generated images, from the same net. The paper uses 50,000 of each.
        k: the nearest neighbor in the same set, not counting the image itself, that sets the radius.
        on_done: called with the number of compared pairs of images, of at most `pairs_of`.

    Raises:
        InputError: (a `ValueError`) if rows differ in length, are not finite, or number at most k.

    Example:
        >>> import numpy as np
        >>> from keras_vgg.features import precision_recall
        >>> real = np.random.default_rng(0).normal(size=(500, 8))
        >>> precision_recall(real, real)
        PrecisionRecall(precision=1.0, recall=1.0)
        >>> precision_recall(real, real[:50] * 0.01)
        PrecisionRecall(precision=1.0, recall=0.0)
    """
    for name, rows in (("real", real), ("generated", generated)):
        _check(name, rows, k)
    widths = [rows[:1].shape[1] for rows in (real, generated)]
    if widths[0] != widths[1]:
        raise InputError(f"Features must have the same length, from the same net. Received: {widths[0]} and {widths[1]} numbers.")
    precision = _inside(generated, real, _reach(real, k, on_done), on_done)
    recall = _inside(real, generated, _reach(generated, k, on_done), on_done)
    return PrecisionRecall(float(precision.mean()), float(recall.mean()))


def pairs_of(real: int, generated: int) -> int:
    """Returns the maximum number of pairs compared for these numbers of real and generated images."""
    return sum(count * (count + 1) // 2 for count in (real, generated)) + 2 * real * generated


def _check(name: str, rows: Rows, k: int) -> None:
    if not 1 <= k < len(rows):
        raise InputError(
            f"`k` must be at least 1 and less than the number of images. Received: k={k} for {counted(len(rows), f'{name} image')}."
        )
    for part in map(rows.__getitem__, _blocks(len(rows))):
        if np.ndim(part) != 2 or not np.isfinite(part).all():
            raise InputError(f"Features must be rows of finite numbers. Received: invalid ones for the {name} images.")


def _reach(rows: Rows, k: int, on_done: Callable[[int], None]) -> np.ndarray:
    """Returns the squared distance of each row to its k-th nearest other one, `(N,)`."""
    nearest = np.full((len(rows), k), np.inf)
    for one in _blocks(len(rows)):
        points = _Points(rows[one])
        for other in _blocks(one.stop):  # later blocks are compared with this one in their turn
            same = other == one
            squared = points.squared_distances(points if same else _Points(rows[other]))
            if same:
                np.fill_diagonal(squared, np.inf)
            else:
                _keep_nearest(nearest[other], squared.T)
            _keep_nearest(nearest[one], squared)
            on_done(squared.size if not same else len(squared) * (len(squared) + 1) // 2)
    return nearest.max(axis=1)


def _keep_nearest(nearest: np.ndarray, squared: np.ndarray) -> None:
    k = nearest.shape[1]
    nearest[:] = np.partition(np.concatenate([nearest, squared], axis=1), k - 1, axis=1)[:, :k]


def _inside(rows: Rows, centres: Rows, reach: np.ndarray, on_done: Callable[[int], None]) -> np.ndarray:
    """Returns which rows lie within the radius of any center, `(N,)` bool."""
    inside = np.zeros(len(rows), bool)
    for one in _blocks(len(rows)):
        points = _Points(rows[one])
        left = np.arange(len(points.rows))
        for other in _blocks(len(centres)):
            if left.size:
                around = _Points(centres[other])
                rounding = _ROUNDING * (points.lengths[left, np.newaxis] + around.lengths)
                within = points.subset(left).squared_distances(around) <= reach[other] + rounding
                left = left[~within.any(axis=1)]
            on_done(len(points.rows) * (other.stop - other.start))
        inside[one] = True
        inside[one.start + left] = False
    return inside


class _Points:
    """Rows in float64, with their squared lengths."""

    def __init__(self, rows: np.ndarray, lengths: np.ndarray | None = None):
        self.rows = np.asarray(rows, np.float64)
        self.lengths = np.einsum("nd,nd->n", self.rows, self.rows) if lengths is None else lengths

    def subset(self, places: np.ndarray) -> "_Points":
        return self if len(places) == len(self.rows) else _Points(self.rows[places], self.lengths[places])

    def squared_distances(self, others: "_Points") -> np.ndarray:
        squared = self.rows @ others.rows.T
        squared *= -2
        squared += self.lengths[:, np.newaxis]
        squared += others.lengths
        return np.maximum(squared, 0, out=squared)


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, BLOCK):
        yield slice(start, min(start + BLOCK, count))
