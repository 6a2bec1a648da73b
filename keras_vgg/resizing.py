"""Rescaling an image to a smallest side and cutting a crop (Sec. 3.1): sizes and pixels.

Pure operations, usable eagerly, in `Dataset.map` and in models.
"""

import tensorflow as tf


def window(height, width, scale, top, left, crop: int):
    """Returns the part of an image that becomes the crop after rescaling to smallest side `scale`.

    Args:
        height, width: the image's size in pixels, int32.
        scale: S, int32, at least `crop`.
        top, left: position of the crop as fractions of the available range, float32 in [0, 1].
        crop: side of the crop.

    All but `crop` may have one value for each of several views: `(B,)`.

    Returns:
        int32 `[top, left, height, width]`, or `(B, 4)`, in whole pixels of the original image, at least one pixel high and wide
        and within the image.
    """
    original, crop = tf.cast(tf.stack([height, width], axis=-1), tf.float32), tf.cast(crop, tf.float32)
    zoom = tf.cast(scale, tf.float32)[..., tf.newaxis] / tf.reduce_min(original, axis=-1, keepdims=True)
    rescaled = tf.cast(rescaled_size(height, width, scale), tf.float32)
    # The crop starts at a whole pixel of the rescaled image, uniform over all possible positions.
    start = tf.minimum(tf.floor(tf.stack([top, left], axis=-1) * (rescaled - crop + 1)), rescaled - crop)
    first = tf.minimum(tf.round(start / zoom), original - 1)
    size = tf.minimum(tf.maximum(tf.round(crop / zoom), 1), original - first)
    return tf.cast(tf.concat([first, size], axis=-1), tf.int32)


def rescaled_size(height, width, scale):
    """Returns `[height, width]`, int32, of an image rescaled isotropically to smallest side `scale`, rounded, halves upward.

    Computed in integers, as in `inference.batches`: floats of different precisions round halves differently.
    """
    sides, scale = tf.cast(tf.stack([height, width], axis=-1), tf.int64), tf.cast(scale, tf.int64)[..., tf.newaxis]
    smallest = tf.reduce_min(sides, axis=-1, keepdims=True)
    return tf.cast((2 * sides * scale + smallest) // (2 * smallest), tf.int32)


def cut(images, part, crop: int):
    """Returns the `part` of images that `window` chose, resized to the crop.

    Args:
        images: `(B, height, width, 3)` of any dtype, in 0–255.
        part: int32 `[top, left, height, width]`.
        crop: side of the crop.

    Returns:
        `(B, crop, crop, 3)` uint8.
    """
    begin, size = tf.concat([[0], part[:2], [0]], 0), tf.concat([[-1], part[2:], [3]], 0)
    return resize(tf.slice(images, begin, size), [crop, crop])


def resize(images, size):
    """Resizes images, `(B, …, …, 3)` in 0–255, to `size`, `[height, width]`, as uint8: bilinear, averaged if twice as large."""
    # Two-tap bilinear skips pixels beyond a reduction of two; averaging is expensive and only needed for large images.
    is_large = tf.reduce_all(tf.shape(images)[1:3] >= 2 * tf.convert_to_tensor(size))
    resized = tf.cond(is_large, lambda: tf.image.resize(images, size, antialias=True), lambda: tf.image.resize(images, size))
    return to_pixels(resized)


def to_pixels(values):
    """Rounds means of pixels, in [0, 255], to uint8."""
    return tf.cast(tf.round(values), tf.uint8)
