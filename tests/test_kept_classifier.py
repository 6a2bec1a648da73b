"""`transfer_eval --save`: the classifier as a whole net, which says what the SVMs said, to every command and to Keras alone."""

import contextlib
import io
import json

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from run_folders import write_run
from small_nets import WANTS, net_without_top
from voc_tree import write_voc

from keras_vgg import evaluate, predict, preprocessing, transfer_eval
from keras_vgg.errors import InputError
from keras_vgg.linear import svm
from keras_vgg.linear.classifier import line, sharpness

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "images_surveyed_once", "layers_loaded_once")

TINTS = {"ant": (0.8, 1, 1), "bee": (1, 0.8, 1), "cat": (1, 1, 0.8)}
COMMON = ["--protocol", "fixed", "--no-flip", "--costs", "10"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run, a net without its top, and class folders of images of two shapes that are hard to tell apart."""
    folder = tmp_path_factory.mktemp("place")
    write_run(folder / "run")
    net_without_top("A", wants=WANTS).save(folder / "notop.keras")
    preprocessing.attach(folder / "notop.keras", WANTS)
    random = np.random.default_rng(0)
    for name, tint in TINTS.items():
        for number in range(16):
            path = folder / "data" / ("val" if number % 2 else "train") / name / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (40, 52, 3) if number % 4 < 2 else (47, 40, 3)
            Image.fromarray((random.integers(0, 256, shape) * np.array(tint)).astype(np.uint8)).save(path)
    return folder


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)


def keep(folder, *flags):
    """Keeps a classifier as `kept.keras`; returns the figures of the table by measure, and the arguments that test it again."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        transfer_eval.main([*flags, "--no-flip", "--save", str(folder / "kept.keras"), "--out", str(folder / "transfer")])
    table = pd.read_csv(folder / "transfer" / "table.csv").set_index("measure").value
    return table, told.getvalue().split("keras_vgg.evaluate ")[1].split("\n")[0].split()


def evaluated_again(folder, command):
    evaluate.main([*command, "--out", str(folder / "evaluation")])
    return json.loads((folder / "evaluation" / "table.json").read_text())[0]


@pytest.fixture(scope="module")
def of_crops(place, tmp_path_factory):
    """What `keep` returns for a classifier on fc2 of the centre crop, and its folder."""
    folder = tmp_path_factory.mktemp("crops")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        flags = ["--layer", "fc2", "--scales", "36", "--no-dense"]
        return folder, *keep(folder, "--model", "run", "--dataset", "folder:data", *COMMON, *flags)


@pytest.mark.slow
def test_a_kept_net_of_whole_images_is_as_accurate_as_its_classifier(here, tmp_path):
    flags = ["--layer", "block5_pool", "--scales", "40"]
    table, command = keep(tmp_path, "--model", "notop.keras", "--dataset", "folder:data", *COMMON, *flags)
    assert 40 < table["accuracy"] < 100  # so that a mistake would show
    row = evaluated_again(tmp_path, command)
    assert row["protocol"] == "dense, no flip"
    assert row["top-1 error"] == pytest.approx(100 - table["accuracy"])


def test_a_kept_net_of_crops_too(here, of_crops, tmp_path):
    _, table, command = of_crops
    assert 40 < table["accuracy"] < 100
    row = evaluated_again(tmp_path, command)
    assert (row["protocol"], row["Q"]) == ("center, no flip", "36")
    assert row["top-1 error"] == pytest.approx(100 - table["accuracy"])


def test_keras_alone_loads_it_and_says_what_predict_says(of_crops, tmp_path, capsys):
    kept = of_crops[0] / "kept.keras"
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "square.png")
    predict.main([str(tmp_path / "square.png"), "--model", str(kept), "--scales", "32", "--json"])
    told = {top["class"]: top["posterior"] for top in json.loads(capsys.readouterr().out)["top"]}
    alone = keras.saving.load_model(kept, compile=False)
    assert not [layer for layer in alone.layers if type(layer).__module__.startswith("keras_vgg")]
    expected = alone.predict(np.array(WANTS(image[None])), verbose=0)[0]
    assert [told[name] for name in TINTS] == pytest.approx(expected.tolist(), abs=1e-6)
    assert np.ptp(expected) > 0.01


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--scales", "36", "40"], "Received: descriptors of 2 scales; pass --scales with a single value."),
        (["--flip"], "Received: descriptors of mirror images too; pass --no-flip."),
        ([], "supports fc2 only for the crop, since .* Received: --dense; pass --no-dense or --layer block5_pool."),
        (
            ["--layer", "block4_pool"],
            "supports the layer block5_pool or, with --no-dense, fc1, fc2. Received: --layer block4_pool.",
        ),
        (["--protocol", "random"], "needs exactly one split. Received: 3 random splits; pass --splits 1 or --protocol fixed."),
        (["--model", "b=run"], "needs exactly one net. Received: 2; pass one --model."),
        (["--save", "kept.h5"], "must name a .keras file. Received: kept.h5."),
    ],
)
def test_what_is_no_net_is_refused_before_the_data_are_opened(here, flags, told):
    with pytest.raises(InputError, match=told):
        transfer_eval.main(
            ["--model", "run", "--dataset", "folder:nowhere", *COMMON, "--scales", "40", "--save", "k.keras", *flags]
        )


def test_weights_in_few_coordinates_and_in_all_give_the_same_scores():
    random = np.random.default_rng(0)
    train, test, labels = random.normal(size=(12, 30)), random.normal(size=(5, 30)), np.arange(12) % 3
    features = svm.compact(train, test)
    decided = svm.decide(features, labels, 1.0)
    weights = svm.in_own_coordinates(decided.weights, features, train)
    assert weights.shape == (31, 3)
    np.testing.assert_allclose(test @ weights[:-1] + weights[-1], decided.scores, rtol=0, atol=1e-7)


def test_probabilities_are_as_sure_as_the_images_held_out_allow():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 4000)
    scores = np.log(np.where(np.arange(3) == labels[:, None], 0.8, 0.1))  # right in four of five cases
    labels = np.where(random.uniform(size=4000) < 0.8, labels, (labels + random.integers(1, 3, 4000)) % 3)
    assert sharpness(scores, labels) == pytest.approx(1, abs=0.05)
    assert sharpness(2 * scores, labels) == pytest.approx(0.5, abs=0.03)
    assert sharpness(scores[:6], scores[:6].argmax(axis=1)) < 3  # all are right, which does not make it sure


def test_probabilities_of_single_classes_are_as_sure_and_rise_with_the_scores():
    random = np.random.default_rng(0)
    scores = random.normal(size=4000)
    shown = random.uniform(size=4000) < 1 / (1 + np.exp(-(3 * scores - 1)))
    assert line(scores, shown) == pytest.approx((3, -1), abs=0.3)
    assert line(scores, ~shown)[0] > 0
    assert np.isfinite(line(np.array([1.0, -1.0]), np.array([True, False]))).all()


def test_of_several_classes_an_image_the_kept_net_ranks_as_the_classifiers_do(here, tmp_path):
    names = ("cat", "dog", "person")
    shown = {part: {f"{20 * place + n:06}": [(name, 0) for bit, name in enumerate(names) if (n + 1) >> bit & 1] for n in range(14)}
             for place, part in enumerate(("train", "val", "test"))}  # fmt: skip
    root = write_voc(tmp_path / "VOC2007", shown, color_of=_noisy)
    flags = ["--layer", "block5_pool", "--scales", "40"]
    table, command = keep(tmp_path, "--model", "notop.keras", "--dataset", f"voc:{root}", *flags)
    row = evaluated_again(tmp_path, command)
    assert 20 < table["mAP (area)"] < 100
    assert row["mean AP"] == pytest.approx(table["mAP (area)"])
    assert row["mean AP (11 points)"] == pytest.approx(table["mAP (11-point)"])


def _noisy(image, objects):
    random = np.random.default_rng(int(image))
    return tuple(int(60 + 120 * (name in dict(objects)) * 0.4 + random.uniform(0, 90)) for name in ("cat", "dog", "person"))
