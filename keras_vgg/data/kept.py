"""In-memory cache of a small dataset's decoded images: cutting a view from memory costs a fifth of decoding it.

Views are bit-identical, so that caching does not change a run.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_vgg.data import images
from keras_vgg.data.split import Split
from keras_vgg.data.untuned import arrays
from keras_vgg.support.cores import CORES

MOST_BYTES = 2**28
"""Maximum size of the cached pixels: CIFAR-10 and 20,000 images of 64 x 64 fit, photographs do not."""

_ROW = 128


class KeptImages(NamedTuple):
    """All examples of a split.

    Attributes:
        pixels: `(n, height, width, 3)` uint8, RGB.
        targets: `(n, …)`, as the split has them.
    """

    pixels: tf.Tensor
    targets: tf.Tensor


def keep(split: Split, *, scale: int, crop: int) -> KeptImages | None:
    """Decodes the images of a split, if they are small and all of one size.

    Args:
        split: the images.
        scale: the smallest S of the views.
        crop: side of the views.

    Returns:
        `None` for images of several sizes, of more than `MOST_BYTES` in total, or so much larger than S that JPEGs are reduced
        during decoding; also if one cannot be read, which will be reported when a view of it is read.
    """
    try:
        height, width = images.encoded_size(split.read(tf.constant(0, tf.int64))[0]).numpy().tolist()
        is_reduced = crop * min(height, width) >= (2 * crop - 1) * scale
        if is_reduced or split.size * height * width * 3 > MOST_BYTES:
            return None
        return _read(split, height, width)
    except tf.errors.OpError:
        return None


def _read(split: Split, height: int, width: int) -> KeptImages:
    def example(index):
        encoded, target = split.read(index)
        return tf.ensure_shape(images.decode_pixels(encoded), [height, width, 3]), target

    # Rows of images, since a dataset element costs as much as decoding a small image.
    types = (tf.TensorSpec([height, width, 3], tf.uint8), split.target)
    rows = tf.data.Dataset.range(split.size).batch(_ROW)
    rows = rows.map(lambda row: tf.map_fn(example, row, fn_output_signature=types), num_parallel_calls=CORES)
    pixels = np.empty((split.size, height, width, 3), np.uint8)
    targets = np.empty((split.size, *split.target.shape), split.target.dtype.as_numpy_dtype)
    for number, row in enumerate(arrays(rows)):
        place = slice(number * _ROW, number * _ROW + len(row[0]))
        pixels[place], targets[place] = row
    with tf.device("CPU"):
        return KeptImages(tf.convert_to_tensor(pixels), tf.convert_to_tensor(targets))
