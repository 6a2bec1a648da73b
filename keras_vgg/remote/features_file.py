"""Features of any number of images, gathered on the disk and written as one file."""

import contextlib
import pathlib
import tempfile

import numpy as np

from keras_vgg import files
from keras_vgg.errors import InputError


class FeaturesFile:
    """Gathers features beside the file that they will become, so that memory does not grow with their number.

    Args:
        path: an `.npz` file.
    """

    def __init__(self, path: str):
        self._path = pathlib.Path(path)
        self._paths: list[str] = []
        self._rows = tempfile.TemporaryFile(dir=self._path.parent)
        self._width = 0

    def add(self, path: str, features: np.ndarray) -> None:
        """Adds the features of an image, `(D,)` float32; `InputError` if the disk is full."""
        self._paths.append(path)
        self._width = len(features)
        with self._told():
            self._rows.write(features.tobytes())

    def write(self) -> tuple[int, int]:
        """Writes `paths`, `(N,)` texts, and `features`, `(N, D)` float32, in the order in which they came; returns N and D.

        Where there are none, no file is written.

        Raises:
            InputError: if the file system refuses.
        """
        shape = (len(self._paths), self._width)
        if self._paths:
            with self._told():
                self._rows.flush()
            with files.replacing(self._path) as beside:
                np.savez(beside, paths=np.array(self._paths), features=np.memmap(self._rows, np.float32, "r", shape=shape))
        self._rows.close()
        return shape

    @contextlib.contextmanager
    def _told(self):
        try:
            yield
        except OSError as error:
            raise InputError(f"Could not write {self._path}: {error.strerror}; make room.") from error
