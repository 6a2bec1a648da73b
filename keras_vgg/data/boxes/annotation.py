"""Annotation of an image: one class, and a box around each of its objects of that class.

Boxes are edges, `x_min, y_min, x_max, y_max` from the image's upper left corner. An inclusive box, of pixels `xmin` to `xmax`
counted from `origin`, has the edges `xmin - origin` and `xmax - origin + 1`: its width is the difference of the edges.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_vgg.errors import InputError


@dataclasses.dataclass(frozen=True)
class Annotation:
    """The objects of one class in an image.

    Attributes:
        boxes: `(n, 4)` float64, edges.
        size: `(width, height)` that the boxes refer to, which may differ from the file's: `(1, 1)` if they are fractions; `None`
            if they are pixels of the file.
        flaw: why there is no usable box; "" if there is one.
        dropped: number of other boxes that are unusable.
    """

    boxes: np.ndarray
    size: tuple[float, float] | None = None
    flaw: str = ""
    dropped: int = 0

    @classmethod
    def flawed(cls, reason: str) -> "Annotation":
        """Returns an annotation without usable boxes."""
        return cls(np.zeros((0, 4)), None, reason)


def from_corners(
    corners: Sequence[Sequence[float]], size: tuple[float, float] | None, *, inclusive: bool = True, origin: int = 0
) -> Annotation:
    """Returns the annotation for boxes as given in files.

    Swapped corners are put in order. Boxes that have no area (`xmin` equals `xmax`), are not finite or lie outside the image are
    dropped; if none is left, the first one's error is the annotation's flaw.

    >>> from keras_vgg.data.boxes.annotation import from_corners
    >>> from_corners([(4, 1, 0, 3)], (10, 10)).boxes.tolist()
    [[0.0, 1.0, 5.0, 4.0]]
    >>> from_corners([(4, 1, 4, 3)], (10, 10)).flaw
    'a box without area: x from 4 to 4, y from 1 to 3'

    Args:
        corners: `xmin, ymin, xmax, ymax` of each box.
        size: see `Annotation`.
        inclusive: whether `xmax` and `ymax` are pixels of the box, as in ILSVRC and VOC, or its edges.
        origin: index of an image's first pixel: 0, or 1 as in VOC.
    """
    if size is not None and not (all(map(math.isfinite, size)) and min(size) > 0):
        return Annotation.flawed(f"an invalid image size of {size[0]:g}x{size[1]:g} in its annotation")
    boxes, flaws = [], []
    for x0, y0, x1, y1 in corners:
        (x_min, x_max), (y_min, y_max) = sorted((x0, x1)), sorted((y0, y1))
        edges = (x_min - origin, y_min - origin, x_max - origin + inclusive, y_max - origin + inclusive)
        if not all(map(math.isfinite, edges)):
            fault = "that is not finite"
        elif x_min == x_max or y_min == y_max:
            fault = "without area"
        elif min(edges[2:]) <= 0 or (size is not None and (edges[0] >= size[0] or edges[1] >= size[1])):
            fault = "outside the image"
        else:
            boxes.append(edges)
            continue
        flaws.append(f"a box {fault}: x from {x_min:g} to {x_max:g}, y from {y_min:g} to {y_max:g}")
    if boxes:
        return Annotation(np.array(boxes, np.float64), size, dropped=len(flaws))
    return Annotation.flawed(flaws[0] if flaws else "no box")


def check_some_usable(annotations: Sequence[Annotation], where: str) -> None:
    """Raises `InputError` if no annotation is usable."""
    if annotations and all(each.flaw for each in annotations):
        raise InputError(f"{where} must contain usable boxes. Received: none in {len(annotations)}, e.g. {annotations[0].flaw}.")
