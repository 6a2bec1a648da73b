"""Features of any number of images, buffered on disk and written as one file."""

import contextlib
import tempfile

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.remote.answers import Answer
from keras_vgg.support import files, paths


class FeaturesFile:
    """Buffers features in a temporary file next to the target, so that memory use does not grow with their number.

    Args:
        path: an `.npz` file.
        model: name on the server of the model that computes the features.
        version: its version.
    """

    def __init__(self, path: str, model: str, version: int):
        self._path = paths.path_of(path)
        self._model, self._version = model, version
        self._paths: list[str] = []
        self._images: list[str] = []
        self._net = ""
        with self._told():
            self._rows = tempfile.TemporaryFile(dir=self._path.parent)
        self._width = 0

    def add(self, answer: Answer) -> None:
        """Adds the features of an image, `(D,)` float32, with the digests of the net and the image.

        Raises:
            InputError: if the disk is full.
            ValueError: if there are no features, or D differs from that of earlier images.
        """
        if answer.features is None:
            raise ValueError(f"`answer` must have features. Received: none for {answer.path}.")
        width = len(answer.features)
        if self._paths and width != self._width:
            raise ValueError(f"`features` must have length {self._width}, as before. Received: {width} for {answer.path}.")
        self._paths.append(answer.path)
        self._images.append(answer.image_sha256)
        self._net, self._width = answer.net_sha256, width
        with self._told():
            self._rows.write(answer.features.tobytes())

    def write(self) -> tuple[int, int]:
        """Writes `paths`, `(N,)` strings, and `features`, `(N, D)` float32, in the order they were added; returns N and D.

        The file also contains `model` and `version`, `net_sha256`, the net's digest (empty if the server does not return it), and
        `images_sha256`, `(N,)` strings, SHA-256 of the image files. If there are no features, no file is written.

        Raises:
            InputError: if writing fails.
        """
        shape = (len(self._paths), self._width)
        if self._paths:
            with self._told():
                self._rows.flush()
            with files.replacing(self._path) as beside:
                features = np.memmap(self._rows, np.float32, "r", shape=shape)
                np.savez(
                    beside,
                    paths=np.array(self._paths),
                    features=features,
                    model=np.array(self._model),
                    version=np.array(self._version),
                    images_sha256=np.array(self._images),
                    net_sha256=np.array(self._net),
                )
        self._rows.close()
        return shape

    @contextlib.contextmanager
    def _told(self):
        try:
            yield
        except OSError as error:
            raise InputError(f"Could not write {self._path}: {error.strerror}; free disk space.") from error
