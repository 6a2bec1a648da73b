"""What an encoded image says of itself before it is decoded: its format and its size, read from its first bytes.

For servers: a PNG of a few kilobytes can announce gigabytes of pixels, which must be known before they are made. Everything
here works on bytes that may be anything, in a graph too, and raises nothing.
"""

import tensorflow as tf

from keras_vgg.data.reading import attempt

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WebP")

_HEAD = 32  # bytes; the size of a JPEG and that of a GIF's first frame lie anywhere
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
    """Returns `[height, width]`, int64, that an image announces; zeros for bytes that announce none, and GIFs.

    A GIF's canvas says nothing of its first frame: `gif.first_frame` finds the size of that.

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

    readers = (lambda: (0, 0), lambda: _jpeg_size(encoded), png, lambda: (0, 0), bmp, webp)  # none first, then as in FORMATS
    branches = [lambda read=read: tf.cast(tf.stack(read()), tf.int64) for read in readers]
    return tf.switch_case(image_format(encoded) + 1, branches)


# Traced once: it is a rare case of every graph that decodes.
@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def what_is_not_decoded(encoded):
    """Returns what an image is that TensorFlow decodes wrongly or not at all, a scalar string; empty if it is none of these."""
    head = _head(encoded)
    has_palette = head[28] + 256 * head[29] <= 8  # bits a pixel; its indices are taken for shades of grey
    is_wrong = tf.logical_and(has_palette, tf.logical_not(_has_grey_palette(encoded, head)))
    is_animated = tf.logical_and(head[15] == ord("X"), head[20] // 2 % 2 == 1)
    number = image_format(encoded)
    found = tf.constant("")
    found = tf.where(tf.logical_and(number == FORMATS.index("BMP"), is_wrong), "a BMP with a palette: save it as PNG", found)
    return tf.where(tf.logical_and(number == FORMATS.index("WebP"), is_animated), "an animated WebP: save a frame of it", found)


def _has_grey_palette(encoded, head):
    # A BMP of 8 bits a pixel with the palette of all greys in order: its indices are its pixels.
    start = tf.minimum(14 + head[14] + 256 * head[15], tf.strings.length(encoded))  # behind the file's header and the image's
    padded = tf.strings.join([tf.strings.substr(encoded, start, 4 * 256), "\0" * (4 * 256)])
    palette = tf.reshape(tf.io.decode_raw(padded, tf.uint8)[: 4 * 256], [256, 4])[:, :3]  # blue, green, red, nothing
    is_grey = tf.reduce_all(palette == tf.constant([*range(256)], tf.uint8, [256, 1]))
    return tf.logical_and(head[28] + 256 * head[29] == 8, is_grey)


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


def _jpeg_size(encoded):
    # The operation raises for bytes that are no whole header.
    return tf.unstack(attempt(tf.io.extract_jpeg_shape, encoded, tf.zeros(3, tf.int32))[:2])
