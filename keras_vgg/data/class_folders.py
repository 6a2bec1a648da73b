"""Data sets that are folders of image files, one for each class.

A listing is only names; no file is opened before it is needed, so that 1.28 million images start in seconds.
"""

import pathlib

import numpy as np

from keras_vgg.data.class_names import class_name, notes_on
from keras_vgg.data.set_folders import find_sets, folders_in
from keras_vgg.data.split import Dataset, Split, files, held_out_note, hold_out
from keras_vgg.errors import InputError
from keras_vgg.support.image_files import files_within, printable
from keras_vgg.support.paths import path_of


def open_folder(path: str) -> Dataset:
    """Returns the data set of a folder of class folders, or of one with sets of these: `train/`, `val/`, `test/`.

    What sets may be called is in `sets.NAMES`, and `set_folders` tells them from classes. Without images for validation a tenth of
    the training images is held out; those of `test/` are kept apart. Every file in a class folder counts as an image whatever its
    ending, see `files_within`. Classes are called as their folders are, see `class_name`.

    Raises:
        InputError: if a folder is missing or empty, two folders mean one class, or a validation class has no training folder.
    """
    root = path_of(path)
    if not root.is_dir():
        raise InputError(f"`folder:` must name a folder of class folders. Received: {path}, which is no folder.")
    found = find_sets(root)
    folders = _class_folders(found.train)
    classes = tuple(folders)
    train = files(*_list_images(found.train, folders, classes))
    notes = [*found.notes, *notes_on(classes)]
    if found.validation:
        validation = _list_other(found.validation, found.train, classes)
    else:
        kept, held_out = hold_out(train.size)
        train, validation = train.subset(kept), train.subset(held_out)
    test = None
    if found.test:
        try:  # Nothing but a test needs it, and test sets without labels are common.
            test = _list_other(found.test, found.train, classes)
        except InputError as error:
            notes.append(f"Note: without test images: {error}")
        if not found.validation:
            notes.append(held_out_note(train.size, validation.size, f"{printable(found.test.name)}/"))
    return Dataset(train, validation, classes, f"folder {printable(root.name)}", test, tuple(notes))


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


def _list_other(root: pathlib.Path, train_root: pathlib.Path, classes: tuple[str, ...]) -> Split:
    folders = _class_folders(root)
    if unknown := [name for name in folders if name not in classes]:
        raise InputError(f"{root} has classes that {train_root} has not: {', '.join(unknown[:5])}.")
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
