"""Variables of a net in a file, with our names and Keras' layout, read in parts.

fc1 is three quarters of a net. Read, permuted and copied into the model as a whole, it would take three times its
411 MB; in parts, loading takes little more than the model itself.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from keras_vgg.weights import layouts
from keras_vgg.weights.stored_array import StoredArray

PART_BYTES = 16 * 2**20


@dataclasses.dataclass(frozen=True)
class Part:
    """float32 values of a variable from `start` on along `axis`, complete along the other axes."""

    axis: int
    start: int
    values: np.ndarray

    @property
    def index(self) -> tuple[slice, ...]:
        """Its index in the variable."""
        return (slice(None),) * self.axis + (slice(self.start, self.start + self.values.shape[self.axis]),)


@dataclasses.dataclass(frozen=True)
class Variable:
    """One variable of a net in a file.

    Attributes:
        array: its name in the file.
        shape: its shape in Keras' layout.
        parts: reads it in parts, which cover it exactly once.
    """

    array: str
    shape: tuple[int, ...]
    parts: Callable[[], Iterator[Part]]

    def read(self) -> np.ndarray:
        """Reads the whole variable."""
        values = np.empty(self.shape, np.float32)
        for part in self.parts():
            values[part.index] = part.values
        return values

    def in_memory(self) -> "Variable":
        """Returns the variable with its values read now."""
        values = self.read()
        return dataclasses.replace(self, parts=lambda: iter([Part(0, 0, values)]))

    def guarded(self, guard: Callable[[], contextlib.AbstractContextManager]) -> "Variable":
        """Returns the variable with each part read in a context of `guard`, which may raise."""

        def parts():
            reading = self.parts()
            while True:
                with guard():
                    part = next(reading, None)
                if part is None:
                    return
                yield part

        return dataclasses.replace(self, parts=parts)


def as_it_lies(array: str, stored: StoredArray) -> Variable:
    """Returns a variable that is stored in Keras' layout, or is a vector."""
    return Variable(array, stored.shape, lambda: (Part(0, start, rows.astype(np.float32)) for start, rows in _chunks(stored)))


def convolution(array: str, stored: StoredArray) -> Variable:
    """Returns a kernel that is stored as (out, in, height, width)."""
    filters, channels, height, width = stored.shape

    def parts():
        yield Part(0, 0, layouts.conv_to_keras(stored.read()).astype(np.float32))

    return Variable(array, (height, width, channels, filters), parts)


def fc_matrix(array: str, stored: StoredArray, places: int) -> Variable:
    """Returns a matrix stored as (out, in) or (out, in, height, width), whose inputs are a map of `places` positions."""
    units, inputs = stored.shape[0], int(np.prod(stored.shape[1:]))

    def parts():
        for start, rows in _chunks(stored):
            yield Part(1, start, layouts.fc_to_keras(rows, places).astype(np.float32))

    return Variable(array, (inputs, units), parts)


def fc_of_channels(array: str, stored: StoredArray, places: int) -> Variable:
    """Returns a matrix stored as (in, out), whose inputs are a map of `places` positions with channels first."""
    inputs, units = stored.shape
    channels = inputs // places
    step = max(1, PART_BYTES // (places * units * stored.dtype.itemsize))

    def parts():
        for first in range(0, channels, step):
            last = min(first + step, channels)
            rows = stored.rows(first * places, last * places).astype(np.float32).reshape(last - first, places, units)
            for place in range(places):
                yield Part(0, place * channels + first, rows[:, place])

    return Variable(array, stored.shape, parts)


def _chunks(stored: StoredArray) -> Iterator[tuple[int, np.ndarray]]:
    row = max(1, int(np.prod(stored.shape[1:])) * stored.dtype.itemsize)
    step = max(1, PART_BYTES // row)
    for start in range(0, stored.shape[0], step):
        yield start, stored.rows(start, min(start + step, stored.shape[0]))
