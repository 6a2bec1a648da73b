"""Images that cannot be used, and what is said of them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image
from small_images import ENCODED

from keras_vgg.data.formats import MAX_PIXELS


def png_header(height, width):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def encoded_as(kind, mode, **options):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg_of_scans(height, width, scans):
    """A progressive JPEG whose last scan comes again and again."""
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()
    last, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    return whole[:last] + whole[last:end] * (scans - whole.count(b"\xff\xda") + 1) + whole[end:]


BAD = {
    "no bytes": (b"", "empty file"),
    "text": (b"hello", "not an image: expected JPEG, PNG, GIF, BMP or WebP"),
    "a TIFF": (b"II*\0" + bytes(50), "a TIFF: save it as PNG or JPEG"),
    "a JPEG cut off": (ENCODED[0][:-200], "damaged or truncated JPEG"),
    "a JPEG of three bytes": (ENCODED[0][:3], "its size could not be found"),
    "a PNG cut off": (ENCODED[1][:100], "damaged or truncated PNG"),
    "a GIF without frames": (b"GIF89a" + bytes(20), "its size could not be found"),
    "a bomb": (png_header(50_000, 40_000), f"50000x40000 pixels, more than {MAX_PIXELS:,}"),
    "the largest bomb": (png_header(2**31 - 1, 2**31 - 1), "2147483647x2147483647 pixels, more than"),
    "a bomb of one row": (png_header(1, 2**26), "1x67108864 pixels, more than 4,194,304 once rescaled to Q=44"),
    "an empty PNG": (png_header(0, 0), "its size could not be found"),
    "a GIF of blocks without end": (b"GIF89a" + bytes(7) + b"\x21\xfe" + b"\x01a" * 100_000, "in too many parts"),
    "a BMP with a palette": (encoded_as("BMP", "P"), "a BMP with a palette: save it as PNG"),
    "an animated WebP": (encoded_as("WEBP", "RGB", save_all=True, append_images=[Image.new("RGB", (50, 60))]), "an animated WebP"),
    "a JPEG of too many scans": (jpeg_of_scans(8000, 8000, 30), "8000x8000 pixels in 30 scans, too expensive"),
}
