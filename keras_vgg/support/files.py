"""Atomic writing of files and folders, so that a kill leaves the old or the new one intact; reading of recipes and JSON."""

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
"""The file by which `lock` locks a folder."""

_BESIDE = ".writing-"


@contextlib.contextmanager
def replacing(path: str | pathlib.Path, companions: Sequence[str] = ()) -> Iterator[pathlib.Path]:
    """Yields the path of a temporary file beside `path`, which replaces `path` on success.

    Removes leftovers of killed processes in the same folder.

    Args:
        path: the file.
        companions: suffixes of further files that belong to it, such as `.bin` of an `.xml`; they are written beside the
            temporary file and replaced with it. `path` never lies beside a companion of another version: a process that is killed
            while replacing several files leaves companions without `path`.

    Raises:
        InputError: if the file system refuses, for example because the disk is full; existing files are then unchanged.
    """
    path = paths.path_of(path)
    beside = path.with_name(f"{_BESIDE}{leftovers.owner()}.{path.name}")  # Keras looks at the suffix
    pairs = [(beside, path), *((beside.with_suffix(each), path.with_suffix(each)) for each in companions)]
    leftovers.remove_dead(path.parent, _BESIDE)
    try:
        yield beside
        for written, _ in pairs:
            _synchronise(written)
        if companions:
            _replace_together(pairs)
        else:
            os.replace(beside, path)
        _synchronise(path.parent)
    except OSError as error:
        raise InputError(
            f"Could not write {path}: {error.strerror or error}. Any earlier file is unchanged; "
            "free disk space or fix the folder's permissions and run the same command again."
        ) from error
    finally:
        for written, _ in pairs:
            with contextlib.suppress(OSError):  # the folder may not exist
                written.unlink(missing_ok=True)


def _replace_together(pairs: Sequence[tuple[pathlib.Path, pathlib.Path]]) -> None:
    """Moves written files into place: the first of the old files is removed first, the first of the new files comes last."""
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
    """Yields a new temporary folder within `folder`; removes leftovers of killed processes there."""
    within = folder / f"{_BESIDE}{leftovers.owner()}.{uuid.uuid4().hex[:12]}"
    leftovers.remove_dead(folder, _BESIDE)
    try:
        within.mkdir()
        yield within
    finally:
        shutil.rmtree(within, ignore_errors=True)


def _synchronise(path: pathlib.Path) -> None:
    """Flushes a file, or the entries of a folder, to disk.

    After a power failure a file then has its new content, under its new name.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        if not path.is_dir():  # of folders it is not supported by every file system; the file is intact in either case
            raise


@contextlib.contextmanager
def appearing(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the path of a temporary folder beside `folder`, which becomes `folder` on success.

    Other processes see the complete folder or none. Removes leftovers of killed processes beside it.

    Raises:
        FileExistsError: if another process created `folder` first.
        InputError: if the file system refuses.
    """
    # A unique name: where the process namespace is unknown, processes on a shared disk may have the same number.
    beside = folder.with_name(f"{_BESIDE}{leftovers.owner()}.{uuid.uuid4().hex[:12]}.{folder.name}")
    leftovers.remove_dead(folder.parent, _BESIDE)
    try:
        beside.mkdir(parents=True)
        yield beside
        for within, _, names in os.walk(beside, topdown=False):
            for name in names:
                _synchronise(pathlib.Path(within, name))
            _synchronise(pathlib.Path(within))
        try:
            beside.rename(folder)
            _synchronise(folder.parent)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise _TakenError from error
            raise
    except _TakenError as error:
        raise FileExistsError(f"{folder} already exists") from error
    except OSError as error:
        raise InputError(
            f"Could not write {folder}: {error.strerror or error}. Free disk space or fix the folder's permissions."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


class _TakenError(Exception):
    """Another process has taken the folder's name."""


@contextlib.contextmanager
def telling(path: pathlib.Path) -> Iterator[None]:
    """Converts an `OSError` to an `InputError` that names `path`, for files that `replacing` does not write."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"Could not write {path}: {error.strerror or error}. Finished work is kept; free disk space or fix the folder's "
            "permissions, or remove what is in the way, and run the same command again."
        ) from error


def make_folder(folder: pathlib.Path) -> None:
    """Creates a folder and its parents if they do not exist; raises as `telling`."""
    with telling(folder):
        folder.mkdir(parents=True, exist_ok=True)


def check_folder(folder: pathlib.Path) -> None:
    """Raises `InputError` if `folder` cannot be written or created."""
    try:
        nearest = folder.absolute()
        while not nearest.exists() and not nearest.is_symlink():
            nearest = nearest.parent
    except OSError as error:  # for example, a name that is too long
        raise InputError(f"Expected a writable folder. Received: {folder} ({error.strerror}).") from error
    if not nearest.is_dir():
        raise InputError(f"Expected a writable folder. Received: {folder} ({nearest} is not a folder).")
    try:  # by writing: permissions do not tell, for example for root on a read-only disk
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        raise InputError(
            f"Expected a writable folder. Received: {folder} ({nearest} is not writable: {error.strerror or error})."
        ) from error


def check_file(path: pathlib.Path) -> None:
    """Raises `InputError` unless `path` is a file that can be written or created in an existing folder."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(f"Expected a file in an existing folder. Received: {path}.")
    check_folder(path.parent)


def stamp(path: pathlib.Path) -> tuple[int, ...]:
    """Returns numbers that differ once a file has been replaced or written to."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def is_another(path: pathlib.Path, before: tuple[int, ...]) -> bool:
    """Whether a file is no longer the one with the stamp `before`: replaced, written to or removed."""
    try:
        return stamp(path) != before
    except OSError:
        return True


def free_bytes(path: pathlib.Path) -> int:
    """Returns the free space on the disk of `path`, which need not exist yet."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def lock(folder: pathlib.Path, in_use: str) -> IO[str]:
    """Locks a folder for this process; returns the lock file, which holds the lock until it is closed or the process ends.

    Args:
        folder: an existing folder.
        in_use: error message if another process holds the lock.

    Raises:
        InputError: if another process holds the lock.
        OSError: if its lock file cannot be written.
    """
    held = open(folder / LOCK, "w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(in_use) from error
    except OSError:
        print(f"the file system of {folder} does not support locks; make sure that no other process uses the folder")
    return held


def remove_leftovers(folder: pathlib.Path, *, claimed: bool = False) -> None:
    """Removes leftovers of killed processes in `folder`; all leftovers if it is `claimed`, so that nobody else writes there."""
    leftovers.remove_dead(folder, _BESIDE, **({"seconds": -math.inf} if claimed else {}))


def copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a file, replacing `target` atomically."""
    with replacing(target) as beside:
        shutil.copyfile(source, beside)


def write_text(path: str | pathlib.Path, text: str) -> None:
    """Writes `text` as UTF-8, replacing the file atomically."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def read_json(path: pathlib.Path, kind: type[list] | type[dict]):
    """Returns the content of a JSON file: a dict, or a list of dicts.

    Raises:
        ValueError: if the file cannot be read, is damaged, or contains something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not isinstance(found, kind) or (kind is list and not all(isinstance(each, dict) for each in found)):
        raise ValueError(f"not a JSON {'list of objects' if kind is list else 'object'}")
    return found


def read_recipe_file(path: str | os.PathLike[str]) -> dict:
    """Returns the content of a recipe: a TOML file, or the name of one that comes with the package, such as `quickstart`.

    Raises:
        InputError: if the file is missing or not TOML.
    """
    path = own_recipes.find(paths.path_of(path))
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors may write a byte-order mark, which is not TOML
    except OSError as error:
        raise InputError(f"A recipe must be a readable TOML file. Received: {path} ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"Recipe {path} is not TOML: {error}.") from error
