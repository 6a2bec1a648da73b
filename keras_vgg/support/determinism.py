"""TensorFlow's op determinism, for a while."""

import contextlib
from collections.abc import Iterator

from tensorflow.python.framework import config  # the public API turns it on but not off


@contextlib.contextmanager
def op_determinism(on: bool) -> Iterator[None]:
    """Turns op determinism on or off for all threads, and back to what it was at the end of the block."""
    before = config.is_op_determinism_enabled()
    _set(on)
    try:
        yield
    finally:
        _set(before)


def _set(on: bool) -> None:
    config.enable_op_determinism() if on else config.disable_op_determinism()
