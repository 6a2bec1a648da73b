"""A net that is no column of Table 1, as one row of `CONFIGS`, is trained, tested, converted, served and described like the six."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_vgg import configs, convert, describe, evaluate, export, extract, fit
from keras_vgg.configs import Config, Convolution, Pooling
from keras_vgg.errors import InputError
from keras_vgg.features import layer_names, perceptual_model
from keras_vgg.fully_convolutional import to_fully_convolutional
from keras_vgg.identity import digest_of_net
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.models import build_vgg
from keras_vgg.weights.weight_file import open_weights

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "colors_measured_once", "images_surveyed_once")

SMALL = "--width 0.05 --crop 72 --jitter 72 80 --no-jit --batch-size 25 --learning-rate 0.002 --epochs 1 --limit-images 50"


@pytest.fixture(autouse=True, scope="module")
def row():
    """VGG-M of Chatfield et al. 2014, the paper's [24]: large kernels, strides, two normalisations, overlapping poolings."""
    blocks = ((Convolution(96, 7, 2, lrn=True),), (Convolution(256, 5, 2, lrn=True),), (Convolution(512),) * 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(configs.CONFIGS, "M", Config("M", blocks, pooling=Pooling(3, 2)))
        yield


@pytest.fixture(scope="module")
def run(row, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "medium"
    fit.main(["--arch", "M", *SMALL.split(), "--workdir", str(folder)])
    return folder


def test_counts_follow_from_the_row():
    model = build_vgg("M", width=0.05, classes=10)
    facts = configs.layer_facts("M", width=0.05, classes=10)
    assert model.count_params() == sum(layer.parameters for layer in facts)
    shapes = {layer.name: layer.shape for layer in facts}
    for layer in model.layers:
        if layer.name in shapes:
            assert layer.output.shape[1:] == shapes[layer.name], layer.name
    config = configs.CONFIGS["M"]
    assert (config.stride, config.halvings) == (32, "three poolings and strides")
    assert [layer.receptive_field for layer in facts if layer.name.endswith("_pool")] == [11, 43, 171]
    for places in (1, 2, 6):
        features = build_vgg("M", input_shape=(config.side(places), config.side(places), 3), width=0.05, include_top=False)
        assert features.output.shape[1:3] == (places, places)


def test_what_a_place_sees_is_its_receptive_field():
    model = build_vgg("M", input_shape=(288, 288, 3), width=0.05, include_top=False, initializer="he")
    field = max(layer.receptive_field for layer in configs.layer_facts("M") if layer.receptive_field)
    image = tf.Variable(tf.random.stateless_normal([1, 288, 288, 3], (1, 2)))
    with tf.GradientTape() as tape:
        seen = tf.reduce_sum(model(image)[0, 4, 4])
    rows = np.flatnonzero(np.abs(tape.gradient(seen, image)[0]).sum(axis=(1, 2)))
    assert field - 64 <= rows[-1] - rows[0] + 1 <= field  # a maximum may lie within its window


def test_a_run_is_tested_and_described(run, tmp_path, capsys):
    arguments = ["--model", str(run), "--dataset", "digits", "--limit-images", "40", "--protocol", "center", "dense"]
    evaluate.main([*arguments, "--out", str(tmp_path / "tested")])
    describe.main(["--arch", "M", "--size", "64"])
    output = capsys.readouterr().out
    rows = json.loads((tmp_path / "tested" / "table.json").read_text())
    assert {row["protocol"] for row in rows} == {"center, no flip", "dense, no flip"}
    assert "Net M: 8 weight layers" in output
    assert "block2_lrn" in output


@pytest.mark.parametrize("name", ["out.keras", "out.weights.h5", "out.pth", "out.safetensors"])
def test_every_kind_of_file_holds_it(run, tmp_path, name):
    convert.main([str(run), str(tmp_path / name)])
    file = open_weights(tmp_path / name)
    assert file.arch == "M"
    assert digest_of_net(open_net_file(str(tmp_path / name)).load_model()) == digest_of_net(open_net_file(str(run)).load_model())


def test_it_is_served_extracted_and_looked_into(run, tmp_path, capsys):
    export.main(["--model", str(run), "--out", str(tmp_path / "served"), "--layer", "block3_pool"])
    with pytest.raises(InputError, match=r"`features` must be a layer of the net, fc2 or fc1 or block3_pool\. .*block5_pool"):
        export.main(["--model", str(run), "--out", str(tmp_path / "served"), "--layer", "block5_pool"])
    assert "net M, 10 classes" in capsys.readouterr().out
    for layer in ("fc2", "block3_pool"):
        out = tmp_path / f"{layer}.npz"
        extract.main(["--model", str(run), "--dataset", "digits", "--limit-images", "20", "--layer", layer, "--out", str(out)])
        assert np.isfinite(np.load(out)["features"]).all()


def test_it_begins_from_another_run_of_its_kind(run, tmp_path, capsys):
    arguments = [*SMALL.split(), "--init-from", str(run), "--freeze", "block1-block2", "--workdir", str(tmp_path / "run")]
    fit.main(["--arch", "M", *arguments])
    assert "block3_conv3" in capsys.readouterr().out


def test_normalisations_have_names_of_their_own(run):
    names = [step.name for step in layer_names.steps("M") if step.kind == "lrn"]
    assert names == ["lrn1", "lrn2"]
    found = perceptual_model("M", ["lrn2", "block3_pool"], weights=run / "best.keras")(np.zeros((1, 64, 64, 3), np.float32))
    assert [tuple(each.shape[1:3]) for each in found.values()] == [(8, 8), (1, 1)]  # normalised before the second pooling


def test_two_normalisations_of_a_block_are_told_apart(monkeypatch):
    monkeypatch.setitem(configs.CONFIGS, "N", Config("N", ((Convolution(8, lrn=True), Convolution(8, lrn=True)),)))
    assert [(step.name, step.layer) for step in layer_names.steps("N") if step.kind == "lrn"] == [
        ("lrn1", "block1_lrn"),
        ("lrn1_2", "block1_lrn2"),
    ]


def test_overlapping_windows_are_not_rounded_up():
    with pytest.raises(InputError, match=r"pooling='ceil' requires windows that do not overlap\. Received: 'block1_pool'"):
        to_fully_convolutional(build_vgg("M", width=0.05), pooling="ceil")


@pytest.mark.parametrize("parts", [{"blocks": ()}, {"blocks": ((),)}, {"blocks": ((Convolution(8),),), "fc_units": ()}])
def test_a_net_without_a_part_is_refused(parts):
    with pytest.raises(InputError, match="must have blocks of convolutions and FC layers"):
        Config("N", **parts)
