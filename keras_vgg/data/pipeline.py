"""From indices to micro-batches of pixels, with tf.data.

A broken image affects only itself: its place in the micro-batch stays empty and is reported, so that every other example sees the
same weights at the same step as without it.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_vgg import randomness
from keras_vgg.data import images
from keras_vgg.data.kept import KeptImages, keep
from keras_vgg.data.order import PADDING
from keras_vgg.data.reading import what_can_be_read
from keras_vgg.data.split import Split
from keras_vgg.data.untuned import untuned
from keras_vgg.support.cores import CORES

_ROWS_AT_ONCE = 2  # micro-batches in preparation: one bridges the end of the other
_ROWS_READY = 2


class MicroBatch(NamedTuple):
    """The input of a replica at a time.

    Attributes:
        images: `(m, crop, crop, 3)` uint8, RGB; black in empty places.
        targets: `(m, …)`, of the split's examples; zeros in empty places.
        keys: `(m,)` int64, see `randomness.example_key`.
        weights: `(m,)` float32: 1 for an image, 0 for an empty place.
        broken: scalar float32: number of places that are empty because the image could not be read.
    """

    images: tf.Tensor
    targets: tf.Tensor
    keys: tf.Tensor
    weights: tf.Tensor
    broken: tf.Tensor


@dataclasses.dataclass(frozen=True)
class View:
    """How a pipeline takes views of its images.

    Attributes:
        crop: side of the crop in pixels.
        scales: smallest and largest S.
        flip: whether views may be mirrored.
        random: whether views are drawn per example and epoch (training), or from the center of the image (validation).
        seed: the run's seed.
        place: graph function from the target of the whole image and the geometry of the view to the target of the view; `None` if
            all views of an image have the same target, such as a label.
        augment: further augmentation, from a view's pixels and the example key to pixels, both `(crop, crop, 3)` uint8.
    """

    crop: int
    scales: tuple[int, int]
    flip: bool = False
    random: bool = False
    seed: int = 0
    place: Callable | None = None
    augment: Callable | None = None

    def __call__(self, encoded, key, target):
        """Returns `(crop, crop, 3)` uint8 and the view's target, from an encoded image, its example key and its target."""
        scale, top, left, mirrored = self._choose(key)
        pixels, geometry = images.decode_view_placed(encoded, scale, top, left, mirrored, self.crop)
        if self.augment is not None:
            pixels = self.augment(pixels, key)
        return pixels, target if self.place is None else self.place(target, geometry)

    def of_pixels(self, pixels, which, keys):
        """Returns the same views, `(m, crop, crop, 3)` uint8, of `which`, `(m,)`, among images, `(n, height, width, 3)` uint8."""
        scale, top, left, mirrored = self._choose(keys)
        views = images.views_of_pixels(pixels, which, scale, top, left, mirrored, self.crop)
        if self.augment is None:
            return views
        return tf.map_fn(lambda view: self.augment(*view), (views, keys), fn_output_signature=tf.uint8)

    def _choose(self, keys):
        if self.random:
            return images.draw_view(keys, scales=self.scales, flip=self.flip, seed=self.seed)
        return [tf.fill(tf.shape(keys), value) for value in (self.scales[0], 0.5, 0.5, False)]


@tf.autograph.experimental.do_not_convert
def micro_batches(
    split: Split,
    rows: Callable[[], Iterator[tuple[int, np.ndarray]]],
    micro_batch: int,
    view: View,
    on_broken: Callable[[np.ndarray], None],
    decode_threads: int = CORES,
) -> tf.data.Dataset:
    """Returns a dataset of `MicroBatch`, one for each row, in order.

    Args:
        split: the examples.
        rows: creates an iterator of `(epoch, indices)`, `(micro_batch,)` int64 with `PADDING` in empty places.
        micro_batch: length of a row.
        view: how views are taken.
        on_broken: called with the indices of images that could not be read; ahead of training, and possibly more than once.
        decode_threads: number of images of a micro-batch that are decoded in parallel.
    """
    signature = (tf.TensorSpec([], tf.int64), tf.TensorSpec([micro_batch], tf.int64))
    dealt = tf.data.Dataset.from_generator(rows, output_signature=signature)
    if view.place is None and (kept := keep(split, scale=view.scales[0], crop=view.crop)):
        cut = dealt.map(lambda epoch, indices: _cut_row(epoch, indices, kept, view), num_parallel_calls=_ROWS_AT_ONCE)
        return untuned(cut.prefetch(_ROWS_READY))
    read = dealt.interleave(
        lambda epoch, indices: _read_row(epoch, indices, split, view, decode_threads),
        cycle_length=_ROWS_AT_ONCE,
        block_length=1,
        num_parallel_calls=_ROWS_AT_ONCE,
        deterministic=True,
    )
    filled = read.map(lambda row, read: _fill_places(row, read, on_broken), num_parallel_calls=1)
    return untuned(filled.prefetch(_ROWS_READY))


def _cut_row(epoch, indices, kept: KeptImages, view: View) -> MicroBatch:
    """Returns the views of a row of cached images, none of which is broken."""
    present, indices = indices != PADDING, tf.maximum(indices, 0)
    keys = randomness.example_key(epoch, indices)
    places = indices % tf.shape(kept.pixels, tf.int64)[0]  # a repeating split continues to count after its last example
    pixels, targets = view.of_pixels(kept.pixels, places, keys), tf.gather(kept.targets, places)
    is_full = tf.reduce_all(present)
    return MicroBatch(
        images=tf.cond(is_full, lambda: pixels, lambda: _without(present, pixels)),
        targets=_without(present, targets),
        keys=keys,
        weights=tf.cast(present, tf.float32),
        broken=tf.constant(0.0),
    )


def _without(present, values):
    """Returns `values`, `(m, …)`, with zeros in places that are not `present`."""
    return tf.where(tf.reshape(present, [-1] + [1] * (values.shape.rank - 1)), values, tf.zeros_like(values))


def _read_row(epoch, indices, split: Split, view: View, decode_threads: int) -> tf.data.Dataset:
    """Returns one element: the row, and `(places, pixels, targets)` of its readable images."""
    crop, places = view.crop, tf.where(indices != PADDING)[:, 0]

    # Traced once for both ways of reading a row.
    @tf.function(input_signature=[tf.TensorSpec([], tf.int64)] * 3, autograph=False)
    def example(place, index, epoch):
        encoded, target = split.read(index)
        return place, *view(encoded, randomness.example_key(epoch, index), target)

    def examples():
        chosen = tf.gather(indices, places)
        dealt = tf.data.Dataset.from_tensor_slices((places, chosen, tf.fill(tf.shape(chosen), epoch)))
        return dealt.map(example, num_parallel_calls=decode_threads)

    no_target = tf.zeros([0, *split.target.shape], split.target.dtype)
    nothing = (tf.zeros([0], tf.int64), tf.zeros([0, crop, crop, 3], tf.uint8), no_target)
    read = what_can_be_read(examples, tf.size(places), nothing)
    return tf.data.Dataset.zip(tf.data.Dataset.from_tensors((epoch, indices)), read)


def _fill_places(row, read, on_broken) -> MicroBatch:
    """Puts the images in their places in the micro-batch and reports missing ones."""
    (epoch, indices), (places, pixels, targets) = row, read
    micro_batch, where = indices.shape[0], places[:, tf.newaxis]
    present = tf.scatter_nd(where, tf.ones_like(places, tf.float32), [micro_batch])
    broken = tf.logical_and(indices != PADDING, present == 0)
    number_broken = tf.math.count_nonzero(broken, dtype=tf.float32)
    tf.cond(
        number_broken > 0,
        lambda: tf.numpy_function(_reporting(on_broken), [tf.boolean_mask(indices, broken)], tf.int64),
        lambda: tf.constant(0, tf.int64),
    )
    is_full = tf.shape(pixels)[0] == micro_batch
    return MicroBatch(
        images=tf.cond(is_full, lambda: pixels, lambda: _spread_out(places, pixels, micro_batch)),
        targets=tf.scatter_nd(where, targets, [micro_batch, *targets.shape[1:]]),
        keys=randomness.example_key(epoch, tf.maximum(indices, 0)),
        weights=present,
        broken=number_broken,
    )


def _spread_out(places, pixels, micro_batch: int):
    # For each place its row among the read images, or the black one after them; scattering the bytes themselves is slow.
    read = tf.shape(places)[0]
    rows = tf.tensor_scatter_nd_update(tf.fill([micro_batch], read), places[:, tf.newaxis], tf.range(read))
    return tf.gather(tf.concat([pixels, tf.zeros([1, *pixels.shape[1:]], tf.uint8)], axis=0), rows)


def _reporting(on_broken):
    def report(indices):
        on_broken(indices)
        return np.int64(len(indices))

    return report
