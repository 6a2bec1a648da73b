"""Nets whose classifier takes the mean over all places of the last map: built, counted, tested, kept in files, trained, served."""

import json

import numpy as np
import pytest
import tensorflow as tf
from small_images import pixels
from small_nets import WANTS, fill

from keras_vgg import configs, convert, describe, evaluate, export, fit, preprocessing, transfer
from keras_vgg.errors import InputError
from keras_vgg.fully_convolutional import to_fully_convolutional
from keras_vgg.identity import digest_of_net
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.inference.network import Network
from keras_vgg.models import build_vgg
from keras_vgg.recipe import Recipe
from keras_vgg.weights import loading, saving
from keras_vgg.weights.weight_file import open_weights

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "colors_measured_once", "images_surveyed_once", "nets_loaded_once")

SMALL = "--width 0.05 --crop 32 --jitter 32 40 --no-jit --batch-size 25 --learning-rate 0.002 --epochs 1 --limit-images 50"


def pooled(arch="B-pool", side=32, **options):
    model = fill(build_vgg(arch, input_shape=(side, side, 3), width=0.05, classes=7, **options))
    preprocessing.remember(model, WANTS)
    return model


@pytest.fixture(scope="module")
def net():
    return pooled()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "pooled"
    fit.main(["--arch", "B", "--head", "pool", *SMALL.split(), "--workdir", str(folder)])
    return folder


@pytest.mark.parametrize("arch", configs.CONFIGS)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_counts_follow_from_the_row(arch, batch_norm):
    name = f"{arch}-pool"
    model = build_vgg(name, width=0.05, classes=10, batch_norm=batch_norm)
    facts = configs.layer_facts(name, width=0.05, classes=10)
    normalised = sum(4 * facts_.shape[-1] for facts_ in facts if "_conv" in facts_.name) if batch_norm else 0
    assert model.count_params() == sum(layer.parameters for layer in facts) + normalised
    assert [layer.name for layer in facts][-2:] == ["avg_pool", "predictions"]
    assert configs.get_config(name).depth == configs.get_config(arch).depth - 2


@pytest.mark.parametrize(
    ("name", "arch"), [("D-pool", "D-pool"), ("vgg16_pool", "D-pool"), ("VGG16-pool", "D-pool"), ("a-lrn-pool", "A-LRN-pool")]
)
def test_names(name, arch):
    assert configs.net_called(name) == (arch, False)
    assert Recipe(arch=name) == Recipe(arch=arch.removesuffix("-pool"), head="pool")
    assert Recipe(arch=name, head="fc").arch == arch.removesuffix("-pool")


@pytest.mark.parametrize("sides", [(32, 32), (48, 80), (33, 65)])
def test_an_image_of_any_size_is_what_the_net_itself_makes_of_it(net, sides):
    images = pixels(*sides)
    of_any_size = build_vgg("B-pool", input_shape=(None, None, 3), width=0.05, classes=7)
    of_any_size.set_weights(net.get_weights())
    network = Network(net)
    np.testing.assert_allclose(network.posteriors(images, "dense", flip=False), of_any_size(WANTS(images)), rtol=0, atol=1e-6)
    assert network.average == "scores"


def test_crops_are_seen_as_in_training(net):
    images, network = pixels(48), Network(net)
    crops = [images[:, top : top + 32, left : left + 32] for top in (0, 4, 8, 12, 16) for left in (0, 4, 8, 12, 16)]
    expected = np.mean([net(WANTS(crop)) for crop in crops], axis=0)
    np.testing.assert_allclose(network.posteriors(images, "multi-crop", flip=False), expected, rtol=0, atol=1e-6)


def test_its_scores_are_the_mean_of_the_map(net):
    scores = pooled(classifier_activation=None)
    scores.set_weights(net.get_weights())
    images = WANTS(pixels(64, 96))
    found = to_fully_convolutional(scores)(images)
    assert found.shape == (2, 2, 3, 7)
    of_any_size = build_vgg("B-pool", input_shape=(None, None, 3), width=0.05, classes=7, classifier_activation=None)
    of_any_size.set_weights(net.get_weights())
    np.testing.assert_allclose(np.mean(found, axis=(1, 2)), of_any_size(images), rtol=0, atol=1e-5)


def test_several_layers_behind_the_mean_see_the_whole_map(monkeypatch):
    config = configs.Config("P", ((configs.Convolution(8),),), fc_units=(16,), global_pooling=True)
    monkeypatch.setitem(configs.CONFIGS, "P", config)
    net = build_vgg("P", input_shape=(None, None, 3), classes=7)
    images = np.random.default_rng(0).uniform(-100, 100, (2, 40, 52, 3)).astype(np.float32)
    scores = to_fully_convolutional(net)(images)
    assert scores.shape == (2, 1, 1, 7)
    np.testing.assert_allclose(scores[:, 0, 0], net(images), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["out.keras", "out.weights.h5", "out.h5", "out.pth", "out.safetensors"])
def test_every_kind_of_file_holds_it(net, tmp_path, name):
    saving.save_model(net, tmp_path / "net.keras")
    convert.main([str(tmp_path / "net.keras"), str(tmp_path / name)])
    file = open_weights(tmp_path / name)
    assert (file.arch, file.include_top, file.spatial) == ("B-pool", True, None)
    assert digest_of_net(open_net_file(str(tmp_path / name)).load_model()) == digest_of_net(net)


def test_a_file_of_it_loads_into_no_other_head(net, tmp_path):
    saving.save_model(net, tmp_path / "net.keras")
    with pytest.raises(InputError, match=r"Expected weights of net B.*\. Received: .*net\.keras, which contains net B-pool"):
        loading.load_weights(build_vgg("B", input_shape=(32, 32, 3), width=0.05, classes=7), tmp_path / "net.keras")
    convolutions = build_vgg("B", include_top=False, input_shape=(None, None, 3), width=0.05)
    transfer.init_from(convolutions, net)
    np.testing.assert_array_equal(convolutions.get_weights()[0], net.get_weights()[0])


def test_a_run_is_tested_exported_and_described(run, tmp_path, capsys):
    data = ["--model", str(run), "--dataset", "digits", "--limit-images", "40"]
    evaluate.main([*data, "--protocol", "center", "dense", "multi-crop", "--scales", "40", "--out", str(tmp_path / "tested")])
    rows = json.loads((tmp_path / "tested" / "table.json").read_text())
    assert [row["protocol"] for row in rows] == [f"{name}, no flip" for name in ("center", "dense", "multi-crop")]
    export.main(["--model", str(run), "--out", str(tmp_path / "served")])
    served = tf.saved_model.load(tmp_path / "served" / "1").signatures["serving_uint8"]
    images = pixels(40)
    expected = open_net_file(str(run)).load().posteriors(images, "dense", flip=False)
    np.testing.assert_allclose(served(images=images)["probabilities"], expected, rtol=0, atol=1e-6)
    describe.main(["--arch", "vgg13-pool", "--width", "0.05", "--classes", "10", "--size", "32"])
    assert "Net B-pool: 11 weight layers" in capsys.readouterr().out


def test_it_begins_from_a_net_with_fc_layers_and_the_other_way_round(run, tmp_path, capsys):
    fit.main(["--arch", "B", "--head", "fc", "--init-from", str(run), *SMALL.split(), "--workdir", str(tmp_path / "fc")])
    assert "left as initialized: fc1 (the source has none)" in capsys.readouterr().out
    fit.main(["--head", "pool", "--init-from", str(tmp_path / "fc"), *SMALL.split(), "--workdir", str(tmp_path / "pool")])
    said = capsys.readouterr().out
    assert "copied: block1_conv1, block1_conv2" in said
    assert open_weights(tmp_path / "pool").arch == "B-pool"
