"""What encoded images announce, against Pillow; bytes that are cut off anywhere; the first frames of GIFs."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_vgg.data import gif, image_headers
from keras_vgg.data.image_headers import FORMATS

SIZES = [(20, 30), (700, 1), (5, 513)]
KINDS = {
    "JPEG": {},
    "progressive JPEG": {"progressive": True},
    "PNG": {},
    "GIF": {},
    "BMP": {},
    "WEBP": {},  # "VP8 "
    "lossless WEBP": {"lossless": True},  # "VP8L"
    "extended WEBP": {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"},  # "VP8X"
}


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def look(encoded):
    return image_headers.read_header(encoded)[:2]


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def cut(encoded):
    return gif.first_frame(encoded)[:2]


def noise(height, width, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def encode(kind, height, width, **options):
    buffer = io.BytesIO()
    noise(height, width).save(buffer, kind.split()[-1], **(KINDS.get(kind, {}) | options))
    return buffer.getvalue()


def animation(frames, height, width, **options):
    buffer = io.BytesIO()
    images = [noise(height, width, seed) for seed in range(frames)]
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], **options)
    return buffer.getvalue()


def decoded(encoded):
    return tf.io.decode_image(encoded, channels=3, expand_animations=False).numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_format_and_size(kind, size):
    number, announced = look(encode(kind, *size))
    assert FORMATS[number].upper() == kind.split()[-1]
    assert announced.numpy().tolist() == list(size)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_cut_off_anywhere_raise_nothing(kind):
    whole = encode(kind, 20, 30)
    for length in range(64):
        size = look(whole[:length])[1].numpy().tolist()
        assert size in ([0, 0], [20, 30]) or length < 32  # half a header may announce anything


@pytest.mark.parametrize("content", [b"", b"\xff", b"hello", b"II*\0 a TIFF", b"RIFF....WAVE", bytes(100)])
def test_other_bytes_have_no_format(content):
    number, size = look(content)
    assert (int(number), size.numpy().tolist()) == (-1, [0, 0])


@pytest.mark.parametrize("content", [b"", b"hello", *(encode(kind, 20, 30) for kind in KINDS)], ids=["nothing", "text", *KINDS])
def test_nothing_is_printed(content, capfd):
    look(content)
    assert capfd.readouterr() == ("", "")  # libjpeg writes a line for each file that it does not understand


def test_a_bmp_from_top_to_bottom():
    whole = bytearray(encode("BMP", 20, 30))
    whole[22:26] = struct.pack("<i", -20)
    assert look(bytes(whole))[1].numpy().tolist() == [20, 30]


def test_a_png_may_announce_what_no_memory_holds():
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 2, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    assert look(b"\x89PNG\r\n\x1a\n" + chunk)[1].numpy().tolist() == [2**31 - 2, 2**31 - 1]


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("size", [(20, 30), (200, 300), (900, 7)])
def test_a_gif_cut_off_has_the_same_first_frame(frames, size):
    whole = animation(frames, *size, comment=b"hello" * 200)
    first, found = cut(whole)
    assert found.numpy().tolist() == list(size)
    assert len(first.numpy()) <= len(whole) - (frames > 1) * len(whole) * (frames - 1) // (2 * frames)
    np.testing.assert_array_equal(decoded(first), decoded(whole))


def test_a_gif_has_the_size_of_its_canvas_made_large_enough_for_its_first_frame():
    whole = bytearray(encode("GIF", 20, 30))
    whole[6:10] = struct.pack("<HH", 65535, 1)
    assert decoded(bytes(whole)).shape == (20, 30, 3)
    assert look(bytes(whole))[1].numpy().tolist() == [20, 65535]


def test_a_gif_cut_off_anywhere_raises_nothing():
    whole = animation(2, 20, 30)
    for length in (*range(60), len(whole) // 2, len(whole) - 1):
        size = cut(whole[:length])[1].numpy().tolist()
        assert size in ([0, 0], [20, 30]) or length < 20  # flags cut off may promise a table of another length


def test_a_gif_of_extensions_without_end_ends():
    assert cut(b"GIF89a" + bytes(7) + b"\x21\xfe" + b"\xff" * 100_000)[1].numpy().tolist() == [0, 0]


def test_a_gif_of_more_blocks_than_are_walked_through_has_no_size():
    few, many = (b"GIF89a" + bytes(7) + b"\x21\xfe" + b"\x01a" * blocks + b"\0" for blocks in (100, gif.MAX_STEPS))
    frame = encode("GIF", 20, 30)
    frame = frame[frame.index(b"\x2c\0\0\0\0") :]
    assert cut(few + frame)[1].numpy().tolist() == [20, 30]
    assert cut(many + frame)[1].numpy().tolist() == [0, 0]


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def count_scans(encoded):
    return image_headers.count_scans(encoded)


def test_a_gif_of_megabytes_is_walked_through():
    whole = encode("GIF", 1500, 2000)
    assert len(whole) > 255 * 10_000
    first, found = cut(whole)
    assert found.numpy().tolist() == [1500, 2000]
    np.testing.assert_array_equal(decoded(first), decoded(whole))


def test_scans_are_counted():
    assert count_scans(encode("JPEG", 200, 300)) == 1
    assert count_scans(encode("PNG", 20, 30)) == 1
    assert 5 <= count_scans(encode("progressive JPEG", 200, 300)) <= 12
