"""Image files by name. Imports no TensorFlow."""

import glob
import os
import pathlib
from collections.abc import Iterator, Sequence

from keras_vgg.errors import InputError

_OF_SYSTEMS = ("thumbs.db", "desktop.ini")  # what Windows leaves in folders of images


def find_images(patterns: Sequence[str]) -> tuple[str, ...]:
    """Returns the image files that paths, globs and folders name, in that order, each once.

    Raises:
        InputError: if one names nothing.
    """
    found = []
    for pattern in patterns:
        pattern = os.path.expanduser(pattern)
        if os.path.isdir(pattern):
            paths = sorted(str(pathlib.PurePath(path)) for path in files_within(pattern) if os.path.isfile(path))
        elif os.path.exists(pattern):
            paths = [pattern]
        else:
            paths = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
        if not paths:
            raise InputError(f"Expected image files, globs or folders with some. Received: {pattern!r}, which names none.")
        found += paths
    return tuple(dict.fromkeys(found))


def files_within(folder: str | os.PathLike, above: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yields the files in a folder and those within it, linked ones too, in no order.

    Files and folders that are hidden are left out, such as the copies in `.ipynb_checkpoints`, and what Windows puts beside
    images; so is a link back to a folder that it lies in.

    Args:
        folder: where to look.
        above: real paths of the folders that this one lies in.

    Raises:
        InputError: for a folder that cannot be read.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise InputError(f"Expected a folder that can be read. Received: {folder} ({error.strerror}).") from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in _OF_SYSTEMS:
            continue
        if entry.is_dir():
            yield from files_within(entry.path, above | {real})
        else:
            yield entry.path


def printable(path: str) -> str:
    """Returns a path or name with what is not UTF-8 of it as `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
