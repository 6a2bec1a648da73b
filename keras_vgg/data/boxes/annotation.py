"""What is known of an image's objects: one class, and a box around each of its objects of that class.

Boxes are edges, `x_min, y_min, x_max, y_max` from the image's upper left corner. One that is told inclusively, as the pixels `xmin`
to `xmax` counted from `origin`, has the edges `xmin - origin` and `xmax - origin + 1`: its width is the edges' difference.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_vgg.errors import InputError


@dataclasses.dataclass(frozen=True)
class Annotation:
    """The objects of one class in an image.

    Attributes:
        boxes: `(n, 4)` float64, edges.
        size: `(width, height)` that the boxes refer to, which need not be the file's: `(1, 1)` where they are fractions; `None`
            where they are pixels of the file.
        flaw: why there is no box that can be used; "" if there is one.
    """

    boxes: np.ndarray
    size: tuple[float, float] | None = None
    flaw: str = ""

    @classmethod
    def flawed(cls, reason: str) -> "Annotation":
        """Returns what stands for boxes of which none can be used."""
        return cls(np.zeros((0, 4)), None, reason)


def from_corners(
    corners: Sequence[Sequence[float]], size: tuple[float, float] | None, *, inclusive: bool = True, origin: int = 0
) -> Annotation:
    """Returns the annotation of boxes as files tell them.

    Corners that come the wrong way round are put in order. A box that holds no area (`xmin` equals `xmax`), is not finite or lies
    outside of the image is left out; if none is left, the first one's fault is the annotation's flaw.

    >>> from keras_vgg.data.boxes.annotation import from_corners
    >>> from_corners([(4, 1, 0, 3)], (10, 10)).boxes.tolist()
    [[0.0, 1.0, 5.0, 4.0]]
    >>> from_corners([(4, 1, 4, 3)], (10, 10)).flaw
    'a box without area: x from 4 to 4, y from 1 to 3'

    Args:
        corners: of each box `xmin, ymin, xmax, ymax`.
        size: see `Annotation`.
        inclusive: whether `xmax` and `ymax` are pixels of the box, as in ILSVRC and VOC, or its edges.
        origin: the number of an image's first pixel: 0, or 1 as in VOC.
    """
    if size is not None and not (np.isfinite(size).all() and min(size) > 0):
        return Annotation.flawed(f"an image size of {size[0]:g}x{size[1]:g} beside its boxes")
    boxes, flaws = [], []
    for xs, ys in ((sorted(each[::2]), sorted(each[1::2])) for each in corners):
        (x_min, x_max), (y_min, y_max) = xs, ys
        told = f"x from {x_min:g} to {x_max:g}, y from {y_min:g} to {y_max:g}"
        edges = np.array([x_min, y_min, x_max, y_max], np.float64)
        if inclusive:
            edges += np.array([0, 0, 1, 1]) - origin
        if not np.isfinite(edges).all():
            flaws.append(f"a box that is not finite: {told}")
        elif x_min == x_max or y_min == y_max:
            flaws.append(f"a box without area: {told}")
        elif edges[2:].min() <= 0 or (size is not None and (edges[:2] >= size).any()):
            flaws.append(f"a box outside of the image: {told}")
        else:
            boxes.append(edges)
    if boxes:
        return Annotation(np.array(boxes), size)
    return Annotation.flawed(flaws[0] if flaws else "no box")


def check_some_usable(annotations: Sequence[Annotation], where: str) -> None:
    """Raises `InputError` if no annotation at all can be used."""
    if annotations and all(each.flaw for each in annotations):
        told = f"none of {len(annotations)}, e.g. {annotations[0].flaw}"
        raise InputError(f"{where} must hold boxes that can be used. Received: {told}.")
