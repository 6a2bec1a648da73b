"""Data sets that are CSV files which list image files.

A listing is only names; no file is opened before it is needed, so that 1.28 million images start in seconds.
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
from keras_vgg.data.split import Split, files
from keras_vgg.errors import InputError
from keras_vgg.support.image_files import printable
from keras_vgg.support.paths import path_of

_PROBED_FILES = 100


BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")
"""Columns of a listing with boxes: pixels of the image from 0, those of `xmax` and `ymax` included. An image has a row for each."""


@dataclasses.dataclass(frozen=True)
class Listing:
    """The rows of a CSV file.

    Attributes:
        file: where they are.
        table: their values as text; the index counts lines behind the header.
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
        """The number of the image of each row, from 0: rows of one path, label and split are of one."""
        columns = [name for name in ("path", "label", "split") if name in self.table.columns]
        return self.table.groupby(columns, sort=False).ngroup().to_numpy()

    def each_image(self) -> "Listing":
        """Returns the listing with one row for each of `images`, in their order."""
        return dataclasses.replace(self, table=self.table[~pd.Series(self.images, self.table.index).duplicated()])

    def dataset(self, every: Split) -> Dataset:
        """Returns the data set of `every`, an example for each row, in the sets that the rows name.

        Raises:
            InputError: if there are training rows, but none of a class of another split.
        """
        description = f"CSV file {printable(self.file.name)}"
        if "split" not in self.table.columns:
            return Dataset({sets.TRAIN: every}, self.classes, description, tuple(notes_on(self.classes)))
        rows = _rows_of_sets(self.table, self.labels, self.classes, self.file)
        notes = (*notes_on(self.classes), *_notes_on_shared(self.table["path"].to_numpy(), rows, self.file))
        return Dataset({each: every.subset(indices) for each, indices in rows.items()}, self.classes, description, notes)


def open_csv(path: str) -> Dataset:
    """Returns the data set of a CSV file with columns path, label and optionally split.

    Paths are relative to the CSV's folder. What a split may be called is in `sets.NAMES`; without that column all rows are for
    training. Labels are taken as `class_name` has them; whole numbers are sorted as numbers, others as text. Of a listing with
    boxes (`BOX_COLUMNS`) each image is taken once.

    Raises:
        InputError: if the file or a column is missing, a value is empty or one too many, the first files do not exist, or there
            are training rows, but none of a class of another split.
    """
    listing = read_listing(path)
    if set(BOX_COLUMNS) <= set(listing.table.columns):
        listing = listing.each_image()
    return listing.dataset(files(listing.paths, listing.labels))


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
        raise InputError(f"{file}, line {longer[0] + 2}: more values than the header has names; put what holds a comma in quotes.")
    for column in ("path", "label"):
        if empty := table.index[table[column] == ""].tolist():
            raise InputError(f"{file}, line {empty[0] + 2}: `{column}` is empty.")
    if table.empty:
        raise InputError(f"{file} must list images. Received: a header alone.")
    listing = Listing(file, table, _classes_of(table["label"]))
    probed = listing.paths[:_PROBED_FILES]
    if not any(map(os.path.exists, probed)):
        raise InputError(
            f"{file}: none of its first {len(probed)} images exists, e.g. {probed[0]}. Paths start at the CSV's folder."
        )
    return listing


def _rows_of_sets(table: pd.DataFrame, labels: np.ndarray, classes: tuple[str, ...], file: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the numbers of the rows of each set that has some."""
    set_of = {name: sets.set_called(name) for name in table["split"].unique()}
    if unknown := sorted(name for name, each in set_of.items() if each is None):
        raise InputError(f"{file}: `split` must be train, val or test. Received: {', '.join(map(repr, unknown[:5]))}.")
    set_of_row = table["split"].map(set_of).to_numpy()
    rows = {each: np.flatnonzero(set_of_row == each) for each in sets.NAMES if each in set_of.values()}
    for each, indices in rows.items() if sets.TRAIN in rows else ():
        if unknown := np.setdiff1d(labels[indices], labels[rows[sets.TRAIN]]).tolist():
            named = ", ".join(classes[label] for label in unknown[:5])
            raise InputError(f"{file}: its {each} rows have classes that its train rows have not: {named}.")
    return rows


def _notes_on_shared(paths: np.ndarray, rows: dict[str, np.ndarray], file: pathlib.Path) -> list[str]:
    """Returns a line for people if images are in two sets, of which tests of one would learn what the other taught."""
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
    # Blank lines are read, so that the index tells the line.
    options: Any = {"dtype": str, "keep_default_na": False, "skip_blank_lines": False, "skipinitialspace": True}
    header = [name.strip() for name in pd.read_csv(file, nrows=0, index_col=False, **options)]
    if len(set(header)) < len(header):
        raise InputError(f"{file} must have columns of different names. Received: columns {', '.join(header)}.")
    with open(file, newline="", encoding="utf-8-sig") as lines:
        first_row = next(itertools.islice(csv.reader(lines, skipinitialspace=True), 1, None), [])
    # Without names of its own, what is beyond the header, as a comma at the end makes it, shifts all columns.
    beyond = [f"beyond {number}" for number in range(len(first_row) - len(header))]
    table = pd.read_csv(file, header=0, names=header + beyond, **options)
    return table[header], (table[beyond] != "").any(axis=1)


def _classes_of(column: pd.Series) -> tuple[str, ...]:
    names = column.unique()
    numbers = all(name.isdecimal() for name in names)
    return tuple(sorted(names, key=int if numbers else str))
