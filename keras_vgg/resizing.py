"""Rescaling an image to a smallest side and cutting a crop (Sec. 3.1): sizes and pixels.

Pure operations, usable eagerly, in `Dataset.map` and in models.

A crop starts at a whole pixel of the rescaled image. Of an image at least as large as the crop, it is the part nearest to that in
whole pixels of the image itself, which alone is decoded and resized. Of a smaller image, whose few pixels would leave few different
crops, it is exactly the crop of the rescaled image.
"""

from typing import NamedTuple

import tensorflow as tf


class Place(NamedTuple):
    """Where a crop lies in an image; each attribute but `crop` may have a row for each of several views.

    Attributes:
        size: `[height, width]` of the image, int32.
        rescaled: the same after rescaling.
        start: first row and column of the crop in the rescaled image, whole numbers as float32.
        window: `[top, left, height, width]`, float32: the part of the image, in its pixels, that becomes the crop. Whole numbers
            unless the image is smaller than the crop.
        crop: side of the crop.
    """

    size: tf.Tensor
    rescaled: tf.Tensor
    start: tf.Tensor
    window: tf.Tensor
    crop: int

    @property
    def is_small(self):
        """Whether the image is smaller than the crop."""
        return tf.reduce_min(self.size, axis=-1) < self.crop

    @property
    def pixels(self):
        """`[top, left, height, width]`, int32: the pixels from which `cut` computes the crop; of a single view."""

        def around():
            below, above, _ = self.neighbours()
            return tf.concat([below[:, 0], above[:, -1] - below[:, 0] + 1], axis=0)

        return tf.cond(self.is_small, around, lambda: tf.cast(self.window, tf.int32))

    def neighbours(self):
        """Returns between which rows and columns of a small image those of the crop lie, as in `tf.image.resize`.

        Returns:
            The one before and the one after, `(…, 2, crop)` int32, and the distance from the former, float32.
        """
        # In the order of TensorFlow's operations, to its last bit.
        step = tf.cast(self.size, tf.float32) / tf.cast(self.rescaled, tf.float32)
        there = tf.cast(tf.range(self.crop), tf.float32) + self.start[..., tf.newaxis]
        there = (there + 0.5) * step[..., tf.newaxis] - 0.5
        below = tf.floor(there)
        last = self.size[..., tf.newaxis] - 1
        return tf.maximum(tf.cast(below, tf.int32), 0), tf.minimum(tf.cast(tf.math.ceil(there), tf.int32), last), there - below


def place(height, width, scale, top, left, crop: int) -> Place:
    """Returns which part of an image becomes the crop after rescaling to smallest side `scale`.

    Args:
        height, width: the image's size in pixels, int32.
        scale: S, int32, at least `crop`.
        top, left: position of the crop as fractions of the available range, float32 in [0, 1].
        crop: side of the crop.

    All but `crop` may have one value for each of several views: `(B,)`.

    Returns:
        The place, whose window lies within the image. Of an image at least as large as the crop, it is at least a pixel high and
        wide.
    """
    size, side = tf.stack([height, width], axis=-1), tf.cast(crop, tf.float32)
    original, rescaled_to = tf.cast(size, tf.float32), rescaled_size(height, width, scale)
    zoom = tf.cast(scale, tf.float32)[..., tf.newaxis] / tf.reduce_min(original, axis=-1, keepdims=True)
    rescaled = tf.cast(rescaled_to, tf.float32)
    # The crop starts at a whole pixel of the rescaled image, uniform over all possible positions.
    start = tf.minimum(tf.floor(tf.stack([top, left], axis=-1) * (rescaled - side + 1)), rescaled - side)
    first = tf.minimum(tf.round(start / zoom), original - 1)
    whole = tf.concat([first, tf.minimum(tf.maximum(tf.round(side / zoom), 1), original - first)], axis=-1)
    step = original / rescaled
    exact = tf.concat([start * step, side * step * tf.ones_like(start)], axis=-1)
    is_small = tf.reduce_min(original, axis=-1, keepdims=True) < side
    return Place(size, rescaled_to, start, tf.where(is_small, exact, whole), crop)


def rescaled_size(height, width, scale):
    """Returns `[height, width]`, int32, of an image rescaled isotropically to smallest side `scale`, rounded, halves upward.

    Computed in integers, as in `inference.batches`: floats of different precisions round halves differently.
    """
    sides, scale = tf.cast(tf.stack([height, width], axis=-1), tf.int64), tf.cast(scale, tf.int64)[..., tf.newaxis]
    smallest = tf.reduce_min(sides, axis=-1, keepdims=True)
    return tf.cast((2 * sides * scale + smallest) // (2 * smallest), tf.int32)


def cut(images, place: Place):
    """Returns the crop of images of one size.

    Args:
        images: `(B, height, width, 3)` of any dtype, in 0–255.
        place: a single one, of all of them.

    Returns:
        `(B, crop, crop, 3)` uint8.
    """
    part = place.pixels
    begin, size = tf.concat([[0], part[:2], [0]], 0), tf.concat([[-1], part[2:], [3]], 0)
    return to_crop(tf.slice(images, begin, size), place, part)


def to_crop(images, place: Place, part):
    """Returns the crop of images of which only the pixels `part`, or a reduction of them, are there: `(B, crop, crop, 3)` uint8."""
    return tf.cond(place.is_small, lambda: enlarged(images, place, part[:2]), lambda: resize(images, [place.crop, place.crop]))


def enlarged(images, place: Place, origin=(0, 0)):
    """Returns the crops of small images: the pixels of `resize` for the whole image, of which only the crop is computed.

    Args:
        images: `(B, …, …, 3)` of any dtype, in 0–255.
        place: a single one, or one for each image.
        origin: row and column of the image at which `images` start, int32.

    Returns:
        `(B, crop, crop, 3)` uint8.
    """
    below, above, distance = place.neighbours()
    (top, left), (bottom, right) = (tf.unstack(each, axis=-2) for each in (below, above))
    y, x = tf.unstack(distance, axis=-2)

    def between(values, first, second, part, axis):
        at = {"axis": axis, "batch_dims": first.shape.rank - 1}
        one, other = (tf.cast(tf.gather(values, each, **at), tf.float32) for each in (first, second))
        return one + (other - one) * part

    # Columns before rows, also as TensorFlow does it.
    rows = between(images, left - origin[1], right - origin[1], x[..., tf.newaxis, :, tf.newaxis], axis=2)
    return to_pixels(between(rows, top - origin[0], bottom - origin[0], y[..., :, tf.newaxis, tf.newaxis], axis=1))


def resize(images, size):
    """Resizes images, `(B, …, …, 3)` in 0–255, to `size`, `[height, width]`, as uint8: bilinear, averaged if twice as large."""
    # Two-tap bilinear skips pixels beyond a reduction of two; averaging is expensive and only needed for large images.
    is_large = tf.reduce_all(tf.shape(images)[1:3] >= 2 * tf.convert_to_tensor(size))
    resized = tf.cond(is_large, lambda: tf.image.resize(images, size, antialias=True), lambda: tf.image.resize(images, size))
    return to_pixels(resized)


def to_pixels(values):
    """Rounds means of pixels, in [0, 255], to uint8."""
    return tf.cast(tf.round(values), tf.uint8)
