"""Data sets that are lists of image files: class folders and CSV files.

A listing is only names; no file is opened before it is needed, so that 1.28 million images start in seconds.
"""

import os
import pathlib

import numpy as np
import pandas as pd

from keras_vgg.data.split import Dataset, files, hold_out
from keras_vgg.errors import InputError

VALIDATION_FOLDERS = ("val", "validation", "valid", "test")
VALIDATION_SPLITS = ("val", "validation", "valid", "test")
_PROBED_FILES = 100


def open_folder(path: str) -> Dataset:
    """Returns the data set of a folder of class folders.

    With `train/` inside, that is the training split and `val/` (or `validation/`, `valid/`, `test/`) the other; otherwise, or
    without one of these, a tenth of the training images is held out. Every file in a class folder counts as an image whatever
    its ending, hidden files apart.

    Raises:
        InputError: if a folder is missing or empty, or a validation class has no training folder.
    """
    root = pathlib.Path(path).expanduser()
    if not root.is_dir():
        raise InputError(f"`folder:` must name a folder of class folders. Received: {path}, which is no folder.")
    train_root = root / "train" if (root / "train").is_dir() else root
    validation_root = next((root / name for name in VALIDATION_FOLDERS if train_root != root and (root / name).is_dir()), None)
    classes = _class_folders(train_root)
    train_paths, train_labels = _list_images(train_root, classes)
    train = files(train_paths, train_labels)
    if validation_root is None:
        kept, held_out = hold_out(train.size)
        train, validation = train.subset(kept), train.subset(held_out)
    else:
        if unknown := sorted(set(_class_folders(validation_root)) - set(classes)):
            raise InputError(f"{validation_root} has classes that {train_root} has not: {', '.join(unknown[:5])}.")
        validation = files(*_list_images(validation_root, [c for c in classes if (validation_root / c).is_dir()], classes))
    return Dataset(train, validation, tuple(classes), f"folder {root.name}")


def _class_folders(root: pathlib.Path) -> list[str]:
    classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise InputError(f"{root} must hold one folder per class. Received: no folder in it.")
    return classes


def _list_images(root: pathlib.Path, folders: list[str], classes: list[str] | None = None):
    label_of = {name: label for label, name in enumerate(classes or folders)}
    paths, labels = [], []
    for name in folders:
        found = sorted(
            os.path.join(folder, file)
            for folder, _, names in os.walk(root / name, followlinks=True)
            for file in names
            if not file.startswith(".") and file != "Thumbs.db"
        )
        if not found:
            raise InputError(f"Class folder {root / name} must hold images. Received: an empty folder; remove or fill it.")
        paths += found
        labels.append(np.full(len(found), label_of[name], np.int32))
    return paths, np.concatenate(labels)


def open_csv(path: str) -> Dataset:
    """Returns the data set of a CSV file with columns path, label and optionally split.

    Paths are relative to the CSV's folder. Rows whose split is val, validation, valid or test are for validation, the others
    (train) for training; without the column a tenth is held out. Whole-number labels are sorted as numbers, others as text.

    Raises:
        InputError: if the file or a column is missing, a value is empty, or the first files do not exist.
    """
    file = pathlib.Path(path).expanduser()
    try:
        # Blank lines are read, so that the index tells the line, and then dropped.
        table = pd.read_csv(file, dtype=str, keep_default_na=False, skip_blank_lines=False)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"`csv:` must name a readable CSV file. Received: {path} ({error}).") from error
    table = table[(table != "").any(axis=1)]
    if missing := {"path", "label"} - set(table.columns):
        raise InputError(
            f"{file} must have columns path and label. Received: columns {', '.join(table.columns)}; "
            f"{' and '.join(sorted(missing))} missing."
        )
    for column in ("path", "label"):
        if (empty := table[column] == "").any():
            raise InputError(f"{file}, line {int(empty.idxmax()) + 2}: `{column}` is empty.")
    if table.empty:
        raise InputError(f"{file} must list images. Received: a header alone.")
    classes, labels = _classes_of(table["label"])
    paths = [os.path.join(file.parent, name) for name in table["path"]]
    probed = paths[:_PROBED_FILES]
    if not any(map(os.path.exists, probed)):
        raise InputError(
            f"{file}: none of its first {len(probed)} images exists, e.g. {probed[0]}. Paths start at the CSV's folder."
        )
    every = files(paths, labels)
    if "split" in table.columns:
        if unknown := set(table["split"]) - {"train", *VALIDATION_SPLITS}:
            raise InputError(f"{file}: `split` must be train or val. Received: {', '.join(map(repr, sorted(unknown)[:5]))}.")
        held_out = table["split"].isin(VALIDATION_SPLITS).to_numpy()
        if held_out.all() or not held_out.any():
            raise InputError(f"{file}: `split` must name both train and val rows. Received: {table['split'].iloc[0]} alone.")
        train, validation = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    else:
        train, validation = hold_out(len(paths))
    return Dataset(every.subset(train), every.subset(validation), classes, f"CSV file {file.name}")


def _classes_of(column: pd.Series) -> tuple[tuple[str, ...], np.ndarray]:
    names = column.unique()
    numbers = all(name.isdecimal() for name in names)
    classes = sorted(names, key=int if numbers else str)
    return tuple(classes), pd.Categorical(column, categories=classes).codes.astype(np.int32)
