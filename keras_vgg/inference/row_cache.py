"""Rows of one pass, written to disk as they are computed, so that killed work can resume."""

import functools
import hashlib
import json
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import IO

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.inference.code_digest import digest_of_code
from keras_vgg.support import files

PENDING, DONE, BROKEN = 0, 1, 2
_BYTES = 2**22
_IMAGES = ".images.npy"


_SECONDS = "seconds"


def seconds_in(folder: pathlib.Path) -> float:
    """Returns the total compute time of all passes in a folder."""
    return sum(float(np.load(path)[0]) for path in folder.glob(f"*.{_SECONDS}.npy"))


class RowCache:
    """One row of floats per image of a split, from one pass of a net.

    Rows are written directly to memory-mapped files and survive a killed process. Rows of images that an earlier pass of the same
    kind in the folder computed among others are reused; since batches differed, they are equal up to float rounding.

    Args:
        folder: folder of the passes.
        depends_on: the net's digest and its settings, JSON-serializable: everything that a row depends on except its image and
            the code, whose digest is added (`code.digest_of_code`).
        fingerprints: `(count,)` int64, of the images (`batches.Survey`).
        width: length of a row.
        facts: information about the pass for users; the code's digest is added.

    Attributes:
        key: identifier of the pass.
        facts: as given.
        state: `(count,)` uint8: `PENDING`, `DONE` or `BROKEN`.
    """

    name = "rows"
    """Name of the rows in file names."""

    state: np.ndarray
    _seconds: np.ndarray
    _map_rows: Callable[[], np.ndarray]

    def __init__(self, folder: pathlib.Path, depends_on: Sequence, fingerprints: np.ndarray, width: int, facts: dict):
        self.facts = facts
        kind = _digest(json.dumps([digest_of_code(), *depends_on]).encode())
        self.key = f"{kind}-{_digest(fingerprints.tobytes())}"
        files.make_folder(folder)
        images = folder / f"{self.key}{_IMAGES}"
        known = _load(images)
        if known is None or not np.array_equal(known, fingerprints):  # also if an earlier start did not get this far
            _save(images, fingerprints)
        paths, count = self._paths(folder, self.key), len(fingerprints)
        if is_new := not _is_whole(paths, count, width):
            values = [((count, width), np.float32, np.nan), ((count,), np.uint8, PENDING), ((1,), np.float64, 0)]
            for path, value in zip(paths, values, strict=True):
                with files.replacing(path) as beside:
                    _write_full(beside, *value)
        told = facts | {"code sha256": digest_of_code()}
        files.write_text(folder / f"{self.key}.json", json.dumps(told, indent=2) + "\n")
        self._map(paths)
        if is_new:
            self._take_over(folder, kind, fingerprints)
        else:
            self._check_rows()
        self.state[self.state == BROKEN] = PENDING  # so that they are tried and reported again

    @classmethod
    def _paths(cls, folder: pathlib.Path, key: str) -> list[pathlib.Path]:
        return [folder / f"{key}.{name}.npy" for name in (cls.name, "state", _SECONDS)]

    def _map(self, paths: Sequence[pathlib.Path]) -> None:
        self._map_rows = functools.partial(_map_for_writing, paths[0])
        self.state, self._seconds = map(_map_for_writing, paths[1:])

    def _check_rows(self) -> None:
        """Marks rows pending that a power failure has lost: marks may reach the disk before rows, which are NaN until they do."""
        rows, at_once = self.rows, rows_at_once((self.rows.shape[1],))
        for start in range(0, len(rows), at_once):
            part = slice(start, start + at_once)
            is_lost = np.isnan(rows[part]).any(axis=1) & (self.state[part] == DONE)
            self.state[part][is_lost] = PENDING

    def _take_over(self, folder: pathlib.Path, kind: str, fingerprints: np.ndarray) -> None:
        for path in sorted(folder.glob(f"{kind}-*{_IMAGES}")):
            key, others = path.name.removesuffix(_IMAGES), _load(path)
            paths = self._paths(folder, key)
            if key == self.key or others is None or not _is_whole(paths, len(others), self.rows.shape[1]):
                continue
            other = type(self).__new__(type(self))
            other._map(paths)
            done = np.flatnonzero((other.state == DONE) & (others != 0))
            wanted = np.flatnonzero(self.pending & np.isin(fingerprints, others[done]))
            order = done[np.argsort(others[done])]
            found = order[np.searchsorted(others[order], fingerprints[wanted])]
            at_once = rows_at_once((self.rows.shape[1],))
            for start in range(0, len(wanted), at_once):
                part = slice(start, start + at_once)
                self.put(wanted[part], other.rows[found[part]], other.seconds * len(wanted[part]) / len(done))

    @classmethod
    def in_memory(cls, count: int, width: int):
        """Returns a store that keeps nothing on disk."""
        store, rows = cls.__new__(cls), np.full((count, width), np.nan, np.float32)
        store.facts = {}
        store._map_rows, store.state, store._seconds = (lambda: rows), np.full(count, PENDING, np.uint8), np.zeros(1)
        return store

    @property
    def rows(self) -> np.ndarray:
        """`(count, width)` float32; NaN for images not done or broken.

        Mapped anew at each call, since every page touched in a long-lived mapping counts as the process's memory.
        """
        return self._map_rows()

    @property
    def pending(self) -> np.ndarray:
        """`(count,)` bool: images without a result."""
        return self.state == PENDING

    @property
    def seconds(self) -> float:
        """Compute time of the results in seconds, over all processes that worked on them."""
        return float(self._seconds[0])

    def put(self, indices: np.ndarray, rows: np.ndarray, seconds: float) -> None:
        """Stores the rows of some images."""
        self.rows[indices] = rows
        self.state[indices] = DONE  # last, so that a kill in between leaves them pending
        self._seconds[0] += seconds

    def put_broken(self, indices: np.ndarray) -> None:
        """Marks images as broken."""
        self.state[indices] = BROKEN


class PassStore(RowCache):
    """Posteriors of all images of a split in one pass: a `RowCache` with one column per class."""

    name = "posteriors"

    @property
    def posteriors(self) -> np.ndarray:
        """`(count, classes)` float32; NaN for images not done or broken."""
        return self.rows

    def put(self, indices: np.ndarray, rows: np.ndarray, seconds: float) -> None:
        """Stores the posteriors of some images.

        Raises:
            InputError: if posteriors are not finite.
        """
        if not np.isfinite(rows).all():
            raise InputError(
                f"Expected a net with finite posteriors. Received: {self.facts.get('net', 'one')}, which predicts NaN for "
                "readable images; its weights are corrupt, or it overflows in half precision."
            )
        super().put(indices, rows, seconds)


def rows_at_once(shape: tuple[int, ...], type_=np.float32) -> int:
    """Returns how many rows of a shape to process at a time, so that memory does not grow with their number."""
    return max(1, _BYTES // max(1, math.prod(shape) * np.dtype(type_).itemsize))


def write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Writes the header of an `.npy` file whose rows follow."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _is_whole(paths: Sequence[pathlib.Path], count: int, width: int) -> bool:
    """Whether all files of a pass exist and are valid; damaged files count as missing."""
    wanted = [((count, width), np.float32), ((count,), np.uint8), ((1,), np.float64)]
    found = [_load(path) for path in paths]
    return all(each is not None and (each.shape, each.dtype) == want for each, want in zip(found, wanted, strict=True))


def _map_for_writing(path: pathlib.Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r+")
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: pathlib.Path, error: OSError) -> InputError:
    return InputError(
        f"Could not write {path}: {error.strerror or error}. Finished work is kept; free disk space or fix the folder's "
        "permissions and run the same command again."
    )


def _load(path: pathlib.Path) -> np.ndarray | None:
    """Returns an array mapped from a file; `None` if the file is missing or damaged."""
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None


def _save(path: pathlib.Path, array: np.ndarray) -> None:
    with files.replacing(path) as beside, open(beside, "wb") as file:
        write_header(file, array.shape, array.dtype)
        file.write(array.data)  # NumPy's own writing to files hides the system's error


def _write_full(path: pathlib.Path, shape: tuple[int, ...], type_, value) -> None:
    """Writes a constant array of any size in little memory.

    Written in full rather than as a sparse file: a full disk raises an error now, while a mapped hole would crash the process.
    """
    part = np.full((min(shape[0], rows_at_once(shape[1:], type_)), *shape[1:]), value, type_)
    with open(path, "wb") as file:
        write_header(file, shape, part.dtype)
        for start in range(0, shape[0], max(len(part), 1)):
            file.write(part[: shape[0] - start].data)
