"""Which folders of a data set are its sets, and which are classes.

A folder of sets has `train/` and its like (`sets.NAMES`), each of which holds one folder a class; another folder holds the folders
of the classes themselves. A class may be called as a set is, as the trains among the aeroplanes, buses and cars are.
"""

import dataclasses
import os
import pathlib

from keras_vgg.data import sets
from keras_vgg.data.annotation_files import is_annotation_folder
from keras_vgg.errors import InputError
from keras_vgg.support.image_files import is_sidecar, printable

_CLASSES_BESIDE = 4
"""A folder of images that is called as a set is, is a class beside so many others that are not; beside fewer, who knows."""


@dataclasses.dataclass(frozen=True)
class SetFolders:
    """The folders of class folders by set; `notes` are lines for people on how they were told.

    A data set's folder without sets is itself the one to train on.
    """

    folders: dict[str, pathlib.Path]
    notes: tuple[str, ...] = ()


def folders_in(root: pathlib.Path) -> list[str]:
    """Returns the names of the folders in `root`, sorted, without sidecars and those of annotations.

    Raises:
        InputError: for a folder that cannot be read.
    """
    try:
        found = [entry for entry in os.scandir(root) if entry.is_dir() and not is_sidecar(entry.name)]
        return sorted(entry.name for entry in found if not is_annotation_folder(entry.path))
    except OSError as error:
        raise InputError(f"Expected a folder that can be read. Received: {root} ({error.strerror}).") from error


def find_sets(root: pathlib.Path) -> SetFolders:
    """Tells the sets in `root`.

    Raises:
        InputError: for folders of which nobody can tell whether they are sets or classes.
    """
    folders = folders_in(root)
    named = [name for name in folders if sets.set_called(name)]
    others = [name for name in folders if name not in named]
    if not named:
        return SetFolders({sets.TRAIN: root})
    if len(named) == 1 and len(others) >= _CLASSES_BESIDE and not folders_in(root / named[0]):
        note = f"Note: {printable(named[0])} in {root} is taken for a class, since it holds no folders and lies beside classes."
        return SetFolders({sets.TRAIN: root}, (note,))
    found = sets.by_set(named)
    if others and (sets.TRAIN not in found or len(found) == 1):
        raise InputError(
            f"{root} must hold one folder per class, or sets, such as train, val and test, each with one folder per class. "
            f"Received: {_told(named)}, called as sets are, beside {_told(others)}; rename what is no set, or move it."
        )
    unused = [name for name in folders if name not in found.values()]
    notes = [f"Note: left out of {root}: {_told(unused)}; used: {_told(found.values())}."] if unused else []
    return SetFolders({each: _innermost(root / name) for each, name in found.items()}, tuple(notes))


def _innermost(folder: pathlib.Path) -> pathlib.Path:
    """Returns the folder of class folders of a set: archives often have it as `seg_train/seg_train`."""
    inside = folders_in(folder)
    if len(inside) == 1 and sets.set_called(inside[0]) == sets.set_called(folder.name) and folders_in(folder / inside[0]):
        return _innermost(folder / inside[0])
    return folder


def _told(names) -> str:
    names = list(map(printable, names))
    return ", ".join(f"{name}/" for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
