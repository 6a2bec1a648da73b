"""The layer that takes plain images: the pixels of the library's own centre crops, wherever it runs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vgg.data import images as operations
from keras_vgg.errors import InputError
from keras_vgg.models import build_vgg
from keras_vgg.preprocessing import CAFFE, TORCH, ImageTransform, Preprocessing, remember

SIZES = [(40, 50), (73, 41), (200, 150), (32, 32), (300, 900)]  # larger, smaller, reduced with averaging, as it is


def image(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def centre_crop(pixels, size, crop):
    """What training, testing and serving see of an image file."""
    return operations.decode_view(tf.io.encode_png(pixels), size, 0.5, 0.5, tf.constant(False), crop)


@pytest.fixture(scope="module")
def net():
    model = build_vgg("A", input_shape=(32, 32, 3), classes=7, width=0.05)
    remember(model, CAFFE)
    return model


@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_those_of_the_librarys_own_centre_crop(size):
    pixels = image(size)
    expected = centre_crop(pixels, 36, 32)
    layer = ImageTransform(36, 32)
    np.testing.assert_array_equal(layer(pixels), expected)
    np.testing.assert_array_equal(layer(np.stack([image(size, 1), pixels]))[1], expected)
    np.testing.assert_array_equal(layer(pixels.astype("float32")), expected)
    np.testing.assert_array_equal(ImageTransform(36, 32, TORCH)(pixels), TORCH(expected))


@pytest.mark.parametrize("size", SIZES[1:4])
def test_a_net_with_it_takes_plain_images_also_once_saved(net, tmp_path, size):
    transform = ImageTransform.for_model(net)
    assert (transform.size, transform.crop, transform.preprocessing) == (37, 32, CAFFE)
    whole = keras.Sequential([keras.Input((None, None, 3), dtype="uint8"), transform, net])
    pixels = image(size)[np.newaxis]
    expected = net(CAFFE(centre_crop(pixels[0], 37, 32)[np.newaxis]))
    whole.save(tmp_path / "whole.keras")
    loaded = keras.saving.load_model(tmp_path / "whole.keras")
    assert loaded.layers[0].get_config() == transform.get_config()
    for model in (whole, loaded):
        np.testing.assert_allclose(model.predict(pixels, verbose=0), expected, rtol=1e-5)


def test_works_in_a_data_set_and_under_half_precision():
    pixels, layer = image((50, 40)), ImageTransform(36, 32, CAFFE, dtype="mixed_float16")
    expected = CAFFE(centre_crop(pixels, 36, 32))
    data = tf.data.Dataset.from_tensors(tf.io.encode_png(pixels)).map(lambda encoded: layer(tf.io.decode_png(encoded, channels=3)))
    (found,) = data
    assert (found.dtype, found.shape) == (tf.float16, (32, 32, 3))
    np.testing.assert_array_equal(found, tf.cast(expected, tf.float16))
    np.testing.assert_array_equal(layer(pixels.astype("float32")), found)  # no pixel was rounded on the way in


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (lambda net: ImageTransform(20, 32), "1 <= crop <= size. Received: size=20, crop=32"),
        (lambda net: ImageTransform(36, 32, "caffe"), "Received: preprocessing='caffe'"),
        (lambda net: ImageTransform(36, 32, {"means": 1}), "must have mean, std and bgr"),
        (lambda net: ImageTransform(36, 32)(np.zeros((4, 40, 40))), r"Expected images \(B, height, width, 3\)"),
        (lambda net: ImageTransform.for_model(build_vgg("A", input_shape=(32, 64, 3), width=0.05)), "square images"),
        (lambda net: ImageTransform.for_model(build_vgg("A", input_shape=(32, 32, 3), width=0.05)), "is unknown"),
    ],
)
def test_a_mistake_is_told(net, mistake, told):
    with pytest.raises(InputError, match=told):
        mistake(net)


def test_nets_for_any_size_get_crops_of_the_usual_one():
    model = build_vgg("D-pool", input_shape=(None, None, 3), width=0.05)
    remember(model, Preprocessing((1, 2, 3)))
    transform = ImageTransform.for_model(model, size=300)
    assert (transform.size, transform.crop) == (300, 224)
