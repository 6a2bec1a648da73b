"""Keras' files of before version 3, written by hand as their makers did: the net that they were, or one line that says why not."""

import dataclasses
import functools
import json
import os
import re

import h5py
import keras
import numpy as np
import pytest
from torch_forward import modules, softmax

from keras_vgg import preprocessing
from keras_vgg.errors import InputError
from keras_vgg.weights import first_layer, loading, saving, weight_file

CLASSES, FILTERS, UNITS, SIDE = 5, (3, 6, 13, 26, 26), 205, 64  # net A of width 0.05, whose fc1 sees 2 x 2 places


@dataclasses.dataclass(frozen=True)
class Made:
    """How a maker has its arrays, and what it says of them.

    Attributes:
        kernels_first: whether kernels lie as (out, in, height, width).
        convolves: whether the first number of a kernel meets the last pixel of its window.
        channels_first: whether fc1 takes the feature map as C x H x W.
        names: of convolutions, FC layers and their arrays.
        attributes: of the file.
        layers: configuration of the convolutions and of `Flatten`, of a file of a whole model.
    """

    kernels_first: bool
    convolves: bool
    channels_first: bool
    names: tuple[str, str, str, str]
    attributes: dict = dataclasses.field(default_factory=dict)
    layers: tuple[dict, dict] | None = None


KERAS_1 = ("convolution2d_{}", "dense_{}", "{}_W", "{}_b")
KERAS_1_TF = ("convolution2d_{}", "dense_{}", "{}_W:0", "{}_b:0")
KERAS_2 = ("conv2d_{}", "dense_{}", "{}/kernel:0", "{}/bias:0")
THEANO, TENSORFLOW, CNTK = ({"backend": name, "keras_version": b"2.1.2"} for name in (b"theano", "tensorflow", b"cntk"))
FIRST, LAST = {"data_format": "channels_first"}, {"data_format": "channels_last"}
MAKERS = {
    "Keras 1, Theano, th": Made(True, True, True, KERAS_1),
    "Keras 1, Theano, tf": Made(False, True, False, KERAS_1),
    "Keras 1, TensorFlow, th": Made(True, False, True, KERAS_1_TF),
    "Keras 1, TensorFlow, tf": Made(False, False, False, KERAS_1_TF),
    "Keras 1, Theano, th, whole": Made(
        True, True, True, KERAS_1, {"keras_version": b"1.2.2"}, ({"dim_ordering": "th"}, {"name": "flatten_1"})
    ),
    "Keras 1, Caffe's names": Made(True, True, True, ("conv_{}", "fc{}", "{}_W", "{}_b")),
    "Keras 2, Theano, first, whole": Made(False, True, True, KERAS_2, THEANO, (FIRST, {"name": "flatten_1"})),
    "Keras 2, Theano, last, whole": Made(False, True, False, KERAS_2, THEANO, (LAST, {"name": "flatten_1"})),
    "Keras 2, Theano, first, said by hand": Made(False, True, True, KERAS_2, THEANO | FIRST),
    "Keras 2, Theano, last, said by hand": Made(False, True, False, KERAS_2, THEANO | LAST),
    "Keras 2, CNTK": Made(False, False, False, KERAS_2, CNTK),
    "Keras 2, CNTK, first, whole": Made(False, False, True, KERAS_2, CNTK, (FIRST, {"name": "flatten_1"})),
    "Keras 2, TensorFlow": Made(False, False, False, KERAS_2, TENSORFLOW),
    "Keras 2, TensorFlow, first, whole": Made(False, False, True, KERAS_2, TENSORFLOW, (FIRST, LAST)),
    "Keras 2.2, TensorFlow, first, whole": Made(False, False, False, KERAS_2, TENSORFLOW, (FIRST, FIRST)),
    "Keras 2, TensorFlow, last, whole": Made(False, False, False, KERAS_2, TENSORFLOW, (LAST, LAST)),
}
every_maker = pytest.mark.parametrize("maker", MAKERS)


def images():
    return np.random.default_rng(1).normal(0, 2, (2, SIDE, SIDE, 3)).astype(np.float32)


@functools.cache
def arrays(kernels_first, side=2):
    """Kernels and biases of net A as a maker has them, from the first to the last: random numbers, whatever they mean to it."""
    rng, found, channels = np.random.default_rng(0), [], 3

    def add(shape, fan_in, outputs):
        found.append((rng.normal(0, (2 / fan_in) ** 0.5, shape).astype("f4"), rng.normal(0, 0.1, outputs).astype("f4")))

    block = 0
    for _, module, _, _ in modules("A", False):
        if module == "conv":
            shape = (FILTERS[block], channels, 3, 3) if kernels_first else (3, 3, channels, FILTERS[block])
            add(shape, 9 * channels, FILTERS[block])
            channels = FILTERS[block]
        block += module == "pool"
    for inputs, outputs in ((channels * side * side, UNITS), (UNITS, UNITS), (UNITS, CLASSES)):
        add((inputs, outputs), inputs, outputs)
    return found


def posteriors(made, weights, batch):
    """What the maker's own net makes of images `(B, H, W, 3)`, in double precision."""
    weights, outputs = iter(weights), batch.astype(np.float64).transpose(0, 3, 1, 2)
    for _, module, _, _ in modules("A", False):
        height, width = outputs.shape[2:]
        if module == "conv":
            kernel, bias = next(weights)
            kernel = kernel if made.kernels_first else kernel.transpose(3, 2, 0, 1)
            padded, total = np.pad(outputs, ((0, 0), (0, 0), (1, 1), (1, 1))), bias[:, None, None]
            for row, column in np.ndindex(3, 3):
                down, right = (2 - row, 2 - column) if made.convolves else (row, column)
                seen = padded[:, :, down : down + height, right : right + width]
                total = total + np.einsum("bchw,oc->bohw", seen, kernel[:, :, row, column].astype(np.float64))
            outputs = np.maximum(total, 0)
        elif module == "pool":
            outputs = outputs.reshape(*outputs.shape[:2], height // 2, 2, width // 2, 2).max((3, 5))
    outputs = outputs if made.channels_first else outputs.transpose(0, 2, 3, 1)
    outputs = outputs.reshape(len(batch), -1)
    for number, (kernel, bias) in enumerate(weights):
        outputs = outputs @ kernel.astype(np.float64) + bias
        outputs = np.maximum(outputs, 0) if number < 2 else outputs
    return softmax(outputs)


def write(path, made, weights):
    """A file as Keras 1 and 2 write it, layers without weights in between; of a whole model, if there is a configuration."""
    convolution, dense, kernel_name, bias_name = made.names
    with h5py.File(path, "w") as file:
        top, names = file.create_group("model_weights") if made.layers else file, ["input_1"]
        for number, (kernel, bias) in enumerate(weights):
            is_convolution = kernel.ndim == 4
            name = (convolution if is_convolution else dense).format(number + 10 if is_convolution else number - len(weights) + 4)
            names += [f"zeropadding2d_{number}"] * is_convolution + [name]
            group, inner = top.create_group(name), [kernel_name.format(name), bias_name.format(name)]
            group.attrs["weight_names"] = [each.encode() for each in inner]
            group[inner[0]], group[inner[1]] = kernel, bias
        top.attrs["layer_names"] = [name.encode() for name in names]
        for name in set(names) - set(top):
            top.create_group(name).attrs["weight_names"] = np.zeros(0)
        for name, value in made.attributes.items():
            file.attrs[name] = top.attrs[name] = value
        if made.layers:
            of_convolution, of_flatten = made.layers
            layers = [("Conv2D" if "data_format" in of_convolution else "Convolution2D", of_convolution), ("Flatten", of_flatten)]
            config = [{"class_name": name, "config": values} for name, values in layers]
            file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config}).encode()
    return path


def write_of_the_first_year(path, weights):
    """A file as Keras before 1 writes it: layers by their number among all of the sequence, arrays by theirs."""
    with h5py.File(path, "w") as file:
        for number, layer in enumerate([each for pair in weights for each in ((), pair)]):
            group = file.create_group(f"layer_{number}")
            group.attrs["nb_params"] = len(layer)
            for place, array in enumerate(layer):
                group[f"param_{place}"] = array
        file.attrs["nb_layers"] = len(file)
    return path


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def test_a_wrong_convention_would_be_noticed():
    weights, kinds = arrays(False), [(first, second) for first in (False, True) for second in (False, True)]
    found = [posteriors(Made(False, convolves, first, KERAS_2), weights, images()) for convolves, first in kinds]
    for place, one in enumerate(found):
        assert all(np.abs(one - other).max() > 0.02 for other in found[:place])


@every_maker
def test_a_makers_net_is_what_it_was(maker, tmp_path):
    made = MAKERS[maker]
    weights = arrays(made.kernels_first)
    path = write(tmp_path / "net.h5", made, weights)
    file = weight_file.open_weights(path)
    assert (file.kind, file.arch, file.include_top, file.spatial) == ("legacy Keras weights", "A", True, (2, 2))
    expected = posteriors(made, weights, images())
    model = loading.load_net(path)
    assert_close(model(images()), expected)
    assert preprocessing.for_model(model) == preprocessing.CAFFE
    for kind in (".h5", ".pth"):
        saving.save_weights(file, tmp_path / f"again{kind}")
        np.testing.assert_array_equal(loading.load_net(tmp_path / f"again{kind}")(images()), model(images()))


@every_maker
def test_a_makers_convolutions_without_the_top(maker, tmp_path):
    made = MAKERS[maker]
    weights = arrays(made.kernels_first)
    file = weight_file.open_weights(write(tmp_path / "net.h5", made, weights[:-3]))
    assert (file.arch, file.include_top) == ("A", False)
    whole = weight_file.open_weights(write(tmp_path / "whole.h5", made, weights))
    for key, variable in file.variables.items():
        np.testing.assert_array_equal(variable.read(), whole.variables[key].read())


def test_channels_in_parts(tmp_path, monkeypatch):
    """fc1 is read some channels at a time, of which the last may be fewer."""
    path = write(tmp_path / "net.h5", MAKERS["Keras 1, TensorFlow, th"], arrays(True))
    at_once = weight_file.open_weights(path).variables["fc1", "kernel"].read()
    monkeypatch.setattr("keras_vgg.weights.variable.PART_BYTES", 3 * 4 * UNITS * 4)
    parts = list(weight_file.open_weights(path).variables["fc1", "kernel"].parts())
    assert len(parts) == 4 * 9  # 26 channels by 3, each part at one of 4 places
    np.testing.assert_array_equal(weight_file.open_weights(path).variables["fc1", "kernel"].read(), at_once)


def test_batch_norm_by_order(tmp_path):
    rng, made = np.random.default_rng(2), MAKERS["Keras 1, Theano, th"]
    path = write(tmp_path / "net.h5", made, arrays(True))
    statistics = rng.uniform(0.5, 2, (8, 4, 26)).astype(np.float32)
    with h5py.File(path, "r+") as file:
        names = []
        for name in map(os.fsdecode, file.attrs["layer_names"]):
            names.append(name)
            if name.startswith("convolution"):
                norm = f"batchnormalization_{len(names)}"
                group, inner = (
                    file.create_group(norm),
                    [f"{norm}_{part}" for part in ("gamma", "beta", "running_mean", "running_std")],
                )
                group.attrs["weight_names"] = [each.encode() for each in inner]
                for each, values in zip(inner, statistics[int(name[-2:]) - 10], strict=True):
                    group[each] = values[: len(file[name][f"{name}_b"])]
                names.append(norm)
        file.attrs["layer_names"] = names
    file = weight_file.open_weights(path)
    assert (file.arch, file.batch_norm) == ("A", True)
    np.testing.assert_array_equal(file.variables["block5_bn2", "moving_variance"].read(), statistics[7, 3])
    np.testing.assert_array_equal(file.variables["block2_bn1", "beta"].read(), statistics[1, 1, :6])


# --- What does not say enough ---------------------------------------------------------------------------------------------


def refused(path, message):
    with pytest.raises(InputError, match=message) as told:
        weight_file.open_weights(path)
    assert str(path) in str(told.value)
    assert len(str(told.value).splitlines()) == 1
    return str(told.value)


def do_what_it_says(message):
    """Runs the Python that a message gives."""
    exec(re.search(r"import h5py; (?:h5py\S+ .a.\)|.)+?attrs\['\w+'\] = '\w+'", message)[0], {})


@pytest.mark.parametrize("is_theanos", [True, False])
def test_first_years_file_says_its_backend_once_it_is_written_into_it(is_theanos, tmp_path):
    """As in the `vgg16_weights.h5` of 2015."""
    path = write_of_the_first_year(tmp_path / "net.h5", arrays(True))
    message = refused(path, "does not record its backend, and Theano's kernels are rotated by 180 degrees")
    do_what_it_says(message if is_theanos else message.replace("= 'theano'", "= 'tensorflow'"))
    expected = posteriors(Made(True, is_theanos, True, KERAS_1), arrays(True), images())
    assert_close(loading.load_net(path)(images()), expected)


def test_first_years_batch_norm_is_refused(tmp_path):
    path = write_of_the_first_year(tmp_path / "net.h5", [(*pair, pair[1], pair[1]) for pair in arrays(True)])
    refused(path, "batch norm of Keras before version 1")


def test_kernels_whose_names_do_not_tell_the_backend_are_refused(tmp_path):
    made = dataclasses.replace(MAKERS["Keras 1, Theano, th"], names=("conv_{}", "dense_{}", "param_0", "param_1"))
    path = write(tmp_path / "net.h5", made, arrays(True))
    do_what_it_says(refused(path, "does not record its backend"))
    assert_close(loading.load_net(path)(images()), posteriors(made, arrays(True), images()))


def test_order_that_nothing_tells_is_refused_and_can_be_said(tmp_path):
    made = dataclasses.replace(MAKERS["Keras 2, Theano, first, said by hand"], attributes=THEANO)
    path = write(tmp_path / "net.h5", made, arrays(False))
    do_what_it_says(refused(path, r"does not record in which order fc1 \(dense_1/0\) takes the feature map"))
    assert_close(loading.load_net(path)(images()), posteriors(made, arrays(False), images()))
    for weights in (arrays(False)[:-3], arrays(False, side=1)):  # no order matters
        assert weight_file.open_weights(write(tmp_path / "other.h5", made, weights)).arch == "A"


@pytest.mark.parametrize("layers", [(LAST, FIRST), None])
def test_channels_now_here_now_there_are_refused(layers, tmp_path):
    path = write(tmp_path / "net.h5", dataclasses.replace(MAKERS["Keras 2, CNTK"], layers=layers or (LAST, LAST)), arrays(False))
    if layers is None:
        with h5py.File(path, "r+") as file:
            mixed = [{"class_name": "Conv2D", "config": each} for each in (FIRST, LAST)]
            file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": mixed}})
    refused(path, "channels first in some layers and last in others")


def test_configuration_that_is_nested_without_end_is_read(tmp_path):
    path, config = write(tmp_path / "net.h5", MAKERS["Keras 2, TensorFlow"], arrays(False)), FIRST
    for _ in range(900):
        config = {"class_name": "Conv2D", "config": config}
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(config)
    assert weight_file.open_weights(path).arch == "A"


# --- Public weights, and what Keras 3 itself writes -----------------------------------------------------------------------


def like_the_authors(turned):
    """A first kernel of net D's size and signs."""
    bits = [
        np.array([number >> bit & 1 for bit in reversed(range(64))]) * 2.0 - 1
        for number in (first_layer._AUTHORS_D, first_layer._LEANING)
    ]
    kernel = np.random.default_rng(3).normal(0, 0.02, (3, 3, 3, 64))
    kernel += (
        0.1 * bits[0] * np.array([-1, 0, 1])[:, None] + 0.2 * bits[1] * (np.add.outer(range(3), range(3)) - 2)[..., None, None] / 2
    )
    kernel *= first_layer._ROOT_MEAN_SQUARE / np.sqrt(np.mean(kernel**2))
    return (kernel[::-1, ::-1] if turned else kernel).astype("f4")


@pytest.mark.parametrize("turned", [True, False])
def test_authors_weights_of_the_first_year_tell_their_backend_themselves(turned, tmp_path):
    first = like_the_authors(turned)
    assert first_layer.is_turned(first) is turned
    assert first_layer.is_turned(first[:, :, ::-1]) is turned  # in either order of colours
    state = [[np.zeros((64, 64, 3, 3), "f4"), np.zeros(64, "f4")] for _ in range(13)]
    state[0][0] = first.transpose(3, 2, 0, 1)
    path = write_of_the_first_year(tmp_path / "vgg16_weights.h5", state)
    file = weight_file.open_weights(path)
    assert (file.arch, file.preprocessing) == ("D", preprocessing.CAFFE)
    np.testing.assert_array_equal(file.variables["block1_conv1", "kernel"].read(), first[::-1, ::-1] if turned else first)


def test_other_weights_tell_no_backend():
    assert first_layer.is_turned(np.random.default_rng(0).normal(0, 0.2067, (3, 3, 3, 64))) is None


@pytest.mark.parametrize("kind", [".h5", ".keras"])
@pytest.mark.parametrize("flatten", ["channels_first", "channels_last", None])
def test_model_of_keras_3_with_its_channels_first(flatten, kind, tmp_path):
    """`Flatten` puts channels last before it flattens, if it knows that they come first: by default what Keras is set to."""
    layers, block = [keras.Input((3, SIDE, SIDE))], 0
    for _, module, _, _ in modules("A", False):
        if module == "conv":
            conv = f"block{block + 1}_conv{1 + (layers[-1].name[:6] == f'block{block + 1}')}"
            options = {"padding": "same", "activation": "relu", "data_format": "channels_first"}
            layers.append(keras.layers.Conv2D(FILTERS[block], 3, name=conv, **options))
        elif module == "pool":
            layers.append(keras.layers.MaxPooling2D(data_format="channels_first"))
            block += 1
    layers.append(keras.layers.Flatten(data_format=flatten))
    layers += [keras.layers.Dense(UNITS, "relu", name=name) for name in ("fc1", "fc2")]
    layers.append(keras.layers.Dense(CLASSES, "softmax", name="predictions"))
    model, weights = keras.Sequential(layers), arrays(False)
    model.set_weights([array for pair in weights for array in pair])
    model.save(tmp_path / f"net{kind}")
    made = Made(False, False, flatten != "channels_first", KERAS_2)
    assert_close(loading.load_net(tmp_path / f"net{kind}")(images()), posteriors(made, weights, images()))
