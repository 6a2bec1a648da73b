"""The images of two folders, paired by name."""

import collections
import dataclasses
import pathlib

import numpy as np

from keras_vgg.data.annotation_files import without_annotations
from keras_vgg.data.split import UNKNOWN, Split, files
from keras_vgg.errors import InputError
from keras_vgg.support import paths
from keras_vgg.support.image_files import files_within, printable

_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Images of two folders that belong together.

    Attributes:
        split: the first images of all pairs and then the second ones.
        names: of each pair: the path in its folder, without the ending.
        alone: `{folder: names}` of what has no partner in the other folder.
    """

    split: Split
    names: tuple[str, ...]
    alone: dict[str, tuple[str, ...]]


def image_paths(folder: str) -> list[str]:
    """Returns the images in a folder and those within it, sorted.

    Args:
        folder: a path, or `folder:PATH` as data sets are told.

    Raises:
        InputError: if there is no such folder, or none with images.
    """
    path = paths.path_of(folder.removeprefix("folder:"))
    if not path.is_dir():
        raise InputError(f"Expected a folder of images. Received: {path}, which is {'a file' if path.exists() else 'not there'}.")
    if not (found := sorted(without_annotations([*files_within(path)]))):
        raise InputError(f"Expected a folder of images. Received: {path}, without any.")
    return found


def pair_up(first: str, second: str) -> Pairs:
    """Pairs the images of two folders that have the same path in them, whatever the endings.

    Raises:
        InputError: if two images of a folder differ in their endings alone, or none have the same name.
    """
    listed = [_by_name(folder, image_paths(folder)) for folder in (first, second)]
    names = sorted(set(listed[0]) & set(listed[1]))
    if not names:
        examples = ", ".join(
            f"{printable(next(iter(each)))} in {folder}" for folder, each in zip((first, second), listed, strict=True)
        )
        raise InputError(f"Expected images of the same names in both folders. Received: none, but {examples}.")
    alone = {folder: tuple(sorted(set(own) - set(names))) for folder, own in zip((first, second), listed, strict=True)}
    chosen = [each[name] for each in listed for name in names]
    return Pairs(files(chosen, np.full(len(chosen), UNKNOWN)), tuple(map(printable, names)), alone)


def _by_name(folder: str, found: list[str]) -> dict[str, str]:
    root = paths.path_of(folder.removeprefix("folder:"))
    names = [pathlib.PurePath(path).relative_to(root).with_suffix("").as_posix() for path in found]
    if twice := [name for name, times in collections.Counter(names).items() if times > 1]:
        raise InputError(
            f"Each image of {root} must have a name of its own, whatever its ending. Received: several called "
            f"{', '.join(map(printable, twice[:_SHOWN]))}."
        )
    return dict(zip(names, found, strict=True))
