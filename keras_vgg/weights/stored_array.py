"""Arrays stored in files: what a reader of a weight file returns for every array, before reading its values.

Readers return shapes at once and read values on demand, by rows, so that loading 500 MB takes no second copy and a
file that does not fit is refused before anything changes.
"""

import dataclasses
import math
import pathlib
from collections.abc import Callable

import numpy as np

from keras_vgg.errors import InputError


@dataclasses.dataclass(frozen=True)
class StoredArray:
    """An array in a file, in the file's own layout.

    Attributes:
        shape: its shape, with at least one axis.
        dtype: its data type in the file.
        rows: `rows(start, stop)` reads that part of the first axis.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    rows: Callable[[int, int], np.ndarray]

    def read(self) -> np.ndarray:
        """Reads the whole array."""
        return self.rows(0, self.shape[0])


def in_memory(values: np.ndarray) -> StoredArray:
    """Wraps an array that is in memory already."""
    return StoredArray(values.shape, values.dtype, lambda start, stop: values[start:stop])


def raw_array(path: str | pathlib.Path, name: str, offset: int, shape: tuple[int, ...], dtype) -> StoredArray:
    """Returns the array of raw little-endian values, last axis fastest, that starts at byte `offset` of the file.

    Raises:
        InputError: if the file ends before the array does; the message names the array.
    """
    dtype, path = np.dtype(dtype), pathlib.Path(path)
    end, size = offset + math.prod(shape) * dtype.itemsize, path.stat().st_size
    if end > size:
        raise InputError(f"{path} is truncated: {name} should end at byte {end:,}, the file has {size:,}. Fetch or copy it again.")
    row = math.prod(shape[1:])

    def rows(start: int, stop: int) -> np.ndarray:
        begin, count = offset + start * row * dtype.itemsize, (stop - start) * row
        values = np.fromfile(path, dtype, count, offset=begin)
        if values.size < count:
            raise InputError(f"{path} became shorter while {name} was being read. Fetch or copy it again.")
        return values.reshape(stop - start, *shape[1:])

    return StoredArray(tuple(shape), dtype, rows)
