"""Batches the views of a request inside a graph: views of the same shape go through the net together, within a pixel budget.

Shapes are read from headers, so that nothing is decoded too early: memory holds only the pixels of the views that the net is
processing and of those that come next.
"""

from collections.abc import Callable

import tensorflow as tf

from keras_vgg.configs import TRAINING_SIZE
from keras_vgg.inference.batches import MAX_PIXELS
from keras_vgg.inference.passes import BATCH
from keras_vgg.serving.encoded import decode_view, view_shapes

PIXELS_AT_ONCE = BATCH * TRAINING_SIZE**2
"""Pixels of rescaled images that go through the net at a time, mirror images included: as many as in evaluation.

Net D in float32 takes about half a kilobyte for each, 0.8 GB. A single image with more pixels, within
`inference.batches.MAX_PIXELS`, goes through alone.
"""

_DECODED = (tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([], tf.string))
_AHEAD = 2  # chunks in flight: one is decoded while the net processes the other


def fold_images(images, scales: tuple[int, ...], crop: int | None, budget: int, see: Callable, state: tuple):
    """Runs the net on encoded images at several scales, batching views of the same shape.

    Args:
        images: `(B,)` strings.
        scales: smallest sides Q.
        crop: side of the center crop; `None` for whole images.
        budget: maximum number of pixels per batch, see `cut`.
        see: called with a state, the images' positions in the request, `(b, 1)` int32, and their views, `(b, height, width, 3)`
            uint8; returns the next state, see `fold`. Crops of one image at several scales may come together.
        state: tensors, the initial state.

    Returns:
        The final state; and for each image why it is unusable, `(B,)` strings, empty if it is usable. The net may have seen some
        of the views of an unusable image.
    """

    def shapes_of(encoded):
        return view_shapes(encoded, scales, crop=crop, most_pixels=MAX_PIXELS)

    specs = (tf.TensorSpec([len(scales), 2], tf.int32), tf.TensorSpec([], tf.string))
    shapes, error = one_by_one(shapes_of, images, specs)
    views = tf.where(tf.reduce_min(shapes, axis=2) > 0)
    shapes = tf.gather_nd(shapes, views)
    image, scale = tf.unstack(tf.cast(views, tf.int32), axis=1)  # of each view

    def decode(view):
        return decode_view(images[image[view]], tf.gather(scales, scale[view]), shapes[view], crop=crop)

    def see_images(state, views, pixels):
        return see(state, tf.gather(image, views)[:, tf.newaxis], pixels)

    state, reasons = fold(shapes, budget, decode, see_images, state)
    broken = tf.where(reasons != "")
    return state, tf.tensor_scatter_nd_update(error, tf.gather_nd(image, broken)[:, tf.newaxis], tf.gather_nd(reasons, broken))


def cut(shapes, budget: int):
    """Groups views of the same shape into chunks.

    Args:
        shapes: `(V, 2)` int32, height and width of each view.
        budget: maximum number of pixels per chunk; a larger view is a chunk of its own.

    Returns:
        `(order, limits)`: positions of the views, `(V,)` int32, grouped by shape, stable within a shape; and the bounds of the
        chunks in `order`, `(chunks + 1,)` int32.
    """
    views = tf.shape(shapes)[0]
    height, width = tf.unstack(tf.cast(shapes, tf.int64), axis=1)
    keys = height * 2**31 + width
    order = tf.argsort(keys, stable=True)
    keys, pixels = tf.gather(keys, order), tf.gather(height * width, order)
    at_once = tf.cast(tf.maximum(budget // tf.maximum(pixels, 1), 1), tf.int32)
    within_shape = tf.range(views) - tf.searchsorted(keys, keys)  # 0, 1, 2, … among views of the same shape
    begins = tf.cast(tf.where(within_shape % at_once == 0)[:, 0], tf.int32)
    return order, tf.concat([begins, [views]], axis=0)


def fold(shapes, budget: int, decode: Callable, see: Callable, state: tuple):
    """Runs the net on views, a chunk at a time.

    Args:
        shapes: `(V, 2)` int32, height and width of each view.
        budget: maximum number of pixels per chunk, see `cut`.
        decode: returns for a view's position its pixels, `(height, width, 3)` uint8 as in `shapes`, and why they are invalid, a
            scalar string, empty if they are valid.
        see: called with a state, positions `(b,)` and pixels `(b, height, width, 3)` of valid views; returns the next state, in
            which each tensor must keep its last dimension.
        state: tensors, the initial state.

    Returns:
        The final state; and for each view why the net did not see it, `(V,)` strings, empty if it did.
    """
    order, limits = cut(shapes, budget)

    def step(chunk, decoded, reasons, state):
        # Chunks wait for each other, in decoding as in the net, so that memory never holds more than two.
        with tf.control_dependencies([decoded]):
            places = order[limits[chunk] : limits[chunk + 1]]
        pixels, reason = one_by_one(decode, places, _DECODED)
        with tf.control_dependencies(state):
            is_whole = reason == ""
        whole = tf.boolean_mask(places, is_whole)
        next_state = tf.cond(
            tf.size(whole) > 0,
            lambda: see(state, whole, tf.boolean_mask(pixels, is_whole)),
            lambda: tuple(map(tf.identity, state)),
        )
        return chunk + 1, tf.size(reason), tf.tensor_scatter_nd_update(reasons, places[:, tf.newaxis], reason), next_state

    free = tuple(tf.TensorShape([None] * (len(each.shape) - 1) + [each.shape[-1]]) for each in state)
    *_, reasons, state = tf.while_loop(
        lambda chunk, *_: chunk + 1 < tf.size(limits),
        step,
        (0, 0, tf.fill([tf.size(order)], ""), state),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([]), tf.TensorShape([None]), free),
        parallel_iterations=_AHEAD,
    )
    return state, reasons


def one_by_one(function: Callable, elements, signature):
    """Returns `tf.map_fn` over two elements at a time, so that memory holds only two images while they are decoded."""
    return tf.map_fn(function, elements, fn_output_signature=signature, parallel_iterations=2)
