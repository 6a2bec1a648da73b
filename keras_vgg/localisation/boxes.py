"""Boxes as edges: float arrays `(..., 4)` of `x_min, y_min, x_max, y_max` in pixels, so that widths are `x_max - x_min`.

Files count pixels instead: a box of theirs goes from the pixel `xmin` to the pixel `xmax`, both in it, counted from an origin of
0 or 1. The whole image, of 640 pixels in a row, is from 1 to 640 there and from 0 to 640 here. The IoU of edges is that which the
devkits of ILSVRC and VOC compute of pixels, with their `xmax - xmin + 1`; exactly, where coordinates are whole numbers.
"""

import numpy as np


def from_inclusive(boxes: np.ndarray, origin: int = 0) -> np.ndarray:
    """Returns the edges, `(..., 4)` float64, of boxes by their first and last pixels.

    `[1, 1, 640, 480]` from the origin 1 is `[0, 0, 640, 480]`.

    Args:
        boxes: `(..., 4)` numbers of pixels, fractions allowed.
        origin: number of the first pixel of a row or column.
    """
    return np.asarray(boxes, np.float64) - np.array([origin, origin, origin - 1, origin - 1])


def to_inclusive(boxes: np.ndarray, origin: int = 0) -> np.ndarray:
    """Returns first and last pixels, `(..., 4)` float64, of boxes by their edges; the reverse of `from_inclusive`."""
    return np.asarray(boxes, np.float64) + np.array([origin, origin, origin - 1, origin - 1])


def clipped(boxes: np.ndarray, size: np.ndarray | tuple[float, float]) -> np.ndarray:
    """Returns what of boxes lies in their images, `(..., 4)` float64; a box beside its image becomes one without area on the rim.

    Args:
        boxes: `(..., 4)` edges.
        size: `(width, height)` of the image; or `(..., 2)`, of the image of each.
    """
    size = np.asarray(size, np.float64)
    return np.clip(np.asarray(boxes, np.float64), 0, np.concatenate([size, size], axis=-1))


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the IoU, area of the intersection over area of the union, in 0–1, float64 of the shape that `a` and `b` broadcast to.

    It is 0 where boxes only touch, where either has no area (reversed ones among them) and where a coordinate is NaN.
    `overlap([0, 0, 4, 2], [2, 0, 6, 2])` is 1/3. All with all: `overlap(a[:, None], b[None])`.

    Args:
        a: `(..., 4)` edges.
        b: `(..., 4)` edges.
    """
    shared, union = shared_and_union(a, b)
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def shared_and_union(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the areas of intersection and union, of which `overlap` is the quotient: rounding is not to decide what is one half.

    `2 * shared >= union` is exact for whole numbers below 2**25. Where boxes share nothing, or a coordinate is NaN, the
    intersection is 0 and the union is not to be used.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.where((sides > 0).all(axis=-1), sides.prod(axis=-1), 0.0)  # NaN is not above 0
    return shared, _area(a) + _area(b) - shared


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
