"""The signature `localise` of an exported net, and what the client makes of its answers."""

import json
import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf
from bad_images import BAD
from local_server import serving
from localisers import localiser, write_localiser
from run_folders import write_run
from small_images import CLASSES, ENCODED

from keras_vgg import client, export
from keras_vgg.errors import InputError
from keras_vgg.inference.localiser import Localiser
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.localisation import Locator
from keras_vgg.saved_model import CARD, export_saved_model
from keras_vgg.serving import comparison
from keras_vgg.serving.plan import plan_export
from keras_vgg.serving.signatures import Served, checksum
from keras_vgg.weights.saving import save_model

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "nets_loaded_once")

SCALES = (36, 48)


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {
        "classifier": write_run(folder / "letters"),
        "pcr": write_localiser(folder / "pcr", classes=CLASSES[::-1]),
        "scr": write_localiser(folder / "scr", "scr"),
    }


@pytest.fixture(scope="module")
def exported(nets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "vgg"
    labels = [f"letter {name}" for name in CLASSES]  # which are for people: classes are found by the nets' own names
    options = {"localiser_scales": SCALES, "scales": (40,), "flip": False, "labels": labels}
    return export_saved_model(nets["classifier"], folder, localiser=nets["pcr"], **options)


@pytest.fixture(scope="module")
def served(exported):
    return tf.saved_model.load(str(exported.path)).signatures


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number, content in enumerate(ENCODED[:6]):
        (folder / f"{number}.jpg").write_bytes(content)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def expected(nets, paths):
    locator = Locator(nets["classifier"], nets["pcr"], localiser_scales=SCALES, flip=False)
    return [locator.locate(path) for path in paths]


def test_it_says_what_the_nets_say_here(served, expected):
    found = {name: value.numpy() for name, value in served["localise"](images=tf.constant(ENCODED[:6])).items()}
    assert found["error"].tolist() == [b""] * 6
    assert found["image_size"][:4].tolist() == [[50, 70], [70, 50], [40, 40], [33, 150]]
    for row, guesses in enumerate(expected):
        number = len(guesses)
        assert found["class_names"][row].tolist() == [f"letter {each.label}".encode() for each in guesses] + [b""] * (5 - number)
        np.testing.assert_allclose(found["scores"][row, :number], [each.score for each in guesses], atol=1e-5)
        height, width = found["image_size"][row]
        pixels = found["boxes"][row, :number] * [width, height, width, height]
        np.testing.assert_allclose(pixels, [each.box for each in guesses], atol=1e-2)


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_the_client_tells_boxes_in_pixels(exported, expected, paths, tmp_path, capsys, protocol):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    with serving(exported.path.parent) as addresses:
        flags = ["--url", getattr(addresses, protocol), "--localise", *map(str, paths)]
        assert client.main([*flags, "--json"]) is None
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert client.main([*flags[:4], str(tmp_path / "bad.jpg")]) == 2
        printed = capsys.readouterr()
    for line, guesses in zip(lines, expected, strict=True):
        assert [each["class"] for each in line["boxes"]] == [f"letter {each.label}" for each in guesses]
        np.testing.assert_allclose([each["box"] for each in line["boxes"]], [each.box for each in guesses], atol=1e-2)
        np.testing.assert_allclose([each["score"] for each in line["boxes"]], [each.score for each in guesses], atol=1e-5)
    best = expected[0][0]
    told = [f"{100 * best.score:.1f}%", *(str(round(edge)) for edge in best.box), "letter", best.label]
    assert printed.out.splitlines()[1] == "  boxes in pixels of 70x50: x_min y_min x_max y_max"
    assert printed.out.splitlines()[2].split() == told
    assert "bad.jpg: not an image: expected JPEG, PNG, GIF, BMP or WebP" in printed.err


def test_a_bad_image_says_why_and_harms_no_other(served):
    alone = served["localise"](images=tf.constant(ENCODED[:2]))
    for name, (content, _) in BAD.items():
        found = served["localise"](images=tf.constant([ENCODED[0], content, ENCODED[1]]))
        told = found["error"].numpy()
        assert told[1], name
        for output, value in found.items():
            np.testing.assert_array_equal(np.delete(value.numpy(), 1, axis=0), alone[output], err_msg=f"{name}, {output}")
        assert np.isnan(found["boxes"][1]).all()
        assert np.isnan(found["scores"][1]).all()
        assert found["class_ids"][1].numpy().tolist() == [-1] * 5
        assert found["image_size"][1].numpy().tolist() == [0, 0]
    assert served["localise"](images=tf.constant([], tf.string))["boxes"].shape == (0, 5, 4)


def in_memory(folder, *arguments, **options):
    """The signature as it is before it is written."""
    plan = plan_export(*arguments, **options)
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in plan.labels))
    digest = plan.card["net"]["sha256"]
    return Served(plan.network, plan.weights, str(folder / "labels.txt"), plan.protocol, digest, plan.finder).signatures()[
        "localise"
    ]


def test_single_class_regression_with_mirror_images(nets, paths, tmp_path):
    found = in_memory(tmp_path, nets["classifier"], localiser=nets["scr"], flip=True, merge_threshold=0.9)(tf.constant(ENCODED[:1]))
    guesses = Locator(nets["classifier"], nets["scr"], flip=True, merge_threshold=0.9).locate(paths[0])
    number = len(guesses)
    np.testing.assert_allclose(found["boxes"][0, :number] * [70, 50, 70, 50], [each.box for each in guesses], atol=1e-2)
    assert found["class_ids"][0].numpy().tolist() == [CLASSES.index(each.label) for each in guesses] + [-1] * (5 - number)


def test_boxes_that_are_no_numbers(nets, tmp_path):
    spoilt = localiser("scr")
    spoilt.get_layer("predictions").bias.assign([np.nan] * 4)
    save_model(spoilt, tmp_path / "spoilt.keras", classes=CLASSES, regression="scr")
    found = in_memory(tmp_path, nets["classifier"], localiser=tmp_path / "spoilt.keras", localiser_scales=(40,))(
        tf.constant(ENCODED[:1])
    )
    assert found["error"].numpy().tolist() == [b"the localizer's boxes for it are not finite"]
    with pytest.raises(InputError, match=r"The net must have finite outputs. Received: NaN"):
        comparison.largest_difference(comparison.boxes_with_own_layers(Localiser(spoilt, "scr")))


def test_the_card_says_which_localiser_it_is(nets, exported):
    card = json.loads((exported.path / CARD).read_text())["localiser"]
    source = open_net_file(str(nets["pcr"]))
    assert (card["regression"], card["scales"], card["flip"]) == ("pcr", list(SCALES), False)
    assert card["merging"] == {"threshold": 0.5, "classes": 5}
    assert card["preprocessing"] == source.preprocessing_text
    assert card["sha256"] != json.loads((exported.path / CARD).read_text())["net"]["sha256"]
    assert exported.largest_difference < 1e-5
    assert plan_export(nets["classifier"]).card["localiser"] is None


def test_a_localiser_is_compared_with_its_own_layers_and_what_was_read_back(nets, tmp_path, monkeypatch):
    network = open_net_file(str(nets["pcr"])).load_localiser()
    assert comparison.largest_difference(comparison.boxes_with_own_layers(network)) < 1e-5
    monkeypatch.setattr(Localiser, "boxes", lambda self, images, labels: np.zeros((2, 1, 7, 4)))
    with pytest.raises(RuntimeError, match="outputs of the exported file differ by"):
        comparison.largest_difference(comparison.boxes_with_own_layers(network))
    plan = plan_export(nets["classifier"], localiser=nets["pcr"])
    assert len(plan.weights) == len(plan.network.model.weights) + len(network.model.weights)
    first, second = (types.SimpleNamespace(_variables=variables) for variables in (plan.weights, plan.weights[::-1]))
    assert checksum(first) != checksum(second)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"localiser": "classifier"}, r"`--localiser` must be a localiser trained by .*Received: .*letters, a classifier"),
        ({"localiser": "pcr", "dense": False}, r"requires whole images and cannot be combined with dense=False \(--no-dense\)"),
        ({"localiser": "pcr", "localiser_scales": (31,)}, r"at least the net's input, 32 pixels. Received: 31"),
        ({"localiser_scales": (40,)}, r"`localiser_scales` requires `localiser`. Received: localiser_scales=\(40,\) without it"),
        ({"localiser": "pcr", "merge_threshold": -1}, r"merge threshold must be in \[0, 2\)"),
    ],
)
def test_what_does_not_go_together(nets, tmp_path, options, reason):
    options = {name: nets.get(value, value) if isinstance(value, str) else value for name, value in options.items()}
    with pytest.raises(InputError, match=reason):
        export_saved_model(nets["classifier"], tmp_path / "vgg", **options)
    assert not pathlib.Path(tmp_path / "vgg").exists()


def test_a_localiser_is_no_net_to_export_and_has_no_place_in_other_files(nets, tmp_path, capsys):
    with pytest.raises(InputError, match=r"Expected a classifier. Received: .*pcr, a localiser; .* as --localiser"):
        export.main(["--model", str(nets["pcr"]), "--out", str(tmp_path / "vgg")])
    with pytest.raises(SystemExit, match="2"):
        export.main(["--model", "x", "--out", "x.onnx", "--format", "onnx", "--localiser", "y"])
    assert "--localiser: applies only to SavedModels (received --format onnx)" in capsys.readouterr().err
