"""Features of any number of images, gathered on the disk and written as one file."""

import contextlib
import tempfile

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.remote.answers import Answer
from keras_vgg.support import files, paths


class FeaturesFile:
    """Gathers features beside the file that they will become, so that memory does not grow with their number.

    Args:
        path: an `.npz` file.
        model: name at the server of the model whose features they are.
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
        """Adds the features of an image, `(D,)` float32, and by which net and of which image they are.

        Raises:
            InputError: if the disk is full.
            ValueError: if there are none, or D is another than that of the images before.
        """
        if answer.features is None:
            raise ValueError(f"`answer` must have features. Received: one without, of {answer.path}.")
        width = len(answer.features)
        if self._paths and width != self._width:
            raise ValueError(f"`features` must be as long as those before, {self._width}. Received: {width}, of {answer.path}.")
        self._paths.append(answer.path)
        self._images.append(answer.image_sha256)
        self._net, self._width = answer.net_sha256, width
        with self._told():
            self._rows.write(answer.features.tobytes())

    def write(self) -> tuple[int, int]:
        """Writes `paths`, `(N,)` texts, and `features`, `(N, D)` float32, in the order in which they came; returns N and D.

        `model` and `version`, of which they are, stand beside them, and `net_sha256`, the net's digest (empty if the server does
        not tell it), and `images_sha256`, `(N,)` texts, SHA-256 of the image files. Where there are none, no file is written.

        Raises:
            InputError: if the file system refuses.
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
            raise InputError(f"Could not write {self._path}: {error.strerror}; make room.") from error
