"""Pure image operations, usable eagerly and in `Dataset.map`.

A view is what the net sees of an image: the image is rescaled isotropically to a smallest side S and a square crop is cut
(Sec. 3.1). Only the pixels of the crop are decoded, and JPEGs much larger than the crop are reduced during decoding, so that a
photograph of 8,000 pixels costs little more than one of 500.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_vgg import randomness
from keras_vgg.data import decoding, image_headers
from keras_vgg.resizing import Place, cut, enlarged, place, resize, to_crop, to_pixels
from keras_vgg.resizing import rescaled_size as rescaled_size  # an operation like those below

_ENCODED, _WHOLE, _FRACTION = (tf.TensorSpec([], dtype) for dtype in (tf.string, tf.int32, tf.float32))
_REDUCTIONS = (1, 2, 4, 8)  # supported by JPEG decoders, which omit frequencies


class Geometry(NamedTuple):
    """Position of a view in its image, for targets in pixels.

    Attributes:
        size: `[height, width]` of the image, int32.
        window: `[top, left, height, width]`: the part of the image, in its pixels, that became the view; float32, see
            `resizing.Place`. `(…, 4)` for several views of one image, with boxes as `(…, 4)`, too.
        mirrored: bool, whether the view is mirrored left to right.
        crop: side of the view in pixels.
    """

    size: tf.Tensor
    window: tf.Tensor
    mirrored: tf.Tensor
    crop: int

    def points_in_view(self, points):
        """Converts points, `(…, 2)` float32, `y` and `x` in pixels of the image, to pixels of the view; they may lie outside it."""
        window = tf.cast(self.window, tf.float32)
        y, x = tf.unstack((points - window[:2]) * (self.crop / window[2:]), axis=-1)
        return tf.stack([y, tf.where(self.mirrored, self.crop - x, x)], axis=-1)

    def boxes_in_view(self, boxes):
        """Converts boxes, `(…, 4)` float32, `x_min, y_min, x_max, y_max`, from pixels of the image to the view; may leave it."""
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
        `(scale, top, left, mirrored)`, each in the shape of `keys`: S, int32, uniform over the integers of `scales`; the
        position of the crop as fractions in [0, 1) of the available range, float32; a bool.
    """
    draws = tf.unstack(randomness.uniform(keys, [4], seed=seed, stream=randomness.VIEW), num=4, axis=-1)
    scale = scales[0] + tf.cast(draws[0] * (scales[1] - scales[0] + 1), tf.int32)
    return tf.minimum(scale, scales[1]), draws[1], draws[2], tf.logical_and(flip, draws[3] < 0.5)


def decode_view(encoded, scale, top, left, mirrored, crop: int):
    """Decodes the part that `place` chooses and resizes it to the crop.

    Args:
        encoded: scalar string: an image in a format of `formats`, detected by its content.
        scale, top, left, crop: as for `place`.
        mirrored: whether to mirror the result left to right.

    Returns:
        `(crop, crop, 3)` uint8, RGB. Bilinear, as in Caffe; reductions beyond two are averaged beforehand.

    Raises:
        tf.errors.InvalidArgumentError: for bytes that are not a complete image, or that `formats.refusal` rejects. A JPEG that is
            truncated below the crop is not noticed: decoding ends there, and the pixels are correct.
    """
    return decode_view_placed(encoded, scale, top, left, mirrored, crop)[0]


def decode_view_placed(encoded, scale, top, left, mirrored, crop: int) -> tuple[tf.Tensor, Geometry]:
    """Returns the result of `decode_view`, and its position in the image."""
    pixels, size, part = _decode_view(encoded, scale, top, left, mirrored, crop)
    return tf.ensure_shape(pixels, [crop, crop, 3]), Geometry(size, part, mirrored, crop)


def views_of_pixels(pixels, which, scale, top, left, mirrored, crop: int):
    """Returns the results of `decode_view` for some of many decoded images.

    Args:
        pixels: `(n, height, width, 3)` uint8; views must not be reduced to half or less, see `resize`.
        which: `(B,)` int64, the image of each view.
        scale, top, left, mirrored: `(B,)`, as for `decode_view`.
        crop: side of the views.

    Returns:
        `(B, crop, crop, 3)` uint8.
    """
    _, height, width, _ = pixels.shape
    where, count = place(height, width, scale, top, left, crop), tf.shape(which)[0]
    views = enlarged(tf.gather(pixels, which), where) if min(height, width) < crop else _parts_of(pixels, which, where)
    return tf.gather(tf.concat([views, _mirror(views)], axis=0), tf.range(count) + count * tf.cast(mirrored, tf.int32))


def _parts_of(pixels, which, where: Place):
    parts, crop = tf.cast(where.window, tf.int32), where.crop
    # Slices of images, rows, columns and channels.
    begins = tf.concat([tf.cast(which, tf.int32)[:, tf.newaxis], tf.pad(parts[:, :2], [[0, 0], [0, 1]])], axis=1)
    sizes = tf.concat([tf.ones_like(begins[:, :1]), parts[:, 2:], 3 * tf.ones_like(begins[:, :1])], axis=1)
    views = tf.map_fn(
        lambda part: tf.image.resize(tf.slice(pixels, *part), [crop, crop]),
        (begins, sizes),
        fn_output_signature=tf.TensorSpec([1, crop, crop, 3], tf.float32),
    )
    return to_pixels(views[:, 0])


def _mirror(views):
    """Returns images mirrored left to right, in three dimensions, for which TensorFlow has a fast path."""
    return tf.reshape(tf.reverse(tf.reshape(views, [-1, *views.shape[2:]]), [1]), [-1, *views.shape[1:]])


# Traced once for the many datasets of a run, like the three below, to save a third of a second each.
@tf.function(input_signature=[_ENCODED, _WHOLE, _FRACTION, _FRACTION, tf.TensorSpec([], tf.bool), _WHOLE], autograph=False)
def _decode_view(encoded, scale, top, left, mirrored, crop):
    def of_jpeg(size):
        where = place(size[0], size[1], scale, top, left, crop)
        return _window_of_jpeg(encoded, size, where), size, where.window

    def of_pixels(pixels):
        size = tf.shape(pixels)[:2]
        where = place(size[0], size[1], scale, top, left, crop)
        return cut(pixels[tf.newaxis], where)[0], size, where.window

    pixels, size, part = decoding.by_kind(encoded, of_jpeg, of_pixels)
    return tf.cond(mirrored, lambda: tf.reverse(pixels, [1]), lambda: pixels), size, part


def _window_of_jpeg(encoded, size, where: Place):
    box, crop = where.pixels, where.crop

    def decode_reduced(reduction):
        # The decoder expects a window in pixels of the reduced image.
        sides = tf.maximum(box[2:] // reduction, 1)
        reduced = tf.concat([(box[:2] + reduction // 2) // reduction, sides], axis=0)
        return lambda: decoding.decode_jpeg_window(encoded, reduced, size[1], reduction)

    # The largest reduction that leaves at least the pixels of the crop.
    branch = tf.reduce_sum(tf.cast(tf.reduce_min(box[2:]) // crop >= tf.constant(_REDUCTIONS[1:]), tf.int32))
    # libjpeg-turbo decodes other pixels in a reduced window of such JPEGs, and from uninitialized memory if they are damaged.
    is_coarse = tf.cond(branch > 0, lambda: image_headers.has_coarse_chroma(encoded), lambda: False)
    branch = tf.where(is_coarse, 0, branch)
    pixels = tf.switch_case(branch, [decode_reduced(reduction) for reduction in _REDUCTIONS])
    return to_crop(pixels[tf.newaxis], where, box)[0]


@tf.function(input_signature=[_ENCODED], autograph=False)
def encoded_size(encoded):
    """Returns `[height, width]` of an encoded image, int32; for a JPEG it reads only the header.

    Raises:
        tf.errors.InvalidArgumentError: for bytes that are not an image.
    """
    return decoding.by_kind(encoded, lambda size: size, lambda pixels: tf.shape(pixels)[:2])


@tf.function(input_signature=[_ENCODED], autograph=False)
def decode_pixels(encoded):
    """Decodes a whole image at its own size: `(height, width, 3)` uint8, RGB.

    Raises:
        tf.errors.InvalidArgumentError: for bytes that are not a complete image.
    """
    return decoding.by_kind(encoded, lambda size: decoding.decode_jpeg(encoded), lambda pixels: pixels)


@tf.function(input_signature=[_ENCODED, tf.TensorSpec([2], tf.int32)], autograph=False)
def decode_whole(encoded, size):
    """Decodes a whole image and resizes it, with the same operations as `decode_view`.

    Args:
        encoded: as for `decode_view`.
        size: `[height, width]`, int32, from `rescaled_size`.

    Returns:
        `(height, width, 3)` uint8, RGB.

    Raises:
        tf.errors.InvalidArgumentError: for bytes that are not a complete image.
    """

    def of_jpeg(jpeg_size):
        fits = jpeg_size // size  # the largest reduction that leaves at least `size`
        branch = tf.reduce_sum(tf.cast(tf.reduce_min(fits) >= tf.constant(_REDUCTIONS[1:]), tf.int32))
        return tf.switch_case(branch, [lambda ratio=ratio: decoding.decode_jpeg(encoded, ratio) for ratio in _REDUCTIONS])

    return _resize(decoding.by_kind(encoded, of_jpeg, lambda pixels: pixels), size)


def _resize(pixels, size):
    return resize(pixels[tf.newaxis], size)[0]
