"""Decoding of images: the only place where it happens, for training, tests, predictions and served graphs alike.

JPEGs are decoded with libjpeg's exact inverse DCT, as in Pillow and so in Keras and torchvision, on whose pixels public weights
were trained. TensorFlow defaults to a fast one, which is darker by one level in red and blue. Chroma is upsampled with libjpeg's
triangle filter, which is the default of all of them; truncated files are rejected.
"""

from collections.abc import Callable

import tensorflow as tf

from keras_vgg.data import formats, gif, image_headers
from keras_vgg.data.image_headers import FORMATS
from keras_vgg.data.reading import attempt

_JPEG = {"channels": 3, "dct_method": "INTEGER_ACCURATE", "fancy_upscaling": True, "try_recover_truncated": False}


# Traced and optimized once: most images are JPEGs, and every decoding graph contains the rest several times.
@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False, experimental_attributes={"_noinline": True})
def decode_image(encoded):
    """Decodes a whole image.

    Args:
        encoded: scalar string: an image in a format of `formats`, detected by its content.

    Returns:
        `(height, width, 3)` uint8, RGB.

    Raises:
        tf.errors.InvalidArgumentError: for bytes that are not a complete image, or that `formats.refusal` rejects.
    """
    header = image_headers.read_header(encoded)
    reason = formats.refusal(encoded, header)
    encoded = tf.where(reason == "", encoded, reason)  # the reason is not an image, so that decoding it raises
    # `tf.io.decode_image` has no `dct_method`.
    special = {
        "JPEG": lambda: decode_jpeg(encoded),
        "GIF": lambda: _decode_gif(header.frame),
        "WebP": lambda: _decode_webp(encoded),
    }
    kind = tf.reduce_sum(tf.cast(header.number == [FORMATS.index(name) for name in special], tf.int32) * [1, 2, 3])
    pixels = tf.switch_case(tf.where(reason == "", kind, 0), [lambda: _decode(encoded), *special.values()])
    return tf.ensure_shape(pixels, [None, None, 3])


def by_kind(encoded, of_jpeg: Callable, of_pixels: Callable):
    """Handles JPEGs, of which parts can be decoded, in one way, and all other images, which are decoded whole, in another.

    Args:
        encoded: as for `decode_image`.
        of_jpeg: called with `[height, width]`, int32, of a grayscale or three-channel JPEG that is not rejected.
        of_pixels: called with the pixels of another image, `(height, width, 3)` uint8, RGB.

    Returns:
        The result of the called function.

    Raises:
        tf.errors.InvalidArgumentError: as `decode_image`.
    """

    # In the usual cases only the header is read, once per image, and scans are counted.
    def read_jpeg():
        shape = tf.io.extract_jpeg_shape(encoded)
        is_bounded = formats.is_bounded(tf.cast(shape[:2], tf.int64), image_headers.jpeg_scans(encoded))
        return shape[:2], tf.logical_and(tf.reduce_any(shape[2] == [1, 3]), is_bounded)

    size, is_usual_jpeg = tf.cond(tf.io.is_jpeg(encoded), read_jpeg, lambda: (tf.zeros([2], tf.int32), False))

    def is_usual_png():
        return formats.is_bounded(image_headers.png_size(encoded), 1)

    is_png = tf.cond(tf.strings.substr(encoded, 0, 4) == b"\x89PNG", is_usual_png, lambda: False)

    def pixels():
        return tf.cond(is_png, lambda: tf.io.decode_png(encoded, channels=3), lambda: decode_image(encoded))

    # `of_pixels` occurs only once: a dataset's graph is optimized anew for each iterator.
    return tf.cond(is_usual_jpeg, lambda: of_jpeg(size), lambda: of_pixels(pixels()))


def decode_jpeg(encoded, reduction: int = 1):
    """Decodes a whole JPEG, reduced by 1, 2, 4 or 8 by omitting frequencies: `(height, width, 3)` uint8, RGB."""
    return tf.io.decode_jpeg(encoded, ratio=reduction, **_JPEG)


def decode_jpeg_window(encoded, window, image_width, reduction: int = 1):
    """Decodes a part of a JPEG, with the same pixels as in the whole image.

    Args:
        encoded: scalar string, a JPEG.
        window: int32 `[top, left, height, width]` in pixels of the reduced image.
        image_width: int32, in pixels of the image itself.
        reduction: 1, 2, 4 or 8.

    Returns:
        `(height, width, 3)` uint8, RGB.
    """
    # Chroma of half the resolution is upsampled without the pixels left and right of a window, so that its outer columns would
    # differ from the whole image's: one more column is decoded on either side, if there is one.
    top, left, height, width = tf.unstack(window)
    before = tf.minimum(left, 1)
    after = tf.clip_by_value(-(-image_width // reduction) - left - width, 0, 1)
    wider = tf.stack([top, left - before, height, before + width + after])
    return tf.io.decode_and_crop_jpeg(encoded, wider, ratio=reduction, **_JPEG)[:, before : before + width]


def _decode(encoded, channels=3):
    # Without `channels`, an animated WebP makes TensorFlow 2.21 write out of bounds.
    return tf.io.decode_image(encoded, channels=channels, expand_animations=False)


def _decode_gif(frame):
    return gif.on_canvas(_decode(frame.encoded), frame)


def _decode_webp(encoded):
    # TensorFlow only accepts the file's own number of channels, which is known when it is decoded.
    opaque = attempt(_decode, encoded, tf.zeros([0, 0, 3], tf.uint8))
    return tf.cond(tf.size(opaque) > 0, lambda: opaque, lambda: _decode(encoded, channels=4)[..., :3])
