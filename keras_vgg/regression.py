"""What the last layer of a net that localises puts out (Appendix A). Imports no TensorFlow.

A box is told by its centre and its size in units of the crop's side, from the crop's upper left corner. Single-class regression has
one box for whatever is shown, per-class regression one for each class.
"""

from collections.abc import Sequence

SCR, PCR = "scr", "pcr"
REGRESSIONS = {SCR: "one box for all classes", PCR: "a box for each class"}

BOX = ("x", "y", "width", "height")
"""What the four numbers of a box are."""


def outputs_of(regression: str, classes: Sequence[str]) -> tuple[str, ...]:
    """Returns what each output of the last layer tells.

    >>> from keras_vgg.regression import outputs_of
    >>> outputs_of("scr", ["cat", "dog"])
    ('x', 'y', 'width', 'height')
    >>> outputs_of("pcr", ["cat", "dog"])[3:5]
    ('height of cat', 'x of dog')
    """
    return BOX if regression == SCR else tuple(f"{part} of {name}" for name in classes for part in BOX)
