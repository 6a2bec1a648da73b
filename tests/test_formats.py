"""Every kind of image on every path: the pixels of Pillow's `convert("RGB")`, or the same words."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from bad_images import jpeg_of_scans, png_header
from PIL import Image

from keras_vgg.data import images
from keras_vgg.data.broken import BrokenImages
from keras_vgg.data.split import in_memory
from keras_vgg.serving import encoded as served

HEIGHT, WIDTH = 29, 37


def photograph(mode="RGB", seed=0):
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = 128 + 100 * np.stack([np.sin(columns / 9 + seed), np.cos(rows / 7), np.sin((rows + columns) / 5)], -1)
    noisy = waves + np.random.default_rng(seed).normal(0, 6, waves.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert(mode)


def transparent():
    image = photograph()
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    image.putalpha(Image.fromarray(((7 * columns + 3 * rows) % 256).astype(np.uint8)))
    return image


def palette(colors=200):
    return photograph().quantize(colors)


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def animation(kind, **options):
    return encode(photograph(), kind, save_all=True, append_images=[photograph(seed=2)], **options)


# By hand, what Pillow does not write


def png(samples, depth, color, *, interlaced=False):
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [samples[y::down, x::right] for y, x, down, right in (passes if interlaced else [(0, 0, 1, 1)])]
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for part in parts if part.size for row in part)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, color, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def sixteen_bits(channels):
    low = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, channels), np.uint16)
    return 256 * np.asarray(transparent()).astype(np.uint16)[..., -channels:] + low


def gif_on_canvas(width, height, left, top, **options):
    content = bytearray(encode(palette(), "GIF", **options))
    image = content.index(b"\x2c\0\0\0\0")
    content[6:10], content[11] = struct.pack("<HH", width, height), 17  # a colour of the background that nobody heeds
    content[image + 1 : image + 5] = struct.pack("<HH", left, top)
    return bytes(content)


def bmp(bits, samples, *, compression=0, masks=(), top_down=False, behind_header=b"", colors=b""):
    rows = [row.tobytes() for row in (samples if top_down else samples[::-1])]
    content = b"".join(row + bytes(-len(row) % 4) for row in rows)
    head = behind_header + struct.pack(f"<{len(masks)}I", *masks)
    start = 14 + 40 + len(head) + len(colors)
    size, height = (40 + len(head) if behind_header else 40), (-HEIGHT if top_down else HEIGHT)
    file = b"BM" + struct.pack("<IHHI", start + len(content), 0, 0, start)
    info = struct.pack("<IiiHHIIiiII", size, WIDTH, height, 1, bits, compression, len(content), 0, 0, 0, 0)
    return file + info + head + colors + content


def bmp_of_os2(image):
    content = bmp(24, np.asarray(image)[..., ::-1])[54:]
    return b"BM" + struct.pack("<IHHI", 26 + len(content), 0, 0, 26) + struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24) + content


def packed(red, green, blue):
    """16 bits a pixel, of so many for each colour."""
    colors = np.asarray(photograph()).astype(np.uint16)
    return (colors[..., 0] >> (8 - red) << (green + blue)) | (colors[..., 1] >> (8 - green) << blue) | colors[..., 2] >> (8 - blue)


RGB, BGR = np.asarray(photograph()), np.asarray(photograph())[..., ::-1]
BGRA = np.asarray(transparent())[..., [2, 1, 0, 3]]
BLUE_FIRST = (0xFF0000, 0xFF00, 0xFF)
CMYK = encode(photograph("CMYK"), "JPEG")
EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"

DECODED = {
    "JPEG": encode(photograph(), "JPEG"),
    "JPEG, progressive": encode(photograph(), "JPEG", progressive=True),
    "JPEG, grey": encode(photograph("L"), "JPEG"),
    "JPEG, RGB": encode(photograph(), "JPEG", keep_rgb=True),
    "JPEG, CMYK": CMYK,
    "JPEG, YCCK": CMYK.replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"),
    "PNG": encode(photograph(), "PNG"),
    "PNG, grey": encode(photograph("L"), "PNG"),
    "PNG, 1 bit": encode(photograph("1"), "PNG"),
    "PNG, palette": encode(palette(), "PNG"),
    "PNG, palette of 4 bits": encode(palette(13), "PNG", bits=4),
    "PNG, palette, a transparent colour": encode(palette(), "PNG", transparency=3),
    "PNG, palette, transparencies": encode(palette(), "PNG", transparency=bytes(range(200))),
    "PNG, RGB, a transparent colour": encode(photograph(), "PNG", transparency=tuple(RGB[3, 4].tolist())),
    "PNG, grey, a transparent colour": encode(photograph("L"), "PNG", transparency=100),
    "PNG, RGBA": encode(transparent(), "PNG"),
    "PNG, LA": encode(transparent().convert("LA"), "PNG"),
    "PNG, 16-bit RGB": png(sixteen_bits(3), 16, 2),
    "PNG, 16-bit RGBA": png(sixteen_bits(4), 16, 6),
    "PNG, 16-bit LA": png(sixteen_bits(2), 16, 4),
    "PNG, interlaced": png(RGB, 8, 2, interlaced=True),
    "PNG, animated": animation("PNG"),
    "WebP": encode(photograph(), "WEBP"),
    "WebP, lossless": encode(photograph(), "WEBP", lossless=True),
    "WebP, extended": encode(photograph(), "WEBP", exif=EXIF),
    "WebP, transparent": encode(transparent(), "WEBP"),
    "WebP, transparent, colours kept": encode(transparent(), "WEBP", exact=True),
    "WebP, lossless, transparent": encode(transparent(), "WEBP", lossless=True, exact=True),
    "WebP, extended, transparent": encode(transparent(), "WEBP", lossless=True, exif=EXIF),
    "GIF": encode(photograph(), "GIF", interlace=0),
    "GIF, grey": encode(photograph("L"), "GIF"),
    "GIF, interlaced": encode(photograph(), "GIF", interlace=1),
    "GIF, transparent": encode(palette(), "GIF", transparency=7),
    "GIF, animated": animation("GIF"),
    "GIF, animated, with a comment": animation("GIF", comment=b"hello" * 300),
    "GIF, small frame": gif_on_canvas(60, 50, 0, 0),
    "GIF, small frame at a place": gif_on_canvas(60, 50, 5, 9),
    "GIF, small frame, transparent": gif_on_canvas(60, 50, 5, 9, transparency=7),
    "GIF, small frame, animated": gif_on_canvas(60, 50, 5, 9, save_all=True, append_images=[photograph(seed=2)]),
    "GIF, frame beyond the canvas": gif_on_canvas(40, 30, 10, 10),
    "GIF, canvas smaller than the frame": gif_on_canvas(20, 10, 0, 0),
    "BMP": encode(photograph(), "BMP"),
    "BMP, grey": encode(photograph("L"), "BMP"),
    "BMP, 32 bits": encode(transparent(), "BMP"),
    "BMP, 32 bits, masks": bmp(32, BGRA, compression=3, masks=BLUE_FIRST),
    "BMP, 32 bits, transparent": bmp(
        32, BGRA, compression=3, behind_header=struct.pack("<4I", *BLUE_FIRST, 0xFF000000) + bytes(52)
    ),
    "BMP, from top to bottom": bmp(24, BGR, top_down=True),
}


def progressive(scans):
    """A progressive JPEG, of at least so many scans, the last one again and again."""
    return jpeg_of_scans(HEIGHT, WIDTH, scans)


def announcing(encoded, height, width):
    """The same bytes of a JPEG with another size in its header, as a bomb has it."""
    frame = re.search(rb"\xff[\xc0\xc2]..\x08", encoded, re.DOTALL).end()
    return encoded[:frame] + struct.pack(">HH", height, width) + encoded[frame + 4 :]


TO_PNG = "save it as PNG or JPEG"
REFUSED = {
    "JPEG, CMYK without mark": (CMYK[:2] + CMYK[18:], "a CMYK JPEG without an Adobe marker: save it as RGB"),
    "WebP, animated": (animation("WEBP"), "an animated WebP: save a frame of it"),
    "GIF, too large": (gif_on_canvas(65535, 65535, 0, 0), "65535x65535 pixels, more than 67,108,864: scale it down"),
    "PNG, too large": (png_header(18_000, 18_000), "18000x18000 pixels, more than 67,108,864: scale it down"),
    "JPEG, too large": (announcing(progressive(1), 65500, 65500), "65500x65500 pixels, more than 67,108,864: scale it down"),
    "JPEG, baseline, too large": (
        announcing(encode(photograph(), "JPEG"), 9000, 8000),
        "9000x8000 pixels, more than 67,108,864: scale it down",
    ),
    "JPEG of many scans": (
        announcing(progressive(200), 8000, 8000),
        "8000x8000 pixels in 200 scans, too expensive: save it again",
    ),
    "BMP, 1 bit": (encode(photograph("1"), "BMP"), "a BMP with a palette: save it as PNG"),
    "BMP, 8 bits": (encode(palette(), "BMP"), "a BMP with a palette: save it as PNG"),
    "BMP, 8 bits, run lengths of greys": (
        bmp(8, RGB[..., 0], compression=1, colors=bytes(np.repeat(np.arange(256), 4).astype(np.uint8))),
        "a compressed BMP: save it as PNG",
    ),
    "BMP, 16 bits": (bmp(16, packed(5, 5, 5)), "a BMP with 16 bits per pixel: save it as PNG"),
    "BMP, 16 bits, masks": (
        bmp(16, packed(5, 6, 5), compression=3, masks=(0xF800, 0x7E0, 0x1F)),
        "a BMP with 16 bits per pixel: save it as PNG",
    ),
    "BMP, 32 bits, red first": (
        bmp(32, BGRA[..., [2, 1, 0, 3]], compression=3, masks=BLUE_FIRST[::-1]),
        "a BMP with another channel order: save it as PNG",
    ),
    "BMP, OS/2": (bmp_of_os2(photograph()), "an OS/2 BMP: save it as PNG"),
    "TIFF": (encode(photograph(), "TIFF"), f"a TIFF: {TO_PNG}"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(60), f"a HEIC: {TO_PNG}"),
    "AVIF": (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(60), f"an AVIF: {TO_PNG}"),
    "JPEG XL": (b"\xff\x0a" + bytes(60), f"a JPEG XL: {TO_PNG}"),
    "ICO": (encode(photograph(), "ICO", sizes=[(16, 16)]), f"an ICO: {TO_PNG}"),
    "PPM": (encode(photograph(), "PPM"), f"a PPM: {TO_PNG}"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', f"an SVG: {TO_PNG}"),
    "web page": (b"<!DOCTYPE html><html></html>", "a web page: download the image itself"),
    "text": (b"hello world", "not an image: expected JPEG, PNG, GIF, BMP or WebP"),
    "nothing": (b"", "empty file"),
    "PNG cut off": (encode(photograph(), "PNG")[:-300], "damaged or truncated PNG"),
    "WebP cut off": (encode(photograph(), "WEBP")[:-100], "damaged or truncated WebP"),
    "JPEG cut off": (encode(photograph(), "JPEG")[:-100], "damaged or truncated JPEG"),
    "BMP cut off": (encode(photograph(), "BMP")[:-100], "damaged or truncated BMP"),
    "GIF cut off": (encode(photograph(), "GIF")[:-100], "damaged, truncated or in too many parts: its size could not be found"),
}


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def view(encoded):
    shortest = tf.reduce_min(images.encoded_size(encoded))  # a scale of no change, and a crop of all the shorter side
    return images.decode_view(encoded, shortest, 0.5, 0.5, tf.constant(False), crop=HEIGHT)


@tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32)])
def decoded_whole(encoded, scale):
    size = images.encoded_size(encoded)
    return images.decode_whole(encoded, images.rescaled_size(size[0], size[1], scale))


def serve(scale):
    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def rescaled(encoded):
        return served.rescaled_images(encoded, (scale,), crop=None, most_pixels=2**20)

    return rescaled


SERVED = {scale: serve(scale) for scale in (HEIGHT, 39, 50)}  # the shorter sides of all the images, which nothing rescales


@pytest.mark.parametrize("kind", DECODED)
def test_pixels_are_those_of_pillow_on_every_path(kind):
    encoded = DECODED[kind]
    with Image.open(io.BytesIO(encoded)) as image:
        expected = np.asarray(image.convert("RGB"))
    scale = min(expected.shape[:2])
    np.testing.assert_array_equal(decoded_whole(encoded, scale), expected)
    (pixels,), error = SERVED[scale](encoded)
    assert error == b""
    np.testing.assert_array_equal(pixels, expected)
    if scale == HEIGHT:
        first = round((WIDTH - HEIGHT) / 2)
        np.testing.assert_array_equal(view(encoded), expected[:, first : first + HEIGHT])
    else:
        assert view(encoded).shape == (HEIGHT, HEIGHT, 3)


def test_of_16_bits_of_grey_the_upper_eight_count():
    """Pillow cuts off what is beyond 255, which is nearly everything."""
    samples = sixteen_bits(1)
    expected = np.repeat(samples // 256, 3, axis=-1)
    encoded = png(samples, 16, 0)
    np.testing.assert_array_equal(decoded_whole(encoded, HEIGHT), expected)
    np.testing.assert_array_equal(SERVED[HEIGHT](encoded)[0][0], expected)


@pytest.mark.parametrize("kind", REFUSED)
def test_words_are_the_same_on_every_path(kind):
    encoded, words = REFUSED[kind]
    for decode in (view, lambda encoded: decoded_whole(encoded, HEIGHT)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode(encoded)
    ledger = BrokenImages(in_memory([encoded], np.zeros(1), "memory"))
    ledger.report(np.array([0]))
    assert ledger.rows() == [("memory[0]", words)]
    _, error = SERVED[HEIGHT](encoded)
    assert error.numpy().decode() == words
