"""Annotations in VOC's XML format, as written by PASCAL VOC, ILSVRC and labeling tools. Imports no TensorFlow."""

import math
import os
from typing import NamedTuple
from xml.etree import ElementTree

from keras_vgg.data.class_names import class_name

_SIDES = ("xmin", "ymin", "xmax", "ymax")


class Object(NamedTuple):
    """An object in an image.

    Args:
        name: its class, see `class_name`.
        corners: `xmin, ymin, xmax, ymax` as in the file; NaN if missing or not a number.
        difficult: whether it is marked difficult and so counts neither for nor against.
    """

    name: str
    corners: tuple[float, ...]
    difficult: bool = False


class Shown(NamedTuple):
    """Content of an image's annotation.

    Args:
        objects: in the file's order. Parts of objects (heads, hands and feet of persons) are not included.
        size: `(width, height)` that the corners refer to; `None` if missing.
    """

    objects: tuple[Object, ...]
    size: tuple[float, float] | None = None


def read(path: str | os.PathLike[str]) -> Shown:
    """Reads an annotation.

    Raises:
        OSError: if the file does not exist or cannot be read.
        ValueError: if it is not XML, or an object has no name.
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, LookupError) as error:  # the latter for an unknown encoding
        raise ValueError(str(error)) from error
    size = root.find("size")
    sides = (math.nan, math.nan) if size is None else (_number(size, "width"), _number(size, "height"))
    whole = None if any(map(math.isnan, sides)) else sides
    return Shown(tuple(map(_object, root.findall("object"))), whole)


def _object(element: ElementTree.Element) -> Object:
    if not (name := class_name(element.findtext("name") or "")):
        raise ValueError("an object has no name")
    difficult = int(element.findtext("difficult") or 0)  # ILSVRC and some later files omit it
    box = element.find("bndbox")
    corners = (math.nan,) * 4 if box is None else tuple(_number(box, side) for side in _SIDES)
    return Object(name, corners, bool(difficult))


def _number(element: ElementTree.Element, name: str) -> float:
    try:
        return float(element.findtext(name) or "nan")
    except ValueError:
        return math.nan
