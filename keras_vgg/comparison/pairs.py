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
    """Matching images of two folders.

    Attributes:
        split: the first images of all pairs, followed by the second images.
        names: for each pair the path within its folder, without extension.
        alone: `{folder: names}` of images without a partner in the other folder.
    """

    split: Split
    names: tuple[str, ...]
    alone: dict[str, tuple[str, ...]]


def image_paths(folder: str) -> list[str]:
    """Returns the images in a folder and its subfolders, sorted.

    Args:
        folder: a path, or `folder:PATH` as for datasets.

    Raises:
        InputError: if the folder does not exist, or has no images.
    """
    path = paths.path_of(folder.removeprefix("folder:"))
    if not path.is_dir():
        raise InputError(
            f"Expected a folder of images. Received: {path}, which {'is a file' if path.exists() else 'does not exist'}."
        )
    if not (found := sorted(without_annotations([*files_within(path)]))):
        raise InputError(f"Expected a folder of images. Received: {path}, which has none.")
    return found


def pair_up(first: str, second: str) -> Pairs:
    """Pairs the images of two folders by their path within them, ignoring extensions.

    Raises:
        InputError: if two images of a folder differ only in their extensions, or no names match.
    """
    listed = [_by_name(folder, image_paths(folder)) for folder in (first, second)]
    names = sorted(set(listed[0]) & set(listed[1]))
    if not names:
        examples = ", ".join(
            f"{printable(next(iter(each)))} in {folder}" for folder, each in zip((first, second), listed, strict=True)
        )
        raise InputError(f"Expected images with the same names in both folders. Received: none, e.g. {examples}.")
    alone = {folder: tuple(sorted(set(own) - set(names))) for folder, own in zip((first, second), listed, strict=True)}
    chosen = [each[name] for each in listed for name in names]
    return Pairs(files(chosen, np.full(len(chosen), UNKNOWN)), tuple(map(printable, names)), alone)


def _by_name(folder: str, found: list[str]) -> dict[str, str]:
    root = paths.path_of(folder.removeprefix("folder:"))
    names = [pathlib.PurePath(path).relative_to(root).with_suffix("").as_posix() for path in found]
    if twice := [name for name, times in collections.Counter(names).items() if times > 1]:
        raise InputError(
            f"Each image of {root} must have a unique name, ignoring the extension. Received: several named "
            f"{', '.join(map(printable, twice[:_SHOWN]))}."
        )
    return dict(zip(names, found, strict=True))
