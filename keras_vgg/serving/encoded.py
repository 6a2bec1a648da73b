"""Decodes images inside a graph, each independently: an unusable image does not affect the others and yields a reason.

A server batches images of many clients. So nothing here raises, whatever the bytes: each image yields its pixels or a reason.
"""

import tensorflow as tf

from keras_vgg.data import formats, image_headers, images
from keras_vgg.data.reading import attempt


def view_shapes(encoded, scales: tuple[int, ...], *, crop: int | None, most_pixels: int):
    """Returns the shapes of an image at several scales, from its header alone.

    Args:
        encoded: scalar string: an image in a format of `data.formats`, or any other bytes.
        scales: smallest sides Q.
        crop: side of the center crop at each scale; `None` for whole images.
        most_pixels: of a whole rescaled image, beyond which it is refused.

    Returns:
        `(shapes, error)`: height and width at each scale, `(scales, 2)` int32; and why the image is refused, a scalar string,
        empty if it is not. Shapes of a refused image are zeros.
    """
    header = image_headers.read_header(encoded)
    error = refusal(encoded, header, max(scales), most_pixels if crop is None else None)
    height, width = tf.unstack(tf.maximum(header.size, 1))
    whole = tf.stack([images.rescaled_size(height, width, scale) for scale in scales])
    return tf.where(error == "", whole if crop is None else tf.fill(tf.shape(whole), crop), 0), error


def decode_view(encoded, scale, shape, *, crop: int | None):
    """Decodes an image that `view_shapes` accepts, with the operations of `evaluation`.

    Args:
        encoded: scalar string.
        scale: smallest side Q, int32.
        shape: height and width at this scale, `(2,)` int32.
        crop: as for `view_shapes`.

    Returns:
        `(pixels, error)`: `(height, width, 3)` uint8, RGB; and why they are invalid, a scalar string, empty if they are valid.
    """

    def decode(encoded):
        if crop is None:
            return images.decode_whole(encoded, shape), True
        return images.decode_view(encoded, scale, 0.5, 0.5, tf.constant(False), crop), True

    nothing = tf.zeros(tf.concat([shape, [3]], axis=0), tf.uint8)
    pixels, is_whole = attempt(decode, encoded, (nothing, False))
    return pixels, tf.where(is_whole, "", formats.damage(encoded))


def rescaled_images(encoded, scales: tuple[int, ...], *, crop: int | None, most_pixels: int):
    """Decodes an image and rescales it to each of several scales.

    Args:
        encoded, scales, crop, most_pixels: as for `view_shapes`.

    Returns:
        `(rescaled, error)`: for each scale `(height, width, 3)` uint8, RGB; and why the image is unusable, a scalar string,
        empty if it is usable. Pixels of an unusable image have no meaning.
    """
    shapes, error = view_shapes(encoded, scales, crop=crop, most_pixels=most_pixels)

    def decode():
        views = [decode_view(encoded, scale, shapes[place], crop=crop) for place, scale in enumerate(scales)]
        rescaled, errors = zip(*views, strict=True)
        errors = tf.stack(errors)  # the same reason at each scale that has one
        return tuple(tf.ensure_shape(each, [None, None, 3]) for each in rescaled), errors[tf.argmax(errors != "")]

    nothing = tuple(tf.zeros([0, 0, 3], tf.uint8) for _ in scales)
    return tf.cond(error == "", decode, lambda: (nothing, error))


def refusal(encoded, header: image_headers.Header, scale: int, most_pixels: int | None):
    """Returns why an image is refused, a scalar string; empty if it is not.

    Args:
        encoded: scalar string.
        header: its header.
        scale: the largest Q.
        most_pixels: of an image rescaled to it; `None` for no limit.
    """
    not_decoded = formats.refusal(encoded, header)
    if most_pixels is None:
        return not_decoded
    text, size = tf.strings.as_string, header.size
    rescaled = tf.minimum(formats.count_pixels(size), formats.MAX_PIXELS) * scale**2 // tf.maximum(tf.reduce_min(size) ** 2, 1)
    too_large = tf.strings.join(
        [text(size[0]), "x", text(size[1]), f" pixels, more than {most_pixels:,} once rescaled to Q={scale}"]
    )
    return tf.where(tf.logical_and(not_decoded == "", rescaled > most_pixels), too_large, not_decoded)
