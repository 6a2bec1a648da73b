"""Which folders of a dataset are sets, and which are classes.

A folder of sets contains `train/` and the like (`sets.NAMES`), each with one folder per class; any other folder contains the
class folders themselves. A class may have the name of a set, like the trains among aeroplanes, buses and cars.
"""

import dataclasses
import os
import pathlib

from keras_vgg.data import sets
from keras_vgg.data.annotation_files import is_annotation_folder
from keras_vgg.errors import InputError
from keras_vgg.support.image_files import is_sidecar, printable

_CLASSES_BESIDE = 4
"""A folder of images with the name of a set is a class beside at least so many others; beside fewer it is ambiguous."""


@dataclasses.dataclass(frozen=True)
class SetFolders:
    """The folders of class folders by set; `notes` are readable lines on how they were recognized.

    A dataset's folder without sets is itself the training set.
    """

    folders: dict[str, pathlib.Path]
    notes: tuple[str, ...] = ()


def folders_in(root: pathlib.Path) -> list[str]:
    """Returns the names of the folders in `root`, sorted, without sidecars and those of annotations.

    Raises:
        InputError: if the folder cannot be read.
    """
    try:
        found = [entry for entry in os.scandir(root) if entry.is_dir() and not is_sidecar(entry.name)]
        return sorted(entry.name for entry in found if not is_annotation_folder(entry.path))
    except OSError as error:
        raise InputError(f"Expected a readable folder. Received: {root} ({error.strerror}).") from error


def find_sets(root: pathlib.Path) -> SetFolders:
    """Finds the sets in `root`.

    Raises:
        InputError: if folders may be either sets or classes.
    """
    folders = folders_in(root)
    named = [name for name in folders if sets.set_called(name)]
    others = [name for name in folders if name not in named]
    if not named:
        return SetFolders({sets.TRAIN: root})
    if len(named) == 1 and len(others) >= _CLASSES_BESIDE and not folders_in(root / named[0]):
        note = f"Note: {printable(named[0])} in {root} is treated as a class, since it contains no folders and lies beside classes."
        return SetFolders({sets.TRAIN: root}, (note,))
    found = sets.by_set(named)
    if others and (sets.TRAIN not in found or len(found) == 1):
        raise InputError(
            f"{root} must contain one folder per class, or sets, such as train, val and test, each with one folder per class. "
            f"Received: {_told(named)}, named like sets, beside {_told(others)}; rename or move folders that are not sets."
        )
    unused = [name for name in folders if name not in found.values()]
    notes = [f"Note: skipped in {root}: {_told(unused)}; used: {_told(found.values())}."] if unused else []
    return SetFolders({each: _innermost(root / name) for each, name in found.items()}, tuple(notes))


def _innermost(folder: pathlib.Path) -> pathlib.Path:
    """Returns the folder of class folders of a set: archives often nest it as `seg_train/seg_train`."""
    inside = folders_in(folder)
    if len(inside) == 1 and sets.set_called(inside[0]) == sets.set_called(folder.name) and folders_in(folder / inside[0]):
        return _innermost(folder / inside[0])
    return folder


def _told(names) -> str:
    names = list(map(printable, names))
    return ", ".join(f"{name}/" for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
