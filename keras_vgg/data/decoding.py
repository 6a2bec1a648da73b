"""Encoded images to pixels: the one place where anything is decoded, for training, tests, predictions and served graphs alike.

JPEGs are decoded with libjpeg's exact inverse DCT, as Pillow does it and so Keras and torchvision, on whose pixels public weights
were trained. TensorFlow's default is a fast one, which is darker by a grey level in red and blue. Chroma is upsampled with
libjpeg's triangle filter, which is the default of all of them; truncated files are refused.
"""

import tensorflow as tf

from keras_vgg.data import image_headers

_JPEG = {"channels": 3, "dct_method": "INTEGER_ACCURATE", "fancy_upscaling": True, "try_recover_truncated": False}


def decode_image(encoded):
    """Decodes a whole image.

    Args:
        encoded: scalar string: JPEG (grey and CMYK too), PNG, GIF (its first frame), BMP (grey, or without palette) or WebP,
            told by its content.

    Returns:
        `(height, width, 3)` uint8, RGB.

    Raises:
        tf.errors.InvalidArgumentError: for bytes that are no whole image, or one that would be decoded wrongly.
    """
    # `tf.io.decode_image` takes no `dct_method`.
    return tf.cond(tf.io.is_jpeg(encoded), lambda: decode_jpeg(encoded), lambda: _decode_other(encoded))


def decode_jpeg(encoded, reduction: int = 1):
    """Decodes a whole JPEG, reduced by 1, 2, 4 or 8 by leaving out frequencies: `(height, width, 3)` uint8, RGB."""
    return tf.io.decode_jpeg(encoded, ratio=reduction, **_JPEG)


def decode_jpeg_window(encoded, window, reduction: int = 1):
    """Decodes a part of a JPEG, to the pixels that the whole image has there.

    Args:
        encoded: scalar string, a JPEG.
        window: int32 `[top, left, height, width]` in pixels of the reduced image.
        reduction: 1, 2, 4 or 8.

    Returns:
        `(height, width, 3)` uint8, RGB.
    """
    # Chroma of half the resolution is upsampled without what lies left and right of a window, which makes its outer columns
    # others than the whole image's: so a column more is decoded on either side, where there is one.
    top, left, height, width = tf.unstack(window)
    image_width = -(-tf.io.extract_jpeg_shape(encoded)[1] // reduction)
    before = tf.minimum(left, 1)
    after = tf.clip_by_value(image_width - left - width, 0, 1)
    wider = tf.stack([top, left - before, height, before + width + after])
    return tf.io.decode_and_crop_jpeg(encoded, wider, ratio=reduction, **_JPEG)[:, before : before + width]


def _decode_other(encoded):
    encoded = tf.cond(tf.strings.substr(encoded, 0, 2) == "BM", lambda: _or_reason(encoded), lambda: encoded)
    # With `channels` unsaid, an animated WebP makes TensorFlow 2.21 write beyond its memory.
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return image


def _or_reason(encoded):
    # What would be decoded wrongly gives way to the reason, which is no image and raises.
    reason = image_headers.what_is_not_decoded(encoded)
    return tf.where(reason == "", encoded, reason)
