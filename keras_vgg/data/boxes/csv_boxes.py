"""Boxes from a CSV file that lists images: columns path, label, optionally split, and xmin, ymin, xmax, ymax."""

import numpy as np
import pandas as pd

from keras_vgg.data.boxes.annotation import Annotation, from_corners
from keras_vgg.data.boxes.examples import Example, Examples
from keras_vgg.data.boxes.gathering import gather
from keras_vgg.data.csv_listing import BOX_COLUMNS, Listing, read_listing
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.split import files
from keras_vgg.errors import InputError


def open_csv_boxes(path: str) -> Dataset:
    """Returns the dataset of a CSV file, see `csv_listing.open_csv`, with the boxes of `BOX_COLUMNS` as targets.

    An image with several boxes has a row for each, with the same label; with two labels it is two examples. A row with four empty
    values is an image without boxes.

    Raises:
        InputError: as `open_csv`; if box columns are missing; if no row has a box.
    """
    listing = read_listing(path)
    if missing := [name for name in BOX_COLUMNS if name not in listing.table.columns]:
        raise InputError(
            f"{listing.file} must have columns {', '.join(BOX_COLUMNS)} for boxes, beside path and label. "
            f"Received: columns {', '.join(listing.table.columns)}; {' and '.join(missing)} missing."
        )
    annotations = _annotations(listing)
    listing = listing.each_image()
    rows, notes = listing.rows_of_sets()
    examples = {each: _examples(listing, annotations, indices) for each, indices in rows.items()}
    return gather(examples, listing.classes, listing.description, notes, ", ".join(BOX_COLUMNS))


def _examples(listing: Listing, annotations: list[Annotation], rows: np.ndarray) -> Examples:
    """Returns the examples of some rows; several may belong to one image, with different labels."""
    numbers, images = pd.factorize(np.array(listing.paths, object)[rows])
    known = zip(numbers.tolist(), listing.labels[rows].tolist(), rows.tolist(), strict=True)
    found = [Example(number, label, annotations[row]) for number, label, row in known]
    return Examples(files(images.tolist(), np.zeros(len(images), np.int32)), found)


def _annotations(listing: Listing) -> list[Annotation]:
    text = listing.table[[*BOX_COLUMNS]]
    corners = text.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    is_empty = np.all(text.to_numpy() == "", axis=1)
    is_bad = np.logical_not(is_empty) & ~np.all(np.isfinite(corners), axis=1)
    order = np.argsort(listing.images, kind="stable")
    starts = np.flatnonzero(np.diff(listing.images[order], prepend=-1))
    found = []
    for rows in np.split(order, starts[1:]):
        if bad := rows[is_bad[rows]].tolist():
            told = ", ".join(map(repr, text.iloc[bad[0]]))
            found.append(Annotation.flawed(f"line {listing.table.index[bad[0]] + 2}: expected four numbers for a box, got {told}"))
        else:
            found.append(from_corners(corners[rows[~is_empty[rows]]].tolist(), None))
    return found
