"""Rows of one pass, kept on the disk as they come, so that killed work goes on where it stopped."""

import functools
import hashlib
import json
import math
import pathlib
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from keras_vgg import files

PENDING, DONE, BROKEN = 0, 1, 2
_BYTES = 2**24


def key_of(depends_on: Sequence, fingerprints: np.ndarray) -> str:
    """Returns the name of a pass: a hash of everything that its rows depend on.

    Args:
        depends_on: the net and what is done with it, as JSON can write it.
        fingerprints: those of the images (`batches.Survey`).
    """
    content = hashlib.sha256(json.dumps(depends_on).encode())
    content.update(fingerprints.tobytes())
    return content.hexdigest()[:16]


class RowStore:
    """A row of floats for each image of a split, from one pass of a net over them.

    Rows are written straight into mapped files: what a killed process had written is there.

    Args:
        folder: where passes are kept.
        key: names the pass and everything its rows depend on.
        count: number of images.
        width: length of a row.
        facts: about the pass, for people.

    Attributes:
        state: `(count,)` uint8: `PENDING`, `DONE` or `BROKEN`.
    """

    name = "rows"
    """What the rows are called in names of files."""

    def __init__(self, folder: pathlib.Path, key: str, count: int, width: int, facts: dict):
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{key}.{name}.npy" for name in (self.name, "state", "seconds")]
        shapes, types, start = [(count, width), (count,), (1,)], (np.float32, np.uint8, np.float64), (np.nan, PENDING, 0)
        for path, shape, type_, value in zip(paths, shapes, types, start, strict=True):
            if not path.exists():
                with files.replacing(path) as beside:
                    _write_full(beside, shape, type_, value)
        files.write_text(folder / f"{key}.json", json.dumps(facts, indent=2) + "\n")
        self._map_rows = functools.partial(np.load, paths[0], mmap_mode="r+")
        self.state, self._seconds = (np.load(path, mmap_mode="r+") for path in paths[1:])
        self.state[self.state == BROKEN] = PENDING  # to be told again, and perhaps another time they can be read

    @classmethod
    def in_memory(cls, count: int, width: int):
        """Returns a store that keeps nothing on the disk."""
        store, rows = cls.__new__(cls), np.full((count, width), np.nan, np.float32)
        store._map_rows, store.state, store._seconds = (lambda: rows), np.full(count, PENDING, np.uint8), np.zeros(1)
        return store

    @property
    def rows(self) -> np.ndarray:
        """`(count, width)` float32; NaN for images not done or broken.

        Mapped anew at each call: a mapping that lives on counts all that was ever touched of it as the process' memory.
        """
        return self._map_rows()

    @property
    def pending(self) -> np.ndarray:
        """`(count,)` bool: images without a result."""
        return self.state == PENDING

    @property
    def seconds(self) -> float:
        """Time that the results took to compute, over all processes that worked on them."""
        return float(self._seconds[0])

    def put(self, indices: np.ndarray, rows: np.ndarray, seconds: float) -> None:
        """Enters the rows of some images."""
        self.rows[indices] = rows
        self.state[indices] = DONE  # only now, so that a kill in between leaves them pending
        self._seconds[0] += seconds

    def put_broken(self, indices: np.ndarray) -> None:
        """Enters images that cannot be read."""
        self.state[indices] = BROKEN


class PassStore(RowStore):
    """Posteriors of all images of a split in one pass: a `RowStore` as long as there are classes."""

    name = "posteriors"

    @property
    def posteriors(self) -> np.ndarray:
        """`(count, classes)` float32; NaN for images not done or broken."""
        return self.rows


def rows_at_once(shape: tuple[int, ...], type_=np.float32) -> int:
    """Returns how many rows of a shape to take in hand at a time, so that memory does not grow with their number."""
    return max(1, _BYTES // max(1, math.prod(shape) * np.dtype(type_).itemsize))


def write_header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Begins an `.npy` file of an array whose rows are written after it."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _write_full(path: pathlib.Path, shape: tuple[int, ...], type_, value) -> None:
    """Writes an array of one value, whatever its size, in little memory.

    Written and not left as a hole of the file: a disk that is too small is told now, while a mapped hole would end the process.
    """
    part = np.full((min(shape[0], rows_at_once(shape[1:], type_)), *shape[1:]), value, type_)
    with open(path, "wb") as file:
        write_header(file, shape, part.dtype)
        for start in range(0, shape[0], max(len(part), 1)):
            file.write(part[: shape[0] - start])
