import io
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_vgg.data import decoding, images

HEIGHT, WIDTH = 93, 141  # no multiples of a block of 8 or 16


def photograph(mode="RGB"):
    """Smooth colour and noise, which have all frequencies."""
    noise = np.random.default_rng(0).normal(0, 30, (HEIGHT, WIDTH, 3))
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH, 0:1][:2]
    waves = 128 + 90 * np.sin(rows / 9 + np.arange(3)) * np.cos(columns / 14)
    return Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8)).convert(mode)


def encode(mode="RGB", **options):
    buffer = io.BytesIO()
    photograph(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def with_pillow(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


KINDS = {
    "baseline 4:2:0": {"subsampling": "4:2:0"},
    "baseline 4:2:2": {"subsampling": "4:2:2"},
    "baseline 4:4:4": {"subsampling": "4:4:4"},
    "progressive 4:2:0": {"subsampling": "4:2:0", "progressive": True},
    "progressive 4:4:4": {"subsampling": "4:4:4", "progressive": True},
    "grey": {"mode": "L"},
    "low quality": {"quality": 20},
    "high quality": {"quality": 98},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_jpegs_are_decoded_to_pillows_pixels(options):
    encoded = encode(**options)
    expected = with_pillow(encoded)
    np.testing.assert_array_equal(decoding.decode_image(encoded), expected)
    np.testing.assert_array_equal(decoding.decode_jpeg(encoded), expected)
    np.testing.assert_array_equal(images.decode_whole(tf.constant(encoded), tf.constant([HEIGHT, WIDTH])), expected)


@pytest.mark.parametrize("box", [(0, 0, 48, 64), (16, 32, 40, 50), (37, 51, 33, 47), (60, 90, 33, 51), (5, 139, 9, 1)])
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_window_of_a_jpeg_is_that_of_pillows_whole_image(options, box):
    encoded = encode(**options)
    top, left, height, width = box
    expected = with_pillow(encoded)[top : top + height, left : left + width]
    np.testing.assert_array_equal(decoding.decode_jpeg_window(encoded, tf.constant(box), WIDTH), expected)


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_window_of_a_reduced_jpeg_is_that_of_the_whole_reduced_image(options, reduction):
    encoded = encode(**options)
    whole = decoding.decode_jpeg(encoded, reduction).numpy()
    height, width = whole.shape[:2]
    for top, left, bottom, right in [(0, 0, height, width), (1, 2, height - 2, width - 3), (3, 5, height, width)]:
        pixels = decoding.decode_jpeg_window(encoded, tf.constant([top, left, bottom - top, right - left]), WIDTH, reduction)
        np.testing.assert_array_equal(pixels, whole[top:bottom, left:right])


SHARED = pathlib.Path(__file__).parents[2] / "shared" / "data" / "imagenet_sample_100"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs shared/")
def test_photographs_are_decoded_to_pillows_pixels():
    for path in sorted(SHARED.glob("*.JPEG")):
        encoded = path.read_bytes()
        np.testing.assert_array_equal(decoding.decode_image(encoded), with_pillow(encoded), err_msg=path.name)
