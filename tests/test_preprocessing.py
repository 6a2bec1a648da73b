import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vgg.errors import InputError
from keras_vgg.features.perceptual import perceptual_model
from keras_vgg.models import build_vgg
from keras_vgg.preprocessing import BY_NAME, CAFFE, TORCH, Preprocessing, attach, for_model, of_weights, read_attached, remember
from keras_vgg.support.cli import PREPROCESSINGS


def pixels(dtype="uint8"):
    return np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3)).astype(dtype)


@pytest.mark.parametrize(("preprocessing", "mode"), [(CAFFE, "caffe"), (TORCH, "torch")])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_agrees_with_keras_applications(preprocessing, mode, dtype):
    expected = keras.applications.imagenet_utils.preprocess_input(pixels("float32").copy(), mode=mode)
    outputs = preprocessing(tf.constant(pixels(dtype)))
    assert outputs.dtype == tf.float32
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-4)


def test_flags_name_what_there_is():
    assert tuple(BY_NAME) == PREPROCESSINGS


def test_one_pixel_by_hand():
    red = [[200.0, 100.0, 50.0]]
    mean, std = (100.0, 90.0, 40.0), (2.0, 5.0, 10.0)
    np.testing.assert_allclose(Preprocessing(mean, std)(red), [[50, 2, 1]])
    np.testing.assert_allclose(Preprocessing(mean, std, bgr=True)(red), [[1, 2, 50]])
    np.testing.assert_allclose(Preprocessing(mean)(red), [[100, 10, 10]])


def test_never_changes_its_argument():
    images = pixels("float32")
    before = images.copy()
    CAFFE(images)
    np.testing.assert_array_equal(images, before)


def test_file_says_what_its_weights_want_and_still_loads(tmp_path):
    path = tmp_path / "net.keras"
    model = build_vgg("A", input_shape=(32, 32, 3), width=0.05, classes=3)
    model.save(path)
    assert read_attached(path) is None
    preprocessing = Preprocessing((1.1, 2.2, 3.3), (4.0, 5.0, 6.0), bgr=True)
    attach(path, preprocessing)
    assert read_attached(path) == preprocessing
    images = pixels("float32")[:, :1, :1] * np.ones((1, 32, 32, 1), "float32")
    np.testing.assert_array_equal(keras.saving.load_model(path)(images), model(images))


@pytest.mark.parametrize("wants", [CAFFE, TORCH])
@pytest.mark.parametrize("own", ["rescaling", "offset", "sequential", "mean", "flip", "nested"])
def test_what_a_models_own_layers_do_is_not_done_twice(own, wants):
    net = build_vgg("A", width=0.05, input_shape=(32, 32, 3), include_top=False)
    remember(net, wants)
    images = keras.Input((32, 32, 3))
    rescaled = keras.layers.Rescaling(1 / 127.5, -1)
    model = {
        "rescaling": lambda: keras.Model(images, net(keras.layers.Rescaling(1 / 255)(images))),
        "offset": lambda: keras.Model(images, net(rescaled(images))),
        "sequential": lambda: keras.Sequential([images, rescaled, net]),
        "mean": lambda: keras.Model(images, net(keras.layers.Normalization(mean=[1, 2, 3], variance=[4, 5, 6])(images))),
        "flip": lambda: keras.Model(images, net(keras.ops.flip(images, axis=-1))),
        "nested": lambda: keras.Sequential([images, keras.layers.ZeroPadding2D(0), keras.Sequential([images, rescaled, net])]),
    }[own]()
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    expected = np.array(net(wants(pixels)))
    np.testing.assert_allclose(model(for_model(model)(pixels)), expected, rtol=1e-3, atol=1e-4 * np.ptp(expected))
    assert for_model(net) == of_weights(model) == wants


@pytest.mark.parametrize("layer", [lambda images: images * images, lambda images: 255 - images, keras.layers.AveragePooling2D(2)])
def test_other_layers_before_the_net_are_refused(layer):
    net, images = build_vgg("A", width=0.05, input_shape=(None, None, 3), include_top=False), keras.Input((64, 64, 3))
    remember(net, TORCH)
    with pytest.raises(InputError, match="is unknown: the layers before its first convolution"):
        for_model(keras.Model(images, net(layer(images))))


def test_perceptual_model_wants_images_as_they_are():
    net = perceptual_model("A", ("relu1_1",), weights=None)
    assert for_model(net) == Preprocessing((0, 0, 0))


def test_whole_numbers_are_the_same_numbers():
    assert (
        Preprocessing((120, 110, 100), (60, 60, 60)).to_json() == Preprocessing((120.0, 110.0, 100.0), (60.0, 60.0, 60.0)).to_json()
    )
