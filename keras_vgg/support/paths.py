"""Paths as users write them: `~` is expanded wherever a path begins. A shell expands it only at the start of a word."""

import os
import pathlib
import re

from keras_vgg.errors import InputError

_BEFORE = re.compile(r"(?:[^=~]+=)?(?:\w+:)?(?=~)")  # of NAME=PATH, KIND:PATH and NAME=KIND:PATH
_URL = re.compile(r"(?:[^=~/]+=)?(?:\w+:)?(\w[\w+.-]+)://")
_COLLAPSED = re.compile(r"(\w[\w+.-]+):/")  # what `pathlib` makes of a URL; a single letter is a Windows drive


def expanded(text: str) -> str:
    """Returns a path, a dataset `KIND:PATH`, or `NAME=` and one of these, with `~` and `~user` expanded.

    If there is no such user the text is returned unchanged: it may be the name of a file.

    Raises:
        InputError: for a path that is not local, such as `gs://bucket/run`, which would become a folder `gs:` here.
    """
    _refuse(text, _URL.match(text))
    before = found.end() if (found := _BEFORE.match(text)) else 0
    return text[:before] + os.path.expanduser(text[before:])


def path_of(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns a path with `~` and `~user` expanded; unchanged if there is no such user, where `pathlib` would raise.

    Raises:
        InputError: as `expanded`.
    """
    text = os.fspath(path)
    _refuse(text, _URL.match(text) or _COLLAPSED.match(text))
    return pathlib.Path(os.path.expanduser(text))


def _refuse(text: str, elsewhere: re.Match | None) -> None:
    if elsewhere and not os.path.exists(f"{elsewhere.group(1)}:"):
        raise InputError(
            f"Paths must be local. Received: {text}; download it, or mount it as a folder (with gcsfuse, mount-s3 or rclone), "
            "and pass the local path."
        )
