"""Data sets that are lists of image files: class folders and CSV files.

A listing is only names; no file is opened before it is needed, so that 1.28 million images start in seconds.
"""

import csv
import itertools
import os
import pathlib

import numpy as np
import pandas as pd

from keras_vgg.data.split import Dataset, files, hold_out
from keras_vgg.errors import InputError
from keras_vgg.image_files import files_within, printable

TRAIN_FOLDERS = ("train", "training")
VALIDATION_FOLDERS = ("val", "validation", "valid", "test")
VALIDATION_SPLITS = ("val", "validation", "valid", "test")
_PROBED_FILES = 100


def open_folder(path: str) -> Dataset:
    """Returns the data set of a folder of class folders.

    With `train/` (or `training/`) inside, that is the training split and `val/` (or `validation/`, `valid/`, `test/`) the other,
    in capitals or not; otherwise, or without one of these, a tenth of the training images is held out. Every file in a class
    folder counts as an image whatever its ending, see `files_within`.

    Raises:
        InputError: if a folder is missing or empty, or a validation class has no training folder.
    """
    root = pathlib.Path(path).expanduser()
    if not root.is_dir():
        raise InputError(f"`folder:` must name a folder of class folders. Received: {path}, which is no folder.")
    train_root = _folder_called(TRAIN_FOLDERS, root) or root
    validation_root = _folder_called(VALIDATION_FOLDERS, root) if train_root != root else None
    folders = _class_folders(train_root)
    classes = tuple(folders)
    train_paths, train_labels = _list_images(train_root, folders, classes)
    train = files(train_paths, train_labels)
    if validation_root is None:
        kept, held_out = hold_out(train.size)
        train, validation = train.subset(kept), train.subset(held_out)
    else:
        validation_folders = _class_folders(validation_root)
        if unknown := [name for name in validation_folders if name not in folders]:
            raise InputError(f"{validation_root} has classes that {train_root} has not: {', '.join(unknown[:5])}.")
        validation = files(*_list_images(validation_root, validation_folders, classes))
    return Dataset(train, validation, classes, f"folder {printable(root.name)}")


def _folder_called(names: tuple[str, ...], root: pathlib.Path) -> pathlib.Path | None:
    """Returns the folder in `root` that has the first of `names` that one has, in capitals or not (of both, the latter)."""
    there = {name.lower(): root / name for name in sorted(os.listdir(root)) if (root / name).is_dir()}
    return next((there[name] for name in names if name in there), None)


def _class_folders(root: pathlib.Path) -> dict[str, str]:
    """Returns `{class: name of its folder}` in the order of the classes; they differ where a name is not UTF-8."""
    folders = [entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")]
    if not folders:
        raise InputError(f"{root} must hold one folder per class. Received: no folder in it.")
    return dict(sorted((printable(name), name) for name in folders))


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


def open_csv(path: str) -> Dataset:
    """Returns the data set of a CSV file with columns path, label and optionally split.

    Paths are relative to the CSV's folder. Rows whose split is val, validation, valid or test are for validation, the others
    (train) for training; without the column a tenth is held out. Whole-number labels are sorted as numbers, others as text.

    Raises:
        InputError: if the file or a column is missing, a value is empty or one too many, the first files do not exist, or a
            validation class has no training row.
    """
    file = pathlib.Path(path).expanduser()
    try:
        table, is_longer = _read_csv(file)
    except (OSError, UnicodeDecodeError, csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"`csv:` must name a readable CSV file. Received: {path} ({error}).") from error
    table = table[(table != "").any(axis=1)]
    if missing := {"path", "label"} - set(table.columns):
        raise InputError(
            f"{file} must have columns path and label. Received: columns {', '.join(table.columns)}; "
            f"{' and '.join(sorted(missing))} missing."
        )
    if is_longer.any():
        raise InputError(
            f"{file}, line {int(is_longer.idxmax()) + 2}: more values than the header has names; put what holds a comma in quotes."
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
        if unknown := np.setdiff1d(labels[validation], labels[train]).tolist():
            named = ", ".join(classes[label] for label in unknown[:5])
            raise InputError(f"{file}: its val rows have classes that its train rows have not: {named}.")
    else:
        train, validation = hold_out(len(paths))
    return Dataset(every.subset(train), every.subset(validation), classes, f"CSV file {printable(file.name)}")


def _read_csv(file: pathlib.Path) -> tuple[pd.DataFrame, pd.Series]:
    """Returns the values of a CSV file as text, and for each row whether it has values beyond the header."""
    # Blank lines are read, so that the index tells the line.
    options = {"dtype": str, "keep_default_na": False, "skip_blank_lines": False, "skipinitialspace": True}
    header = list(pd.read_csv(file, nrows=0, index_col=False, **options))
    with open(file, newline="", encoding="utf-8-sig") as lines:
        first_row = next(itertools.islice(csv.reader(lines, skipinitialspace=True), 1, None), [])
    # Without names of its own, what is beyond the header, as a comma at the end makes it, shifts all columns.
    beyond = [f"beyond {number}" for number in range(len(first_row) - len(header))]
    table = pd.read_csv(file, header=0, names=header + beyond, **options)
    return table[header], (table[beyond] != "").any(axis=1)


def _classes_of(column: pd.Series) -> tuple[tuple[str, ...], np.ndarray]:
    names = column.unique()
    numbers = all(name.isdecimal() for name in names)
    classes = sorted(names, key=int if numbers else str)
    return tuple(classes), pd.Categorical(column, categories=classes).codes.astype(np.int32)
