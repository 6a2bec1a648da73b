"""Rows of one pass, kept on the disk as they come, so that killed work goes on where it stopped."""

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
    """Returns the time that all passes kept in a folder took to compute."""
    return sum(float(np.load(path)[0]) for path in folder.glob(f"*.{_SECONDS}.npy"))


class RowCache:
    """A row of floats for each image of a split, from one pass of a net over them.

    Rows are written straight into mapped files: what a killed process had written is there. Rows of images that an earlier pass of
    the kind saw among others, in the same folder, are taken over; as batches were others, they are the same but for float rounding.

    Args:
        folder: where passes are kept.
        depends_on: the net's digest and what is done with it, as JSON can write it: everything that a row depends on but its image
            and the code, whose digest goes with it (`code.digest_of_code`).
        fingerprints: `(count,)` int64, those of the images (`batches.Survey`).
        width: length of a row.
        facts: about the pass, for people; the code's digest is added.

    Attributes:
        key: names the pass.
        facts: as given.
        state: `(count,)` uint8: `PENDING`, `DONE` or `BROKEN`.
    """

    name = "rows"
    """What the rows are called in names of files."""

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
        if known is None or not np.array_equal(known, fingerprints):  # also where an earlier start did not get so far
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
        self.state[self.state == BROKEN] = PENDING  # to be told again, and perhaps another time they can be read

    @classmethod
    def _paths(cls, folder: pathlib.Path, key: str) -> list[pathlib.Path]:
        return [folder / f"{key}.{name}.npy" for name in (cls.name, "state", _SECONDS)]

    def _map(self, paths: Sequence[pathlib.Path]) -> None:
        self._map_rows = functools.partial(_map_for_writing, paths[0])
        self.state, self._seconds = map(_map_for_writing, paths[1:])

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
        """Returns a store that keeps nothing on the disk."""
        store, rows = cls.__new__(cls), np.full((count, width), np.nan, np.float32)
        store.facts = {}
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


class PassStore(RowCache):
    """Posteriors of all images of a split in one pass: a `RowCache` as long as there are classes."""

    name = "posteriors"

    @property
    def posteriors(self) -> np.ndarray:
        """`(count, classes)` float32; NaN for images not done or broken."""
        return self.rows

    def put(self, indices: np.ndarray, rows: np.ndarray, seconds: float) -> None:
        """As for rows of any kind.

        Raises:
            InputError: if the net gave an image something else than posteriors.
        """
        if not np.isfinite(rows).all():
            raise InputError(
                f"Expected a net whose posteriors are finite. Received: {self.facts.get('net', 'one')}, which gives NaN for images "
                "that can be read; its weights are spoilt, or it overflows in half precision."
            )
        super().put(indices, rows, seconds)


def rows_at_once(shape: tuple[int, ...], type_=np.float32) -> int:
    """Returns how many rows of a shape to take in hand at a time, so that memory does not grow with their number."""
    return max(1, _BYTES // max(1, math.prod(shape) * np.dtype(type_).itemsize))


def write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Begins an `.npy` file of an array whose rows are written after it."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _is_whole(paths: Sequence[pathlib.Path], count: int, width: int) -> bool:
    """Whether all files of a pass are there and what they should be; what is damaged is not worth more than what is missing."""
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
        f"Could not write {path}: {error.strerror or error}. What is done is kept; make room or mend the folder's rights and run "
        "the same command again."
    )


def _load(path: pathlib.Path) -> np.ndarray | None:
    """Returns an array mapped from a file, `None` if the file is missing or damaged."""
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None


def _save(path: pathlib.Path, array: np.ndarray) -> None:
    with files.replacing(path) as beside, open(beside, "wb") as file:
        write_header(file, array.shape, array.dtype)
        file.write(array.data)  # NumPy's own writing into files does not say why the system refuses


def _write_full(path: pathlib.Path, shape: tuple[int, ...], type_, value) -> None:
    """Writes an array of one value, whatever its size, in little memory.

    Written and not left as a hole of the file: a disk that is too small is told now, while a mapped hole would end the process.
    """
    part = np.full((min(shape[0], rows_at_once(shape[1:], type_)), *shape[1:]), value, type_)
    with open(path, "wb") as file:
        write_header(file, shape, part.dtype)
        for start in range(0, shape[0], max(len(part), 1)):
            file.write(part[: shape[0] - start].data)
