"""What an encoded image says of itself before it is decoded: its format and its size, read from its first bytes.

For servers: a PNG of a few kilobytes can announce gigabytes of pixels, which must be known before they are made. Everything
here works on bytes that may be anything, in a graph too, and raises nothing.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_vgg.data import gif
from keras_vgg.data.reading import attempt

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WebP")

_HEAD = 66  # bytes, as far as the masks of a BMP; the size of a JPEG and that of a GIF's first frame lie anywhere
_BIG, _LITTLE = (256**3, 256**2, 256, 1), (1, 256, 256**2, 256**3)


def image_format(encoded):
    """Returns the number of an image's format in `FORMATS`, int32; -1 for bytes that begin like none of them.

    Args:
        encoded: scalar string.
    """
    head = _head(encoded)

    def begins(*signature, at=0):
        return tf.reduce_all(head[at : at + len(signature)] == tf.constant(signature))

    riff_webp = tf.logical_and(begins(*b"RIFF"), begins(*b"WEBP", at=8))
    found = tf.stack([begins(0xFF, 0xD8, 0xFF), begins(*b"\x89PNG\r\n\x1a\n"), begins(*b"GIF8"), begins(*b"BM"), riff_webp])
    return tf.where(tf.reduce_any(found), tf.argmax(tf.cast(found, tf.int32), output_type=tf.int32), -1)


def announced_size(encoded):
    """Returns `[height, width]`, int64, that an image announces; zeros for bytes that announce none.

    That of a GIF is its canvas, made large enough for its first frame.

    Args:
        encoded: scalar string.
    """
    head = tf.cast(_head(encoded), tf.int64)

    def number(at, weights):
        return tf.reduce_sum(head[at : at + len(weights)] * tf.constant(weights, tf.int64))

    def png():  # IHDR comes first
        return number(20, _BIG), number(16, _BIG)

    def bmp():  # a negative height means rows from top to bottom
        height = number(22, _LITTLE)
        return tf.minimum(height, 2**32 - height), number(18, _LITTLE)

    def webp():
        simple = number(28, _LITTLE[:2]) % 2**14, number(26, _LITTLE[:2]) % 2**14  # "VP8 ", lossy
        bits = number(21, _LITTLE)  # "VP8L", lossless: 14 bits each, minus one
        lossless = bits // 2**14 % 2**14 + 1, bits % 2**14 + 1
        extended = number(27, _LITTLE[:3]) + 1, number(24, _LITTLE[:3]) + 1  # "VP8X": 24 bits each, minus one
        kind = tf.reduce_sum(tf.cast(head[15] == tf.constant([*b" LX"], tf.int64), tf.int64) * tf.constant([1, 2, 3], tf.int64))
        sizes = tf.stack([tf.zeros(2, tf.int64), tf.stack(simple), tf.stack(lossless), tf.stack(extended)])
        return tf.unstack(sizes[kind])

    def jpeg():
        return _jpeg_shape(encoded)[:2]

    def gif_canvas():
        return gif.first_frame(encoded).size

    readers = (lambda: (0, 0), jpeg, png, gif_canvas, bmp, webp)  # none first, then as in FORMATS
    branches = [lambda read=read: tf.cast(tf.stack(read()), tf.int64) for read in readers]
    return tf.switch_case(image_format(encoded) + 1, branches)


class BmpHeader(NamedTuple):
    """What a BMP says of its pixels: numbers are int32, the rest bools.

    Args:
        header: length of the image's header, which is 12 in files of OS/2.
        bits: of a pixel.
        compression: 0 for none, 3 for colours at places that masks tell.
        is_grey: 8 bits a pixel with the palette of all greys in order, so that indices are pixels.
        is_bgr: the masks say the order that BMPs have without.
    """

    header: tf.Tensor
    bits: tf.Tensor
    compression: tf.Tensor
    is_grey: tf.Tensor
    is_bgr: tf.Tensor


def bmp_header(encoded) -> BmpHeader:
    """Reads the header of a BMP."""
    head = _head(encoded)
    header, bits, compression = head[14] + 256 * head[15], head[28] + 256 * head[29], head[30] + 256 * head[31]
    start = tf.minimum(14 + header, tf.strings.length(encoded))  # behind the file's header and the image's
    padded = tf.strings.join([tf.strings.substr(encoded, start, 4 * 256), "\0" * (4 * 256)])
    palette = tf.reshape(tf.io.decode_raw(padded, tf.uint8)[: 4 * 256], [256, 4])[:, :3]  # blue, green, red, nothing
    is_grey = tf.reduce_all(palette == tf.constant([*range(256)], tf.uint8, [256, 1]))
    is_bgr = tf.reduce_all(head[54:66] == [0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0])  # red, green, blue, lowest byte first
    return BmpHeader(header, bits, compression, tf.logical_and(bits == 8, is_grey), is_bgr)


def is_animated_webp(encoded):
    """Whether a WebP says that it is an animation, a bool."""
    head = _head(encoded)
    return tf.logical_and(head[15] == ord("X"), head[20] // 2 % 2 == 1)


def count_channels(encoded):
    """Returns how many channels a JPEG has, int32; zero if its header is not whole."""
    return _jpeg_shape(encoded)[2]


def count_scans(encoded):
    """Returns how many scans a JPEG has, int64, each of which a decoder goes over all pixels for; one for other formats.

    Ten are usual in a progressive one. A scan of a hundred bytes can be repeated thousands of times.
    """

    def count():
        content = tf.io.decode_raw(encoded, tf.uint8)
        begins = tf.logical_and(content[:-1] == 0xFF, content[1:] == 0xDA)  # within a scan 0xFF is never followed by that
        return tf.math.count_nonzero(begins)

    return tf.maximum(tf.cond(image_format(encoded) == FORMATS.index("JPEG"), count, lambda: tf.constant(1, tf.int64)), 1)


def _head(encoded):
    padded = tf.strings.join([tf.strings.substr(encoded, 0, _HEAD), "\0" * _HEAD])
    return tf.cast(tf.io.decode_raw(padded, tf.uint8)[:_HEAD], tf.int32)


def _jpeg_shape(encoded):
    # The operation raises for bytes that are no whole header.
    return attempt(tf.io.extract_jpeg_shape, encoded, tf.zeros(3, tf.int32))
