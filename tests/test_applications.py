import contextlib
import dataclasses
import hashlib
import inspect
import itertools
import json
import math
import pathlib
import re
import socket
import tempfile
import types

import caffe_writer
import channels_first
import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.applications import imagenet_utils
from keras.src.applications import vgg16 as keras_vgg16
from keras.src.applications import vgg19 as keras_vgg19
from keras.src.legacy.saving import legacy_h5_format
from keras.src.utils import file_utils

from keras_vgg import applications, configs, models, preprocessing
from keras_vgg.applications import VGG11, VGG11BN, VGG11LRN, VGG13, VGG13BN, VGG16, VGG16BN, VGG16C, VGG19, VGG19BN
from keras_vgg.errors import InputError
from keras_vgg.preprocessing import CAFFE, CAFFE_RGB, TORCH, Preprocessing
from keras_vgg.weights import catalogue, download, loading
from keras_vgg.weights.saving import save_model, save_weights
from keras_vgg.weights.torch_write import write_state_dict
from keras_vgg.weights.weight_file import open_weights

FUNCTIONS = [VGG11, VGG11LRN, VGG13, VGG16C, VGG16, VGG19, VGG11BN, VGG13BN, VGG16BN, VGG19BN]
BOTH = [(keras.applications.VGG16, VGG16), (keras.applications.VGG19, VGG19)]
SMALL = {"input_shape": (32, 32, 3), "classes": 10}
CUSTOM = Preprocessing((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), bgr=True)

each = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
both = pytest.mark.parametrize(("theirs", "ours"), BOTH, ids=["VGG16", "VGG19"])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Keras' folder of models."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "_FALLBACK", tmp_path / "fallback")
    (tmp_path / "keras" / "models").mkdir(parents=True)
    return tmp_path / "keras" / "models"


@pytest.fixture
def disk():
    """For files of a hundred megabytes, which pytest would keep in its own folder."""
    with tempfile.TemporaryDirectory() as name:
        yield pathlib.Path(name)


@pytest.fixture(autouse=True, scope="module")
def memory_as_it_comes():
    """No random kernels, in Keras' nets neither: these are overwritten or only looked at, and would take half of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            keras.initializers.GlorotUniform, "__call__", lambda _, shape, dtype: tf.raw_ops.Empty(shape=shape, dtype=dtype)
        )
        yield


@pytest.fixture
def random_kernels(monkeypatch):
    monkeypatch.setattr(keras.initializers.GlorotUniform, "__call__", keras.initializers.VarianceScaling.__call__)


@contextlib.contextmanager
def an_eighth_of_all_filters():
    scaled_width = configs.scaled_width
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(configs, "scaled_width", lambda units, width: scaled_width(units, width / 8))
        yield


@pytest.fixture
def narrow():
    """An eighth of all filters, where what is told of a net does not depend on how wide it is."""
    with an_eighth_of_all_filters():
        yield


@pytest.fixture
def both_narrow(narrow, monkeypatch):
    """Keras' own nets as well, of which no argument says how wide they are."""

    def an_eighth(kind):
        return lambda units, *args, **options: kind(units if units == SMALL["classes"] else units // 8, *args, **options)

    kinds = {"Conv2D": an_eighth(keras.layers.Conv2D), "Dense": an_eighth(keras.layers.Dense)}
    for module in (keras_vgg16, keras_vgg19):
        monkeypatch.setattr(module, "layers", types.SimpleNamespace(**vars(keras.layers) | kinds))


@pytest.fixture(params=["channels_last", "channels_first"])
def data_format(request):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(request.param)
    yield request.param
    keras.config.set_image_data_format(before)


def arranged(data_format, channels, height, width):
    return (height, width, channels) if data_format == "channels_last" else (channels, height, width)


def must_not_be_called(*args, **kwargs):
    raise AssertionError("Called too early.")


def fill(model, seed=0):
    """Gives every variable numbers with which activations neither vanish nor explode; random ones would take too long."""
    numbers = np.random.default_rng(seed).uniform(-1, 1, 1_000_003).astype("float32")
    for start, variable in enumerate(model.weights):
        values = np.resize(numbers[start:], variable.shape)
        if variable.name == "kernel":
            values *= math.sqrt(6 / math.prod(variable.shape[:-1]))
        elif variable.name in ("gamma", "moving_variance"):
            values = 1 + values / 2
        variable.assign(values)
    return model


def images(height=32, width=32, number=2):
    return np.random.default_rng(1).uniform(-1.5, 1.5, (number, height, width, 3)).astype("float32")


def assert_same(received, expected):
    expected = np.array(expected)
    assert np.std(expected) > 0.01  # else all nets would agree
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)


def write_legacy_h5(model, path):
    with h5py.File(path, "w") as file:  # by Keras, as long as it can
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


def write_torch(path, names, layers):
    arrays = {}
    for name, (kernel, bias) in zip(names, layers, strict=True):
        arrays |= {f"{name}.weight": kernel, f"{name}.bias": bias}
    write_state_dict(path, [(name, array.shape, lambda array=array: array) for name, array in arrays.items()])


def closed_url(name):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/{name}"


# The nets


@pytest.mark.parametrize(
    ("function", "name", "convolutions", "parameters"),
    [
        (VGG11, "vgg11", (1, 1, 2, 2, 2), 132_863_336),  # numbers of parameters as torchvision and Keras publish them
        (VGG11LRN, "vgg11_lrn", (1, 1, 2, 2, 2), 132_863_336),
        (VGG13, "vgg13", (2, 2, 2, 2, 2), 133_047_848),
        (VGG16C, "vgg16c", (2, 2, 3, 3, 3), 138_357_544 - 8 * (256 * 256 + 2 * 512 * 512)),  # 1x1 for 3x3 three times
        (VGG16, "vgg16", (2, 2, 3, 3, 3), 138_357_544),
        (VGG19, "vgg19", (2, 2, 4, 4, 4), 143_667_240),
        (VGG11BN, "vgg11_bn", (1, 1, 2, 2, 2), 132_868_840),
        (VGG13BN, "vgg13_bn", (2, 2, 2, 2, 2), 133_053_736),
        (VGG16BN, "vgg16_bn", (2, 2, 3, 3, 3), 138_365_992),
        (VGG19BN, "vgg19_bn", (2, 2, 4, 4, 4), 143_678_248),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_defaults_give_the_full_net(function, name, convolutions, parameters):
    model = function(weights=None)
    assert isinstance(model, keras.Model)
    assert model.name == name
    assert model.input_shape == (None, 224, 224, 3)
    assert model.output_shape == (None, 1000)
    assert model.get_layer("block5_pool").output.shape == (None, 7, 7, 512)
    assert model.layers[-1].activation is keras.activations.softmax
    layers = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert layers == [f"block{block}_conv{i + 1}" for block, number in enumerate(convolutions, start=1) for i in range(number)]
    assert sum(math.prod(variable.shape) for variable in model.trainable_variables) == parameters


@pytest.mark.parametrize(("function", "kind", "number"), [(VGG11LRN, "LocalResponseNormalization", 1), (VGG16C, "Conv2D", 3)])
def test_what_makes_a_net_its_own(function, kind, number):
    def count(model):
        return sum(type(layer).__name__ == kind and getattr(layer, "kernel_size", (1, 1)) == (1, 1) for layer in model.layers)

    assert count(function(weights=None, include_top=False)) == number
    assert count((VGG11 if function is VGG11LRN else VGG16)(weights=None, include_top=False)) == 0


@pytest.mark.parametrize("channels", [1, 4])
@each
def test_without_the_top_images_of_any_size_and_channels(function, channels, data_format):
    shape = arranged(data_format, channels, None, None)
    if channels == 4:
        with pytest.warns(UserWarning, match="expects 1 or 3 input channels, not 4") as warned:
            model = function(weights=None, include_top=False, input_shape=shape)
        assert [pathlib.Path(warning.filename).name for warning in warned] == [pathlib.Path(__file__).name]
    else:
        model = function(weights=None, include_top=False, input_shape=shape)
    assert model.input_shape == (None, *shape)
    assert model.output_shape == (None, *arranged(data_format, 512, None, None))


@each
def test_without_the_top_size_is_open_by_default(function, data_format):
    model = function(weights=None, include_top=False)
    assert model.input_shape == (None, *arranged(data_format, 3, None, None))


def test_default_size_is_224_in_either_data_format(data_format):
    assert VGG16(weights=None).input_shape == (None, *arranged(data_format, 3, 224, 224))


@each
def test_without_the_top_an_input_shape_of_ones_own(function, data_format):
    model = function(weights=None, include_top=False, input_shape=arranged(data_format, 3, 123, 70))
    assert model.output_shape == (None, *arranged(data_format, 512, 3, 2))  # 123 61 30 15 7 3, 70 35 17 8 4 2


@each
def test_builds_on_the_output_of_another_layer(function, data_format):
    inputs = keras.Input(arranged(data_format, 4, 200, 200), name="custom_input")
    tensor = keras.layers.Conv2D(3, 2, strides=2, name="stem")(inputs)
    model = function(weights=None, include_top=False, input_tensor=tensor)
    assert len(model.inputs) == 1
    assert model.inputs[0] is inputs
    assert model.get_layer("block1_conv1").input is tensor
    assert model.output_shape == (None, *arranged(data_format, 512, 3, 3))  # 100 50 25 12 6 3


@each
def test_builds_on_an_input_tensor(function):
    tensor = keras.Input((64, 96, 3))
    model = function(weights=None, input_tensor=tensor, classes=7)
    assert model.inputs[0] is tensor
    assert model.get_layer("fc1").kernel.shape == (2 * 3 * 512, 4096)
    assert model.output_shape == (None, 7)


@pytest.mark.parametrize("pooling", ["avg", "max"])
@each
def test_pooling_shape(function, pooling):
    assert function(weights=None, include_top=False, pooling=pooling).output_shape == (None, 512)


@pytest.mark.parametrize(("pooling", "reduce"), [("avg", np.mean), ("max", np.max)])
def test_pooling_is_over_places(pooling, reduce):
    model = fill(VGG11(weights=None, include_top=False, pooling=pooling))
    feature_map = keras.Model(model.input, model.get_layer("block5_pool").output)(images(70, 100))
    assert feature_map.shape == (2, 2, 3, 512)
    assert_same(model(images(70, 100)), reduce(feature_map, axis=(1, 2)))


def test_pooling_is_ignored_with_the_top_as_in_keras():
    names = [layer.name for layer in keras.applications.VGG16(weights=None, pooling="avg", **SMALL).layers[1:]]
    assert [layer.name for layer in VGG16(weights=None, pooling="avg", **SMALL).layers[1:]] == names


def test_classifier_activation(narrow):
    model = fill(VGG11(weights=None, **SMALL))
    logits = VGG11(weights=None, **SMALL, classifier_activation=None)
    logits.set_weights(model.get_weights())
    assert model.layers[-1].activation is keras.activations.softmax
    assert logits.layers[-1].activation is keras.activations.linear
    exponentials = np.exp(np.array(logits(images())))
    assert_same(model(images()), exponentials / exponentials.sum(-1, keepdims=True))


@pytest.mark.parametrize("function", [VGG11LRN, VGG16C, VGG19, VGG11BN], ids=lambda function: function.__name__)
def test_serialises(function, narrow):
    model = fill(function(weights=None, include_top=False, pooling="avg"))
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    again = keras.saving.deserialize_keras_object(config)
    assert again.name == model.name
    assert len(again.weights) == len(model.weights)
    again.set_weights(model.get_weights())
    assert_same(again(images()), model(images()))


@each
def test_dropout_is_none_by_default_and_two_layers_if_asked_for(function):
    plain, dropped = function(weights=None, **SMALL), function(weights=None, **SMALL, dropout=0.3)
    names = [layer.name for layer in plain.layers[1:]]
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in plain.layers)
    assert names[-3:] == ["fc1", "fc2", "predictions"]
    assert [layer.name for layer in dropped.layers[1:]] == [*names[:-3], "fc1", "dropout_fc1", "fc2", "dropout_fc2", "predictions"]
    assert [layer.rate for layer in dropped.layers if isinstance(layer, keras.layers.Dropout)] == [0.3, 0.3]


def test_dropout_changes_training_alone(narrow):
    plain = fill(VGG11(weights=None, **SMALL))
    dropped = VGG11(weights=None, **SMALL, dropout=0.5)
    dropped.set_weights(plain.get_weights())
    expected = np.array(plain(images()))
    assert_same(dropped(images()), expected)
    assert np.abs(np.array(dropped(images(), training=True)) - expected).max() > 0.01
    assert_same(plain(images(), training=True), expected)


# Agreement with keras.applications


@each
def test_signature_begins_with_that_of_keras(function):
    theirs = list(inspect.signature(keras.applications.VGG16).parameters.values())
    ours = list(inspect.signature(function).parameters.values())
    assert [(p.name, p.kind) for p in ours[: len(theirs)]] == [(p.name, p.kind) for p in theirs]
    assert [p.default for p in ours[: len(theirs) - 1]] == [p.default for p in theirs[:-1]]  # the last is `name`
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in ours[len(theirs) :])


@both
def test_name_is_that_of_keras(theirs, ours):
    assert ours.__name__ == theirs.__name__
    assert inspect.signature(ours).parameters["name"].default == inspect.signature(theirs).parameters["name"].default


@pytest.mark.parametrize("include_top", [True, False])
@both
def test_layers_and_outputs_are_those_of_keras(theirs, ours, include_top):
    arguments = {"weights": None, "include_top": include_top, **SMALL}
    expected, model = fill(theirs(**arguments)), ours(**arguments)
    assert [type(layer) for layer in model.layers] == [type(layer) for layer in expected.layers]
    assert [layer.get_config() for layer in model.layers[1:]] == [layer.get_config() for layer in expected.layers[1:]]
    model.set_weights(expected.get_weights())
    assert_same(model(images()), expected(images()))


def test_full_net_agrees_with_keras():
    expected, model = fill(keras.applications.VGG16(weights=None)), VGG16(weights=None)
    for ours, theirs in zip(model.weights, expected.weights, strict=True):
        ours.assign(theirs)
    batch = images(224, 224, number=1)
    received, wanted = np.array(model(batch)), np.array(expected(batch))
    assert wanted.shape == (1, 1000)
    np.testing.assert_allclose(1000 * received, 1000 * wanted, rtol=1e-5, atol=1e-5)
    assert np.std(1000 * wanted) > 0.1


@pytest.mark.parametrize(
    ("theirs", "ours", "suffix"),
    [(*BOTH[0], ".weights.h5"), (*BOTH[0], ".h5"), (*BOTH[0], ".whole.h5"), (*BOTH[1], ".h5")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_takes_the_files_of_keras_and_keras_takes_ours(theirs, ours, suffix, disk, both_narrow):
    expected, path = fill(theirs(weights=None, **SMALL)), disk / f"theirs{suffix}"
    if suffix == ".weights.h5":
        expected.save_weights(path)
    elif suffix == ".h5":
        write_legacy_h5(expected, path)
    else:
        expected.save(path)  # the whole model in the old layout
    model = ours(weights=str(path), **SMALL)
    assert_same(model(images()), expected(images()))
    without_top = ours(weights=str(path), include_top=False)
    feature_map = keras.Model(expected.input, expected.get_layer("block5_pool").output)
    assert_same(without_top(images()), feature_map(images()))

    if suffix == ".weights.h5":
        model.save_weights(disk / "ours.weights.h5")
        again = theirs(weights=disk / "ours.weights.h5", **SMALL)
    elif suffix == ".h5":
        save_weights(open_weights(path), disk / "ours.h5")
        again = theirs(weights=disk / "ours.h5", **SMALL)
    else:
        model.save(disk / "ours.whole.h5")
        again = keras.saving.load_model(disk / "ours.whole.h5")
    assert_same(again(images()), expected(images()))


MISTAKES = {
    "missing file": ({"weights": "no_such_file"}, "weights='no_such_file', which does not exist"),
    "missing file, without top": ({"weights": "no.h5", "include_top": False}, "weights='no.h5', which does not exist"),
    "no name": ({"weights": True}, "or the path of a weight file or run folder. Received: weights=True."),
    "name of nothing": ({"weights": "imagenet21k"}, "has no public weights named 'imagenet21k'; available: imagenet, imagenet_tor"),
    "classes": ({"classes": 999}, "classes=999"),
    "size": ({"input_shape": (200, 200, 3)}, "must be (224, 224, 3). Received: (200, 200, 3)"),
    "channels": ({"input_shape": (224, 224, 1)}, "must be (224, 224, 3). Received: (224, 224, 1)"),
    "channels, without top": ({"input_shape": (64, 64, 1), "include_top": False}, "must have 3 channels"),
    "4 channels, without top": ({"input_shape": (64, 64, 4), "include_top": False}, "must have 3 channels"),
    "two axes": ({"weights": None, "input_shape": (64, 64)}, "three integers. Received: input_shape=(64, 64)"),
    "four axes": ({"weights": None, "input_shape": (1, 64, 64, 3), "include_top": False}, "three integers"),
    "two axes, public": ({"input_shape": (64, 64), "include_top": False}, "three integers"),
    "low": ({"weights": None, "input_shape": (31, 64, 3)}, "at least 32x32. Received: input_shape=(31, 64, 3)"),
    "narrow": ({"weights": None, "input_shape": (64, 31, 3), "include_top": False}, "at least 32x32"),
    "small, public": ({"input_shape": (31, 31, 3), "include_top": False}, "at least 32x32"),
    "no height": ({"weights": None, "input_shape": (None, 64, 3)}, "must be static. Received: input_shape=(None, 64, 3)"),
    "no size": ({"weights": None, "input_shape": (None, None, 3)}, "must be static"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_those_of_keras_and_found_at_once(arguments, message, monkeypatch):
    monkeypatch.setattr(file_utils, "get_file", must_not_be_called)
    with pytest.raises(ValueError):  # noqa: PT011  (whatever Keras says)
        keras.applications.VGG16(**arguments)
    monkeypatch.setattr(models, "apply_vgg", must_not_be_called)
    monkeypatch.setattr(download, "fetch", must_not_be_called)
    for function in (VGG16, VGG19BN):
        with pytest.raises(InputError, match=re.escape(message)) as raised:
            function(**arguments)
        assert "\n" not in str(raised.value)


def test_channels_first_mistakes_are_those_of_keras(data_format, monkeypatch):
    monkeypatch.setattr(file_utils, "get_file", must_not_be_called)
    monkeypatch.setattr(download, "fetch", must_not_be_called)
    other = "channels_first" if data_format == "channels_last" else "channels_last"
    for function in (keras.applications.VGG16, VGG16):
        with pytest.raises(ValueError, match=re.escape(str(arranged(data_format, 3, 224, 224)))):
            function(input_shape=arranged(other, 3, 224, 224))
        with pytest.raises(ValueError, match="at least 32x32"):
            function(input_shape=arranged(data_format, 3, 31, 64), include_top=False)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", keras.activations.relu])
def test_activation_for_loaded_weights_is_softmax_or_none_as_in_keras(activation, tmp_path, monkeypatch):
    path = tmp_path / "net.weights.h5"
    path.touch()
    arguments = {"weights": path, "classifier_activation": activation, **SMALL}
    with pytest.raises(ValueError, match="activation"):
        keras.applications.VGG16(**arguments)
    monkeypatch.setattr(models, "apply_vgg", must_not_be_called)
    monkeypatch.setattr(download, "fetch", must_not_be_called)
    for weights in (path, "imagenet"):
        with pytest.raises(InputError, match="`classifier_activation` must be 'softmax' or None"):
            VGG16(weights=weights, classifier_activation=activation)


def test_activation_is_free_for_random_weights():
    model = VGG16(weights=None, classifier_activation="sigmoid", **SMALL)
    assert model.layers[-1].activation is keras.activations.sigmoid


@both
def test_tensor_that_is_not_symbolic_is_refused_by_both(theirs, ours):
    for function in (theirs, ours):
        with pytest.raises(ValueError, match="tensor"):
            function(weights=None, include_top=False, input_tensor=np.zeros((1, 32, 32, 3), "float32"))


@both
def test_both_warn_of_other_channels(theirs, ours):
    for function in (theirs, ours):
        with pytest.warns(UserWarning, match="usually expects 1 or 3 input channels"):
            function(weights=None, include_top=False, input_shape=(32, 32, 5))


@pytest.mark.parametrize("channels", [1, 3])
def test_no_warning_for_grey_or_color(channels, recwarn):
    VGG16(weights=None, include_top=False, input_shape=(32, 32, channels))
    assert not [warning for warning in recwarn if "channels" in str(warning.message)]


# Weights from files


KINDS = [".keras", ".weights.h5", ".h5", ".pth", ".safetensors"]


@dataclasses.dataclass(frozen=True)
class Saved:
    """A net A in files of all kinds, `net.keras` and so on, with `CUSTOM` where there is a place for it."""

    folder: pathlib.Path
    batch: np.ndarray
    outputs: np.ndarray
    feature_map: np.ndarray

    def __truediv__(self, name):
        return self.folder / name


def saved_net(model, folder, batch):
    preprocessing.remember(model, CUSTOM)
    for kind in KINDS:
        if kind in (".keras", ".weights.h5"):
            save_model(model, folder / f"net{kind}")
        else:
            save_weights(open_weights(folder / "net.keras"), folder / f"net{kind}")
    feature_map = keras.Model(model.input, model.get_layer("block5_pool").output)
    return Saved(folder, batch, np.array(model(batch)), np.array(feature_map(batch)))


@pytest.fixture(scope="module")
def saved_whole():
    with tempfile.TemporaryDirectory() as name:
        with an_eighth_of_all_filters():
            model = fill(VGG11(weights=None, input_shape=(64, 64, 3), classes=10))
        yield saved_net(model, pathlib.Path(name), images(64, 64))


@pytest.fixture
def whole(narrow, saved_whole):
    """With the top, narrow: at full width each file would be of 140 MB."""
    return saved_whole


@pytest.fixture(scope="module")
def bare():
    """Without the top; `plain.keras` and `plain.h5` do not say what the weights want."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = fill(VGG11(weights=None, include_top=False), seed=1)
        model.save(folder / "plain.keras")
        write_legacy_h5(model, folder / "plain.h5")
        yield saved_net(model, folder, images())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same(kind, whole):
    path = whole / f"net{kind}"
    model = VGG11(weights=str(path), input_shape=(64, 64, 3), classes=10)
    assert_same(model(whole.batch), whole.outputs)
    assert_same(VGG11(weights=path, include_top=False)(whole.batch), whole.feature_map)
    assert preprocessing.for_model(model) == CUSTOM


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_without_the_top_gives_the_same(kind, bare):
    model = VGG11(weights=bare / f"net{kind}", include_top=False, pooling="max")
    assert_same(model(bare.batch), bare.feature_map.max((1, 2)))


@pytest.mark.parametrize("function", [f for f in FUNCTIONS if f is not VGG11], ids=lambda function: function.__name__)
def test_every_net_is_loaded_from_its_file(function, narrow, disk):
    model = fill(function(weights=None, include_top=False))
    model.save(disk / "net.keras")
    save_weights(open_weights(disk / "net.keras"), disk / "net.pth")
    for name in ("net.keras", "net.pth"):
        loaded = function(weights=disk / name, include_top=False)
        assert [layer.name for layer in loaded.layers[1:]] == [layer.name for layer in model.layers[1:]]
        assert_same(loaded(images()), model(images()))


def test_run_folder(bare, tmp_path):
    (tmp_path / "best.keras").symlink_to(bare / "net.keras")
    model = VGG11(weights=tmp_path, include_top=False)
    assert_same(model(bare.batch), bare.feature_map)
    assert preprocessing.for_model(model) == CUSTOM


def test_folder_that_is_no_run(tmp_path):
    with pytest.raises(InputError, match=re.escape(f"Received: {tmp_path} (no such file: {tmp_path / 'best.keras'})")):
        VGG11(weights=tmp_path, include_top=False)


def test_layers_before_the_net_stay(bare, recwarn):
    inputs = keras.Input((None, None, 3), dtype="uint8")
    tensor = keras.layers.Rescaling(0.01, offset=-1.3)(inputs)
    model = VGG11(weights=bare / "net.keras", include_top=False, input_tensor=tensor)
    pixels = np.random.default_rng(2).integers(0, 256, (2, 40, 40, 3)).astype("uint8")
    alone = VGG11(weights=bare / "net.keras", include_top=False)
    assert_same(model(pixels), alone(np.float32(0.01) * pixels - np.float32(1.3)))
    assert not [w for w in recwarn if "structure of `inputs`" in str(w.message)]  # as Keras' own nets have it there


def test_logits_of_loaded_weights(whole):
    model = VGG11(weights=whole / "net.h5", input_shape=(64, 64, 3), classes=10, classifier_activation=None)
    exponentials = np.exp(np.array(model(whole.batch)))
    assert_same(exponentials / exponentials.sum(-1, keepdims=True), whole.outputs)


def test_random_kernels_are_random(random_kernels):
    model = VGG11(weights=None, include_top=False)
    for number in (1, 2):
        kernel, bias = model.get_layer(f"block5_conv{number}").get_weights()
        assert kernel.std() == pytest.approx((2 / (2 * 9 * 512)) ** 0.5, rel=0.01)
        assert abs(kernel.mean()) < 1e-4
        assert not bias.any()


def test_loaded_net_serialises_and_is_cloned_as_if_it_had_been_random(bare, random_kernels):
    model = VGG11(weights=bare / "net.pth", include_top=False)
    fresh = VGG11(weights=None, include_top=False)
    assert [layer.get_config() for layer in model.layers[1:]] == [layer.get_config() for layer in fresh.layers[1:]]
    kernel = keras.models.clone_model(model).get_layer("block5_conv2").kernel.numpy()
    assert kernel.std() == pytest.approx((2 / (2 * 9 * 512)) ** 0.5, rel=0.01)


TORCH_INDICES = (0, 3, 6, 8, 11, 13, 16, 18)  # of torchvision's vgg11 in `features`
CAFFE_NAMES = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "conv4_1", "conv4_2", "conv5_1", "conv5_2")


def foreign_net_a(height, width):
    """Kernel and bias of each layer of a `narrow` net A as PyTorch and Caffe keep them."""
    filters = (3, 8, 16, 32, 32, 64, 64, 64, 64)
    shapes = [(out, channels, 3, 3) for channels, out in itertools.pairwise(filters)]
    shapes += [(512, 64 * height * width), (512, 512), (10, 512)]
    numbers = np.random.default_rng(3).uniform(-1, 1, 1_000_003).astype("float32")
    for number, shape in enumerate(shapes):
        kernel = np.resize(numbers[number:], shape) * np.float32(math.sqrt(6 / math.prod(shape[1:])))
        yield kernel, numbers[number : number + shape[0]]


@pytest.mark.parametrize(
    ("source", "data_format"),
    [("torchvision", "channels_last"), ("torchvision", "channels_first"), ("caffe", "channels_last")],
    indirect=["data_format"],
)
def test_layout_of_other_worlds(source, data_format, narrow, disk):
    if data_format == "channels_first":
        channels_first.require()
    layers, path = list(foreign_net_a(2, 3)), disk / "net"
    if source == "torchvision":
        names = [f"features.{index}" for index in TORCH_INDICES] + [f"classifier.{index}" for index in (0, 3, 6)]
        write_torch(path, names, layers)
    else:
        caffe_writer.write_caffemodel(path, dict(zip((*CAFFE_NAMES, "fc6", "fc7", "fc8"), layers, strict=True)), legacy=True)
    model = VGG11(weights=path, input_shape=arranged(data_format, 3, 64, 96), classes=10)
    assert preprocessing.for_model(model) == (TORCH if source == "torchvision" else CAFFE)

    batch = images(64, 96, number=1)
    named = ("block1_conv1", "block5_pool", "fc1", "fc2", "predictions")
    outputs = keras.Model(model.input, [model.get_layer(name).output for name in named])
    conv, pool, fc1, fc2, posteriors = map(
        np.array, outputs(batch if data_format == "channels_last" else batch.transpose(0, 3, 1, 2))
    )
    if data_format == "channels_last":
        conv, pool = conv.transpose(0, 3, 1, 2), pool.transpose(0, 3, 1, 2)  # (1, channels, height, width)
    patch = batch[0, 9:12, 19:22].transpose(2, 0, 1)  # around row 10, column 20
    kernel, bias = layers[0]
    assert_same(conv[0, :, 10, 20], np.maximum((kernel * patch).sum((1, 2, 3)) + bias, 0))
    assert pool.shape == (1, 64, 2, 3)
    expected_fc1 = np.maximum(layers[8][0] @ pool.ravel() + layers[8][1], 0)
    np.testing.assert_allclose(fc1[0], expected_fc1, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(fc2[0], np.maximum(layers[9][0] @ fc1[0] + layers[9][1], 0), rtol=1e-4, atol=1e-4)
    exponentials = np.exp(layers[10][0] @ fc2[0] + layers[10][1])
    np.testing.assert_allclose(posteriors[0], exponentials / exponentials.sum(), rtol=1e-4, atol=1e-6)
    assert fc1.std() > 0.1


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (VGG13, {}, "Expected weights of net B. Received: {path}, which contains net A: it lacks block1_conv2 ("),
        (
            VGG16,
            {"include_top": False},
            "Expected weights of net D. Received: {path}, which contains net A: it lacks block1_conv2 (",
        ),
        (VGG11BN, {}, "Expected weights of net A with batch norm. Received: {path}, which contains net A: it lacks block1_bn1 ("),
        (
            VGG11,
            {"input_shape": (64, 64, 3)},
            "predictions (predictions/0) has shape (512, 10). Model 'vgg11' has 1000 classes, not 10",
        ),
        (VGG11, {"input_shape": (64, 64, 3), "classes": 7}, "Model 'vgg11' has 7 classes, not 10"),
        (VGG11, {"classes": 10}, "has another input size: fc1 takes 3,136 values, not 256"),
        (VGG11, {"input_shape": (64, 64, 1), "classes": 10}, "block1_conv1 (block1_conv1/0) has shape (3, 3, 3, 8). Model"),
    ],
)
def test_weights_that_do_not_fit(function, arguments, message, whole):
    path = whole / "net.weights.h5"
    with pytest.raises(InputError, match=re.escape(message.format(path=path))) as raised:
        function(weights=path, **arguments)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", KINDS)
def test_file_without_the_top_does_not_make_a_whole_net(kind, bare):
    with pytest.raises(InputError, match=r"saved without the top \(fc1, fc2, predictions\).*build it with include_top=False"):
        VGG11(weights=bare / f"net{kind}", **SMALL)


# Public weights


@pytest.mark.parametrize(
    ("function", "name", "whole_file", "file_without_top"),
    [
        (VGG11, "imagenet", "vgg11-8a719046.pth", None),
        (VGG11, "imagenet_torchvision", "vgg11-8a719046.pth", None),
        (VGG13, "imagenet", "vgg13-19584684.pth", None),
        (VGG16, "imagenet", "vgg16_weights_tf_dim_ordering_tf_kernels.h5", "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        (VGG16, "imagenet_torchvision", "vgg16-397923af.pth", None),
        (VGG16, "imagenet_caffe", "VGG_ILSVRC_16_layers.caffemodel", None),
        (VGG19, "imagenet", "vgg19_weights_tf_dim_ordering_tf_kernels.h5", "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        (VGG19, "imagenet_torchvision", "vgg19-dcbb9e9d.pth", None),
        (VGG19, "imagenet_caffe", "VGG_ILSVRC_19_layers.caffemodel", None),
        (VGG11BN, "imagenet", "vgg11_bn-6002323d.pth", None),
        (VGG13BN, "imagenet", "vgg13_bn-abd245e5.pth", None),
        (VGG16BN, "imagenet", "vgg16_bn-6c64b313.pth", None),
        (VGG19BN, "imagenet_torchvision", "vgg19_bn-c79401a0.pth", None),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_name_asks_for_the_right_file(function, name, whole_file, file_without_top, monkeypatch):
    class Asked(Exception):  # noqa: N818
        pass

    def fetch(file):
        raise Asked(file.name)

    monkeypatch.setattr(download, "fetch", fetch)
    monkeypatch.setattr(models, "apply_vgg", must_not_be_called)
    defaults = {} if name == "imagenet" else {"weights": name}
    for arguments, expected in (
        ({}, whole_file),
        ({"input_shape": (224, 224, 3), "classes": 1000}, whole_file),
        ({"include_top": False}, file_without_top or whole_file),
        ({"include_top": False, "classes": 7, "input_shape": (200, 200, 3)}, file_without_top or whole_file),
    ):
        with pytest.raises(Asked, match=f"^{re.escape(expected)}$"):
            function(**defaults, **arguments)


@pytest.mark.parametrize("name", ["imagenet", "imagenet_torchvision", "imagenet_caffe"])
@pytest.mark.parametrize("function", [VGG11LRN, VGG16C], ids=lambda function: function.__name__)
def test_nets_without_public_weights_say_so(function, name, monkeypatch):
    monkeypatch.setattr(download, "fetch", must_not_be_called)
    with pytest.raises(InputError, match=f"has no public weights named '{name}'; available: none. Pass weights=None, or"):
        function(weights=name)


D_TORCH_INDICES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


def write_public(model, name, path):
    """Writes the convolutions of a net D as the public file of this name has them, with FC layers that nobody looks at."""
    if name == "imagenet":
        write_legacy_h5(model, path)
        return
    layers = [layer.get_weights() for layer in model.layers if layer.weights]
    pairs = [(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), bias) for kernel, bias in layers]
    pairs += [(np.zeros(shape, "float32"), np.zeros(shape[0], "float32")) for shape in ((4, 512 * 49), (4, 4), (1000, 4))]
    if name == "imagenet_features":
        pairs[-3:] = [(np.full_like(kernel, np.nan), np.full_like(bias, np.nan)) for kernel, bias in pairs[-3:]]
    if name in ("imagenet_torchvision", "imagenet_features"):
        names = [f"features.{index}" for index in D_TORCH_INDICES] + [f"classifier.{index}" for index in (0, 3, 6)]
        write_torch(path, names, pairs)
    else:
        names = [layer.name.replace("block", "conv").replace("_conv", "_") for layer in model.layers if layer.weights]
        caffe_writer.write_caffemodel(path, dict(zip((*names, "fc6", "fc7", "fc8"), pairs, strict=True)), legacy=True)


@pytest.mark.parametrize(
    ("name", "wants"),
    [("imagenet", CAFFE), ("imagenet_torchvision", TORCH), ("imagenet_features", CAFFE_RGB), ("imagenet_caffe", CAFFE)],
)
def test_public_weights_from_the_cache(name, wants, disk, monkeypatch):
    """From a file that was put into the cache by hand; its right hash is a matter of the catalogue."""
    monkeypatch.setenv("KERAS_HOME", str(disk))
    entry = catalogue.find("D", name)
    role = "file_without_top" if entry.file_without_top else "file"
    file = dataclasses.replace(getattr(entry, role), url=closed_url(getattr(entry, role).name))
    (disk / "models").mkdir()
    expected = fill(keras.applications.VGG16(weights=None, include_top=False))
    write_public(expected, name, disk / "models" / file.name)
    algorithm = file.hash.partition(":")[0]
    digest = hashlib.new(algorithm, (disk / "models" / file.name).read_bytes()).hexdigest()
    file = dataclasses.replace(file, hash=f"{algorithm}:{digest}")
    changed = dataclasses.replace(entry, **{role: file})
    monkeypatch.setattr(catalogue, "CATALOGUE", tuple(changed if e is entry else e for e in catalogue.CATALOGUE))

    model = VGG16(weights=name, include_top=False)
    assert model.input_shape == (None, None, None, 3)
    assert_same(model(images()), expected(images()))
    assert preprocessing.for_model(model) == wants


def test_weights_of_features_are_told_by_their_blank_classifier_and_go_without_a_top(tmp_path, monkeypatch):
    expected = fill(keras.applications.VGG16(weights=None, include_top=False))
    write_public(expected, "imagenet_features", tmp_path / "renamed.pth")
    model = VGG16(include_top=False, weights=tmp_path / "renamed.pth")
    assert_same(model(images()), expected(images()))
    # As torchvision's transforms do it: images in 0–1, its mean, and 1/255 for its deviation.
    pixels = images()
    np.testing.assert_allclose(
        preprocessing.for_model(model)(pixels), (pixels / 255 - (0.48235, 0.45882, 0.40784)) * 255, rtol=1e-4, atol=1e-3
    )
    with pytest.raises(InputError, match="was saved without the top"):
        VGG16(weights=tmp_path / "renamed.pth")
    monkeypatch.setattr(download, "fetch", must_not_be_called)
    with pytest.raises(InputError, match="have no FC layers; pass include_top=False"):
        VGG16(weights="imagenet_features")


def test_public_weights_without_network_say_what_to_fetch(folder, monkeypatch):
    entry = catalogue.find("D", "imagenet")
    file = dataclasses.replace(entry.file_without_top, url=closed_url(entry.file_without_top.name))
    monkeypatch.setattr(catalogue, "CATALOGUE", (dataclasses.replace(entry, file_without_top=file),))
    monkeypatch.setattr(models, "apply_vgg", must_not_be_called)
    with pytest.raises(InputError, match=re.escape(f"Could not download {file.url} (")) as raised:
        VGG16(include_top=False)
    assert str(folder / file.name) in str(raised.value)


# What the weights want


def is_unknown(model):
    assert not preprocessing.is_known(model)
    with pytest.raises(InputError, match=f"The preprocessing of model '{model.name}' is unknown: its weights"):
        preprocessing.for_model(model)
    return True


@pytest.mark.parametrize(
    ("name", "wants"),
    [
        ("net.keras", CUSTOM),
        ("net.weights.h5", CUSTOM),
        ("net.h5", CUSTOM),  # wins over the custom of its kind
        ("net.safetensors", CUSTOM),
        ("net.pth", CUSTOM),
        ("plain.h5", CAFFE),
        ("plain.keras", None),
    ],
)
def test_loaded_weights_say_what_they_want(name, wants, bare):
    model = VGG11(weights=bare / name, include_top=False)
    assert is_unknown(model) if wants is None else preprocessing.for_model(model) == wants


@each
def test_random_weights_want_nothing_known(function):
    assert is_unknown(function(weights=None, include_top=False))


def test_attached_preprocessing_is_what_counts(bare, disk):
    (disk / "net.keras").write_bytes((bare / "plain.keras").read_bytes())
    preprocessing.attach(disk / "net.keras", TORCH)
    assert preprocessing.for_model(VGG11(weights=disk / "net.keras", include_top=False)) == TORCH


def test_models_made_of_a_loaded_one_want_the_same(bare):
    model = VGG11(weights=bare / "net.keras", include_top=False)
    part = keras.Model(model.input, model.get_layer("block3_pool").output)
    inputs = keras.Input((64, 64, 3))
    functional = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(model(inputs))))
    sequential = keras.Sequential([inputs, model, keras.layers.Conv2D(5, 1), keras.layers.GlobalMaxPooling2D()])
    nested = keras.Sequential([inputs, keras.Sequential([inputs, sequential])])
    for made in (part, functional, sequential, nested):
        assert preprocessing.for_model(made) == CUSTOM
    assert is_unknown(keras.models.clone_model(model))  # whose weights are random


def test_known_is_forgotten_with_the_weights(bare):
    model = VGG11(weights=bare / "net.keras", include_top=False)
    part = keras.Model(model.input, model.get_layer("block1_pool").output)
    loading.load_weights(model, bare / "net.pth")
    assert preprocessing.for_model(part) == CUSTOM
    loading.load_weights(model, bare / "plain.keras")
    assert is_unknown(model)
    assert is_unknown(part)


def test_weights_that_do_not_fit_change_nothing(whole):
    model = fill(VGG11(weights=None, input_shape=(64, 64, 3), classes=7), seed=2)
    preprocessing.remember(model, CUSTOM)
    before = np.array(model(whole.batch))
    with pytest.raises(InputError, match="7 classes, not 10"):  # all but `predictions` would fit
        loading.load_weights(model, whole / "net.pth")
    assert_same(model(whole.batch), before)
    assert preprocessing.for_model(model) == CUSTOM


def test_grey_images_have_no_colors_to_prepare(disk):
    fill(VGG11(weights=None, include_top=False, input_shape=(32, 32, 1))).save(disk / "grey.keras")
    save_weights(open_weights(disk / "grey.keras"), disk / "grey.pth")
    assert is_unknown(VGG11(weights=disk / "grey.pth", include_top=False, input_shape=(32, 32, 1)))


@pytest.mark.parametrize(("wants", "mode"), [(CAFFE, "caffe"), (TORCH, "torch")])
def test_wants_are_the_modes_of_preprocess_input(wants, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3)).astype("uint8")
    np.testing.assert_allclose(wants(pixels), applications.preprocess_input(pixels, mode=mode), rtol=1e-5, atol=1e-4)


# preprocess_input


def pixels_of(data_format, axes, dtype):
    shape = arranged(data_format, 3, 6, 5)
    return np.random.default_rng(0).integers(0, 256, shape if axes == 3 else (2, *shape)).astype(dtype)


modes = pytest.mark.parametrize("mode", ["caffe", "torch", "tf"])


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("axes", [3, 4])
@modes
def test_preprocess_input_is_that_of_keras(mode, axes, dtype, data_format):
    pixels = pixels_of(data_format, axes, dtype)
    is_float = dtype.startswith("float")
    floats = pixels if is_float else pixels.astype("float32")
    tolerance = {"rtol": 1e-2, "atol": 0.2} if dtype == "float16" else {"rtol": 1e-5, "atol": 1e-5}
    arguments = [{"mode": mode}, {"mode": mode, "data_format": data_format}] + [{}] * (mode == "caffe")
    for options in arguments:
        expected = imagenet_utils.preprocess_input(floats.copy(), data_format, mode)
        before = pixels.copy()
        received = applications.preprocess_input(pixels, **options)
        assert isinstance(received, np.ndarray)
        assert received.dtype == floats.dtype
        np.testing.assert_array_equal(received, expected)
        np.testing.assert_array_equal(pixels, before)

        tensor = tf.constant(pixels)
        from_tensor = applications.preprocess_input(tensor, **options)
        assert tf.is_tensor(from_tensor)
        assert from_tensor.dtype == floats.dtype
        np.testing.assert_allclose(from_tensor, expected, **tolerance)
        np.testing.assert_array_equal(tensor, before)


@modes
def test_preprocess_input_leaves_the_array_alone_which_keras_does_not(mode):
    pixels = pixels_of("channels_last", 4, "float32")
    before = pixels.copy()
    applications.preprocess_input(pixels, mode=mode)
    np.testing.assert_array_equal(pixels, before)
    applications.preprocess_input(pixels[:, ::2], mode=mode)  # a view
    np.testing.assert_array_equal(pixels, before)
    imagenet_utils.preprocess_input(pixels, mode=mode)
    assert (pixels != before).any()  # should this fail one day, the copy can go


def test_preprocess_input_by_hand():
    red = np.array([[[255, 0, 0]]], "uint8")
    np.testing.assert_allclose(applications.preprocess_input(red)[0, 0], [-103.939, -116.779, 255 - 123.68], rtol=1e-6)
    np.testing.assert_allclose(applications.preprocess_input(red, mode="tf")[0, 0], [1, -1, -1])
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    np.testing.assert_allclose(applications.preprocess_input(red, mode="torch")[0, 0], expected, rtol=1e-6)


@modes
def test_preprocess_input_in_a_model_and_in_a_pipeline(mode):
    pixels = pixels_of("channels_last", 4, "uint8")
    expected = applications.preprocess_input(pixels, mode=mode)
    inputs = keras.Input((6, 5, 3), dtype="uint8")
    model = keras.Model(inputs, applications.preprocess_input(inputs, mode=mode))
    np.testing.assert_allclose(model(pixels), expected, rtol=1e-5, atol=1e-5)
    batches = tf.data.Dataset.from_tensors(pixels).map(lambda batch: applications.preprocess_input(batch, mode=mode))
    np.testing.assert_allclose(next(iter(batches)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("convert", [np.asarray, tf.constant])
@pytest.mark.parametrize("options", [{"mode": "RGB"}, {"data_format": "last"}])
def test_preprocess_input_of_unknown_mode_or_format(options, convert):
    pixels = pixels_of("channels_last", 4, "float32")
    with pytest.raises(ValueError, match=next(iter(options.values()))):
        applications.preprocess_input(convert(pixels), **options)
    np.testing.assert_array_equal(pixels, pixels_of("channels_last", 4, "float32"))


# decode_predictions


@pytest.fixture
def class_index(folder, monkeypatch):
    """A file of the names of classes, in the cache; Keras, which knows the hash of its own only, is handed it."""
    content = json.dumps({str(number): [f"n{number:08}", f"class_{number}"] for number in range(1000)}).encode()
    file = catalogue.File(closed_url("imagenet_class_index.json"), f"md5:{hashlib.md5(content).hexdigest()}")
    asked = []

    def get_file(name, url, cache_subdir, file_hash):
        asked.append((name, url, cache_subdir, f"md5:{file_hash}"))
        return folder / file.name

    promised = catalogue.CLASS_INDEX
    (folder / file.name).write_bytes(content)
    monkeypatch.setattr(catalogue, "CLASS_INDEX", file)
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", None)
    monkeypatch.setattr(file_utils, "get_file", get_file)
    yield folder / file.name
    assert asked in ([], [(promised.name, promised.url, "models", promised.hash)])  # so that Keras finds what we fetched


@pytest.mark.parametrize("convert", [np.asarray, tf.constant])
@pytest.mark.parametrize("options", [{}, {"top": 3}, {"top": 1000}])
def test_decode_predictions_gives_the_best_first(options, convert, class_index):
    posteriors = np.random.default_rng(0).dirichlet(np.ones(1000), 2).astype("float32")
    decoded = applications.decode_predictions(convert(posteriors), **options)
    assert len(decoded) == 2
    for row, received in zip(posteriors, decoded, strict=True):
        best = sorted(range(1000), key=lambda number: -row[number])[: options.get("top", 5)]
        assert received == [(f"n{number:08}", f"class_{number}", row[number]) for number in best]


@pytest.mark.parametrize("shape", [(1000,), (2, 999), (1, 2, 1000)])
def test_decode_predictions_of_another_shape(shape, monkeypatch):
    monkeypatch.setattr(download, "fetch", must_not_be_called)
    with pytest.raises(ValueError, match=re.escape(str(shape))):
        applications.decode_predictions(np.zeros(shape, "float32"))


def test_decode_predictions_without_network(class_index):
    class_index.unlink()
    with pytest.raises(
        InputError, match=re.escape(f"Could not download {catalogue.CLASS_INDEX.url} (Connection refused)")
    ) as raised:
        applications.decode_predictions(np.zeros((1, 1000), "float32"))
    assert str(class_index) in str(raised.value)
