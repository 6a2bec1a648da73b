"""RandAugment (Cubuk et al. 2020): a few random operations, all of one strength.

Operations and their ranges are those of AutoAugment, as in the paper. The effect of each grows from none to its maximum with the
strength, in either direction if it has two. Uncovered pixels are gray.
"""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_vgg import randomness

STRONGEST = 10
"""The strength at which operations have their maximum effect."""

_GREY = 128.0
_SHEAR, _SHIFT, _TURN, _ENHANCE = 0.3, 0.45, math.radians(30), 0.9  # maxima; the shift as a share of the side
_SMOOTH = ((1, 1, 1), (1, 5, 1), (1, 1, 1))  # as in Pillow


def rand_augment(pixels, key, *, operations: int, strength: int, seed: int):
    """Applies `operations` operations, one after another, drawn for the example.

    Args:
        pixels: `(side, side, 3)` uint8, RGB.
        key: scalar int64 from `randomness.example_key`.
        operations, strength: N and M of the paper; M in [0, `STRONGEST`].
        seed: the run's seed.

    Returns:
        `(side, side, 3)` uint8.
    """
    draws = randomness.uniform(key, [operations, 2], seed=seed, stream=randomness.RAND_AUGMENT)
    for which, side in map(tf.unstack, tf.unstack(draws)):
        amount = tf.where(side < 0.5, -1.0, 1.0) * strength / STRONGEST
        pixels = _apply(tf.cast(which * len(OPERATIONS), tf.int32), pixels, amount)
    return pixels


@tf.function(autograph=False)  # traced once for all operations and all datasets
def _apply(number, pixels, amount):
    def applied(operation):
        return lambda: tf.ensure_shape(operation(pixels, amount), pixels.shape)

    return tf.switch_case(number, [applied(operation) for operation in OPERATIONS.values()])


def _identity(pixels, amount):
    return pixels


def _auto_contrast(pixels, amount):
    return _by_layer(keras.layers.AutoContrast(dtype="float32"), pixels)


def _equalize(pixels, amount):
    return _by_layer(keras.layers.Equalization(dtype="float32"), pixels)


def _rotate(pixels, amount):
    cosine, sine = tf.cos(amount * _TURN), tf.sin(amount * _TURN)
    return _moved(pixels, [[cosine, -sine], [sine, cosine]])


def _shear_x(pixels, amount):
    return _moved(pixels, [[1.0, amount * _SHEAR], [0.0, 1.0]])


def _shear_y(pixels, amount):
    return _moved(pixels, [[1.0, 0.0], [amount * _SHEAR, 1.0]])


def _translate_x(pixels, amount):
    return _moved(pixels, [[1.0, 0.0], [0.0, 1.0]], [amount * _SHIFT, 0.0])


def _translate_y(pixels, amount):
    return _moved(pixels, [[1.0, 0.0], [0.0, 1.0]], [0.0, amount * _SHIFT])


def _solarize(pixels, amount):
    """Inverts values at or above a threshold, which falls from 256."""
    return tf.where(tf.cast(pixels, tf.float32) < 256.0 * (1.0 - tf.abs(amount)), pixels, 255 - pixels)


def _posterize(pixels, amount):
    """Keeps the highest bits of each channel, at least four."""
    dropped = tf.cast(tf.round(4.0 * tf.abs(amount)), tf.uint8)
    return tf.bitwise.left_shift(tf.bitwise.right_shift(pixels, dropped), dropped)


def _color(pixels, amount):
    return _blended(tf.image.rgb_to_grayscale(tf.cast(pixels, tf.float32)), pixels, amount)


def _contrast(pixels, amount):
    return _blended(tf.reduce_mean(tf.image.rgb_to_grayscale(tf.cast(pixels, tf.float32))), pixels, amount)


def _brightness(pixels, amount):
    return _blended(0.0, pixels, amount)


def _sharpness(pixels, amount):
    kernel = tf.constant(_SMOOTH, tf.float32)[:, :, tf.newaxis, tf.newaxis] / 13.0
    inner = tf.nn.depthwise_conv2d(
        tf.cast(pixels, tf.float32)[tf.newaxis], tf.tile(kernel, [1, 1, 3, 1]), strides=[1, 1, 1, 1], padding="VALID"
    )[0]
    is_inner = tf.pad(tf.ones_like(inner), [[1, 1], [1, 1], [0, 0]])  # the edge has too few neighbors
    smooth = tf.where(is_inner > 0, tf.pad(inner, [[1, 1], [1, 1], [0, 0]]), tf.cast(pixels, tf.float32))
    return _blended(smooth, pixels, amount)


OPERATIONS: dict[str, Callable] = {
    "identity": _identity,
    "auto_contrast": _auto_contrast,
    "equalize": _equalize,
    "rotate": _rotate,
    "solarize": _solarize,
    "color": _color,
    "posterize": _posterize,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
"""The paper's operations by name: graph functions from pixels, `(side, side, 3)` uint8, and an amount in [-1, 1] to pixels."""


def _blended(without, pixels, amount):
    """Interpolates from an image without some property to the image or, if `amount` is positive, extrapolates beyond it."""
    image = tf.cast(pixels, tf.float32)
    return _to_uint8(without + (1.0 + amount * _ENHANCE) * (image - without))


def _moved(pixels, matrix, shift=(0.0, 0.0)):
    """Takes each pixel from its position under `matrix`, about the center, and `shift`, in sides; x first, as in Keras."""
    side = pixels.shape[0]
    centre = (side - 1) / 2
    (a, b), (c, d) = matrix
    x = centre - a * centre - b * centre + shift[0] * side
    y = centre - c * centre - d * centre + shift[1] * side
    transform = tf.stack([tf.cast(each, tf.float32) for each in (a, b, x, c, d, y, 0.0, 0.0)])
    moved = keras.ops.image.affine_transform(
        tf.cast(pixels, tf.float32), transform, interpolation="bilinear", fill_mode="constant", fill_value=_GREY
    )
    return _to_uint8(moved)


def _by_layer(layer: keras.layers.Layer, pixels):
    """Applies a deterministic Keras layer to one image."""
    return _to_uint8(layer(tf.cast(pixels, tf.float32)[tf.newaxis])[0])


def _to_uint8(image):
    return tf.cast(tf.clip_by_value(tf.round(image), 0.0, 255.0), tf.uint8)
