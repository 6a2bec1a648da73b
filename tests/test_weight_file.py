"""Files of every kind into models: the same net, or one line that says what is wrong and nothing changed."""

import contextlib
import dataclasses
import functools
import gzip
import pathlib
import pickle
import re
import shutil
import zipfile

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
import torch_forward
from caffe_writer import write_caffemodel
from safetensors.numpy import load_file, save_file
from torch_forward import caffe_blobs, random_state_dict, timm_state_dict

from keras_vgg import preprocessing
from keras_vgg.errors import InputError
from keras_vgg.models import build_vgg
from keras_vgg.transfer import find_model
from keras_vgg.weights import download, hdf5_guard, kinds, loading, own_models, saving, torch_files, weight_file, zip_members
from keras_vgg.weights.torch_write import write_state_dict

NARROW = {"width": 0.05, "classes": 7, "input_shape": (64, 64, 3)}  # fc1 sees 2 x 2 places, whose order matters
TORCHVISION = [(config, batch_norm) for config in "ABDE" for batch_norm in (False, True)]
torchvision_nets = pytest.mark.parametrize(("config", "batch_norm"), TORCHVISION)


def images(*sides):
    return np.random.default_rng(1).normal(0, 2, (3, *(sides or (64, 64)), 3)).astype("float32")


def channels_first(batch):
    return batch.transpose(0, 3, 1, 2)


def write_pth(path, state):
    write_state_dict(path, [(name, array.shape, lambda array=array: array) for name, array in state.items() if array.ndim])
    return path


def write_safetensors(path, state):
    save_file({name: np.ascontiguousarray(array) for name, array in state.items()}, path)
    return path


def random_model(arch, seed=0, **options):
    """A narrow model whose biases and statistics are no zeros and ones."""
    model, rng = build_vgg(arch, **{**NARROW, **options}), np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(low, 2, layer.gamma.shape) for low in (0.7, -0.3, -0.3, 0.3)])
        elif layer.weights:
            kernel, bias = layer.get_weights()
            scale = (2 / np.prod(kernel.shape[:-1])) ** 0.5
            layer.set_weights([rng.normal(0, scale, kernel.shape), rng.normal(0, 0.1, bias.shape)])
    return model


victim = functools.cache(random_model)
"""A model that nothing is ever loaded into."""


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def assert_same_weights(model, other):
    for ours, theirs in zip(model.weights, other.weights, strict=True):
        assert ours.path.split("/")[-2:] == theirs.path.split("/")[-2:]
        np.testing.assert_array_equal(ours, theirs)


def assert_refused(model, path, message):
    """Loading `path` fails with one line that names the file and matches `message`, and leaves `model` as it was."""
    before, known = [w.tobytes() for w in model.get_weights()], preprocessing.is_known(model)
    with pytest.raises(InputError, match=message) as told:
        loading.load_weights(model, path)
    assert str(path) in str(told.value)
    assert len(str(told.value).strip().splitlines()) == 1
    assert [w.tobytes() for w in model.get_weights()] == before
    assert preprocessing.is_known(model) is known


# --- The same net as PyTorch's --------------------------------------------------------------------------------------------


@torchvision_nets
def test_torchs_weights_give_torchs_outputs(config, batch_norm, tmp_path):
    state = random_state_dict(config, batch_norm)
    expected = torch_forward.logits(state, channels_first(images()), config, batch_norm)
    assert np.ptp(expected, axis=0).max() > 1e-3 * np.abs(expected).max()  # of another image, another output
    model = loading.load_net(write_pth(tmp_path / "net.pth", state))
    assert_close(model(images()), torch_forward.softmax(expected))
    scores = build_vgg(config, **NARROW, batch_norm=batch_norm, classifier_activation=None)
    file = loading.load_weights(scores, write_safetensors(tmp_path / "net.safetensors", state))
    assert_close(scores(images()), expected)
    assert (file.arch, file.batch_norm, file.include_top, file.spatial) == (config, batch_norm, True, (2, 2))
    assert preprocessing.for_model(scores) == preprocessing.for_model(model) == preprocessing.TORCH


@pytest.mark.parametrize("include_top", [True, False])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "net.backbone.", "module._orig_mod.encoder."])
def test_what_stands_before_all_names_is_taken_off(prefix, include_top, tmp_path):
    state = {name: each for name, each in random_state_dict("A").items() if include_top or name.startswith("features")}
    wrapped = {f"{prefix}{name}": each for name, each in state.items()}
    for path in (write_pth(tmp_path / "net.pth", wrapped), write_safetensors(tmp_path / "net.safetensors", wrapped)):
        file = weight_file.open_weights(path)
        assert (file.arch, file.include_top) == ("A", include_top)
        np.testing.assert_array_equal(file.variables["block1_conv1", "bias"].read(), state["features.0.bias"])


def test_order_of_fc1s_inputs_would_be_noticed():
    state = random_state_dict("A")
    expected = torch_forward.logits(state, channels_first(images()), "A")
    weight = state["classifier.0.weight"]
    state["classifier.0.weight"] = weight.reshape(-1, 26, 2, 2).transpose(0, 2, 3, 1).reshape(weight.shape)
    assert np.abs(torch_forward.logits(state, channels_first(images()), "A") - expected).max() > 0.1 * np.abs(expected).max()


@torchvision_nets
def test_what_we_write_gives_our_outputs_in_torch(config, batch_norm, tmp_path):
    model = random_model(config, batch_norm=batch_norm)
    saving.save_model(model, tmp_path / "net.keras")
    file = weight_file.open_weights(tmp_path / "net.keras")
    saving.save_weights(file, tmp_path / "net.safetensors")
    saving.save_weights(file, tmp_path / "net.pth")
    state = load_file(tmp_path / "net.safetensors")
    logits = torch_forward.logits(state, channels_first(images()), config, batch_norm)
    assert_close(torch_forward.softmax(logits), np.array(model(images())))
    pth = torch_files.read_state_dict(tmp_path / "net.pth")
    template = random_state_dict(config, batch_norm)
    assert list(pth) == [name for name, array in template.items() if array.ndim]  # in torch's order
    assert {name: array.shape for name, array in pth.items()} == {name: template[name].shape for name in pth}
    for name, array in state.items():
        np.testing.assert_array_equal(pth[name].read(), array)


def test_torchvisions_own_net(tmp_path):
    make = """
        import sys
        import numpy, torch, torchvision
        torch.manual_seed(0)
        net = torchvision.models.vgg11_bn(num_classes=7, init_weights=True).eval()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.3, 2)
        images = torch.randn(2, 3, 224, 224)
        torch.save(net.state_dict(), sys.argv[1])
        with torch.no_grad():
            numpy.savez(sys.argv[2], images=images.numpy(), outputs=net(images).softmax(1).numpy())
    """
    load = """
        import sys
        import numpy, torch, torchvision
        net = torchvision.models.vgg11_bn(num_classes=7, init_weights=False).eval()
        net.load_state_dict(torch.load(sys.argv[1], weights_only=True), strict=True)
        data = numpy.load(sys.argv[2])
        with torch.no_grad():
            outputs = net(torch.from_numpy(data["images"])).softmax(1).numpy()
        numpy.testing.assert_allclose(outputs, data["outputs"], rtol=0, atol=1e-6)
    """
    theirs, ours, data = tmp_path / "theirs.pth", tmp_path / "ours.pth", tmp_path / "data.npz"
    torch_forward.run_with(("torch", "torchvision"), make, theirs, data)
    model = loading.load_net(theirs)
    assert (model.name, model.output_shape) == ("vgg_a_bn", (None, 7))
    with np.load(data) as arrays:
        assert_close(model(arrays["images"].transpose(0, 2, 3, 1)), arrays["outputs"])
    saving.save_weights(weight_file.open_weights(theirs), ours)
    torch_forward.run_with(("torch", "torchvision"), load, ours, data)


def test_timms_names_and_convolutions_give_the_same(tmp_path):
    state = random_state_dict("D", batch_norm=True)
    model = loading.load_net(write_safetensors(tmp_path / "timm.safetensors", timm_state_dict(state)))
    assert_same_weights(model, loading.load_net(write_pth(tmp_path / "torchvision.pth", state)))
    scores = torch_forward.logits(state, channels_first(images()), "D", True)
    assert_close(model(images()), torch_forward.softmax(scores))


def test_features_of_timms_own_net(tmp_path):
    make = """
        import sys
        import numpy, torch, timm
        from safetensors.torch import save_file
        torch.manual_seed(0)
        narrow = [4, "M", 8, "M", 8, 8, "M", 16, 16, "M", 16, 16, "M"]
        net = timm.models.vgg.VGG(narrow, num_classes=7, norm_layer=torch.nn.BatchNorm2d).eval()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.3, 2)
        save_file(net.state_dict(), sys.argv[1])
        images = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            numpy.savez(sys.argv[2], images=images.numpy(), outputs=net.forward_features(images).numpy())
    """
    torch_forward.run_with(("torch", "timm", "safetensors"), make, tmp_path / "net.safetensors", tmp_path / "data.npz")
    file = weight_file.open_weights(tmp_path / "net.safetensors")
    assert (file.arch, file.batch_norm, file.include_top, file.spatial) == ("A", True, True, (7, 7))
    inputs, outputs = keras.Input((64, 64, 3)), None
    outputs = inputs
    for block, (filters, depth) in enumerate(((4, 1), (8, 1), (8, 2), (16, 2), (16, 2)), start=1):
        for conv in range(1, depth + 1):
            outputs = keras.layers.Conv2D(filters, 3, padding="same", name=f"block{block}_conv{conv}")(outputs)
            outputs = keras.layers.BatchNormalization(epsilon=1e-5, name=f"block{block}_bn{conv}")(outputs)
            outputs = keras.layers.ReLU()(outputs)
        outputs = keras.layers.MaxPooling2D(name=f"block{block}_pool")(outputs)
    model = keras.Model(inputs, outputs)
    loading.load_weights(model, tmp_path / "net.safetensors")
    with np.load(tmp_path / "data.npz") as data:
        assert_close(model(data["images"].transpose(0, 2, 3, 1)), data["outputs"].transpose(0, 2, 3, 1))


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("config", ["C", "D"])
def test_caffes_weights_give_the_same_as_torchs(config, legacy, tmp_path):
    state, path = random_state_dict(config), tmp_path / "net.caffemodel"
    blobs = caffe_blobs(state, config)
    assert list(blobs)[:3] + list(blobs)[-4:] == ["conv1_1", "conv1_2", "conv2_1", "conv5_3", "fc6", "fc7", "fc8"]
    write_caffemodel(path, blobs, legacy)
    model = loading.load_net(path)
    scores = torch_forward.logits(state, channels_first(images()), config)
    assert_close(model(images()), torch_forward.softmax(scores))
    assert model.name == f"vgg_{config.lower()}"
    assert preprocessing.for_model(model) == preprocessing.CAFFE


def test_fully_convolutional_caffe_net_gives_the_same(tmp_path):
    state, path = random_state_dict("D"), tmp_path / "net.caffemodel"
    blobs = caffe_blobs(state, "D")
    for layer, kernel in (("fc6", (2, 2)), ("fc7", (1, 1)), ("fc8", (1, 1))):
        blobs[layer][0] = blobs[layer][0].reshape(len(blobs[layer][0]), -1, *kernel)
    write_caffemodel(path, blobs, legacy=False)
    scores = torch_forward.logits(state, channels_first(images()), "D")
    assert_close(loading.load_net(path)(images()), torch_forward.softmax(scores))


@pytest.mark.parametrize("dtype", ["float16", "float64", ml_dtypes.bfloat16])
def test_other_floats_are_read(dtype, tmp_path):
    state = {name: array.astype(dtype) if array.ndim else array for name, array in random_state_dict("A").items()}
    path = write_safetensors(tmp_path / "net.safetensors", state)
    model = loading.load_net(path)
    kernel, bias = model.get_layer("block2_conv1").get_weights()
    np.testing.assert_array_equal(kernel, state["features.3.weight"].astype("float32").transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(bias, state["features.3.bias"].astype("float32"))


def test_maps_that_are_no_square(tmp_path):
    """fc1 sees 2 x 3 places; a file of names alone does not say so, and need not."""
    state = random_state_dict("A", spatial=(2, 3))
    path = write_pth(tmp_path / "net.pth", state)
    model = build_vgg("A", **{**NARROW, "input_shape": (64, 96, 3)}, classifier_activation=None)
    loading.load_weights(model, path)
    expected = torch_forward.logits(state, channels_first(images(64, 96)), "A")
    assert_close(model(images(64, 96)), expected)
    with pytest.raises(InputError, match=r"net\.pth: fc1 takes a map that is not square; build the model"):
        loading.load_net(path)
    saving.save_weights(weight_file.open_weights(path), tmp_path / "again.safetensors")
    for name, array in load_file(tmp_path / "again.safetensors").items():
        np.testing.assert_array_equal(array, state[name])
    features = build_vgg("A", width=0.05, include_top=False, input_shape=(None, None, 3))
    loading.load_weights(features, path)
    feature_map = torch_forward.feature_map(state, channels_first(images(64, 96)), "A")
    assert_close(features(images(64, 96)), feature_map.transpose(0, 2, 3, 1))
    timm = write_safetensors(tmp_path / "timm.safetensors", timm_state_dict(state, (2, 3)))
    loading.load_weights(model, timm)
    assert_close(model(images(64, 96)), expected)
    upright = victim("A", input_shape=(96, 64, 3))
    assert_refused(upright, timm, r"fc1 \(pre_logits\.fc1\.weight\) takes a map of \(2, 3\)\. Model 'vgg_a' has one of \(3, 2\)")


def test_one_channel_and_no_preprocessing_for_it(tmp_path):
    state = random_state_dict("A", channels=1)
    model = loading.load_net(write_pth(tmp_path / "net.pth", state))
    assert model.input_shape == (None, 64, 64, 1)
    batch = images()[..., :1]
    assert_close(model(batch), torch_forward.softmax(torch_forward.logits(state, channels_first(batch), "A")))
    assert not preprocessing.is_known(model)


# --- Kinds ----------------------------------------------------------------------------------------------------------------

KINDS = {
    ".keras": "Keras model",
    ".weights.h5": "Keras weights",
    "whole.h5": "legacy Keras weights",
    ".h5": "legacy Keras weights",
    ".pth": "PyTorch state dict",
    ".safetensors": "safetensors",
    "old.caffemodel": "Caffe model",
    ".caffemodel": "Caffe model",
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def net_a(tmp_path_factory):
    """Folder with net A, the same in every kind of file, its Keras files written by Keras."""
    folder, state = tmp_path_factory.mktemp("net_a"), random_state_dict("A")
    model = loading.load_net(write_pth(folder / "a.pth", state))
    write_safetensors(folder / "a.safetensors", state)
    write_caffemodel(folder / "a.caffemodel", caffe_blobs(state, "A"), legacy=False)
    write_caffemodel(folder / "aold.caffemodel", caffe_blobs(state, "A"), legacy=True)
    model.save(folder / "a.keras")
    model.save_weights(folder / "a.weights.h5")
    model.save(folder / "awhole.h5")
    saving.save_weights(weight_file.open_weights(folder / "a.pth"), folder / "a.h5")
    return folder


@pytest.fixture
def expected(net_a):
    return loading.load_net(net_a / "a.pth")


@every_kind
def test_kind_is_told_by_content_whatever_the_name(kind, net_a, expected, tmp_path):
    misleading = ".h5" if kind != ".h5" else ".pth"
    for name in ("weights", f"weights{misleading}", "weights.keras"):
        path = tmp_path / name
        shutil.copy(net_a / f"a{kind}", path)
        file = weight_file.open_weights(path)
        assert (file.kind, file.arch, file.batch_norm, file.spatial) == (KINDS[kind], "A", False, (2, 2))
        assert str(file) == f"{path} ({KINDS[kind]}, net A)"
        model = loading.load_net(path)
        assert_same_weights(model, expected)
        np.testing.assert_array_equal(model(images()), expected(images()))


@every_kind
def test_run_folder_of_any_kind(kind, net_a, expected, tmp_path):
    shutil.copy(net_a / f"a{kind}", tmp_path / "best.keras")
    model = random_model("A", seed=3)
    assert loading.load_weights(model, str(tmp_path)).path == tmp_path / "best.keras"
    assert_same_weights(model, expected)


def test_layers_told_by_number_alone(net_a, expected, tmp_path):
    """As in the `.weights.h5` of earlier versions of Keras 3, and in their group of the layers."""
    path = shutil.copy(net_a / "a.weights.h5", tmp_path / "a.weights.h5")
    with h5py.File(path, "r+") as file:
        for layer in file["layers"].values():
            del layer["vars"].attrs["name"]
    assert_same_weights(loading.load_net(path), expected)
    with h5py.File(path, "r+") as file:
        file.move("layers", "_layer_checkpoint_dependencies")
    assert_same_weights(loading.load_net(path), expected)


def test_batch_norm_told_by_number_alone(tmp_path):
    model = random_model("D", batch_norm=True)
    model.save_weights(tmp_path / "d.weights.h5")
    with h5py.File(tmp_path / "d.weights.h5", "r+") as file:
        for layer in file["layers"].values():
            del layer["vars"].attrs["name"]
    assert_same_weights(loading.load_net(tmp_path / "d.weights.h5"), model)


def test_whole_legacy_model_with_batch_norm(tmp_path):
    model = random_model("A", batch_norm=True)
    model.save(tmp_path / "whole.h5")
    loaded = loading.load_net(tmp_path / "whole.h5")
    assert_same_weights(loaded, model)
    np.testing.assert_array_equal(loaded(images()), model(images()))


def test_compiled_model_with_its_optimizer(tmp_path):
    model = random_model("A")
    model.compile("sgd", "categorical_crossentropy")
    model.fit(images(), np.eye(7)[:3], verbose=0)
    for name in ("a.keras", "a.weights.h5", "a.h5"):
        (model.save_weights if ".weights" in name else model.save)(tmp_path / name)
        assert_same_weights(loading.load_net(tmp_path / name), model)


def test_net_a_lrn_is_told_by_its_keras_file_or_by_the_asker(net_a, expected, tmp_path):
    model = random_model("A-LRN")
    saving.save_model(model, tmp_path / "lrn.keras")
    assert weight_file.open_weights(tmp_path / "lrn.keras").arch == "A-LRN"
    loaded = loading.load_net(tmp_path / "lrn.keras")
    np.testing.assert_array_equal(loaded(images()), model(images()))
    assert "block1_lrn" in [layer.name for layer in loaded.layers]
    for kind in (".pth", ".h5"):
        assert weight_file.open_weights(net_a / f"a{kind}").arch == "A"
        assert weight_file.open_weights(net_a / f"a{kind}", arch="A-LRN").arch == "A-LRN"
        asked = loading.load_net(net_a / f"a{kind}", arch="A-LRN")
        assert asked.name == "vgg_a_lrn"
        assert_same_weights(asked, expected)
        loading.load_weights(model, net_a / f"a{kind}")
        assert_same_weights(model, expected)
        np.testing.assert_array_equal(model(images()), asked(images()))
        assert not np.allclose(model(images()), expected(images()), atol=1e-4)


@pytest.mark.parametrize("kind", [".keras", ".weights.h5", ".h5", ".safetensors"])
@pytest.mark.parametrize("wants", [preprocessing.TORCH, None])
def test_net_a_lrn_stays_what_it_is(kind, wants, tmp_path):
    model, path = random_model("A-LRN"), tmp_path / f"lrn{kind}"
    preprocessing.remember(model, wants)
    saving.save_model(model, tmp_path / "first.keras")
    saving.save_weights(weight_file.open_weights(tmp_path / "first.keras"), path)
    file = weight_file.open_weights(path)
    assert (file.arch, file.preprocessing) == ("A-LRN", wants)
    np.testing.assert_array_equal(loading.load_net(path)(images()), model(images()))


@every_kind
def test_model_without_the_top_takes_a_whole_file(kind, net_a, expected):
    for shape in ((None, None, 3), (96, 96, 3)):
        model = build_vgg("A", width=0.05, include_top=False, input_shape=shape)
        loading.load_weights(model, net_a / f"a{kind}")
        features = keras.Model(expected.input, expected.get_layer("block5_pool").output)
        assert_same_weights(model, features)


def test_file_without_the_top(tmp_path):
    model = build_vgg("B", width=0.05, include_top=False, input_shape=(None, None, 3), batch_norm=True)
    saving.save_model(model, tmp_path / "a.weights.h5")
    for name in ("a.keras", "a.h5", "a.pth", "a.safetensors"):
        saving.save_weights(weight_file.open_weights(tmp_path / "a.weights.h5"), tmp_path / name)
        file = weight_file.open_weights(tmp_path / name)
        assert (file.arch, file.batch_norm, file.include_top, file.spatial) == ("B", True, False, None)
        assert_same_weights(loading.load_net(tmp_path / name), model)
        assert_refused(
            victim("B", batch_norm=True),
            tmp_path / name,
            r"saved without the top \(fc1, fc2, predictions\), which model 'vgg_b_bn'",
        )


def test_file_is_let_go_after_loading(tmp_path):
    model = random_model("A")
    model.save_weights(tmp_path / "a.weights.h5")
    loading.load_weights(model, tmp_path / "a.weights.h5")
    model.save_weights(tmp_path / "a.weights.h5")  # HDF5 refuses while it is open


def test_replicas_all_have_the_values(net_a, expected):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice())
    with strategy.scope():
        model = random_model("A", seed=5)
    loading.load_weights(model, net_a / "a.pth")
    for weight, value in zip(model.weights, expected.get_weights(), strict=True):
        replicas = strategy.experimental_local_results(weight.value)
        assert len(replicas) == 2
        assert len({replica.device for replica in replicas}) == 2
        for replica in replicas:
            np.testing.assert_array_equal(replica, value)
    outputs = strategy.experimental_local_results(strategy.run(lambda: model(images())))
    for output in outputs:
        assert_close(output, np.array(expected(images())))


# --- Arrays that do not fit -----------------------------------------------------------------------------------------------


def grown(array, axis):
    return np.concatenate([array, np.take(array, [0], axis)], axis)


SPOILT = {
    "missing bias": ({"features.8.bias": None}, r"of net A\. .* lacks block3_conv2 \(features\.8\.bias\)"),
    "missing layer": (
        {"classifier.3.weight": None, "classifier.3.bias": None},
        r"lacks fc2 \(classifier\.3\.weight\), fc2 \(classifier\.3\.bias\)",
    ),
    "extra": ({"features.99.weight": lambda _: np.ones((3, 3), "f4")}, r"of net A\. .* also contains features\.99\.weight"),
    "matrix for kernel": (
        {"features.3.weight": lambda a: a.reshape(len(a), -1)},
        r"block2_conv1 \(features\.3\.weight\) must have 4 axes",
    ),
    "kernel for bias": ({"features.3.bias": lambda a: a[:, None]}, r"block2_conv1 \(features\.3\.bias\) must have 1 axes"),
    "matrix of 3 axes": ({"classifier.3.weight": lambda a: a[None]}, r"fc2 \(classifier\.3\.weight\) must have 2 or 4 axes"),
    "kernel of 5": (
        {"features.3.weight": lambda a: np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1)))},
        r"has another kernel size in block2_conv1 \(features\.3\.weight\)",
    ),
    "kernel 3 high, 1 wide": (
        {"features.3.weight": lambda a: a[..., :1]},
        r"has another kernel size in block2_conv1 \(features\.3\.weight\)",
    ),
    "channels in": (
        {"features.8.weight": lambda a: grown(a, 1)},
        r"block3_conv2 \(features\.8\.weight\) must take the 13 channels of block3_conv1.*\(3, 3, 14, 13\)",
    ),
    "filters": (
        {"features.8.weight": lambda a: grown(a, 0), "features.8.bias": lambda a: grown(a, 0)},
        r"block4_conv1 \(features\.11\.weight\) must take the 14 channels of block3_conv2",
    ),
    "bias": (
        {"features.6.bias": lambda a: a[:-1]},
        r"block3_conv1 \(features\.6\.bias\) must have shape \(13,\).*Received: shape \(12,\)",
    ),
    "inputs of fc1": ({"classifier.0.weight": lambda a: grown(a, 1)}, r"fc1 \(classifier\.0\.weight\) must take the 26 channels"),
    "inputs of fc2": (
        {"classifier.3.weight": lambda a: a[:, :-1]},
        r"fc2 \(classifier\.3\.weight\) must take the 205 channels of fc1",
    ),
    "bias of fc2": ({"classifier.3.bias": lambda a: a[:-1]}, r"fc2 \(classifier\.3\.bias\) must have shape \(205,\)"),
    "fc2 of 5 x 41": (
        {"classifier.3.weight": lambda a: a.reshape(205, 1, 5, 41)},
        r"fc2 \(classifier\.3\.weight\) has an invalid shape",
    ),
    "fc1 of 1 x 1": (
        {"classifier.0.weight": lambda a: a[..., None, None]},
        r"fc1 \(classifier\.0\.weight\) must take the 26 channels of the last block.*\(205, 104, 1, 1\)",
    ),
    "all of a layer empty": (
        {"classifier.6.weight": lambda a: a[:0], "classifier.6.bias": lambda a: a[:0]},
        r"predictions \(classifier\.6\.weight\)",
    ),
}


def spoil(state, changes):
    for name, change in changes.items():
        if change is None:
            del state[name]
        else:
            state[name] = change(state.get(name))
    return state


@pytest.mark.parametrize("case", SPOILT)
def test_arrays_that_do_not_fit_are_named_and_nothing_is_changed(case, tmp_path):
    changes, message = SPOILT[case]
    path = write_safetensors(tmp_path / "net.safetensors", spoil(random_state_dict("A"), changes))
    assert_refused(victim("A"), path, message)
    with pytest.raises(InputError, match=message):
        loading.load_net(path)


@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
def test_batch_norm_that_does_not_fit(name, tmp_path):
    changes = {f"features.5.{name}": lambda a: a[:-1]}  # of block2_conv1, features.4
    path = write_safetensors(tmp_path / "net.safetensors", spoil(random_state_dict("A", True), changes))
    assert_refused(victim("A", batch_norm=True), path, rf"block2_bn1 \(features\.5\.{name}\) must have shape \(6,\)")
    path = write_pth(tmp_path / "net.pth", spoil(random_state_dict("A", True), {f"features.5.{name}": None}))
    assert_refused(victim("A", batch_norm=True), path, rf"with batch norm\. .* lacks block2_bn1 \(features\.5\.{name}\)")


@pytest.mark.parametrize(
    ("file", "model", "message"),
    [
        (("D", False), {"arch": "E"}, r"of net E\. .* contains net D: it lacks block3_conv4 \(features\.16\.weight\)"),
        (("D", False), {"arch": "C"}, r"of net C\. .* net D: it has another kernel size in block3_conv3 \(features\.14\.weight\)"),
        (("C", False), {"arch": "D"}, r"of net D\. .* contains net C: it has another kernel size in block3_conv3"),
        (("A", True), {"arch": "A"}, r"of net A\. .* contains net A with batch norm: it "),
        (("A", False), {"arch": "A", "batch_norm": True}, r"of net A with batch norm\. .* contains net A: it lacks block1_bn1 \("),
        (("B", False), {"arch": "A-LRN"}, r"of net A-LRN\. .* contains net B: it "),
        (("A", False), {"arch": "A", "classes": 5}, r"predictions \(classifier\.6\.weight\) .*\(205, 7\).* has 5 classes, not 7"),
        (
            ("A", False),
            {"arch": "A", "input_shape": (96, 96, 3)},
            r"fc1 \(classifier\.0\.weight\) has shape \(104, 205\).*another input size: fc1 takes 234 values, not 104",
        ),
        (("A", False), {"arch": "A", "width": 0.06}, r"block1_conv1 \(features\.0\.weight\) .*\(3, 3, 3, 3\).* \(3, 3, 3, 4\)"),
        (("A", False), {"arch": "A", "input_shape": (64, 64, 1)}, r"block1_conv1 \(features\.0\.weight\) .* \(3, 3, 1, 3\)"),
    ],
)
def test_another_net_is_refused(file, model, message, tmp_path):
    path = write_pth(tmp_path / "net.pth", random_state_dict(*file))
    assert_refused(victim(**model), path, message)


@pytest.mark.parametrize("name", ["net.keras", "net.weights.h5", "net.h5", "net.caffemodel"])
def test_other_kinds_are_checked_as_well(name, tmp_path):
    path = tmp_path / name
    if name == "net.caffemodel":
        blobs = caffe_blobs(random_state_dict("D"), "D")
        del blobs["conv4_2"]
        write_caffemodel(path, blobs, legacy=True)
        assert_refused(victim("D"), path, r"of net D\. .* lacks block4_conv2 \(conv4_2/0\), block4_conv2 \(conv4_2/1\)")
        return
    saving.save_model(random_model("D"), tmp_path / "d.keras")
    saving.save_weights(weight_file.open_weights(tmp_path / "d.keras"), path)
    assert_refused(victim("E"), path, r"of net E\. .* contains net D: it lacks block3_conv4 \(block3_conv4/0\)")
    assert_refused(victim("D", classes=9), path, r"predictions \(predictions/0\) .* has 9 classes, not 7")


def test_arch_that_is_asked_for_must_be_there(net_a):
    with pytest.raises(InputError, match=r"weights of net D\. Received: .*a\.pth, which contains net A: it lacks block1_conv2"):
        loading.load_net(net_a / "a.pth", arch="D")
    with pytest.raises(InputError, match=r"weights of net A with batch norm\. .* contains net A: it lacks"):
        weight_file.open_weights(net_a / "a.pth", batch_norm=True)


def test_model_that_is_no_vgg_net_is_refused(net_a):
    inputs = keras.Input((64, 64, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(3, 3, name="block1_conv1")(inputs), name="mine")
    with pytest.raises(InputError, match=r"Expected a model that is one of the VGG nets\. Received: 'mine', which lacks"):
        loading.load_weights(model, net_a / "a.pth")


def test_width_that_no_net_has_needs_a_model(tmp_path):
    changes = {"classifier.3.weight": lambda a: np.repeat(a, 2, 0), "classifier.3.bias": lambda a: np.repeat(a, 2)}
    state = spoil(random_state_dict("A"), {**changes, "classifier.6.weight": lambda a: np.repeat(a, 2, 1)})
    with pytest.raises(
        InputError, match=r"net\.pth: fc2 has 410 outputs, which no single width gives together with 205 of fc1; build the model"
    ):
        loading.load_net(write_pth(tmp_path / "net.pth", state))


# --- Files that hold no weights, or no longer -----------------------------------------------------------------------------


class Evil:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


def an_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "no weights")


def another_h5(path):
    with h5py.File(path, "w") as file:
        file["spectra"] = np.ones(3)


def another_net(path):
    layer = keras.layers.Dense(3)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.save(path)


OTHERS = {
    "empty": (lambda path: path.write_bytes(b""), r"Received: .*which is empty"),
    "web page": (lambda path: path.write_text("<!DOCTYPE html><html>404</html>"), "a web page, as after a failed download"),
    "LFS": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5\n"),
        "a Git LFS pointer, not the file itself",
    ),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"weights" * 99)), "compressed with gzip: unpack it"),
    "text": (lambda path: path.write_text("weights of my net\n" * 9), r"which is none of these, or is damaged at its start"),
    "noise": (lambda path: path.write_bytes(np.random.default_rng(3).bytes(5000)), "which is none of these"),
    "archive": (an_archive, r"Expected a \.keras file or a PyTorch state dict\. Received: .*, a zip archive with other content"),
    "other HDF5": (another_h5, "an HDF5 file without Keras weights: it contains spectra"),
    "other net": (another_net, r"of a VGG net\. Received: .*, which contains something else: its arrays are named dense"),
    "safetensors of another": (
        lambda path: write_safetensors(path, {"conv1.weight": np.ones((3, 3), "f4"), "fc.bias": np.ones(3, "f4")}),
        "which contains something else: its arrays are named conv1.weight, fc.bias",
    ),
    "no floats": (lambda path: write_safetensors(path, {"features.0.weight": np.ones((3, 3), "i8")}), "it has no arrays of floats"),
}


@pytest.mark.parametrize("suffix", [".keras", ".weights"])
@pytest.mark.parametrize("case", OTHERS)
def test_other_files_are_told_for_what_they_are(case, suffix, tmp_path):
    write, message = OTHERS[case]
    written, path = tmp_path / "written.keras", tmp_path / f"weights{suffix}"
    write(written)
    written.rename(path)
    assert_refused(victim("A"), path, message)


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_is_not_run(protocol, tmp_path):
    path, mark = tmp_path / "weights.pth", tmp_path / "mark"
    path.write_bytes(pickle.dumps({"features.0.weight": Evil(mark)}, protocol))
    message = "a pickle but not a PyTorch state dict: it was not opened" if protocol >= 2 else "none of these"
    assert_refused(victim("A"), path, message)
    assert not mark.exists()
    with open(path, "rb") as file:
        pickle.load(file)
    assert mark.exists()  # it would have


def test_nothing_there(tmp_path):
    model = random_model("A")
    assert_refused(
        model, tmp_path / "none.pth", r"Expected a run folder with best\.keras, a weight file, or public weights .*none\.pth"
    )
    assert_refused(model, tmp_path, r"Expected a run folder with best\.keras.*\(no such file: .*best\.keras\)")


def test_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    path.write_bytes(b"x")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(kinds, "open", refuse, raising=False)
    assert_refused(victim("A"), path, r"a\.pth cannot be read: Permission denied")


@every_kind
def test_truncated_files_are_told(kind, net_a, tmp_path):
    data = (net_a / f"a{kind}").read_bytes()
    model, path = victim("A"), tmp_path / f"cut{kind}"
    for length in (1, 7, 8, 9, 40, 200, 3000, len(data) // 2, len(data) - 3000, len(data) - 60, len(data) - 1):
        path.write_bytes(data[:length])
        assert_refused(model, path, None)


@pytest.mark.parametrize("signature", [b"TREE", b"SNOD", b"HEAP"])
@pytest.mark.parametrize("kind", [".keras", ".weights.h5", ".h5", "whole.h5"])
def test_damaged_structure_of_hdf5_is_told(kind, signature, net_a, tmp_path):
    """Of its groups: their index, their members, their members' names."""
    data, path = (net_a / f"a{kind}").read_bytes(), tmp_path / f"damaged{kind}"
    assert signature in data
    path.write_bytes(data.replace(signature, b"XXXX"))
    assert_refused(victim("A"), path, "is damaged")


def first_arrays(file):
    """Groups and names of the arrays of the first convolution in either kind of HDF5 file."""
    if "layers" in file:
        return file["layers/conv2d/vars"], "0", "block1_conv1/0"
    return (
        file["block1_conv1/block1_conv1"] if "block1_conv1/block1_conv1" in file else file["block1_conv1"],
        "kernel:0",
        "block1_conv1/0",
    )


def external_link(group, name, other, array):
    group[name] = h5py.ExternalLink(other.name, "/secret")


def external_storage(group, name, other, array):
    group.create_dataset(name, array.shape, "f4", external=[(str(other), 0, array.nbytes)])


def virtual_dataset(group, name, other, array):
    layout = h5py.VirtualLayout(array.shape, "f4")
    layout[:] = h5py.VirtualSource(str(other), "secret", array.shape)
    group.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("point", [external_link, external_storage, virtual_dataset])
@pytest.mark.parametrize("kind", [".weights.h5", ".h5"])
def test_hdf5_that_points_into_other_files_is_refused(kind, point, net_a, tmp_path):
    path, other = tmp_path / f"net{kind}", tmp_path / "other.h5"
    shutil.copy(net_a / f"a{kind}", path)
    with h5py.File(path, "r+") as file, h5py.File(other, "w") as elsewhere:
        group, name, told = first_arrays(file)
        array = group[name][:]
        elsewhere["secret"] = array
        del group[name]
        point(group, name, other, array)
    with h5py.File(path) as file:
        group, name, _ = first_arrays(file)
        assert group[name].shape == array.shape  # h5py itself follows
    assert_refused(victim("A"), path, rf"was refused: {told} is a link to elsewhere, not an array")


def test_groups_that_point_into_other_files_are_refused(net_a, tmp_path):
    path, other = tmp_path / "net.weights.h5", tmp_path / "other.weights.h5"
    for copy in (path, other):
        shutil.copy(net_a / "a.weights.h5", copy)
    with h5py.File(path, "r+") as file:
        del file["layers/conv2d_3"]
        file["layers/conv2d_3"] = h5py.ExternalLink(other.name, "/layers/conv2d_3")
    assert_refused(victim("A"), path, "was refused: block3_conv2/. is a link to elsewhere")
    with h5py.File(path, "r+") as file:
        del file["layers"]
        file["layers"] = h5py.ExternalLink(other.name, "/layers")
    assert_refused(victim("A"), path, "was refused: block1_conv1/. is a link to elsewhere")
    other.unlink()
    assert_refused(victim("A"), path, None)


def test_keras_archive_that_points_into_other_files_is_refused(net_a, tmp_path):
    inner, other = tmp_path / "model.weights.h5", tmp_path / "other.h5"
    with zipfile.ZipFile(net_a / "a.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    inner.write_bytes(members["model.weights.h5"])
    with h5py.File(inner, "r+") as file, h5py.File(other, "w") as elsewhere:
        group, name, told = first_arrays(file)
        array = group[name][:]
        elsewhere["secret"] = array
        del group[name]
        external_storage(group, name, other, array)
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        for name, data in {**members, "model.weights.h5": inner.read_bytes()}.items():
            archive.writestr(name, data)
    assert_refused(victim("A"), tmp_path / "net.keras", re.escape(f"was refused: {told} is a link to elsewhere"))


def rewritten(source, path, changes, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in {**members, **changes}.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config.json": b"{"}, r"is damaged or not a \.keras file"),
        ({"model.weights.h5": b"no HDF5"}, "is damaged or truncated"),
        ({"keras_vgg.json": b"{}"}, "Expected a preprocessing as JSON with mean, std and bgr"),
    ],
)
def test_keras_archive_of_bad_members_is_told(changes, message, net_a, tmp_path):
    path = rewritten(net_a / "a.keras", tmp_path / "net.keras", changes)
    with pytest.raises(InputError, match=message):
        loading.load_weights(victim("A"), path)


@pytest.mark.parametrize("config", [b"null", b"[]", b'{"config": null}', b'{"config": {"layers": [1, {}]}}'])
def test_keras_archive_of_another_configuration_still_gives_its_weights(config, net_a, expected, tmp_path):
    path = rewritten(net_a / "a.keras", tmp_path / "net.keras", {"config.json": config})
    assert_same_weights(loading.load_net(path), expected)


def test_compressed_keras_archive_is_told(net_a, tmp_path):
    path = rewritten(net_a / "a.keras", tmp_path / "net.keras", {}, zipfile.ZIP_DEFLATED)
    assert_refused(victim("A"), path, r"its model\.weights\.h5 is compressed; re-save the model with Keras")


def flipped(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", [".keras", ".pth"])
@pytest.mark.parametrize("of_values", [0.01, 0.5, 0.99])
def test_a_flipped_bit_in_the_values_does_not_match_the_checksum(kind, of_values, net_a, tmp_path):
    """It would load as another weight."""
    path = pathlib.Path(shutil.copy(net_a / f"a{kind}", tmp_path / f"net{kind}"))
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    place = zip_members.member_offset(path, largest) + int(of_values * largest.file_size)
    assert_refused(victim("A"), flipped(path, place), r"does not match its checksum\. Fetch or copy it again")


def test_keras_loads_no_whole_model_of_another_checksum(net_a, tmp_path):
    path = pathlib.Path(shutil.copy(net_a / "a.keras", tmp_path / "net.keras"))
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("model.weights.h5")
    flipped(path, zip_members.member_offset(path, info) + info.file_size // 2)
    with pytest.raises(InputError, match=r"'model\.weights\.h5' does not match its checksum"):
        own_models.load_whole(path)


def test_a_compressed_state_dict_damaged_in_its_last_array_changes_nothing(net_a, tmp_path):
    path = rewritten(net_a / "a.pth", tmp_path / "net.pth", {}, zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(path) as archive:
        last = max((info for info in archive.infolist() if "/data/" in info.filename), key=lambda info: info.header_offset)
    assert_refused(victim("A"), flipped(path, zip_members.member_offset(path, last) + last.compress_size // 2), "is damaged: 'a")


def test_a_compression_that_cannot_be_read_in_part_changes_nothing(net_a, tmp_path):
    path = rewritten(net_a / "a.pth", tmp_path / "net.pth", {}, zipfile.ZIP_LZMA)
    assert_refused(victim("A"), path, "uses a compression other than deflate")


def test_compressed_hdf5_damaged_in_its_last_array_changes_nothing(net_a, tmp_path):
    path = tmp_path / "net.weights.h5"
    with h5py.File(net_a / "a.weights.h5") as source, h5py.File(path, "w") as target:
        for name, value in source.attrs.items():
            target.attrs[name] = value

        def copy(name, item):
            made = target.require_group(name) if isinstance(item, h5py.Group) else None
            if made is None and item.shape:
                made = target.create_dataset(name, data=item[()], chunks=item.shape, compression="gzip", fletcher32=True)
            for key, value in item.attrs.items():
                made.attrs[key] = value

        source.visititems(copy)
        chunks = []
        target.visititems(lambda _, item: chunks.append(item.id.get_chunk_info(0)) if isinstance(item, h5py.Dataset) else None)
    loading.load_weights(victim("A"), path)
    flipped(path, max(each.byte_offset + each.size // 2 for each in chunks))
    assert_refused(victim("A"), path, "is damaged or truncated")


def replaced(path):
    other = path.with_name("other")
    shutil.copy(path, other)
    other.replace(path)  # of the same content even: what has been read and what is read now need not be of one net


def written_to(path):
    with open(path, "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\1")


def truncated(path):
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)


@every_kind
@pytest.mark.parametrize("happens", [replaced, written_to, truncated, pathlib.Path.unlink])
def test_a_file_that_changes_while_it_is_read_changes_nothing(kind, happens, net_a, tmp_path, monkeypatch):
    path = tmp_path / "net"
    shutil.copy(net_a / f"a{kind}", path)

    def opened(*args, **options):
        file = weight_file.open_weights(*args, **options)
        key = list(file.variables)[7]
        values = file.variables[key]

        def parts():
            happens(path)
            yield from values.parts()

        return dataclasses.replace(file, variables=file.variables | {key: dataclasses.replace(values, parts=parts)})

    monkeypatch.setattr(loading, "open_weights", opened)
    assert_refused(victim("A"), path, "changed while it was being read")
    shutil.copy(net_a / f"a{kind}", path)
    with pytest.raises(InputError):
        loading.load_net(path)


def test_damaged_note_in_a_keras_archive_is_told(net_a, tmp_path):
    path = tmp_path / "net.keras"
    shutil.copy(net_a / "a.keras", path)
    preprocessing.attach(path, preprocessing.CAFFE)
    data = path.read_bytes()
    place = data.index(b'"mean"')
    path.write_bytes(data[:place] + b'"meat"' + data[place + 6 :])
    assert_refused(victim("A"), path, "its record of preprocessing cannot be read")


@pytest.mark.parametrize(
    ("note", "told"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 50_000 + "1" + "}" * 50_000, "nested too deeply"),
        ("[1]", "Expected a preprocessing as JSON"),
        ('{"mean": [1, 2, 3], "mean": [4, 5, 6], "std": [1, 1, 1], "bgr": false}', "repeats the key 'mean'"),
        ('{"mean": [1e999, 1, 1], "std": [1, 1, 1], "bgr": false}', "must be finite"),
        ('{"mean": [NaN, 1, 1], "std": [1, 1, 1], "bgr": false}', "it contains NaN"),
        ('{"mean": [1, 1, 1], "std": [0, 1, 1], "bgr": false}', "std not 0"),
        ('{"mean": [[1]], "std": [1, 1, 1], "bgr": false}', "Expected a preprocessing as JSON"),
    ],
)
def test_notes_that_make_no_sense_are_one_line_and_change_nothing(note, told, net_a, tmp_path):
    save_file(load_file(net_a / "a.safetensors"), tmp_path / "net.safetensors", metadata={"keras_vgg": note})
    model = victim("A")
    before = [w.tobytes() for w in model.get_weights()]
    with pytest.raises(InputError, match=told) as error:
        loading.load_weights(model, tmp_path / "net.safetensors")
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 500
    assert [w.tobytes() for w in model.get_weights()] == before


@pytest.mark.parametrize("array", [np.ones((3, 3, 3, 3), "i4"), np.float32(1), np.array(b"text")])
def test_hdf5_arrays_of_other_things_are_named(array, net_a, tmp_path):
    path = shutil.copy(net_a / "a.weights.h5", tmp_path / "net.weights.h5")
    with h5py.File(path, "r+") as file:
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars/0"] = array
    assert_refused(victim("A"), path, r"block1_conv1/0 must be an array of floats")


@pytest.mark.parametrize("place", ["layers", "layers/conv2d", "layers/conv2d/vars", "layers/conv2d/vars/0"])
def test_hdf5_of_another_build_is_one_line(place, net_a, tmp_path):
    path = shutil.copy(net_a / "a.weights.h5", tmp_path / "net.weights.h5")
    with h5py.File(path, "r+") as file:
        is_array = place.endswith("0")
        del file[place]
        file.create_group(place) if is_array else file.create_dataset(place, data=np.ones(3))
    assert_refused(victim("A"), path, None)


def test_legacy_hdf5_of_another_build_is_one_line(net_a, tmp_path):
    for spoil_it in (
        lambda file: file.attrs.__setitem__("layer_names", [b"none"]),
        lambda file: file.attrs.__setitem__("layer_names", 3),
        lambda file: file["block1_conv1"].attrs.__setitem__("weight_names", [b"none"]),
        lambda file: file["block1_conv1"].attrs.__delitem__("weight_names"),
        lambda file: file.create_dataset("model_weights", data=np.ones(3)).attrs.__setitem__("layer_names", [b"a"]),
    ):
        path = shutil.copy(net_a / "a.h5", tmp_path / "net.h5")
        with h5py.File(path, "r+") as file:
            spoil_it(file)
        assert_refused(victim("A"), path, None)


@pytest.mark.parametrize("at", [1, 3, 10])
@pytest.mark.parametrize("mode", ["w", "r+"])
def test_hdf5_that_cannot_be_written_is_an_error_and_no_crash(at, mode, tmp_path, monkeypatch):
    from keras_vgg.weights import keras_files

    path, calls = tmp_path / "a.h5", []
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros(1000)

    class Full:
        """A file that is full from the `at`-th write on."""

        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, data):
            calls.append(len(data))
            if len(calls) >= at:
                raise OSError(28, "No space left on device")
            return self._file.write(data)

    monkeypatch.setattr(keras_files._Remembering, "__init__", lambda self, file: self.__dict__.update(_file=Full(file), error=None))

    def write():
        with keras_files._writing(path, mode) as file:
            for name in "bcdefghijklm":
                file[name] = np.ones(50_000)

    with pytest.raises(OSError, match="No space left"):
        write()
    assert len(calls) >= at


@pytest.mark.parametrize("kind", [".keras", ".weights.h5", ".h5"])
def test_flipped_bytes_of_hdf5_end_in_arrays_or_one_line(kind, net_a, tmp_path, monkeypatch):
    """Some make libhdf5 loop for ever, or crash: in another process, which a time limit ends."""
    monkeypatch.setattr(hdf5_guard, "SECONDS", 3)
    data, path, rng = (net_a / f"a{kind}").read_bytes(), tmp_path / f"net{kind}", np.random.default_rng(4)
    places = [match.start() for match in re.finditer(b"TREE|SNOD|HEAP|HDF", data)]
    for _ in range(8):
        damaged = bytearray(data)
        damaged[min(rng.choice(places) + rng.integers(600), len(data) - 1)] ^= rng.integers(1, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            for variable in weight_file.open_weights(path).variables.values():
                variable.read()


@pytest.mark.parametrize(
    ("child", "told"), [("while True: pass", "did not finish within"), ("os.abort()", "crashes the HDF5 library")]
)
def test_library_that_hangs_or_crashes_is_told(child, told, net_a, tmp_path, monkeypatch):
    """What it does is done in the real process in its place; sound files are read again afterwards."""
    script = tmp_path / "child.py"
    script.write_text(f"import os, sys\nsys.stdin.readline()\n{child}\n")
    monkeypatch.setattr(hdf5_guard, "_SCRIPT", script)
    monkeypatch.setattr(hdf5_guard, "SECONDS", 0.5)
    hdf5_guard._end()
    path = shutil.copy(net_a / "a.h5", tmp_path / "net.h5")
    with pytest.raises(InputError, match=told):
        weight_file.open_weights(path)
    monkeypatch.undo()
    assert weight_file.open_weights(path).arch == "A"


def test_public_weights_go_by_their_names_wherever_a_file_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fetched = tmp_path / "fetched.keras"
    build_vgg("D", input_shape=(32, 32, 3), width=0.05, classes=7).save(fetched)
    asked = []
    monkeypatch.setattr(download, "fetch", lambda file: asked.append(file.name) or fetched)
    assert weight_file.open_weights("vgg16:imagenet_caffe").arch == "D"
    assert find_model("VGG16") == fetched
    assert asked == ["VGG_ILSVRC_16_layers.caffemodel", "vgg16_weights_tf_dim_ordering_tf_kernels.h5"]
    (tmp_path / "vgg19").mkdir()
    shutil.copy(fetched, tmp_path / "vgg19" / "best.keras")
    assert find_model("vgg19") == pathlib.Path("vgg19", "best.keras")
    with pytest.raises(InputError, match=r"or public weights such as vgg16 .*\. Received: vgg17 \(no such file: vgg17\)"):
        find_model("vgg17")
