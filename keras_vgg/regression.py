"""Outputs of the last layer of a localization net (Appendix A). Imports no TensorFlow.

A box is given by its center and size in units of the crop's side, from the crop's upper left corner. Single-class regression
predicts one box for all classes, per-class regression one box per class.
"""

from collections.abc import Sequence

SCR, PCR = "scr", "pcr"
REGRESSIONS = {SCR: "one box for all classes", PCR: "a box for each class"}

BOX = ("x", "y", "width", "height")
"""Names of the four coordinates of a box."""


def outputs_of(regression: str, classes: Sequence[str]) -> tuple[str, ...]:
    """Returns the name of each output of the last layer.

    >>> from keras_vgg.regression import outputs_of
    >>> outputs_of("scr", ["cat", "dog"])
    ('x', 'y', 'width', 'height')
    >>> outputs_of("pcr", ["cat", "dog"])[3:5]
    ('height of cat', 'x of dog')
    """
    return BOX if regression == SCR else tuple(f"{part} of {name}" for name in classes for part in BOX)
