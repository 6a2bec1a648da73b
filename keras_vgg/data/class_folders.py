"""Data sets that are folders of image files, one for each class.

A listing is only names; no file is opened before it is needed, so that 1.28 million images start in seconds.
"""

import pathlib

import numpy as np

from keras_vgg.data import sets
from keras_vgg.data.class_names import class_name, notes_on
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.set_folders import find_sets, folders_in
from keras_vgg.data.split import Split, files
from keras_vgg.errors import InputError
from keras_vgg.support.image_files import files_within, printable
from keras_vgg.support.paths import path_of


def open_folder(path: str) -> Dataset:
    """Returns the data set of a folder of class folders, or of one with sets of these: `train/`, `val/`, `test/`.

    What sets may be called is in `sets.NAMES`, and `set_folders` tells them from classes; the classes are those of the first set of
    that order. Every file in a class folder counts as an image whatever its ending, see `files_within`. Classes are called as their
    folders are, see `class_name`.

    Raises:
        InputError: if a folder is missing or empty, two folders mean one class, or a set has a class that the first one has not.
    """
    root = path_of(path)
    if not root.is_dir():
        raise InputError(f"`folder:` must name a folder of class folders. Received: {path}, which is no folder.")
    found = find_sets(root)
    first, *others = (name for name in sets.NAMES if name in found.folders)
    folders = _class_folders(found.folders[first])
    classes = tuple(folders)
    notes = [*found.notes, *notes_on(classes)]
    splits = {first: files(*_list_images(found.folders[first], folders, classes))}
    for name in others:
        try:
            splits[name] = _list_other(found.folders[name], found.folders[first], classes)
        except InputError as error:
            if name != sets.TEST:
                raise
            notes.append(f"Note: without test images: {error}")  # test sets without labels are common, and not always wanted
    return Dataset(splits, classes, f"folder {printable(root.name)}", tuple(notes))


def _class_folders(root: pathlib.Path) -> dict[str, str]:
    """Returns `{class: name of its folder}` in the order of the classes."""
    found: dict[str, str] = {}
    for folder in folders_in(root):
        name = class_name(printable(folder))
        if not name or name in found:
            told = f"{found[name]!r} and {folder!r}, which mean one class" if name else f"{folder!r}, a blank"
            raise InputError(f"{root} must hold one folder per class, each with a name of its own. Received: {told}.")
        found[name] = folder
    if not found:
        raise InputError(f"{root} must hold one folder per class. Received: no folder in it.")
    return dict(sorted(found.items()))


def _list_other(root: pathlib.Path, first: pathlib.Path, classes: tuple[str, ...]) -> Split:
    folders = _class_folders(root)
    if unknown := [name for name in folders if name not in classes]:
        raise InputError(f"{root} has classes that {first} has not: {', '.join(unknown[:5])}.")
    return files(*_list_images(root, folders, classes))


def _list_images(root: pathlib.Path, folders: dict[str, str], classes: tuple[str, ...]):
    label_of = {name: label for label, name in enumerate(classes)}
    paths, labels = [], []
    for name, folder in folders.items():
        found = sorted(files_within(root / folder))
        if not found:
            raise InputError(f"Class folder {root / folder} must hold images. Received: an empty folder; remove or fill it.")
        paths += found
        labels.append(np.full(len(found), label_of[name], np.int32))
    return paths, np.concatenate(labels)
