"""Paths as people write them: `~` stands for a home folder wherever a path begins. A shell expands it only at a word's start."""

import os
import pathlib
import re

_BEFORE = re.compile(r"(?:[^=~]+=)?(?:(?:folder|csv|voc):)?(?=~)")  # of NAME=PATH, KIND:PATH and NAME=KIND:PATH


def expanded(text: str) -> str:
    """Returns a path, a data set `KIND:PATH`, or `NAME=` and one of these, with `~` and `~user` as home folders.

    Without such a user it stays as it is: files may be called so.
    """
    before = found.end() if (found := _BEFORE.match(text)) else 0
    return text[:before] + os.path.expanduser(text[before:])


def path_of(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns a path with `~` and `~user` as home folders; without such a user, where `pathlib` would raise, as it is."""
    return pathlib.Path(os.path.expanduser(path))
