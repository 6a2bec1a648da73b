"""Opens a dataset by its name: `digits`, `folder:PATH`, `csv:FILE`, `tfds:NAME[/CONFIG]`, `wds:PATH`, `voc:PATH`."""

import io

import numpy as np

from keras_vgg.data import sets, voc
from keras_vgg.data.class_folders import open_folder
from keras_vgg.data.csv_listing import open_csv
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.split import in_memory
from keras_vgg.data.tar_shards import open_tars
from keras_vgg.data.tfds_records import open_builder, open_tfds
from keras_vgg.errors import InputError
from keras_vgg.support import extras

NAMES = "digits, folder:PATH, csv:FILE, tfds:NAME[/CONFIG], tfds:PATH, wds:PATH or, for several classes per image, voc:PATH"


def open_dataset(name: str, *, limit_images: int | None = None) -> Dataset:
    """Returns the dataset `name`.

    Args:
        name: `digits` for scikit-learn's handwritten digits; `folder:PATH` for a folder of class folders, with or without
            `train/`, `val/` and `test/`; `csv:FILE` for columns path, label and optionally split; `tfds:NAME[/CONFIG]` for
            TensorFlow Datasets, `tfds:PATH` for a prepared one in a folder; `wds:PATH` for WebDataset's tar files;
            `voc:PATH` for PASCAL VOC's layout. For that, and for TFDS's `voc`, a target says for each class whether the image
            shows it, see `voc`; for all others, it is the class of the image.
        limit_images: maximum number of examples per split, at least 1.

    Raises:
        InputError: for an unknown name, or a source that is missing, empty or inconsistent.
    """
    if limit_images is not None and limit_images < 1:
        raise InputError(f"`limit_images` must be at least 1. Received: {limit_images}.")
    kind, _, argument = name.partition(":")
    openers = {
        "folder": open_folder,
        "csv": open_csv,
        "tfds": _open_tfds,
        "wds": open_tars,
        "voc": lambda path: voc.open_dataset(f"voc:{path}"),
    }
    if name == "digits":
        dataset = open_digits()
    elif kind in openers and argument:
        dataset = openers[kind](argument)
    else:
        raise InputError(f"`dataset` must be {NAMES}. Received: {name!r}.")
    return dataset.limited(limit_images)


def _open_tfds(name: str) -> Dataset:
    tells_of_each_class = set(open_builder(name).info.features) >= voc.TFDS_FEATURES
    return voc.open_dataset(f"tfds:{name}") if tells_of_each_class else open_tfds(name)


def open_digits() -> Dataset:
    """Returns scikit-learn's 1,797 handwritten digits, 8x8 pixels, as gray PNGs; every fifth is for validation."""
    with extras.needed("digits"):
        from PIL import Image
        from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)

    def encode(image):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        return buffer.getvalue()

    encoded = [encode(image) for image in pixels]
    held_out = np.arange(len(encoded)) % 5 == 0

    def split(chosen, name):
        return in_memory([encoded[i] for i in np.flatnonzero(chosen)], digits.target[chosen], name)

    return Dataset(
        {sets.TRAIN: split(~held_out, "digits/train"), sets.VALIDATION: split(held_out, "digits/validation")},
        tuple(map(str, digits.target_names)),
        "the embedded handwritten digits (scikit-learn)",
    )
