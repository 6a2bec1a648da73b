"""Posteriors of one pass, kept on the disk as they come, so that a killed evaluation goes on where it stopped."""

import json
import pathlib

import numpy as np

from keras_vgg import files

PENDING, DONE, BROKEN = 0, 1, 2


class PassStore:
    """Posteriors of all images of a split in one pass.

    Rows are written straight into mapped files: what a killed process had written is there.

    Args:
        folder: where passes are kept.
        key: names the pass and everything its posteriors depend on.
        count: number of images.
        classes: number of classes.
        facts: about the pass, for people.

    Attributes:
        posteriors: `(count, classes)` float32; NaN for images not done or broken.
        state: `(count,)` uint8: `PENDING`, `DONE` or `BROKEN`.
    """

    def __init__(self, folder: pathlib.Path, key: str, count: int, classes: int, facts: dict):
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{key}.{name}.npy" for name in ("posteriors", "state", "seconds")]
        shapes, types, start = [(count, classes), (count,), (1,)], (np.float32, np.uint8, np.float64), (np.nan, PENDING, 0)
        for path, shape, type_, value in zip(paths, shapes, types, start, strict=True):
            if not path.exists():
                with files.replacing(path) as beside:
                    np.save(beside, np.full(shape, value, type_))
        files.write_text(folder / f"{key}.json", json.dumps(facts, indent=2) + "\n")
        self.posteriors, self.state, self._seconds = (np.load(path, mmap_mode="r+") for path in paths)
        self.state[self.state == BROKEN] = PENDING  # to be told again, and perhaps another time they can be read

    @classmethod
    def in_memory(cls, count: int, classes: int) -> "PassStore":
        """Returns a store that keeps nothing on the disk."""
        store = cls.__new__(cls)
        store.posteriors, store.state = np.full((count, classes), np.nan, np.float32), np.full(count, PENDING, np.uint8)
        store._seconds = np.zeros(1)
        return store

    @property
    def pending(self) -> np.ndarray:
        """`(count,)` bool: images without a result."""
        return self.state == PENDING

    @property
    def seconds(self) -> float:
        """Time that the results took to compute, over all processes that worked on them."""
        return float(self._seconds[0])

    def put(self, indices: np.ndarray, posteriors: np.ndarray, seconds: float) -> None:
        """Enters the posteriors of some images."""
        self.posteriors[indices] = posteriors
        self.state[indices] = DONE  # only now, so that a kill in between leaves them pending
        self._seconds[0] += seconds

    def put_broken(self, indices: np.ndarray) -> None:
        """Enters images that cannot be read."""
        self.state[indices] = BROKEN
