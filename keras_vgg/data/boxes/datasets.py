"""Opens a dataset with boxes by its name."""

from keras_vgg.data.boxes.csv_boxes import open_csv_boxes
from keras_vgg.data.boxes.folder_boxes import open_folder_boxes, open_ilsvrc
from keras_vgg.data.boxes.tfds_boxes import open_tfds_boxes
from keras_vgg.data.boxes.voc_boxes import open_voc_boxes
from keras_vgg.data.dataset import Dataset
from keras_vgg.errors import InputError

NAMES = (
    "ilsvrc:PATH, folder:PATH with XML files, voc:PATH, csv:FILE with columns xmin, ymin, xmax and ymax, or tfds:NAME[/CONFIG] "
    "or tfds:PATH with boxes"
)


def open_boxes(name: str, *, limit_images: int | None = None, stream=None) -> Dataset:
    """Returns the dataset `name` with boxes as targets, see `boxes.targets`.

    Args:
        name: `ilsvrc:PATH` for ILSVRC's layout; `folder:PATH` for images in folders with XML files; `voc:PATH` for PASCAL VOC's
            layout; `csv:FILE` for a listing with columns for boxes; `tfds:NAME[/CONFIG]` or `tfds:PATH` for TensorFlow Datasets
            with boxes.
        limit_images: maximum number of examples per split, at least 1.
        stream: where progress is shown while many files are read, if anywhere.

    Raises:
        InputError: for an unknown name, or a source that is missing, empty, inconsistent or without boxes.
    """
    if limit_images is not None and limit_images < 1:
        raise InputError(f"`limit_images` must be at least 1. Received: {limit_images}.")
    kind, _, argument = name.partition(":")
    openers = {
        "csv": lambda path, stream: open_csv_boxes(path),
        "folder": open_folder_boxes,
        "ilsvrc": open_ilsvrc,
        "tfds": open_tfds_boxes,
        "voc": open_voc_boxes,
    }
    if kind not in openers or not argument:
        raise InputError(f"A dataset with boxes must be {NAMES}. Received: {name!r}.")
    return openers[kind](argument, stream).limited(limit_images)
