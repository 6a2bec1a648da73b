"""Indexes of large files, kept on disk: what each start of each worker would otherwise read anew.

An index is kept beside the files, or in the user's cache folder (`$XDG_CACHE_HOME/keras_vgg`, by default `~/.cache/keras_vgg`) if
their folder cannot be written. It belongs to the name, size and modification time of each file: of the same files, only those that
changed are indexed again. A digest covers its content, so that a damaged index is built anew.
"""

import concurrent.futures
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.support import files

Arrays = dict[str, np.ndarray]

_PREFIX = ".keras_vgg-"
_THREADS = 16  # headers are small reads, whose time on a disk or a network is waiting
_SHARDS = "shards"


def index_of(shards: Sequence[str | os.PathLike[str]], build: Callable[[str], Arrays], kind: str) -> list[Arrays]:
    """Returns the index of each file, from disk if it is kept there.

    Args:
        shards: the files, local.
        build: returns the index of a file, as arrays of numbers. Called by several threads at once, for several files.
        kind: name and version of what `build` returns, part of the kept file's name.

    Raises:
        OSError: if a file does not exist.
        InputError: as `build`.
    """
    paths = [os.path.abspath(shard) for shard in shards]
    if not paths:
        return []
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    # Before the files are read: one that changes meanwhile does not have this time the next time.
    identities = [_identity(path, folder) for path in paths]
    places = _places(folder, [name for name, *_ in identities], kind)
    kept = _kept(places, identities)
    found = [kept.get(identity) for identity in identities]
    missing = [place for place, arrays in enumerate(found) if arrays is None]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        for place, arrays in zip(missing, pool.map(build, [paths[place] for place in missing]), strict=True):
            found[place] = arrays
    whole = [arrays for arrays in found if arrays is not None]
    if missing:
        _keep(places, identities, whole)
    return whole


def texts(values: Iterable[str]) -> np.ndarray:
    """Returns texts as an array of bytes, for an index."""
    return np.frombuffer(json.dumps(list(values)).encode(), np.uint8)  # in ASCII, also of names that are not UTF-8


def texts_in(array: np.ndarray) -> list[str]:
    """The inverse of `texts`."""
    return json.loads(array.tobytes())


def _identity(path: str, folder: str) -> tuple[str, int, int]:
    found = os.stat(path)
    return os.path.relpath(path, folder), found.st_size, found.st_mtime_ns


def _places(folder: str, names: Sequence[str], kind: str) -> list[pathlib.Path]:
    """Returns where an index may be kept, the best place first."""

    def name_for(*whose: str) -> str:
        digest = hashlib.sha256(json.dumps([kind, *whose, *names]).encode()).hexdigest()[:12]
        return f"{_PREFIX}{digest}.index"

    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "keras_vgg")
    return [pathlib.Path(folder, name_for()), *([cache / name_for(folder)] if cache.is_absolute() else [])]  # "~" without a home


def _kept(places: Iterable[pathlib.Path], wanted: Iterable[tuple]) -> dict[tuple, Arrays]:
    """Returns the index of each identity that is kept: one that is out of date may stay where it cannot be replaced."""
    found: dict[tuple, Arrays] = {}
    for place in places:
        try:
            content = place.read_bytes()
        except OSError:  # there is none
            continue
        digest, whole = content[: hashlib.sha256().digest_size], content[hashlib.sha256().digest_size :]
        if hashlib.sha256(whole).digest() == digest:  # not damaged
            found |= _unpacked(whole)
        if found.keys() >= set(wanted):
            break
    return found


def _packed(identities: Sequence[tuple], indexes: Sequence[Arrays]) -> bytes:
    buffer = io.BytesIO()
    arrays = {f"{place}/{name}": array for place, each in enumerate(indexes) for name, array in each.items()}
    np.savez(buffer, **{_SHARDS: texts(map(json.dumps, identities))}, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _unpacked(whole: bytes) -> dict[tuple, Arrays]:
    with np.load(io.BytesIO(whole), allow_pickle=False) as stored:
        identities = [tuple(json.loads(text)) for text in texts_in(stored[_SHARDS])]
        found: dict[tuple, Arrays] = {identity: {} for identity in identities}
        for key in stored.files:
            place, _, name = key.partition("/")
            if name:
                found[identities[int(place)]][name] = stored[key]
    return found


def _keep(places: Iterable[pathlib.Path], identities: Sequence[tuple], indexes: Sequence[Arrays]) -> None:
    """Writes an index to the first place that can be written; without one, it is built again the next time."""
    whole = _packed(identities, indexes)
    for place in places:
        try:
            files.make_folder(place.parent)
            with files.replacing(place) as beside:
                beside.write_bytes(hashlib.sha256(whole).digest() + whole)
            return
        except InputError:
            continue
