"""Writing files so that a kill at any instant leaves the old one or the new one, whole; reading recipes and JSON."""

import contextlib
import errno
import fcntl
import json
import math
import os
import pathlib
import shutil
import tempfile
import tomllib
import uuid
from collections.abc import Iterator, Sequence
from typing import IO

from keras_vgg.errors import InputError
from keras_vgg.support import leftovers, own_recipes, paths

LOCK = ".lock"
"""The file within a folder by which `lock` locks it."""

_BESIDE = ".writing-"


@contextlib.contextmanager
def replacing(path: str | pathlib.Path, companions: Sequence[str] = ()) -> Iterator[pathlib.Path]:
    """Gives the path of a file to write beside `path`; afterwards it takes the place of `path`, if nothing failed.

    What killed processes were writing in the same folder is removed.

    Args:
        path: the file.
        companions: suffixes of further files without which it is of no use, as `.bin` of an `.xml`; they are written beside under
            its name and replaced with it. At no instant does `path` lie beside a companion that is not its own: who is killed while
            several are replaced leaves companions without it.

    Raises:
        InputError: if the file system refuses, as when the disk is full; what was there is then what it was before.
    """
    path = paths.path_of(path)
    beside = path.with_name(f"{_BESIDE}{leftovers.owner()}.{path.name}")  # Keras looks at the suffix
    pairs = [(beside, path), *((beside.with_suffix(each), path.with_suffix(each)) for each in companions)]
    leftovers.remove_dead(path.parent, _BESIDE)
    try:
        yield beside
        for written, _ in pairs:
            with open(written, "rb") as file:
                os.fsync(file.fileno())
        if companions:
            _replace_together(pairs)
        else:
            os.replace(beside, path)
        _synchronise(path.parent)
    except OSError as error:
        raise InputError(
            f"Could not write {path}: {error.strerror or error}. What was there before is untouched; "
            "make room or mend the folder's rights and run the same command again."
        ) from error
    finally:
        for written, _ in pairs:
            with contextlib.suppress(OSError):  # where there is no such folder there is nothing to remove
                written.unlink(missing_ok=True)


def _replace_together(pairs: Sequence[tuple[pathlib.Path, pathlib.Path]]) -> None:
    """Puts written files in their places: the first of the old ones leaves first, the first of the new ones comes last."""
    kept = []
    try:
        for written, place in pairs:
            if place.exists():
                old = written.with_name(f"{written.name}.old")
                os.replace(place, old)
                kept.append((old, place))
                _synchronise(place.parent)  # in this order after a power failure, too
        for written, place in reversed(pairs):
            os.replace(written, place)
            _synchronise(place.parent)
    except OSError:
        for old, place in reversed(kept):
            os.replace(old, place)
        raise
    for old, _ in kept:
        old.unlink()


@contextlib.contextmanager
def scratch(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a new folder within `folder` for files that are of no use afterwards; what killed processes left there is removed."""
    within = folder / f"{_BESIDE}{leftovers.owner()}.{uuid.uuid4().hex[:12]}"
    leftovers.remove_dead(folder, _BESIDE)
    try:
        within.mkdir()
        yield within
    finally:
        shutil.rmtree(within, ignore_errors=True)


def _synchronise(folder: pathlib.Path) -> None:
    """Puts a folder's names on the disk, so that after a power failure a file has its new content under its name."""
    with contextlib.suppress(OSError):  # not every file system can; the file is whole in either case
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def appearing(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives the path of a folder to fill, made beside `folder`; afterwards it becomes `folder`, if nothing failed.

    Whoever watches sees the folder whole or not at all. What killed processes left beside it is removed.

    Raises:
        FileExistsError: if another process was faster in making `folder`.
        InputError: if the file system refuses.
    """
    # A name of its own for each: where the process namespace is not known, those on a shared disk may all have the same number.
    beside = folder.with_name(f"{_BESIDE}{leftovers.owner()}.{uuid.uuid4().hex[:12]}.{folder.name}")
    leftovers.remove_dead(folder.parent, _BESIDE)
    try:
        beside.mkdir(parents=True)
        yield beside
        try:
            beside.rename(folder)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise _TakenError from error
            raise
    except _TakenError as error:
        raise FileExistsError(f"{folder} is there already") from error
    except OSError as error:
        raise InputError(f"Could not write {folder}: {error.strerror or error}; make room or mend the folder's rights.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


class _TakenError(Exception):
    """A folder's name was taken meanwhile."""


@contextlib.contextmanager
def telling(path: pathlib.Path) -> Iterator[None]:
    """Makes an `InputError` that names `path` of a refusal of the file system, for what is not written by `replacing`."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"Could not write {path}: {error.strerror or error}. What is done is kept; make room, or mend what is in the way or "
            "the folder's rights, and run the same command again."
        ) from error


def make_folder(folder: pathlib.Path) -> None:
    """Makes a folder, and those above it, where they are not there yet; raises as `telling`."""
    with telling(folder):
        folder.mkdir(parents=True, exist_ok=True)


def check_folder(folder: pathlib.Path) -> None:
    """Raises `InputError` if `folder` is none that can be written or made."""
    try:
        nearest = folder.absolute()
        while not nearest.exists() and not nearest.is_symlink():
            nearest = nearest.parent
    except OSError as error:  # such as of a name that is too long
        raise InputError(f"Expected a folder that can be written. Received: {folder} ({error.strerror}).") from error
    if not nearest.is_dir():
        raise InputError(f"Expected a folder that can be written. Received: {folder} ({nearest} is no folder).")
    try:  # by doing it: root may write where the disk says no
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        raise InputError(
            f"Expected a folder that can be written. Received: {folder} ({nearest} cannot be written: {error.strerror or error})."
        ) from error


def check_file(path: pathlib.Path) -> None:
    """Raises `InputError` if `path` is no file that can be written or made, in a folder that is there."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(f"Expected a file in a folder that is there. Received: {path}.")
    check_folder(path.parent)


def free_bytes(path: pathlib.Path) -> int:
    """Free space on the disk that holds `path`, which need not be there yet."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def lock(folder: pathlib.Path, in_use: str) -> IO[str]:
    """Locks a folder to this process; returns what holds the lock, until it is closed or the process ends, however it does.

    Args:
        folder: the folder, which is there.
        in_use: what to tell where another process has it locked.

    Raises:
        InputError: if another process has it locked.
        OSError: if its lock file cannot be written.
    """
    held = open(folder / LOCK, "w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(in_use) from error
    except OSError:
        print(f"the file system of {folder} has no locks: see to it that no other process uses the folder")
    return held


def remove_leftovers(folder: pathlib.Path, *, claimed: bool = False) -> None:
    """Removes what killed processes were writing in `folder`; of a `claimed` one, where nobody else may be writing, all."""
    leftovers.remove_dead(folder, _BESIDE, **({"seconds": -math.inf} if claimed else {}))


def copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a file, replacing `target` whole."""
    with replacing(target) as beside:
        shutil.copyfile(source, beside)


def write_text(path: str | pathlib.Path, text: str) -> None:
    """Writes `text` as UTF-8, replacing the file whole."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def read_json(path: pathlib.Path, kind: type[list] | type[dict]):
    """Returns what a JSON file holds: a dict, or a list of dicts.

    Raises:
        ValueError: if the file cannot be read, is damaged, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not isinstance(found, kind) or (kind is list and not all(isinstance(each, dict) for each in found)):
        raise ValueError(f"it holds no {'table' if kind is list else 'facts'}")
    return found


def read_recipe_file(path: str | os.PathLike[str]) -> dict:
    """Returns the contents of a recipe, a TOML file, or one of our own by its name, such as `quickstart`.

    Raises:
        InputError: for a file that is missing or not TOML.
    """
    path = own_recipes.find(paths.path_of(path))
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # a byte-order mark is an editor's, and no TOML
    except OSError as error:
        raise InputError(f"A recipe must be a readable TOML file. Received: {path} ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"Recipe {path} is not TOML: {error}.") from error
