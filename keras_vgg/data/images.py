"""Pure image operations, each usable eagerly and inside `Dataset.map`.

A view is what training or testing sees of an image: it is rescaled isotropically to a smallest side S and a square crop is
cut (Sec. 3.1). Only the pixels of the crop are decoded, and JPEGs much larger than the crop are reduced while being decoded,
so that a photograph of 8,000 pixels costs little more than one of 500.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_vgg import randomness
from keras_vgg.data import decoding
from keras_vgg.resizing import bilinear, cut, resize, to_pixels, window
from keras_vgg.resizing import rescaled_size as rescaled_size  # an operation like those below

_ENCODED, _WHOLE, _FRACTION = (tf.TensorSpec([], dtype) for dtype in (tf.string, tf.int32, tf.float32))
_REDUCTIONS = (1, 2, 4, 8)  # what a JPEG decoder can do by leaving out frequencies


class Geometry(NamedTuple):
    """Where in its image a view lies, for targets that are told in pixels.

    Attributes:
        size: `[height, width]` of the image, int32.
        window: `[top, left, height, width]`, int32: the part of the image, in its pixels, that became the view. `(…, 4)` for
            several views of one image, of which boxes are given as `(…, 4)`, too.
        mirrored: bool, whether the view is mirrored left to right.
        crop: side of the view in pixels.
    """

    size: tf.Tensor
    window: tf.Tensor
    mirrored: tf.Tensor
    crop: int

    def points_in_view(self, points):
        """`(…, 2)` float32, `y` and `x` from an image's upper left corner, in pixels of the view; they may lie outside of it."""
        window = tf.cast(self.window, tf.float32)
        y, x = tf.unstack((points - window[:2]) * (self.crop / window[2:]), axis=-1)
        return tf.stack([y, tf.where(self.mirrored, self.crop - x, x)], axis=-1)

    def boxes_in_view(self, boxes):
        """`(…, 4)` float32, `x_min, y_min, x_max, y_max` in pixels of the image, in pixels of the view; they may leave it."""
        corner, factor = self._to_view
        x_min, y_min, x_max, y_max = tf.unstack((boxes - corner) * factor, axis=-1)
        return self._mirrored(x_min, y_min, x_max, y_max)

    def boxes_in_image(self, boxes):
        """The inverse of `boxes_in_view`."""
        corner, factor = self._to_view
        return self._mirrored(*tf.unstack(boxes, axis=-1)) / factor + corner

    @property
    def _to_view(self):
        top, left, height, width = tf.unstack(tf.cast(self.window, tf.float32), axis=-1)
        factor = self.crop / tf.stack([width, height], axis=-1)
        return tf.stack([left, top, left, top], axis=-1), tf.concat([factor, factor], axis=-1)

    def _mirrored(self, x_min, y_min, x_max, y_max):
        left, right = tf.where(self.mirrored, self.crop - x_max, x_min), tf.where(self.mirrored, self.crop - x_min, x_max)
        return tf.stack([left, y_min, right, y_max], axis=-1)


def draw_view(keys, *, scales: tuple[int, int], flip: bool, seed: int):
    """Draws the training view of an example, or of several (Sec. 3.1).

    Args:
        keys: int64 from `randomness.example_key`, a scalar or `(B,)`.
        scales: smallest and largest S; equal for fixed S.
        flip: whether the view may be mirrored.
        seed: the run's seed.

    Returns:
        `(scale, top, left, mirrored)`, each of the shape of `keys`: S, int32, uniform over the whole numbers of `scales`; the
        place of the crop as fractions in [0, 1) of the room it has, float32; a bool.
    """
    draws = tf.unstack(randomness.uniform(keys, [4], seed=seed, stream=randomness.VIEW), num=4, axis=-1)
    scale = scales[0] + tf.cast(draws[0] * (scales[1] - scales[0] + 1), tf.int32)
    return tf.minimum(scale, scales[1]), draws[1], draws[2], tf.logical_and(flip, draws[3] < 0.5)


def decode_view(encoded, scale, top, left, mirrored, crop: int):
    """Decodes what `window` chooses and resizes it to the crop.

    Args:
        encoded: scalar string: an image as `formats` lists them, told by its content.
        scale, top, left, crop: as for `window`.
        mirrored: whether to mirror the result left to right.

    Returns:
        `(crop, crop, 3)` uint8, RGB. Bilinear, as in Caffe; reductions beyond two are averaged beforehand.

    Raises:
        tf.errors.InvalidArgumentError: for bytes that are no whole image, or one that `formats.refusal` refuses. A JPEG that
            breaks off below the crop is not noticed: decoding ends there, and the pixels are right.
    """
    return decode_view_placed(encoded, scale, top, left, mirrored, crop)[0]


def decode_view_placed(encoded, scale, top, left, mirrored, crop: int) -> tuple[tf.Tensor, Geometry]:
    """Returns what `decode_view` does, and where in the image it lies."""
    pixels, size, part = _decode_view(encoded, scale, top, left, mirrored, crop)
    return tf.ensure_shape(pixels, [crop, crop, 3]), Geometry(size, part, mirrored, crop)


def views_of_pixels(pixels, which, scale, top, left, mirrored, crop: int):
    """Returns what `decode_view` does for some of many images, from the pixels of the whole.

    Args:
        pixels: `(n, height, width, 3)` uint8; no view is reduced to half, see `resize`.
        which: `(B,)` int64, whose views they are.
        scale, top, left, mirrored: `(B,)`, as for `decode_view`.
        crop: side of the views.

    Returns:
        `(B, crop, crop, 3)` uint8.
    """
    (_, height, width, _), count = tf.unstack(tf.shape(pixels), num=4), tf.shape(which)[0]
    parts = window(height, width, scale, top, left, crop)
    # Of images, rows, columns and channels.
    begins = tf.concat([tf.cast(which, tf.int32)[:, tf.newaxis], tf.pad(parts[:, :2], [[0, 0], [0, 1]])], axis=1)
    sizes = tf.concat([tf.ones_like(begins[:, :1]), parts[:, 2:], 3 * tf.ones_like(begins[:, :1])], axis=1)
    views = tf.map_fn(
        lambda part: bilinear(tf.slice(pixels, *part), [crop, crop]),
        (begins, sizes),
        fn_output_signature=tf.TensorSpec([1, crop, crop, 3], tf.float32),
    )
    views = to_pixels(views[:, 0])
    return tf.gather(tf.concat([views, _mirror(views)], axis=0), tf.range(count) + count * tf.cast(mirrored, tf.int32))


def _mirror(views):
    """Returns images mirrored left to right; TensorFlow is ten times as fast at it in three dimensions as in four."""
    return tf.reshape(tf.reverse(tf.reshape(views, [-1, *views.shape[2:]]), [1]), [-1, *views.shape[1:]])


# Traced once for all data sets, of which a run has many, as are the three below: a third of a second each.
@tf.function(input_signature=[_ENCODED, _WHOLE, _FRACTION, _FRACTION, tf.TensorSpec([], tf.bool), _WHOLE], autograph=False)
def _decode_view(encoded, scale, top, left, mirrored, crop):
    def place(size):
        return window(size[0], size[1], scale, top, left, crop)

    def of_jpeg(size):
        part = place(size)
        return _window_of_jpeg(encoded, size, part, crop), size, part

    def of_pixels(pixels):
        size = tf.shape(pixels)[:2]
        part = place(size)
        return _window_of_pixels(pixels, part, crop), size, part

    pixels, size, part = decoding.by_kind(encoded, of_jpeg, of_pixels)
    return tf.cond(mirrored, lambda: tf.reverse(pixels, [1]), lambda: pixels), size, part


def _window_of_jpeg(encoded, size, box, crop):
    def decode_reduced(reduction):
        # The decoder counts a window in pixels of the reduced image.
        sides = tf.maximum(box[2:] // reduction, 1)
        reduced = tf.concat([(box[:2] + reduction // 2) // reduction, sides], axis=0)
        return lambda: decoding.decode_jpeg_window(encoded, reduced, size[1], reduction)

    # The largest reduction that leaves at least the pixels of the crop.
    branch = tf.reduce_sum(tf.cast(tf.reduce_min(box[2:]) // crop >= tf.constant(_REDUCTIONS[1:]), tf.int32))
    return _resize(tf.switch_case(branch, [decode_reduced(reduction) for reduction in _REDUCTIONS]), [crop, crop])


def _window_of_pixels(pixels, box, crop):
    return cut(pixels[tf.newaxis], box, crop)[0]


@tf.function(input_signature=[_ENCODED], autograph=False)
def encoded_size(encoded):
    """Returns `[height, width]` of an encoded image, int32; of a JPEG from its header alone.

    Raises:
        tf.errors.InvalidArgumentError: for bytes that are no image.
    """
    return decoding.by_kind(encoded, lambda size: size, lambda pixels: tf.shape(pixels)[:2])


@tf.function(input_signature=[_ENCODED], autograph=False)
def decode_pixels(encoded):
    """Decodes a whole image as it is: `(height, width, 3)` uint8, RGB.

    Raises:
        tf.errors.InvalidArgumentError: for bytes that are no whole image.
    """
    return decoding.by_kind(encoded, lambda size: decoding.decode_jpeg(encoded), lambda pixels: pixels)


@tf.function(input_signature=[_ENCODED, tf.TensorSpec([2], tf.int32)], autograph=False)
def decode_whole(encoded, size):
    """Decodes a whole image and resizes it, with the same operations as `decode_view`.

    Args:
        encoded: as for `decode_view`.
        size: `[height, width]`, int32, as `rescaled_size` gives it.

    Returns:
        `(height, width, 3)` uint8, RGB.

    Raises:
        tf.errors.InvalidArgumentError: for bytes that are no whole image.
    """

    def of_jpeg(jpeg_size):
        fits = jpeg_size // size  # the largest reduction that leaves at least the pixels wanted
        branch = tf.reduce_sum(tf.cast(tf.reduce_min(fits) >= tf.constant(_REDUCTIONS[1:]), tf.int32))
        return tf.switch_case(branch, [lambda ratio=ratio: decoding.decode_jpeg(encoded, ratio) for ratio in _REDUCTIONS])

    return _resize(decoding.by_kind(encoded, of_jpeg, lambda pixels: pixels), size)


def _resize(pixels, size):
    return resize(pixels[tf.newaxis], size)[0]
