"""What a row says of single classes and single images: tables, and a sheet of the images that the net got most wrong."""

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
"""Images on a sheet."""

_SIDE, _LETTERS = 160, 24  # pixels of a thumbnail's shorter side; of a caption's line


def write_tables(folder: pathlib.Path, name: str, result: Posteriors) -> None:
    """Writes `<name>-classes.csv` and `<name>-predictions.csv`: a row for each class, and for each image, with digests."""
    measure, digests = measure_of(result), digests_of(result.facts)
    for what, table in (("classes", measure.of_classes(result)), ("predictions", measure.of_images(result))):
        with files.replacing(folder / f"{name}-{what}.csv") as beside:
            table.assign(**digests).to_csv(beside, index=False)


def draw_worst(folder: pathlib.Path, name: str, result: Posteriors, split: Split) -> None:
    """Writes `<name>-worst.png`, thumbnails of the images that the net got most wrong; nothing where there are none.

    Args:
        folder: where to.
        name: of the row's files.
        result: the row.
        split: its images; one that cannot be read any more is left out.
    """
    path = folder / f"{name}-worst.png"
    with files.telling(path):
        path.unlink(missing_ok=True)  # of an earlier evaluation
    measure = measure_of(result)
    pictures, captions = [], []
    for place, text in measure.worst(result, MOST):
        try:
            pictures.append(thumbnail(split, place, _SIDE))
        except tf.errors.OpError:
            continue
        captions.append("\n".join(line if len(line) <= _LETTERS else f"{line[: _LETTERS - 1]}…" for line in text.split("\n")))
    if pictures:
        title, facts = caption(result)
        title = f"{title}: {measure.WORST}"
        sheet.draw(path, pictures, captions, title=title, facts=facts, columns=6, side=1.6)


def thumbnail(split: Split, place: int, side: int) -> np.ndarray:
    """Returns an image of a split at a shorter side of so many pixels: `(height, width, 3)` uint8, RGB.

    Raises:
        tf.errors.OpError: if it cannot be read.
    """
    encoded, _ = split.read(tf.constant(place, tf.int64))
    height, width = tf.unstack(image_ops.encoded_size(encoded))
    return image_ops.decode_whole(encoded, image_ops.rescaled_size(height, width, side)).numpy()
