"""Compute precisions of nets, by the names of Keras' dtype policies. Imports no TensorFlow."""

from keras_vgg.errors import InputError

FLOAT32, BFLOAT16, FLOAT16 = PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
"""A mixed precision computes convolutions and matrix products in half precision; weights and outputs are float32."""


def checked(precision: str) -> str:
    """Returns `precision` if it is valid.

    Raises:
        InputError: if it is not one of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise InputError(f"`precision` must be one of {', '.join(PRECISIONS)}. Received: precision={precision!r}.")
    return precision


def told(precision: str) -> str:
    """Returns the text for a precision in tables and files: empty for float32.

    >>> from keras_vgg.precision import told
    >>> told("float32"), told("mixed_bfloat16")
    ('', 'mixed_bfloat16')
    """
    return "" if precision == FLOAT32 else precision


def noted(precision: str) -> dict[str, str]:
    """Returns the JSON entry for a precision: none for float32.

    >>> from keras_vgg.precision import noted
    >>> noted("float32"), noted("mixed_bfloat16")
    ({}, {'precision': 'mixed_bfloat16'})
    """
    return {"precision": precision} if told(precision) else {}
