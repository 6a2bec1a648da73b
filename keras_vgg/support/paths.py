"""Paths as people write them: `~` stands for a home folder wherever a path begins. A shell expands it only at a word's start."""

import os
import pathlib
import re

from keras_vgg.errors import InputError

_BEFORE = re.compile(r"(?:[^=~]+=)?(?:\w+:)?(?=~)")  # of NAME=PATH, KIND:PATH and NAME=KIND:PATH
_URL = re.compile(r"(?:[^=~/]+=)?(?:\w+:)?(\w[\w+.-]+)://")
_COLLAPSED = re.compile(r"(\w[\w+.-]+):/")  # what `pathlib` makes of one; a letter alone is a drive of Windows


def expanded(text: str) -> str:
    """Returns a path, a data set `KIND:PATH`, or `NAME=` and one of these, with `~` and `~user` as home folders.

    Without such a user it stays as it is: files may be called so.

    Raises:
        InputError: for a path that is none of this machine's, such as `gs://bucket/run`, which would become a folder `gs:` here.
    """
    _refuse(text, _URL.match(text))
    before = found.end() if (found := _BEFORE.match(text)) else 0
    return text[:before] + os.path.expanduser(text[before:])


def path_of(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns a path with `~` and `~user` as home folders; without such a user, where `pathlib` would raise, as it is.

    Raises:
        InputError: as `expanded`.
    """
    text = os.fspath(path)
    _refuse(text, _URL.match(text) or _COLLAPSED.match(text))
    return pathlib.Path(os.path.expanduser(text))


def _refuse(text: str, elsewhere: re.Match | None) -> None:
    if elsewhere and not os.path.exists(f"{elsewhere.group(1)}:"):
        raise InputError(
            f"Paths must be of this machine. Received: {text}; fetch what is there, or mount it as a folder (as gcsfuse, "
            "mount-s3 and rclone do), and give its path here."
        )
