"""Counts in messages: `1 image`, `2 images`, `The only image could not be used`."""

from typing import TypeVar

_HISSING = ("s", "x", "ch", "sh")

Form = TypeVar("Form")


def agree(number: int, one: Form, many: Form) -> Form:
    """Returns the form of one or several words for a number of things."""
    return one if number == 1 else many


def counted(number: int, noun: str, many: str | None = None, *, separator: str = "") -> str:
    """Returns a number with its noun.

    Args:
        number: how many.
        noun: the noun in the singular.
        many: its plural; by default with -s or -es.
        separator: `","` for 1,000.

    >>> from keras_vgg.support.counts import counted
    >>> counted(1, "image"), counted(2, "class"), counted(1200, "pair of images", "pairs of images", separator=",")
    ('1 image', '2 classes', '1,200 pairs of images')
    """
    plural = many or f"{noun}{'es' if noun.endswith(_HISSING) else 's'}"
    return f"{number:{separator}} {agree(number, noun, plural)}"


def none_could(number: int, noun: str, verb: str, many: str | None = None) -> str:
    """Returns that none of several things could do something, or the only one could not.

    >>> from keras_vgg.support.counts import none_could
    >>> none_could(1, "image", "be used"), none_could(3, "image", "be used")
    ('the only image could not be used', 'none of the 3 images could be used')
    """
    if number == 1:
        return f"the only {noun} could not {verb}"
    return f"none of the {counted(number, noun, many)} could {verb}"
