"""What nets compute in, by the names that Keras gives its policies. Imports no TensorFlow."""

from keras_vgg.errors import InputError

FLOAT32, BFLOAT16, FLOAT16 = PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
"""In a mixed one convolutions and products are computed in half precision; weights and what a net puts out are float32."""


def checked(precision: str) -> str:
    """Returns a precision.

    Raises:
        InputError: for something else.
    """
    if precision not in PRECISIONS:
        raise InputError(f"`precision` must be one of {', '.join(PRECISIONS)}. Received: precision={precision!r}.")
    return precision


def told(precision: str) -> str:
    """Returns what tables and files say of a precision: nothing of float32.

    >>> from keras_vgg.precision import told
    >>> told("float32"), told("mixed_bfloat16")
    ('', 'mixed_bfloat16')
    """
    return "" if precision == FLOAT32 else precision


def noted(precision: str) -> dict[str, str]:
    """Returns the facts that tell a precision, for JSON: none of float32.

    >>> from keras_vgg.precision import noted
    >>> noted("float32"), noted("mixed_bfloat16")
    ({}, {'precision': 'mixed_bfloat16'})
    """
    return {"precision": precision} if told(precision) else {}
