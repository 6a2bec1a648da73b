"""Opens a data set with boxes by its name."""

from keras_vgg.data.boxes.csv_boxes import open_csv_boxes
from keras_vgg.data.dataset import Dataset
from keras_vgg.errors import InputError

NAMES = "csv:FILE with columns xmin, ymin, xmax and ymax"


def open_boxes(name: str, *, limit_images: int | None = None) -> Dataset:
    """Returns the data set `name` with boxes as targets, see `boxes.targets`.

    Raises:
        InputError: for an unknown name, or a source that is missing, empty or inconsistent.
    """
    if limit_images is not None and limit_images < 1:
        raise InputError(f"`limit_images` must be at least 1. Received: {limit_images}.")
    kind, _, argument = name.partition(":")
    openers = {"csv": open_csv_boxes}
    if kind not in openers or not argument:
        raise InputError(f"A data set with boxes must be {NAMES}. Received: {name!r}.")
    return openers[kind](argument).limited(limit_images)
