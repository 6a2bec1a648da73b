"""Image files by name. Imports no TensorFlow."""

import glob
import os
import pathlib
from collections.abc import Sequence

from keras_vgg.errors import InputError


def find_images(patterns: Sequence[str]) -> tuple[str, ...]:
    """Returns the image files that paths, globs and folders name, in that order, each once.

    Raises:
        InputError: if one names nothing.
    """
    found = []
    for pattern in patterns:
        if os.path.isdir(pattern):
            paths = sorted(str(path) for path in pathlib.Path(pattern).rglob("*") if path.is_file() and path.name[0] != ".")
        elif os.path.exists(pattern):
            paths = [pattern]
        else:
            paths = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
        if not paths:
            raise InputError(f"Expected image files, globs or folders with some. Received: {pattern!r}, which names none.")
        found += paths
    return tuple(dict.fromkeys(found))
