"""Which encoded images are decoded, which are refused, and in which words: on every path, in training, tests and served graphs.

Decoded, to the pixels of Pillow's `convert("RGB")`: JPEG (grey, CMYK and YCCK too), PNG of every kind, GIF (its first frame at its
place on the canvas), WebP and BMP of 24 or 32 bits a pixel or of greys. Transparency is dropped: the pixels are those that lie
under it. Of 16 bits the upper eight count, also where Pillow cuts off grey ones at 255. What is no such image is named, with what
to do, instead of being decoded wrongly.
"""

import tensorflow as tf

from keras_vgg.data import image_headers
from keras_vgg.data.image_headers import FORMATS

MAX_CANVAS = 2**26
"""Most pixels of a GIF's canvas, which a file of a few bytes can announce: 201 MB."""

NO_IMAGE = f"not an image: expected {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"

_CONVERT, _FETCH = "save it as PNG or JPEG", "fetch the image itself"
NOT_DECODED = (
    # place and bytes by which it is known, what it is, what to do
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
    (0, b"version https://git-lfs", "a pointer of Git LFS", _FETCH),
)


# Traced and optimized once: it is a rare case of every graph that decodes.
@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False, experimental_attributes={"_noinline": True})
def refusal(encoded):
    """Returns why an image is not decoded, as its first bytes tell, a scalar string; empty if it may be.

    Args:
        encoded: scalar string, any bytes.
    """
    number, size = image_headers.image_format(encoded), image_headers.announced_size(encoded)
    of_format = {"JPEG": _refused_jpeg, "BMP": _refused_bmp, "WebP": _refused_webp}
    branches = [_unknown, *(of_format.get(name, _nothing) for name in FORMATS)]
    reason = tf.switch_case(number + 1, [lambda branch=branch: branch(encoded) for branch in branches])
    is_huge_gif = tf.logical_and(number == FORMATS.index("GIF"), tf.reduce_prod(tf.minimum(size, 2**30)) > MAX_CANVAS)
    return _first_that_applies(
        [reason != "", is_huge_gif, tf.reduce_min(size) <= 0],
        [
            reason,
            f"a GIF of more than {MAX_CANVAS:,} pixels: save it as PNG",
            "damaged, truncated or in too many parts: no size can be found in it",
        ],
    )


def damage(encoded):
    """Returns what is to be said of an image that is not refused and yet cannot be decoded, a scalar string."""
    return tf.strings.join(["damaged or truncated ", tf.gather(FORMATS, tf.maximum(image_headers.image_format(encoded), 0))])


def _nothing(encoded):
    return tf.constant("")


def _unknown(encoded):
    is_that = image_headers.begins_with(encoded, [(at, signature) for at, signature, *_ in NOT_DECODED])
    return _first_that_applies(
        tf.concat([[tf.strings.length(encoded) == 0], is_that, [True]], axis=0),
        ["empty file", *(f"{what}: {remedy}" for *_, what, remedy in NOT_DECODED), NO_IMAGE],
    )


def _refused_jpeg(encoded):
    # With the mark inks are stored inverted, without it as they are; TensorFlow takes all for inverted.
    is_cmyk = image_headers.count_channels(encoded) == 4
    has_mark = tf.cond(is_cmyk, lambda: tf.size(tf.strings.split(encoded, b"\xff\xee\0\x0eAdobe")) > 1, lambda: True)
    return tf.where(has_mark, "", "a CMYK JPEG without Adobe's mark: save it as RGB")


def _refused_bmp(encoded):
    bmp = image_headers.bmp_header(encoded)
    is_masked = tf.logical_and(bmp.compression == 3, bmp.bits == 32)
    rules = (
        (bmp.header < 40, "a BMP of OS/2"),
        # TensorFlow takes the indices for shades of grey.
        (tf.logical_and(bmp.bits <= 8, tf.logical_not(bmp.is_grey)), "a BMP with a palette"),
        (tf.reduce_all(bmp.bits != [8, 24, 32]), tf.strings.join(["a BMP of ", tf.strings.as_string(bmp.bits), " bits a pixel"])),
        (tf.logical_not(tf.logical_or(bmp.compression == 0, is_masked)), "a compressed BMP"),
        (tf.logical_and(is_masked, tf.logical_not(bmp.is_bgr)), "a BMP of another order of colours"),
    )
    what = _first_that_applies(*zip(*rules, strict=True))
    return tf.where(what == "", "", tf.strings.join([what, ": save it as PNG"]))


def _refused_webp(encoded):
    return tf.where(image_headers.is_animated_webp(encoded), "an animated WebP: save a frame of it", "")


def _first_that_applies(applies, words):
    return tf.gather(tf.concat([words, [""]], axis=0), tf.argmax(tf.concat([applies, [True]], axis=0)))
