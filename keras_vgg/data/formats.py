"""Which encoded images are decoded, which are rejected, and with which message: in training, tests and served graphs alike.

Decoded, to the pixels of Pillow's `convert("RGB")`: JPEG (also grayscale, CMYK and YCCK), PNG of every kind, GIF (its first frame
at its position on the canvas), WebP and BMP with 24 or 32 bits per pixel or grayscale. Transparency is dropped, leaving the
pixels under it. Of 16 bits the upper eight are used, also where Pillow clips grayscale at 255. Any other image is rejected with a
message that says what it is and what to do, instead of being decoded wrongly.
"""

import tensorflow as tf

from keras_vgg.data import image_headers
from keras_vgg.data.image_headers import FORMATS, Header

MAX_PIXELS = 2**26
"""Maximum number of pixels of an image, which a file of a few bytes can declare: 67 million, 201 MB once decoded."""

MAX_SCANNED_PIXELS = 2**30
"""Maximum of pixels times scans of a JPEG, six seconds of work: sixteen scans of the largest image."""

NO_IMAGE = f"not an image: expected {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"

_CONVERT, _FETCH = "save it as PNG or JPEG", "download the image itself"
NOT_DECODED = (
    # offset and bytes of the signature, what it is, what to do
    (0, b"II*\0", "a TIFF", _CONVERT),
    (0, b"MM\0*", "a TIFF", _CONVERT),
    (0, b"II+\0", "a TIFF", _CONVERT),
    (0, b"MM\0+", "a TIFF", _CONVERT),
    (4, b"ftypavif", "an AVIF", _CONVERT),
    (4, b"ftypavis", "an AVIF", _CONVERT),
    (4, b"ftyphei", "a HEIC", _CONVERT),
    (4, b"ftyphev", "a HEIC", _CONVERT),
    (4, b"ftypmif1", "a HEIC", _CONVERT),
    (4, b"ftypmsf1", "a HEIC", _CONVERT),
    (0, b"\xff\x0a", "a JPEG XL", _CONVERT),
    (4, b"JXL ", "a JPEG XL", _CONVERT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000", _CONVERT),
    (4, b"jP  ", "a JPEG 2000", _CONVERT),
    (0, b"\0\0\1\0", "an ICO", _CONVERT),
    (0, b"icns", "an ICNS", _CONVERT),
    *((0, b"P%d%c" % (kind, blank), "a PPM", _CONVERT) for kind in range(1, 7) for blank in b"\n \r\t"),
    (0, b"8BPS", "a Photoshop file", _CONVERT),
    (0, b"qoif", "a QOI", _CONVERT),
    (0, b"%!PS", "a PostScript file", _CONVERT),
    (0, b"%PDF", "a PDF", _CONVERT),
    (0, b"<svg", "an SVG", _CONVERT),
    (0, b"<?xml", "an SVG or another XML file", _CONVERT),
    (0, b"<!DOCTYPE html", "a web page", _FETCH),
    (0, b"<!doctype html", "a web page", _FETCH),
    (0, b"<html", "a web page", _FETCH),
    (0, b"version https://git-lfs", "a Git LFS pointer", _FETCH),
)


def refusal(encoded, header: Header | None = None):
    """Returns why an image is rejected, judged by its first bytes, a scalar string; empty if it may be decoded.

    Args:
        encoded: scalar string, any bytes.
        header: of the image, if it has been read.
    """
    header = header or image_headers.read_header(encoded)
    is_format = {name: header.number == number for number, name in enumerate(FORMATS)}
    scans = image_headers.count_scans(encoded)
    bmp = image_headers.bmp_header(encoded)
    rules = [
        *_of_jpegs(encoded, header),
        *_of_bmps(bmp),
        ("WebP", image_headers.is_animated_webp(encoded), "an animated WebP: save a frame of it"),
    ]
    applies = [
        [tf.strings.length(encoded) == 0],
        tf.logical_and(header.number < 0, image_headers.begins_with(encoded, [rule[:2] for rule in NOT_DECODED])),
        [header.number < 0],
        [tf.logical_and(is_format[name], found) for name, found, _ in rules],
        [count_pixels(header.size) > MAX_PIXELS, tf.logical_not(is_bounded(header.size, scans))],
        [tf.reduce_min(header.size) <= 0, True],
    ]
    words = [
        "empty file",
        *(f"{what}: {remedy}" for *_, what, remedy in NOT_DECODED),
        NO_IMAGE,
        *(words for *_, words in rules),
        f"HEIGHTxWIDTH pixels, more than {MAX_PIXELS:,}: scale it down",
        "HEIGHTxWIDTH pixels in SCANS scans, too expensive: save it again",
        "damaged, truncated or in too many parts: its size could not be found",
        "",
    ]
    first = tf.gather(words, tf.argmax(tf.concat(applies, axis=0)))
    numbers = {"BITS": bmp.bits, "HEIGHT": header.size[0], "WIDTH": header.size[1], "SCANS": scans}
    for name, number in numbers.items():
        first = tf.strings.regex_replace(first, name, tf.strings.as_string(number))
    return first


def is_bounded(size, scans):
    """Whether an image is decoded in bounded memory and time, a bool; images beyond that are rejected on every path.

    Args:
        size: declared `[height, width]`, int64.
        scans: of a JPEG, int64; one for other formats.
    """
    pixels = count_pixels(size)
    return tf.logical_and(pixels <= MAX_PIXELS, tf.minimum(pixels, MAX_PIXELS) * scans <= MAX_SCANNED_PIXELS)


def count_pixels(size):
    """Returns the number of pixels of a declared size, at most 2⁶⁰: the product of the sides of a header could overflow."""
    return tf.reduce_prod(tf.minimum(size, 2**30))


def damage(encoded):
    """Returns the message for an image that is not rejected but cannot be decoded, a scalar string."""
    return tf.strings.join(["damaged or truncated ", tf.gather(FORMATS, tf.maximum(image_headers.image_format(encoded), 0))])


def _of_jpegs(encoded, header):
    # With the marker inks are stored inverted, else not; TensorFlow treats all as inverted.
    is_cmyk = header.channels == 4
    parts = tf.raw_ops.StringSplitV2(input=[tf.where(is_cmyk, encoded, "")], sep=b"\xff\xee\0\x0eAdobe").values
    yield "JPEG", tf.logical_and(is_cmyk, tf.size(parts) < 2), "a CMYK JPEG without an Adobe marker: save it as RGB"


def _of_bmps(bmp):
    is_masked = tf.logical_and(bmp.compression == 3, bmp.bits == 32)
    for applies, what in (
        (bmp.header < 40, "an OS/2 BMP"),
        # TensorFlow interprets the indices as gray levels.
        (tf.logical_and(bmp.bits <= 8, tf.logical_not(bmp.is_grey)), "a BMP with a palette"),
        (tf.reduce_all(bmp.bits != [8, 24, 32]), "a BMP with BITS bits per pixel"),
        (tf.logical_not(tf.logical_or(bmp.compression == 0, is_masked)), "a compressed BMP"),
        (tf.logical_and(is_masked, tf.logical_not(bmp.is_bgr)), "a BMP with another channel order"),
    ):
        yield "BMP", applies, f"{what}: save it as PNG"
