"""Image files by name. Imports no TensorFlow."""

import glob
import os
import pathlib
from collections.abc import Iterator, Sequence

from keras_vgg.errors import InputError

SIDECARS = frozenset(
    name.lower()
    for name in (
        *("Thumbs.db", "ehthumbs.db", "desktop.ini", "$RECYCLE.BIN", "RECYCLER", "System Volume Information"),  # Windows
        *("__MACOSX", "_DS_Store", "Network Trash Folder", "Temporary Items", "Icon\r"),  # macOS, and archives made there
        *("@eaDir", "#recycle", "#snapshot", "@tmp"),  # Synology
        *("@Recycle", "@Recently-Snapshot", "@__thumb"),  # QNAP
        *("~snapshot", "lost+found"),  # NetApp; ext file systems
    )
)
"""What systems and file servers leave in image folders, in lower case: thumbnails, copies, trash."""


def is_sidecar(name: str) -> bool:
    """Whether a file or folder of this name is not the user's: it is hidden, such as `._1.jpg`, or one of `SIDECARS`."""
    return name.startswith(".") or name.lower() in SIDECARS


def find_images(patterns: Sequence[str]) -> tuple[str, ...]:
    """Returns the image files that paths, globs and folders match, in that order, each once.

    Raises:
        InputError: if a pattern matches no file.
    """
    found = []
    for pattern in patterns:
        pattern = os.path.expanduser(pattern)
        if os.path.isdir(pattern):
            paths = sorted(str(pathlib.PurePath(path)) for path in files_within(pattern) if os.path.isfile(path))
        elif os.path.exists(pattern):
            paths = [pattern]
        else:
            paths = sorted(path for path in _matches(pattern) if os.path.isfile(path))
        if not paths:
            raise InputError(f"Expected image files, globs or folders of images. Received: {pattern!r}, which matches no file.")
        found += paths
    return tuple(dict.fromkeys(found))


def _matches(pattern: str) -> list[str]:
    """Returns what a glob matches, without sidecars that it does not name itself; `glob` skips hidden files."""
    named = pathlib.PurePath(pattern).parts

    def is_meant(path):
        return not any(part.lower() in SIDECARS and part not in named for part in pathlib.PurePath(path).parts)

    return [path for path in glob.glob(pattern, recursive=True) if is_meant(path)]


def files_within(folder: str | os.PathLike[str], above: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yields the files in a folder and its subfolders, following links, in no particular order.

    Skips hidden files and folders, such as the copies in `.ipynb_checkpoints`, what systems and file servers put beside images
    (`is_sidecar`), and links to a parent folder.

    Args:
        folder: where to look.
        above: real paths of the parent folders.

    Raises:
        InputError: for a folder that cannot be read.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise InputError(f"Expected a readable folder. Received: {folder} ({error.strerror}).") from error
    for entry in entries:
        if is_sidecar(entry.name):
            continue
        if entry.is_dir():
            yield from files_within(entry.path, above | {real})
        else:
            yield entry.path


def printable(path: str) -> str:
    """Returns a path or name with bytes that are not UTF-8 escaped as `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
