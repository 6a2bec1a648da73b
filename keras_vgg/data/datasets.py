"""Opens a data set by its name: `digits`, `folder:PATH`, `csv:FILE`, `tfds:NAME[/CONFIG]`."""

import io

import numpy as np

from keras_vgg.data.class_folders import open_folder
from keras_vgg.data.csv_listing import open_csv
from keras_vgg.data.split import Dataset, in_memory
from keras_vgg.data.tfds_records import open_tfds
from keras_vgg.errors import InputError

NAMES = "digits, folder:PATH, csv:FILE or tfds:NAME[/CONFIG]"


def open_dataset(name: str, *, limit_images: int | None = None) -> Dataset:
    """Returns the data set `name`.

    Args:
        name: `digits` for scikit-learn's handwritten digits; `folder:PATH` for a folder of class folders, with or without
            `train/`, `val/` and `test/`; `csv:FILE` for columns path, label and optionally split; `tfds:NAME[/CONFIG]` for
            TensorFlow Datasets.
        limit_images: most examples of each split, at least 1.

    Raises:
        InputError: for an unknown name, or a source that is missing, empty or inconsistent.
    """
    if limit_images is not None and limit_images < 1:
        raise InputError(f"`limit_images` must be at least 1. Received: {limit_images}.")
    kind, _, argument = name.partition(":")
    openers = {"folder": open_folder, "csv": open_csv, "tfds": open_tfds}
    if name == "digits":
        dataset = open_digits()
    elif kind in openers and argument:
        dataset = openers[kind](argument)
    else:
        many = " Data of several classes an image are for --task multi-label of keras_vgg.fit, and for keras_vgg.transfer_eval."
        raise InputError(f"`dataset` must be {NAMES}. Received: {name!r}.{many if kind == 'voc' else ''}")
    return dataset.limited(limit_images)


def open_digits() -> Dataset:
    """Returns scikit-learn's 1,797 handwritten digits, 8x8 pixels, as grey PNGs; every fifth is held out for validation."""
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
        split(~held_out, "digits/train"),
        split(held_out, "digits/validation"),
        tuple(map(str, digits.target_names)),
        "the embedded handwritten digits (scikit-learn)",
    )
