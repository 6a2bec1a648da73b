"""Boxes as edges: float arrays `(..., 4)` of `x_min, y_min, x_max, y_max` in pixels, so that widths are `x_max - x_min`.

Files count pixels instead: their boxes range from pixel `xmin` to pixel `xmax`, both inclusive, with an origin of 0 or 1. A whole
image of width 640 is 1 to 640 there and 0 to 640 here. The IoU of edges equals that of pixels in the devkits of ILSVRC and VOC,
with their `xmax - xmin + 1`: exactly, for whole-number coordinates.
"""

import numpy as np


def from_inclusive(boxes: np.ndarray, origin: int = 0) -> np.ndarray:
    """Converts boxes from first and last pixels to edges, `(..., 4)` float64.

    `[1, 1, 640, 480]` with origin 1 becomes `[0, 0, 640, 480]`.

    Args:
        boxes: `(..., 4)` pixel coordinates, possibly fractional.
        origin: coordinate of the first pixel of a row or column.
    """
    return np.asarray(boxes, np.float64) - np.array([origin, origin, origin - 1, origin - 1])


def to_inclusive(boxes: np.ndarray, origin: int = 0) -> np.ndarray:
    """Converts boxes from edges to first and last pixels, `(..., 4)` float64; the inverse of `from_inclusive`."""
    return np.asarray(boxes, np.float64) + np.array([origin, origin, origin - 1, origin - 1])


def clipped(boxes: np.ndarray, size: np.ndarray | tuple[float, float]) -> np.ndarray:
    """Clips boxes to their images, `(..., 4)` float64; a box outside its image becomes one of zero area at the border.

    Args:
        boxes: `(..., 4)` edges.
        size: `(width, height)` of the image; or `(..., 2)`, one per box.
    """
    size = np.asarray(size, np.float64)
    return np.clip(np.asarray(boxes, np.float64), 0, np.concatenate([size, size], axis=-1))


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the IoU (area of the intersection over area of the union) in 0–1, float64 in the broadcast shape of `a` and `b`.

    It is 0 where boxes only touch, where either has no area (including reversed boxes) and where a coordinate is NaN.
    `overlap([0, 0, 4, 2], [2, 0, 6, 2])` is 1/3. All pairs: `overlap(a[:, None], b[None])`.

    Args:
        a: `(..., 4)` edges.
        b: `(..., 4)` edges.
    """
    shared, union = shared_and_union(a, b)
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def shared_and_union(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the areas of intersection and union, whose quotient is `overlap`, for exact comparisons with one half.

    `2 * shared >= union` is exact for whole numbers below 2**25. Where boxes are disjoint, or a coordinate is NaN, the
    intersection is 0 and the union is meaningless.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.where((sides > 0).all(axis=-1), sides.prod(axis=-1), 0.0)  # NaN is not above 0
    return shared, _area(a) + _area(b) - shared


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
