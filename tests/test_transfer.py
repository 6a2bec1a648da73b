import pathlib
import zipfile

import keras
import numpy as np
import pytest

from keras_vgg import preprocessing, transfer
from keras_vgg.errors import InputError
from keras_vgg.models import build_vgg
from keras_vgg.preprocessing import Preprocessing

COPIED_CONVOLUTIONS = ("block1_conv1", "block2_conv1", "block3_conv1", "block3_conv2")  # Sec. 3.1: A's first four
FC_LAYERS = ("fc1", "fc2", "predictions")


def net(arch, seed=0, *, width=0.05, classes=5, **kwargs):
    keras.utils.set_random_seed(seed)
    return build_vgg(arch, input_shape=(32, 32, 3), width=width, classes=classes, **kwargs)


def weights_of(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def same(first, second):
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("arch", ["B", "C", "D", "E"])
@pytest.mark.parametrize("start", [transfer.init_from_net_a, transfer.init_from])
def test_net_a_gives_its_first_four_convolutions_and_fc_layers(arch, start):
    net_a, model = net("A", seed=1), net(arch, seed=2)
    before, source = weights_of(model), weights_of(net_a)
    result = start(model, net_a)
    assert result.copied == COPIED_CONVOLUTIONS + FC_LAYERS
    for name, values in weights_of(model).items():
        if name in result.copied:
            assert same(values, source[name]), name
            assert not same(before[name], source[name]), name
        else:
            assert same(values, before[name]), name
    assert set(result.left_random) == set(before) - set(result.copied)
    assert result.left_random["block4_conv1"] == "not copied from the source"  # A has one, the paper does not take it


def test_other_classes_leave_predictions_random_and_say_so():
    net_a, model = net("A", seed=1, classes=9), net("D", seed=2)
    before = weights_of(model)["predictions"]
    result = transfer.init_from(model, net_a)
    assert result.copied == (*COPIED_CONVOLUTIONS, "fc1", "fc2")
    assert same(weights_of(model)["predictions"], before)
    assert result.left_random["predictions"] == "needs shape (205, 5), the source has (205, 9)"
    assert "left as initialized: predictions (needs shape (205, 5), the source has (205, 9))" in str(result)
    assert str(result).startswith("copied: block1_conv1, block2_conv1, ")


def test_other_image_size_leaves_fc1_random():
    net_a, model = net("A", seed=1), build_vgg("B", input_shape=(64, 64, 3), width=0.05, classes=5)
    result = transfer.init_from(model, net_a)
    assert result.copied == (*COPIED_CONVOLUTIONS, "fc2", "predictions")
    assert "fc1" in result.left_random


@pytest.mark.parametrize(("source", "arch"), [("D", "D"), ("A", "A"), ("A", "E")])
def test_a_source_without_a_top_leaves_the_top_random(source, arch):
    bare, model = net(source, seed=1, include_top=False), net(arch, seed=2)
    before = weights_of(model)
    result = transfer.init_from(model, bare)
    taken = COPIED_CONVOLUTIONS if arch == "E" else tuple(weights_of(bare))
    assert result.copied == taken
    assert {name: result.left_random[name] for name in FC_LAYERS} == dict.fromkeys(FC_LAYERS, "the source has none")
    for name, values in weights_of(model).items():
        assert same(values, weights_of(bare)[name] if name in taken else before[name]), name


@pytest.mark.parametrize("arch", ["A", "A-LRN", "C", "E"])
def test_same_net_is_copied_whole(arch):
    source, model = net(arch, seed=1), net(arch, seed=2)
    result = transfer.init_from(model, source)
    assert result.left_random == {}
    images = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(model(images), source(images))


def test_batch_norm_statistics_are_copied_too():
    source, model = net("A", seed=1, batch_norm=True), net("A", seed=2, batch_norm=True)
    source.get_layer("block2_bn1").moving_mean.assign(np.arange(6))
    transfer.init_from(model, source)
    np.testing.assert_array_equal(model.get_layer("block2_bn1").moving_mean, np.arange(6))


@pytest.mark.parametrize(("source", "arch"), [("D", "A"), ("C", "D"), ("D", "C"), ("B", "E"), ("E", "D")])
def test_another_net_than_a_or_the_same_is_refused(source, arch):
    model = net(arch)
    before = weights_of(model)
    with pytest.raises(InputError, match=f"`init_from` takes the same net or net A. Received: vgg_{source.lower()} with"):
        transfer.init_from(model, net(source))
    assert all(same(values, before[name]) for name, values in weights_of(model).items())


@pytest.mark.parametrize("arch", ["A", "D"])
def test_another_width_is_refused(arch):
    with pytest.raises(InputError, match=f"No convolution of vgg_a fits vgg_{arch.lower()}.*width.*block1_conv1"):
        transfer.init_from(net(arch), net("A", width=0.1))


def test_model_of_a_run_folder_and_of_a_file(tmp_path):
    model = net("A-LRN", seed=3)
    model.save(tmp_path / "best.keras")
    for path in (tmp_path, tmp_path / "best.keras", str(tmp_path)):
        loaded = transfer.load_model(path)
        assert all(same(values, weights_of(loaded)[name]) for name, values in weights_of(model).items())


def test_missing_model_is_named(tmp_path):
    with pytest.raises(InputError, match=r"Expected a run folder.*no such file: .*none\.keras"):
        transfer.load_model(tmp_path / "none.keras")
    with pytest.raises(InputError, match=r"Expected a run folder.*best\.keras"):
        transfer.load_model(tmp_path)  # a folder without best.keras


def a_text(path: pathlib.Path, model):
    path.write_text("no model")


def another_archive(path: pathlib.Path, model):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "no model")


def truncated(path: pathlib.Path, model):
    model.save(path)
    path.write_bytes(path.read_bytes()[:-5000])


def overwritten_in_the_middle(path: pathlib.Path, model):
    model.save(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)


@pytest.mark.parametrize("spoil", [a_text, another_archive, truncated, overwritten_in_the_middle])
def test_damaged_file_is_named(spoil, tmp_path):
    path = tmp_path / "model.keras"
    spoil(path, net("A"))
    with pytest.raises(InputError, match=r"Received: .*model\.keras|model\.keras is (truncated or )?damaged") as caught:
        transfer.load_model(path)
    assert "\n" not in str(caught.value)


def test_batch_norm_makes_another_net():
    with pytest.raises(InputError, match="`init_from` takes the same net or net A"):
        transfer.init_from(net("D"), net("D", batch_norm=True))


@pytest.mark.parametrize("learned", [preprocessing.CAFFE, preprocessing.TORCH, Preprocessing((1.0, 2.0, 3.0))])
@pytest.mark.parametrize("given", [Preprocessing((120.0, 110.0, 100.0)), preprocessing.CAFFE])
def test_first_convolution_is_adapted_to_what_the_new_net_is_given(learned, given):
    source, model = net("A", seed=1), net("A", seed=2)
    preprocessing.remember(source, learned)
    transfer.init_from(model, source, wants=given)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))
    first = [keras.Model(each.input, each.get_layer("block1_conv1").output) for each in (source, model)]
    expected, found = first[0](learned(images)), first[1](given(images))
    inside = np.s_[:, 1:-1, 1:-1]  # at the border zeros stand for the mean, and the means differ
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-4 * np.max(expected))
    assert np.std(expected) > 0


def test_what_was_adapted_is_told():
    source, model = net("A", seed=1), net("A", seed=2)
    preprocessing.remember(source, preprocessing.CAFFE)
    result = transfer.init_from(model, source, wants=preprocessing.TORCH)
    assert list(result.adapted) == ["block1_conv1"]
    told = f"adapted: block1_conv1 (from {preprocessing.CAFFE} to {preprocessing.TORCH})"
    assert str(result).splitlines()[1] == told


def test_nothing_is_adapted_where_both_want_the_same():
    source, model = net("A", seed=1), net("A", seed=2)
    preprocessing.remember(source, preprocessing.TORCH)
    result = transfer.init_from(model, source, wants=preprocessing.TORCH)
    assert same(model.get_layer("block1_conv1").get_weights(), source.get_layer("block1_conv1").get_weights())
    assert result.adapted == {}
    assert "adapted" not in str(result)


@pytest.mark.parametrize("arch", ["A", "D"])
def test_a_source_that_does_not_say_what_it_wants_is_refused(arch):
    source = net("A", seed=1)
    with pytest.raises(InputError, match=r"preprocessing of model .* is unknown"):
        transfer.init_from(net(arch, seed=2), source, wants=preprocessing.TORCH)


def test_loaded_model_says_what_its_weights_want(tmp_path):
    path = tmp_path / "net.keras"
    net("A").save(path)
    assert not preprocessing.is_known(transfer.load_model(path))
    preprocessing.attach(path, preprocessing.CAFFE)
    assert preprocessing.for_model(transfer.load_model(path)) == preprocessing.CAFFE


def test_other_kinds_of_files_are_loaded_too(tmp_path):
    source = net("E", seed=1)
    source.save_weights(tmp_path / "net.weights.h5")
    loaded = transfer.load_model(tmp_path / "net.weights.h5")
    images = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(loaded(images), source(images))


@pytest.mark.parametrize("theirs", [("c", "a", "b"), ("a", "b", "c"), ("a", "b", "d"), None])
def test_classifier_is_copied_by_the_names_of_its_classes(theirs):
    options = {"classes": 3, "width": 0.05, "input_shape": (32, 32, 3)}
    model, source = build_vgg("A", **options), build_vgg("A", **options)
    start = model.get_layer("predictions").get_weights()
    result = transfer.init_from(model, source, classes=transfer.Classes(("a", "b", "c"), theirs))
    ours, others = model.get_layer("predictions").get_weights()[0], source.get_layer("predictions").get_weights()[0]
    if theirs == ("a", "b", "d"):
        assert "predictions" not in result.copied
        assert result.left_random["predictions"].startswith("the classes differ, e.g. ")
        np.testing.assert_array_equal(ours, start[0])
        return
    for label, name in enumerate("abc"):
        np.testing.assert_array_equal(ours[:, label], others[:, (theirs or ("a", "b", "c")).index(name)])
    told = {None: "has no class names", ("c", "a", "b"): "reordered by name to match this dataset"}.get(theirs)
    assert told in result.adapted["predictions"] if told else not result.adapted
