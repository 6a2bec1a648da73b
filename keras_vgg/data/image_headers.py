"""Headers of encoded images: format and size, read from the first bytes before decoding.

A PNG of a few kilobytes can declare gigabytes of pixels, which must be known before they are decoded. Everything here accepts
arbitrary bytes, in a graph too, and never raises.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_vgg.data import gif
from keras_vgg.data.reading import attempt

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WebP")

_SIGNATURES = ((0, b"\xff\xd8\xff"), (0, b"\x89PNG\r\n\x1a\n"), (0, b"GIF8"), (0, b"BM"), (0, b"RIFF"), (8, b"WEBP"))
_HEAD = 66  # bytes, up to the masks of a BMP; the sizes of a JPEG and of a GIF's first frame may be anywhere


def image_format(encoded):
    """Returns the index of an image's format in `FORMATS`, int32; -1 for other bytes.

    Args:
        encoded: scalar string.
    """
    *begins, riff, webp = tf.unstack(begins_with(encoded, _SIGNATURES))
    found = tf.stack([*begins, tf.logical_and(riff, webp)])
    return tf.where(tf.reduce_any(found), tf.argmax(found, output_type=tf.int32), -1)


def begins_with(encoded, signatures):
    """Returns which of `signatures`, pairs of an offset and bytes, an image has, a vector of bools."""
    places, signatures = zip(*signatures, strict=True)
    # Few operations for any number of signatures: thousands in a graph would cost more at its start than a small dataset.
    heads = tf.fill([len(places)], tf.strings.join([encoded, "\0" * _HEAD]))
    return tf.strings.substr(heads, places, [len(signature) for signature in signatures]) == signatures


class Header(NamedTuple):
    """An image's header.

    Args:
        number: index of its format in `FORMATS`, int32; -1 for other bytes.
        size: declared `[height, width]`, int64; zeros if there is none. For a GIF it is the canvas, enlarged to contain the first
            frame.
        channels: of a JPEG, int32; zero if its header is incomplete, and for other formats.
        frame: a GIF's first frame; for other formats a frame without size.
    """

    number: tf.Tensor
    size: tf.Tensor
    channels: tf.Tensor
    frame: gif.FirstFrame


def read_header(encoded) -> Header:
    """Reads an image's header.

    It is read as every format, of which one is chosen: each branch of a graph costs ten milliseconds at its start, these
    operations a tenth of one.

    Args:
        encoded: scalar string.
    """
    number = image_format(encoded)
    frame = gif.first_frame(tf.where(number == FORMATS.index("GIF"), encoded, ""))
    # It raises for an incomplete header, and prints a line for bytes other than a JPEG's, except for none.
    jpeg = attempt(tf.io.extract_jpeg_shape, tf.where(number == FORMATS.index("JPEG"), encoded, ""), tf.zeros(3, tf.int32))
    head = tf.cast(_head(encoded), tf.int64)
    sizes = {
        "JPEG": tf.cast(jpeg[:2], tf.int64),
        "PNG": _png_size(head),
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
    """Pixel format of a BMP: numbers are int32, the rest bools.

    Args:
        header: length of the image header, 12 in OS/2 files.
        bits: bits per pixel.
        compression: 0 for none, 3 for channels defined by masks.
        is_grey: 8 bits per pixel with a palette of all grays in order, so that indices are pixels.
        is_bgr: the masks define the default order of BMPs.
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
    start = tf.minimum(14 + header, tf.strings.length(encoded))  # after the file header and the image header
    padded = tf.strings.join([tf.strings.substr(encoded, start, 4 * 256), "\0" * (4 * 256)])
    palette = tf.reshape(tf.io.decode_raw(padded, tf.uint8)[: 4 * 256], [256, 4])[:, :3]  # blue, green, red, nothing
    is_grey = tf.reduce_all(palette == tf.constant([*range(256)], tf.uint8, [256, 1]))
    is_bgr = tf.reduce_all(head[54:66] == [0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0])  # red, green, blue, lowest byte first
    return BmpHeader(header, bits, compression, tf.logical_and(bits == 8, is_grey), is_bgr)


def is_animated_webp(encoded):
    """Whether a WebP is marked as an animation, a bool."""
    head = _head(encoded)
    return tf.logical_and(head[15] == ord("X"), head[20] // 2 % 2 == 1)


def count_scans(encoded):
    """Returns the number of scans of a JPEG, int64, each of which makes a decoder process all pixels; one for other formats.

    Progressive JPEGs usually have ten. A scan of a hundred bytes can be repeated thousands of times.
    """
    is_jpeg = image_format(encoded) == FORMATS.index("JPEG")
    return jpeg_scans(tf.where(is_jpeg, encoded, ""))


def jpeg_scans(encoded):
    """Returns `count_scans` of a JPEG."""
    # Within a scan 0xFF is never followed by the byte that begins one. Splitting takes the file's size in memory.
    parts = tf.raw_ops.StringSplitV2(input=[encoded], sep=b"\xff\xda").values
    return tf.maximum(tf.size(parts, tf.int64) - 1, 1)


def has_coarse_chroma(encoded):
    """Whether pixels of a JPEG share chroma in groups of eight or more, a bool.

    Args:
        encoded: scalar string, a JPEG; an embedded thumbnail counts, too.
    """
    # Of a frame header for three components, the identifiers of the components, each with its sampling factors, are from byte 5 on.
    starts = [b"\xff" + kind + b"\0\x11\x08" for kind in (b"\xc0", b"\xc1", b"\xc2")]
    frames = [tf.raw_ops.StringSplitV2(input=[encoded], sep=start).values[1:] for start in starts]
    factors = tf.gather(tf.io.decode_raw(tf.concat(frames, axis=0), tf.uint8, fixed_length=15), [6, 9, 12], axis=1)
    widest, highest = tf.reduce_max(factors // 16, axis=1), tf.reduce_max(factors % 16, axis=1)
    return tf.reduce_any(tf.cast(widest, tf.int32) * tf.cast(highest, tf.int32) >= 8)


def png_size(encoded):
    """Returns `[height, width]` of a PNG, int64."""
    return _png_size(tf.cast(_head(encoded), tf.int64))


def _png_size(head):
    return _numbers(head, (20, 4), (16, 4), highest_first=True)  # IHDR comes first


def _head(encoded):
    padded = tf.strings.join([tf.strings.substr(encoded, 0, _HEAD), "\0" * _HEAD])
    return tf.cast(tf.io.decode_raw(padded, tf.uint8)[:_HEAD], tf.int32)


def _numbers(head, *runs, highest_first=False):
    """Returns the numbers in runs of up to four bytes, pairs of an offset and a length, in the dtype of `head`."""
    nothing = [[0] * (4 - length) for _, length in runs]
    places = [[*range(at, at + length), *more] for (at, length), more in zip(runs, nothing, strict=True)]
    powers = [[256**power for power in range(length)][:: -1 if highest_first else 1] for _, length in runs]
    weights = [[*row, *more] for row, more in zip(powers, nothing, strict=True)]
    return tf.reduce_sum(tf.gather(head, places) * tf.constant(weights, head.dtype), axis=1)
