"""WebDataset's tar files, read at any index.

A sample is an image and a `.cls` file of the same name up to its first dot: `000017.jpg` and `000017.cls`, which contains the
number or the name of the image's class. Files are located once, by Python's `tarfile`, which reads only headers; their positions
are kept on disk (`kept_index`), and images are read in place. WebDataset's own library reads shards sequentially, in an order
that is not the epoch's.
"""

import collections
import functools
import os
import pathlib
import re
import tarfile
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_vgg.data import kept_index, sets
from keras_vgg.data.class_names import class_name, notes_on
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.split import Split
from keras_vgg.errors import InputError
from keras_vgg.support.image_files import printable
from keras_vgg.support.paths import path_of

_CLASSES = "classes.txt"
_IMAGES = ("jpg", "jpeg", "png", "gif", "webp", "bmp")
_LABEL = "cls"


class TarMembers:
    """Files within tar files at any index.

    Args:
        shards: the tar files.
        places: `(n, 3)` int64: shard, first byte and number of bytes of each file.
    """

    def __init__(self, shards: list[pathlib.Path], places: np.ndarray):
        self._shards, self._places = shards, places

    def read(self, index: int) -> bytes:
        """Returns the file's bytes; safe to call from several threads."""
        shard, start, size = self._places[index].tolist()
        with open(self._shards[shard], "rb", buffering=0) as file:
            file.seek(start)
            data = file.read(size)
        if len(data) != size:
            raise OSError(f"{self._shards[shard]} is truncated within a file.")
        return data


def open_tars(path: str) -> Dataset:
    """Returns the dataset of a tar file, or of those in a folder and its subfolders.

    The name of a tar file or of its folder determines its set (`imagenet-train-0001.tar`, `val/00.tar`), see `sets.NAMES`; if no
    name does, all are for training. Class numbers refer to the lines of `classes.txt` in the folder, if it exists.

    Raises:
        InputError: if there is none, one is compressed, truncated or not a tar file, a sample lacks its image or class, or only
            some names contain a set.
    """
    root = path_of(path)
    shards = sorted(root.rglob("*.tar")) if root.is_dir() else [root]
    if not shards or not shards[0].is_file():
        raise InputError(f"`wds:` must name a tar file or a folder of them. Received: {path}, {_told_of(root)}.")
    set_of_shard = [_set_of(shard, root) for shard in shards]
    if None in set_of_shard and any(set_of_shard):
        raise InputError(
            "Either all or none of the tar file names must contain a set, such as train or val. Received: "
            f"{printable(shards[set_of_shard.index(None)].name)} without a set, among others with one."
        )
    places, names, told = _index(shards)
    folder = root if root.is_dir() else root.parent
    classes, labels = _classes_of(told, folder / _CLASSES)
    members, label_tensor = TarMembers(shards, places), tf.constant(labels, tf.int32)

    def read(index):
        image = tf.ensure_shape(tf.numpy_function(members.read, [index], tf.string, stateful=False), [])
        return image, tf.gather(label_tensor, index)

    every = Split(len(names), read, lambda index: printable(f"{shards[places[index, 0]].name}/{names[index]}"))
    found = {each: np.flatnonzero(np.isin(places[:, 0], _places_of(each, set_of_shard))) for each in sets.NAMES}
    by_set = {each: every.subset(indices) for each, indices in found.items() if indices.size}
    number = f"{len(shards)} tar files" if root.is_dir() else "tar file"
    return Dataset(by_set, classes, f"{number} {printable(root.name)}", tuple(notes_on(classes)))


def _told_of(root: pathlib.Path) -> str:
    return "a folder without tar files" if root.is_dir() else "which does not exist"


def _set_of(shard: pathlib.Path, root: pathlib.Path) -> str | None:
    """Returns the set that a word of a tar file's name, or else of its folders' names, means; `None` if there is none."""
    folders = shard.relative_to(root).parts[-2::-1] if shard != root else ()
    words = [word for part in (shard.stem, *folders) for word in re.split(r"[^a-z]+", part.lower())]
    return next((each for word in words if (each := sets.set_called(word)) is not None), None)


def _places_of(which: str, set_of_shard: list[str | None]) -> list[int]:
    return [place for place, each in enumerate(set_of_shard) if (each or sets.TRAIN) == which]


def _index(shards: list[pathlib.Path]) -> tuple[np.ndarray, list[str], list[str]]:
    """Returns the positions of the images, their names and their class numbers or names."""
    places: list[np.ndarray] = []
    names: list[str] = []
    told: list[str] = []
    for number, index in enumerate(kept_index.index_of(shards, _index_of_shard, "tar 1")):
        places.append(np.insert(index["places"], 0, number, axis=1))
        names += kept_index.texts_in(index["names"])
        told += kept_index.texts_in(index["classes"])
    if not names:
        raise InputError(
            f"Tar files must contain images. Received: none in {printable(shards[0].name)}{' and others' * (len(shards) > 1)}."
        )
    return np.concatenate(places), names, told


def _index_of_shard(shard: str) -> kept_index.Arrays:
    """Returns first byte and size of each image, `(n, 2)` int64, its name and its class."""
    images: dict[str, tuple[int, int, str]] = {}
    labels: dict[str, str] = {}
    for key, extension, member, read in _members(pathlib.Path(shard)):
        if extension == _LABEL:
            labels[key] = class_name(read().decode("utf-8", "replace"))
        elif extension in _IMAGES and images.setdefault(key, (member.offset_data, member.size, member.name))[2] != member.name:
            raise InputError(f"{shard}: a sample must contain one image. Received: {images[key][2]} and {member.name}.")
    for lacks, keys in (
        (f"`.{_LABEL}` with its class", images.keys() - labels.keys()),
        ("image", labels.keys() - images.keys()),
    ):
        if keys:
            raise InputError(
                f"{shard}: each sample must contain an image ({', '.join(_IMAGES)}) and its class (.{_LABEL}). Received: "
                f"{len(keys)} without {lacks}, such as {printable(min(keys))}; write the missing files, or unpack the tar "
                "files into class folders (folder:PATH)."
            )
    positions = np.array([(start, size) for start, size, _ in images.values()], np.int64).reshape(-1, 2)
    named = kept_index.texts(name for _, _, name in images.values())
    return {"places": positions, "names": named, "classes": kept_index.texts(labels[key] for key in images)}


def _members(shard: pathlib.Path) -> Iterator[tuple]:
    """Yields sample, extension, header and a function that reads the content, for each file in a tar file."""
    size = os.path.getsize(shard)
    try:
        with tarfile.open(shard, "r:") as tar:
            end = 0
            for member in tar:
                if not member.isreg() or member.issparse():
                    continue
                if member.offset_data + member.size > size:
                    raise tarfile.ReadError(f"truncated within {member.name}")
                folder, slash, name = member.name.rpartition("/")
                sample, _, extension = name.partition(".")
                yield f"{folder}{slash}{sample}", extension.lower(), member, functools.partial(_content, tar, member)
                tar.members = []  # type: ignore[attr-defined]  # else a million headers would stay in memory
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            if end + tarfile.BLOCKSIZE > size:  # every tar file ends with a block of zeros
                raise tarfile.ReadError("truncated at the end")
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{shard} must be a complete, uncompressed tar file. Received: {error}.") from error


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None  # it is a regular file
    return file.read()


def _classes_of(told: list[str], file: pathlib.Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns class names and labels; raises `InputError` for numbers without a name in the file."""
    counts = collections.Counter(told)
    if "" in counts:
        raise InputError(f"Each .{_LABEL} file must contain the number or the name of a class. Received: {counts['']} empty files.")
    are_numbers = all(name.isascii() and name.isdigit() for name in counts)
    if are_numbers and file.is_file():
        names = tuple(map(class_name, file.read_text(encoding="utf-8-sig").splitlines()))
        labels = np.array(list(map(int, told)))
        if labels.max() >= len(names) or len(set(names)) < len(names):
            raise InputError(
                f"{file} must have a line with a unique name for each class. Received: {len(set(names))} names for numbers up to "
                f"{labels.max()}."
            )
        return names, labels
    classes = tuple(sorted(counts, key=int) if are_numbers else sorted(counts))
    place = {name: label for label, name in enumerate(classes)}
    return classes, np.array([place[name] for name in told])
