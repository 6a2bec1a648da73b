"""Datasets of image files in class folders.

A listing contains only names; no file is opened before it is needed, so that 1.28 million images start in seconds.
"""

import dataclasses
import pathlib

import numpy as np

from keras_vgg.data import sets
from keras_vgg.data.annotation_files import without_annotations
from keras_vgg.data.class_names import class_name, notes_on
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.set_folders import find_sets, folders_in
from keras_vgg.data.split import UNKNOWN, files
from keras_vgg.errors import InputError
from keras_vgg.support.image_files import files_within, printable
from keras_vgg.support.paths import path_of


@dataclasses.dataclass(frozen=True)
class Images:
    """The images of a folder.

    Attributes:
        sets: paths and labels of each set; labels are `UNKNOWN` in a set without class folders.
        folders: the folder of each set.
        classes: names in label order; empty if no set has class folders.
        description, notes: see `Dataset`.
    """

    sets: dict[str, tuple[list[str], np.ndarray]]
    folders: dict[str, pathlib.Path]
    classes: tuple[str, ...]
    description: str
    notes: tuple[str, ...]


def open_folder(path: str) -> Dataset:
    """Returns the dataset of a folder of class folders, or of one with such sets: `train/`, `val/`, `test/`.

    Names of sets are in `sets.NAMES`, and `set_folders` distinguishes them from classes; the classes are those of the first set
    in that order. Every file in a class folder counts as an image, whatever its extension, see `files_within`, except annotations
    (`annotation_files`). Classes are named after their folders, see `class_name`.

    Raises:
        InputError: if a folder is missing or empty, two folders mean one class, or a set has a class that the first set lacks.
    """
    found = list_folder(path)
    return Dataset({each: files(*images) for each, images in found.sets.items()}, found.classes, found.description, found.notes)


def list_folder(path: str, *, unsorted: bool = False) -> Images:
    """Lists what `open_folder` opens.

    Args:
        path: the folder.
        unsorted: whether a set may have no class folders, like ILSVRC's validation set.

    Raises:
        InputError: as `open_folder`.
    """
    root = path_of(path)
    if not root.is_dir():
        raise InputError(f"`folder:` must name a folder of class folders. Received: {path}, which is not a folder.")
    found = find_sets(root)
    names = [name for name in sets.NAMES if name in found.folders]
    flat = [name for name in names if unsorted and not folders_in(found.folders[name])]
    images = {name: _list_unsorted(found.folders[name]) for name in flat}
    sorted_sets = [name for name in names if name not in flat]
    first = found.folders[sorted_sets[0]] if sorted_sets else root
    folders = _class_folders(first) if sorted_sets else {}
    classes = tuple(folders)
    notes = [*found.notes, *notes_on(classes)]
    for name in sorted_sets:
        if found.folders[name] == first:
            images[name] = _list_images(first, folders, classes)
            continue
        try:
            images[name] = _list_other(found.folders[name], first, classes)
        except InputError as error:
            if name != sets.TEST:
                raise
            notes.append(f"Note: no test images: {error}")  # test sets without labels are common, and not always needed
    in_order = {name: images[name] for name in names if name in images}
    return Images(in_order, found.folders, classes, f"folder {printable(root.name)}", tuple(notes))


def _list_unsorted(folder: pathlib.Path) -> tuple[list[str], np.ndarray]:
    paths = without_annotations(sorted(files_within(folder)))
    if not paths:
        raise InputError(f"{folder} must contain images, or one folder per class. Received: an empty folder.")
    return paths, np.full(len(paths), UNKNOWN, np.int32)


def _class_folders(root: pathlib.Path) -> dict[str, str]:
    """Returns `{class: name of its folder}` in the order of the classes."""
    found: dict[str, str] = {}
    for folder in folders_in(root):
        name = class_name(printable(folder))
        if not name or name in found:
            told = f"{found[name]!r} and {folder!r}, which mean the same class" if name else f"{folder!r}, a blank name"
            raise InputError(f"{root} must contain one folder per class, each with a unique name. Received: {told}.")
        found[name] = folder
    if not found:
        raise InputError(f"{root} must contain one folder per class. Received: no folders.")
    return dict(sorted(found.items()))


def _list_other(root: pathlib.Path, first: pathlib.Path, classes: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    folders = _class_folders(root)
    if unknown := [name for name in folders if name not in classes]:
        raise InputError(f"{root} has classes that are missing in {first}: {', '.join(unknown[:5])}.")
    return _list_images(root, folders, classes)


def _list_images(root: pathlib.Path, folders: dict[str, str], classes: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    label_of = {name: label for label, name in enumerate(classes)}
    paths, labels = [], []
    for name, folder in folders.items():
        found = without_annotations(sorted(files_within(root / folder)))
        if not found:
            raise InputError(
                f"Class folder {root / folder} must contain images. Received: an empty folder; delete it or add images."
            )
        paths += found
        labels.append(np.full(len(found), label_of[name], np.int32))
    return paths, np.concatenate(labels)
