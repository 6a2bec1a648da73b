"""Boxes from a CSV file that lists images: columns path, label, optionally split, and xmin, ymin, xmax, ymax."""

import numpy as np
import pandas as pd

from keras_vgg.data.boxes.annotation import Annotation, check_some_usable, from_corners
from keras_vgg.data.boxes.targets import annotated
from keras_vgg.data.csv_listing import BOX_COLUMNS, Listing, read_listing
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.split import files
from keras_vgg.errors import InputError


def open_csv_boxes(path: str) -> Dataset:
    """Returns the data set of a CSV file, see `csv_listing.open_csv`, with the boxes of `BOX_COLUMNS` as targets.

    An image with several boxes has a row for each, with the same label; under two labels it is two examples. A row whose four
    values are empty is an image without boxes.

    Raises:
        InputError: as `open_csv`; if box columns are missing; if no row has a box.
    """
    listing = read_listing(path)
    if missing := [name for name in BOX_COLUMNS if name not in listing.table.columns]:
        raise InputError(
            f"{listing.file} must have columns {', '.join(BOX_COLUMNS)} beside path and label to tell of boxes. "
            f"Received: columns {', '.join(listing.table.columns)}; {' and '.join(missing)} missing."
        )
    annotations = _annotations(listing)
    check_some_usable(annotations, str(listing.file))
    listing = listing.each_image()
    return listing.dataset(annotated(files(listing.paths, listing.labels), listing.labels, annotations))


def _annotations(listing: Listing) -> list[Annotation]:
    text = listing.table[[*BOX_COLUMNS]]
    corners = text.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    is_empty, is_number = (text == "").to_numpy().all(axis=1), ~np.isnan(corners).any(axis=1)
    order = np.argsort(listing.images, kind="stable")
    starts = np.flatnonzero(np.diff(listing.images[order], prepend=-1))
    found = []
    for rows in np.split(order, starts[1:]):
        if bad := [row for row in rows if not (is_empty[row] or is_number[row])]:
            told = ", ".join(map(repr, text.iloc[bad[0]]))
            found.append(Annotation.flawed(f"line {listing.table.index[bad[0]] + 2}: expected four numbers for a box, got {told}"))
        else:
            found.append(from_corners(corners[[row for row in rows if is_number[row]]].tolist(), None))
    return found
