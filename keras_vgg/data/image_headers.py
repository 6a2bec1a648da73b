"""What an encoded image says of itself before it is decoded: its format and its size, read from its first bytes.

For servers: a PNG of a few kilobytes can announce gigabytes of pixels, which must be known before they are made. Everything
here works on bytes that may be anything, in a graph too, and raises nothing.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_vgg.data import gif
from keras_vgg.data.reading import attempt

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WebP")

_SIGNATURES = ((0, b"\xff\xd8\xff"), (0, b"\x89PNG\r\n\x1a\n"), (0, b"GIF8"), (0, b"BM"), (0, b"RIFF"), (8, b"WEBP"))
_HEAD = 66  # bytes, as far as the masks of a BMP; the size of a JPEG and that of a GIF's first frame lie anywhere


def image_format(encoded):
    """Returns the number of an image's format in `FORMATS`, int32; -1 for bytes that begin like none of them.

    Args:
        encoded: scalar string.
    """
    *begins, riff, webp = tf.unstack(begins_with(encoded, _SIGNATURES))
    found = tf.stack([*begins, tf.logical_and(riff, webp)])
    return tf.where(tf.reduce_any(found), tf.argmax(found, output_type=tf.int32), -1)


def begins_with(encoded, signatures):
    """Returns which of `signatures`, pairs of a place and bytes, an image has, a vector of bools."""
    places, signatures = zip(*signatures, strict=True)
    # Few operations, however many signatures: a graph's thousands cost more at its start than the images of a small set.
    heads = tf.fill([len(places)], tf.strings.join([encoded, "\0" * _HEAD]))
    return tf.strings.substr(heads, places, [len(signature) for signature in signatures]) == signatures


class Header(NamedTuple):
    """What an image says of itself.

    Args:
        number: of its format in `FORMATS`, int32; -1 for bytes that begin like none of them.
        size: `[height, width]`, int64, that it announces; zeros if it announces none. That of a GIF is its canvas, made large
            enough for its first frame.
        channels: of a JPEG, int32; zero if its header is not whole, and for other formats.
        frame: a GIF's first; of other formats a frame without size.
    """

    number: tf.Tensor
    size: tf.Tensor
    channels: tf.Tensor
    frame: gif.FirstFrame


def read_header(encoded) -> Header:
    """Reads what an image says of itself.

    It is read as all formats, of which one is taken: each branch that a graph has costs ten milliseconds at its start, these
    operations a tenth of one.

    Args:
        encoded: scalar string.
    """
    number = image_format(encoded)
    frame = gif.first_frame(tf.where(number == FORMATS.index("GIF"), encoded, ""))
    jpeg = attempt(tf.io.extract_jpeg_shape, encoded, tf.zeros(3, tf.int32))  # which raises for bytes that are no whole header
    head = tf.cast(_head(encoded), tf.int64)
    sizes = {
        "JPEG": tf.cast(jpeg[:2], tf.int64),
        "PNG": _numbers(head, (20, 4), (16, 4), highest_first=True),  # IHDR comes first
        "GIF": tf.cast(frame.size, tf.int64),
        "BMP": _bmp_size(head),
        "WebP": _webp_size(head),
    }
    size = tf.stack([[0, 0], *(sizes[name] for name in FORMATS)])[number + 1]
    return Header(number, size, jpeg[2], frame)


def _bmp_size(head):
    height, width = tf.unstack(_numbers(head, (22, 4), (18, 4)))
    return [tf.minimum(height, 2**32 - height), width]  # a negative height means rows from top to bottom


def _webp_size(head):
    # "VP8 ", lossy: 14 bits each; "VP8L", lossless: 14 bits each, minus one; "VP8X": 24 bits each, minus one
    kind, *lossy, lossless, height, width = tf.unstack(_numbers(head, (15, 1), (28, 2), (26, 2), (21, 4), (27, 3), (24, 3)))
    sizes = [
        [0, 0],
        [side % 2**14 for side in lossy],
        [lossless // 2**14 % 2**14 + 1, lossless % 2**14 + 1],
        [height + 1, width + 1],
    ]
    return tf.stack(sizes)[tf.reduce_sum(tf.cast(kind == [*b" LX"], tf.int64) * [1, 2, 3])]


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
    header, bits, compression = tf.unstack(_numbers(head, (14, 2), (28, 2), (30, 2)))
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


def count_scans(encoded):
    """Returns how many scans a JPEG has, int64, each of which a decoder goes over all pixels for; one for other formats.

    Ten are usual in a progressive one. A scan of a hundred bytes can be repeated thousands of times.
    """
    is_jpeg = image_format(encoded) == FORMATS.index("JPEG")
    content = tf.io.decode_raw(tf.where(is_jpeg, encoded, ""), tf.uint8)
    begins = tf.logical_and(content[:-1] == 0xFF, content[1:] == 0xDA)  # within a scan 0xFF is never followed by that
    return tf.maximum(tf.math.count_nonzero(begins), 1)


def _head(encoded):
    padded = tf.strings.join([tf.strings.substr(encoded, 0, _HEAD), "\0" * _HEAD])
    return tf.cast(tf.io.decode_raw(padded, tf.uint8)[:_HEAD], tf.int32)


def _numbers(head, *runs, highest_first=False):
    """Returns the numbers that stand in runs of up to four bytes, pairs of a place and a length, in the type of `head`."""
    nothing = [[0] * (4 - length) for _, length in runs]
    places = [[*range(at, at + length), *more] for (at, length), more in zip(runs, nothing, strict=True)]
    powers = [[256**power for power in range(length)][:: -1 if highest_first else 1] for _, length in runs]
    weights = [[*row, *more] for row, more in zip(powers, nothing, strict=True)]
    return tf.reduce_sum(tf.gather(head, places) * tf.constant(weights, head.dtype), axis=1)
