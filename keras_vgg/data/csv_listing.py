"""Datasets of image files listed in a CSV file.

A listing contains only names; no file is opened before it is needed, so that 1.28 million images start in seconds.
"""

import csv
import dataclasses
import itertools
import os
import pathlib
from typing import Any

import numpy as np
import pandas as pd

from keras_vgg.data import sets
from keras_vgg.data.class_names import class_name, notes_on
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.split import files
from keras_vgg.errors import InputError
from keras_vgg.support.image_files import printable
from keras_vgg.support.paths import path_of

_PROBED_FILES = 100


BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")
"""Columns of a listing with boxes: image pixels, starting at 0, including those of `xmax` and `ymax`. Each box has a row."""


@dataclasses.dataclass(frozen=True)
class Listing:
    """The rows of a CSV file.

    Attributes:
        file: the CSV file.
        table: its values as text; the index counts lines after the header.
        classes: names in label order.
    """

    file: pathlib.Path
    table: pd.DataFrame
    classes: tuple[str, ...]

    @property
    def labels(self) -> np.ndarray:
        """The label of each row, int32."""
        return pd.Categorical(self.table["label"], categories=self.classes).codes.astype(np.int32)

    @property
    def paths(self) -> list[str]:
        """The image of each row."""
        return [os.path.join(self.file.parent, name) for name in self.table["path"]]

    @property
    def images(self) -> np.ndarray:
        """The image index of each row, from 0: rows with equal path, label and split belong to one image."""
        columns = [name for name in ("path", "label", "split") if name in self.table.columns]
        return self.table.groupby(columns, sort=False).ngroup().to_numpy()

    def each_image(self) -> "Listing":
        """Returns the listing with one row for each of `images`, in their order."""
        return dataclasses.replace(self, table=self.table[~pd.Series(self.images, self.table.index).duplicated()])

    @property
    def description(self) -> str:
        """Readable description, one line."""
        return f"CSV file {printable(self.file.name)}"

    def rows_of_sets(self) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Returns the indices of the rows of each set, and notes for the user.

        Raises:
            InputError: if a set has an unknown name, or there are training rows, but none of a class of another split.
        """
        notes = tuple(notes_on(self.classes))
        if "split" not in self.table.columns:
            return {sets.TRAIN: np.arange(len(self.table))}, notes
        rows = _rows_of_sets(self.table, self.labels, self.classes, self.file)
        return rows, (*notes, *_notes_on_shared(self.table["path"].to_numpy(), rows, self.file))


def open_csv(path: str) -> Dataset:
    """Returns the dataset of a CSV file with columns path, label and optionally split.

    Paths are relative to the CSV's folder. Names of splits are in `sets.NAMES`; without that column all rows are for training.
    Labels are normalized by `class_name`; integers are sorted as numbers, others as text. Of a listing with boxes (`BOX_COLUMNS`)
    each image is used once.

    Raises:
        InputError: if the file or a column is missing, a row has an empty value or too many values, the first files do not exist,
            or there are training rows, but none of a class of another split.
    """
    listing = read_listing(path)
    if set(BOX_COLUMNS) <= set(listing.table.columns):
        listing = listing.each_image()
    every = files(listing.paths, listing.labels)
    rows, notes = listing.rows_of_sets()
    return Dataset({each: every.subset(indices) for each, indices in rows.items()}, listing.classes, listing.description, notes)


def read_listing(path: str) -> Listing:
    """Returns the rows of a CSV file; see `open_csv`."""
    file = path_of(path)
    try:
        table, is_longer = _read_csv(file)
    except (OSError, UnicodeDecodeError, csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"`csv:` must name a readable CSV file. Received: {path} ({error}).") from error
    table = table[(table != "").any(axis=1)]
    for column in {"label", "split"} & set(table.columns):
        table = table.assign(**{column: _each_once(class_name, table[column])})
    if missing := {"path", "label"} - set(table.columns):
        raise InputError(
            f"{file} must have columns path and label. Received: columns {', '.join(table.columns)}; "
            f"{' and '.join(sorted(missing))} missing."
        )
    if longer := is_longer.index[is_longer].tolist():
        raise InputError(
            f"{file}, line {longer[0] + 2}: more values than columns in the header; quote values that contain a comma."
        )
    for column in ("path", "label"):
        if empty := table.index[table[column] == ""].tolist():
            raise InputError(f"{file}, line {empty[0] + 2}: `{column}` is empty.")
    if table.empty:
        raise InputError(f"{file} must list images. Received: only a header.")
    listing = Listing(file, table, _classes_of(table["label"]))
    probed = listing.paths[:_PROBED_FILES]
    if not any(map(os.path.exists, probed)):
        raise InputError(
            f"{file}: none of its first {len(probed)} images exists, e.g. {probed[0]}. Paths are relative to the CSV's folder."
        )
    return listing


def _rows_of_sets(table: pd.DataFrame, labels: np.ndarray, classes: tuple[str, ...], file: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the indices of the rows of each non-empty set."""
    set_of = {name: sets.set_called(name) for name in table["split"].unique()}
    if unknown := sorted(name for name, each in set_of.items() if each is None):
        raise InputError(f"{file}: `split` must be train, val or test. Received: {', '.join(map(repr, unknown[:5]))}.")
    set_of_row = table["split"].map(set_of).to_numpy()
    rows = {each: np.flatnonzero(set_of_row == each) for each in sets.NAMES if each in set_of.values()}
    for each, indices in rows.items() if sets.TRAIN in rows else ():
        if unknown := np.setdiff1d(labels[indices], labels[rows[sets.TRAIN]]).tolist():
            named = ", ".join(classes[label] for label in unknown[:5])
            raise InputError(f"{file}: its {each} rows have classes that are missing in its train rows: {named}.")
    return rows


def _notes_on_shared(paths: np.ndarray, rows: dict[str, np.ndarray], file: pathlib.Path) -> list[str]:
    """Returns a warning if images are in two sets, so that tests would include training images."""
    seen: dict[str, str] = {}
    shared: dict[str, str] = {}
    for each, indices in rows.items():
        of_set = dict.fromkeys(paths[indices], each)
        shared |= {path: f"{seen[path]} and {each}" for path in of_set.keys() & seen.keys()}
        seen |= of_set
    if not shared:
        return []
    example = min(shared)
    return [f"Warning: {len(shared)} images of {file} are in more than one split, e.g. {example} in {shared[example]}."]


def _each_once(function, column: pd.Series) -> pd.Series:
    return column.map({text: function(text) for text in column.unique()})


def _read_csv(file: pathlib.Path) -> tuple[pd.DataFrame, pd.Series]:
    """Returns the values of a CSV file as text, and for each row whether it has values beyond the header."""
    # Blank lines are read, so that the index gives the line.
    options: Any = {"dtype": str, "keep_default_na": False, "skip_blank_lines": False, "skipinitialspace": True}
    header = [name.strip() for name in pd.read_csv(file, nrows=0, index_col=False, **options)]
    if len(set(header)) < len(header):
        raise InputError(f"{file} must have unique column names. Received: columns {', '.join(header)}.")
    with open(file, newline="", encoding="utf-8-sig") as lines:
        first_row = next(itertools.islice(csv.reader(lines, skipinitialspace=True), 1, None), [])
    # Unnamed columns beyond the header, as from a trailing comma, would shift all columns.
    beyond = [f"beyond {number}" for number in range(len(first_row) - len(header))]
    table = pd.read_csv(file, header=0, names=header + beyond, **options)
    return table[header], (table[beyond] != "").any(axis=1)


def _classes_of(column: pd.Series) -> tuple[str, ...]:
    names = column.unique()
    numbers = all(name.isdecimal() for name in names)
    return tuple(sorted(names, key=int if numbers else str))
