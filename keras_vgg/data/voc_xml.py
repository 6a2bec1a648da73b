"""Annotations in VOC's XML, as PASCAL VOC, ILSVRC and programs for drawing boxes write them. Imports no TensorFlow."""

import math
import os
from typing import NamedTuple
from xml.etree import ElementTree

from keras_vgg.data.class_names import class_name

_SIDES = ("xmin", "ymin", "xmax", "ymax")


class Object(NamedTuple):
    """An object in an image.

    Args:
        name: of its class, see `class_name`.
        corners: `xmin, ymin, xmax, ymax` as they are told; not a number where that is missing or none.
        difficult: whether it is marked so: then it neither counts for nor against.
    """

    name: str
    corners: tuple[float, ...]
    difficult: bool = False


class Shown(NamedTuple):
    """What an annotation tells of an image.

    Args:
        objects: in its order. Parts of them (heads, hands and feet of persons) are none themselves.
        size: `(width, height)` that the corners refer to; `None` if it tells none.
    """

    objects: tuple[Object, ...]
    size: tuple[float, float] | None = None


def read(path: str | os.PathLike[str]) -> Shown:
    """Reads an annotation.

    Raises:
        OSError: if there is no such file, or it cannot be read.
        ValueError: if it is no XML, or an object has no name.
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, LookupError) as error:  # the latter for an encoding that nobody knows
        raise ValueError(str(error)) from error
    size = root.find("size")
    sides = (math.nan, math.nan) if size is None else (_number(size, "width"), _number(size, "height"))
    whole = None if any(map(math.isnan, sides)) else sides
    return Shown(tuple(map(_object, root.findall("object"))), whole)


def _object(element: ElementTree.Element) -> Object:
    if not (name := class_name(element.findtext("name") or "")):
        raise ValueError("an object has no name")
    difficult = int(element.findtext("difficult") or 0)  # ILSVRC and some later files leave it out
    box = element.find("bndbox")
    corners = (math.nan,) * 4 if box is None else tuple(_number(box, side) for side in _SIDES)
    return Object(name, corners, bool(difficult))


def _number(element: ElementTree.Element, name: str) -> float:
    try:
        return float(element.findtext(name) or "nan")
    except ValueError:
        return math.nan
