"""Results of a row by class and by image: tables, and a sheet of the worst images."""

import pathlib

import numpy as np
import tensorflow as tf

from keras_vgg.data import images as image_ops
from keras_vgg.data.split import Split
from keras_vgg.evaluation.measures import measure_of
from keras_vgg.evaluation.measures.caption import caption
from keras_vgg.evaluation.results import Posteriors
from keras_vgg.identity import digests_of
from keras_vgg.support import files, sheet

MOST = 24
"""Maximum number of images on a sheet."""

_SIDE = 160  # pixels of a thumbnail's shorter side


def write_tables(folder: pathlib.Path, name: str, result: Posteriors) -> None:
    """Writes `<name>-classes.csv` and `<name>-predictions.csv`: one row per class and one per image, with digests."""
    measure, digests = measure_of(result), digests_of(result.facts)
    for what, table in (("classes", measure.of_classes(result)), ("predictions", measure.of_images(result))):
        with files.replacing(folder / f"{name}-{what}.csv") as beside:
            table.assign(**digests).to_csv(beside, index=False)


def draw_worst(folder: pathlib.Path, name: str, result: Posteriors, split: Split) -> None:
    """Writes `<name>-worst.png`, thumbnails of the worst images; nothing if there are none.

    Args:
        folder: output folder.
        name: name of the row's files.
        result: the row.
        split: its images; those that have become unreadable are skipped.
    """
    path = folder / f"{name}-worst.png"
    with files.telling(path):
        path.unlink(missing_ok=True)  # from an earlier evaluation
    measure = measure_of(result)
    pictures, captions = [], []
    for place, text in measure.worst(result, MOST):
        try:
            pictures.append(thumbnail(split, place, _SIDE))
        except tf.errors.OpError:
            continue
        captions.append(text)
    if pictures:
        title, facts = caption(result)
        title = f"{title}: {measure.WORST}"
        sheet.draw(path, pictures, captions, title=title, facts=facts, columns=6, side=1.6)


def thumbnail(split: Split, place: int, side: int) -> np.ndarray:
    """Returns an image of a split with its shorter side rescaled to `side` pixels: `(height, width, 3)` uint8, RGB.

    Raises:
        tf.errors.OpError: if it cannot be read.
    """
    encoded, _ = split.read(tf.constant(place, tf.int64))
    height, width = tf.unstack(image_ops.encoded_size(encoded))
    return image_ops.decode_whole(encoded, image_ops.rescaled_size(height, width, side)).numpy()
