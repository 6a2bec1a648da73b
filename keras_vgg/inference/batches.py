"""Batches of images of the same shape, so that photographs of mixed sizes need not be processed one by one."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_vgg.data import images
from keras_vgg.data.reading import what_can_be_read
from keras_vgg.data.split import Split
from keras_vgg.data.untuned import arrays, untuned
from keras_vgg.inference.views import CENTER, GRID, MULTI_CROP, Views
from keras_vgg.support.cores import CORES
from keras_vgg.support.progress import Progress

MAX_PIXELS = 2**22
"""Maximum number of pixels of a rescaled image; larger ones are refused: a 30:1 panorama at Q=384 would take gigabytes."""

CHANGED = "the file changed during the run; run the same command again"

_ROW = 256
_READY = 2


@dataclasses.dataclass(frozen=True)
class Survey:
    """What is known about a split's images before any is tested.

    Attributes:
        sizes: `(N, 2)` int32 height and width of the originals; 0 for unreadable images.
        labels: the targets of the split, `(N,)` int32 for labels; -1 for unreadable images.
        fingerprints: `(N,)` int64 of the encoded images; 0 for unreadable images. 63 bits of FarmHash: the probability that any
            two of ImageNet's 1.3 million images collide is 1e-7. It does not resist deliberate collisions, but these could only
            affect a folder that their author can write to anyway.
    """

    sizes: np.ndarray
    labels: np.ndarray
    fingerprints: np.ndarray

    @property
    def unread(self) -> np.ndarray:
        """Indices of the unreadable images."""
        return np.flatnonzero(self.sizes[:, 0] == 0)

    def subset(self, indices: np.ndarray) -> "Survey":
        """Returns the survey of the images at `indices`, for `split.subset(indices)`."""
        return Survey(self.sizes[indices], self.labels[indices], self.fingerprints[indices])


@tf.autograph.experimental.do_not_convert
def survey(split: Split, *, stream=None) -> Survey:
    """Reads sizes (for JPEGs from the headers), labels and fingerprints of all images.

    Args:
        split: the images.
        stream: stream for the progress display, if any.
    """
    shape, dtype = split.target.shape, split.target.dtype
    sizes, labels = np.zeros((split.size, 2), np.int32), np.full((split.size, *shape), -1, dtype.as_numpy_dtype)
    fingerprints = np.zeros(split.size, np.int64)

    def example(index):
        encoded, label = split.read(index)
        return index, images.encoded_size(encoded), label, fingerprint(encoded)

    nothing = (tf.zeros([0], tf.int64), tf.zeros([0, 2], tf.int32), tf.zeros([0, *shape], dtype), tf.zeros([0], tf.int64))

    def row(start):
        def examples():
            indices = tf.data.Dataset.range(start, tf.minimum(start + _ROW, split.size))
            return indices.map(example, num_parallel_calls=CORES)

        return what_can_be_read(examples, _ROW, nothing)

    rows = tf.data.Dataset.range(0, split.size, _ROW).flat_map(row).prefetch(_READY)
    with Progress(split.size, stream=stream) as progress:
        for read, *found in arrays(rows):
            sizes[read], labels[read], fingerprints[read] = found
            progress.count(_ROW)
            progress.show("scanning images")
    return Survey(sizes, labels, fingerprints)


def fingerprint(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the int64 fingerprint of an encoded image; see `Survey`."""
    return tf.strings.to_hash_bucket_fast(encoded, np.iinfo(np.int64).max)


def rescaled_sizes(sizes: np.ndarray, scale: int) -> np.ndarray:
    """Returns sizes after rescaling isotropically to smallest side `scale`, `(N, 2)` int32; 0 for unreadable images."""
    sizes = sizes.astype(np.int64)
    smallest = np.maximum(sizes.min(axis=1, keepdims=True), 1)
    return ((2 * sizes * scale + smallest) // (2 * smallest)).astype(np.int32)  # as `resizing.rescaled_size`


def group(survey: Survey, views: Views, crop: int, pixels: int, pending: np.ndarray) -> list[np.ndarray]:
    """Returns the batches of a pass: indices of images with the same rescaled shape.

    Args:
        survey: the images.
        views: the pass.
        crop: side of the net's input.
        pixels: maximum number of pixels per batch, flips included.
        pending: `(N,)` bool, which images to process. Batches are formed as if all were pending, so that an image is always in
            the same batch and its result has the same bits, whatever was done before a kill.
    """
    readable = np.flatnonzero(survey.sizes[:, 0] > 0)
    shapes = rescaled_sizes(survey.sizes[readable], views.scale)
    if views.kind == CENTER:
        shapes[:] = crop

    def at_once(height, width):
        area = GRID * crop * crop if views.kind == MULTI_CROP else height * width  # a row of the grid is one batch
        return area * (2 if views.flip else 1)

    return of_like_shape(readable, shapes, at_once, pixels, pending)


def of_like_shape(
    indices: np.ndarray, shapes: np.ndarray, at_once: Callable[[int, int], int], pixels: int, pending: np.ndarray
) -> list[np.ndarray]:
    """Returns batches of images of the same shape, sorted by shape and then by index: the same at every start.

    Args:
        indices: `(n,)` the images.
        shapes: `(n, 2)` heights and widths.
        at_once: returns the number of pixels for a height and width.
        pixels, pending: as for `group`.
    """
    batches = []
    order = np.lexsort((indices, shapes[:, 1], shapes[:, 0]))
    indices, shapes = indices[order], shapes[order]
    starts = np.flatnonzero(np.any(np.diff(shapes, axis=0, prepend=-1), axis=1))
    for start, stop in itertools.pairwise([*starts, len(indices)]):
        size = max(1, pixels // at_once(*map(int, shapes[start])))
        batches += [indices[first : min(first + size, stop)] for first in range(start, stop, size)]
    wanted = (batch[pending[batch]] for batch in batches)
    return [batch for batch in wanted if batch.size]


def read_batches(split: Split, survey: Survey, views: Views, crop: int, batches: list[np.ndarray]) -> tf.data.Dataset:
    """Returns a dataset of `(indices, places, images)`: a batch of `group`, which of it were readable, and their pixels.

    An image that has changed since the survey counts as unreadable, since its row would be stored for the wrong image.
    `images` is `(b, height, width, 3)` uint8, rescaled to Q; for center views, the crops.
    """
    shapes = rescaled_sizes(survey.sizes, views.scale)
    if views.kind != CENTER:
        return _read(split, survey, shapes, batches, images.decode_whole)

    def decode(encoded, _):
        return images.decode_view(encoded, views.scale, 0.5, 0.5, tf.constant(False), crop)

    return _read(split, survey, shapes, batches, decode)


def read_as_they_are(split: Split, survey: Survey, batches: list[np.ndarray]) -> tf.data.Dataset:
    """Like `read_batches`, but without rescaling, for images of the same size."""
    return _read(split, survey, survey.sizes, batches, images.decode_whole)


@tf.autograph.experimental.do_not_convert
def _read(split: Split, survey: Survey, shapes: np.ndarray, batches: list[np.ndarray], decode: Callable) -> tf.data.Dataset:
    """Reads batches; `decode` returns pixels from an encoded image and the shape of the first image in its batch."""

    def rows():
        for indices in batches:
            yield indices, survey.fingerprints[indices], shapes[indices[0]]

    def read(indices, fingerprints, shape):
        def example(place):
            encoded, _ = split.read(indices[place])
            with tf.control_dependencies([tf.debugging.assert_equal(fingerprint(encoded), fingerprints[place], CHANGED)]):
                encoded = tf.identity(encoded)
            return place, tf.ensure_shape(decode(encoded, shape), [None, None, 3])

        def examples():
            return tf.data.Dataset.range(tf.size(indices, tf.int64)).map(example, num_parallel_calls=CORES)

        nothing = (tf.zeros([0], tf.int64), tf.zeros([0, 1, 1, 3], tf.uint8))
        found = what_can_be_read(examples, tf.size(indices, tf.int64), nothing)
        return tf.data.Dataset.zip(tf.data.Dataset.from_tensors(indices), found).map(lambda indices, found: (indices, *found))

    signature = (tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.int64), tf.TensorSpec([2], tf.int32))
    return untuned(tf.data.Dataset.from_generator(rows, output_signature=signature).flat_map(read).prefetch(_READY))
