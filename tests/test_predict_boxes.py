"""Boxes of single images: the command `predict` with a localiser, the pictures, and `Locator`."""

import csv
import hashlib
import itertools
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from localisers import write_localiser
from PIL import Image
from run_folders import write_run
from small_images import CLASSES, ENCODED, TRUNCATED

from keras_vgg import predict
from keras_vgg.data.boxes.datasets import open_boxes
from keras_vgg.errors import InputError
from keras_vgg.identity import digest_of_net
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.localisation import Locator, drawing, run
from keras_vgg.localisation.recipe import Row
from keras_vgg.localisation.single import Located
from keras_vgg.support import plot_style
from keras_vgg.weights.conversion import convert

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "nets_loaded_once")


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """Paths by name; the localiser's classes stand in another order than the classifier's."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        "classifier": str(write_run(folder / "letters")),
        "pcr": str(write_localiser(folder / "pcr", classes=CLASSES[::-1])),
        "scr": str(write_localiser(folder / "scr", "scr")),
        "others": str(write_localiser(folder / "others", classes=("a", "b"))),
    }


@pytest.fixture
def here(tmp_path, monkeypatch):
    for name, content in zip(("photo.jpg", "other.png", "wide.jpg"), (ENCODED[0], ENCODED[1], ENCODED[3]), strict=True):
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys, *arguments):
    assert predict.main([*arguments, "--json"]) is None
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_boxes_are_those_of_the_test_of_localisers(here, nets, capsys):
    with open("boxes.csv", "w", newline="") as file:
        rows = [["photo.jpg", "c", "val", 1, 2, 30, 40], ["other.png", "f", "val", 1, 2, 30, 40]]
        csv.writer(file).writerows([["path", "label", "split", "xmin", "ymin", "xmax", "ymax"], *rows])
    dataset = open_boxes("csv:boxes.csv")
    sources = {"L": open_net_file(nets["pcr"], name="L")}
    row = Row(("L",), "dense", ((36, 48),))
    (expected,) = run.localise(dataset.split("validation"), dataset.classes, sources, {}, [row], here / "out")
    flags = ["--model", nets["classifier"], "--localiser", nets["pcr"], "--localiser-scales", "36", "48"]
    for place, (path, label, *_) in enumerate(rows):
        (line,) = told(capsys, path, *flags, "--class", label)
        best = line["boxes"][0]
        assert (best["class"], best["label"]) == (label, CLASSES.index(label))
        np.testing.assert_allclose(best["box"], expected.boxes[place, 0], atol=1e-3)
        posterior = next((each["posterior"] for each in line["top"] if each["class"] == label), None)
        if posterior is not None:
            assert best["score"] == pytest.approx(posterior * expected.ratings[place, 0], rel=1e-4)


def test_guesses_are_printed_best_first_with_boxes_in_whole_pixels(here, nets, capsys):
    flags = ["photo.jpg", "--model", nets["classifier"], "--localiser", nets["pcr"], "--top", "3"]
    (line,) = told(capsys, *flags)
    assert predict.main(flags) is None
    printed = capsys.readouterr().out.splitlines()
    assert printed[4] == "  boxes in pixels of 70x50: x_min y_min x_max y_max"
    guesses = [text.split() for text in printed[5:]]
    assert len(guesses) == len(line["boxes"]) == 3
    for text, each in zip(guesses, line["boxes"], strict=True):
        assert text == [f"{100 * each['score']:.1f}%", *(str(round(edge)) for edge in each["box"]), each["class"]]
        assert 0 <= each["box"][0] <= each["box"][2] <= 70
        assert 0 <= each["box"][1] <= each["box"][3] <= 50
    scores = [each["score"] for each in line["boxes"]]
    assert scores == sorted(scores, reverse=True)
    assert line["localiser settings"]["merging"] == {"threshold": 0.5, "classes": 5}


def test_a_locator_tells_the_same_of_a_file_and_of_its_pixels(here, nets, capsys):
    (line,) = told(capsys, "other.png", "--model", nets["classifier"], "--localiser", nets["pcr"])
    locator = Locator(nets["classifier"], nets["pcr"])
    pixels = np.asarray(Image.open("other.png").convert("RGB"))
    for image in ("other.png", pixels):
        found = locator.locate(image)
        assert [each.label for each in found] == [each["class"] for each in line["boxes"]]
        np.testing.assert_allclose([each.box for each in found], [each["box"] for each in line["boxes"]], atol=1e-3)
        np.testing.assert_allclose([each.score for each in found], [each["score"] for each in line["boxes"]], atol=1e-5)
    assert len(locator.locate(pixels, most=1)) == 1
    with pytest.raises(InputError, match=r"Expected pixels \(height, width, 3\) uint8. Received: \(50, 70\) float64"):
        locator.locate(np.zeros((50, 70)))


# --- Pictures -------------------------------------------------------------------------------------------------------------


def test_the_box_is_drawn_on_the_photograph_and_the_picture_says_what_it_is(here, nets, capsys):
    pixels = np.random.default_rng(0).integers(0, 200, (500, 600, 3), np.uint8)
    Image.fromarray(pixels).save("large.png")
    flags = ["large.png", "--model", nets["classifier"], "--localiser", nets["pcr"]]
    (line,) = told(capsys, *flags, "--boxes", "found.png")
    with Image.open("found.png") as picture:
        drawn, text = np.asarray(picture.convert("RGB")), picture.text
    title = len(drawn) - 500
    assert 0 < title < 60
    changed = (drawn[title:] != pixels).any(axis=2)
    assert changed.mean() < 0.08  # the rest is the photograph, pixel for pixel
    x_min, y_min, x_max, y_max = np.round(line["boxes"][0]["box"]).astype(int)
    middle = (x_min + x_max) // 2, (y_min + y_max) // 2
    for x, y in ((x_min + 1, middle[1]), (x_max - 2, middle[1]), (middle[0], y_max - 2)):
        assert np.abs(drawn[title + y, x] - np.array(plot_style.rgb(plot_style.BEST_BOX))).max() < 40  # smoothed at its edges
    assert not changed[middle[1] - 20 : middle[1] + 20, middle[0] - 20 : middle[0] + 20].any()
    assert text["image sha256"] == hashlib.sha256((here / "large.png").read_bytes()).hexdigest()
    assert (text["net sha256"], text["localiser sha256"]) == (line["net sha256"], line["localiser sha256"])
    (box,) = json.loads(text["boxes"])
    np.testing.assert_allclose(box["box"], line["boxes"][0]["box"], atol=0.01)


def test_labels_are_within_the_picture_and_apart(tmp_path, monkeypatch):
    """Also at the upper edge, of names longer than the photograph is wide, and of boxes that are all but equal."""
    places, label = [], drawing._label

    def seen(axes, guess, box, place, font, taken):
        label(axes, guess, box, place, font, taken)
        places.append((*taken[-1], axes.get_xlim()[1], axes.get_ylim()[0]))

    monkeypatch.setattr(drawing, "_label", seen)
    for height, width in ((64, 64), (40, 400), (300, 30), (900, 1200)):
        boxes = np.array([[0.2, 0, 0.9, 0.7], [0.21, 0, 0.9, 0.71], [0.95, 0.9, 1, 1]]) * [width, height, width, height]
        guesses = [Located("long name of a class, of a kind, of a family " * 9, 0.5, tuple(box)) for box in boxes.tolist()]
        places.clear()
        drawing.draw(tmp_path / "a.png", np.zeros((height, width, 3), np.uint8), guesses, title="a.jpg", facts={})
        drawn = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
        for left, top, right, bottom, across, down in places:
            assert 0 <= left < right <= across
            assert 0 <= top < bottom <= down
            title = round(len(drawn) - down)
            assert bottom - top >= 12  # dots, for a font of 11
            part = drawn[title + round(top) : title + round(bottom), round(left) : round(right)]
            assert 0.01 < (part < 90).mean() < 0.6  # it is filled, with something written on it
        tops = sorted((top, bottom) for _, top, _, bottom, *_ in places)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(tops))


def test_pictures_of_several_images_lie_in_a_folder(here, nets, capsys):
    (here / "deeper").mkdir()
    shutil.copy("photo.jpg", "deeper/photo.jpg")
    (here / "broken.jpg").write_bytes(TRUNCATED)
    images = ["broken.jpg", "photo.jpg", "deeper/photo.jpg"]
    flags = ["--model", nets["classifier"], "--localiser", nets["scr"], "--boxes", "pictures"]
    assert predict.main([*images, *flags]) == 2
    captured = capsys.readouterr()
    assert "Expected an image. Received: broken.jpg (" in captured.err
    files = [line.split(": ")[1] for line in captured.out.splitlines() if line.startswith("boxes of ")]
    assert {str(path.relative_to(here)) for path in (here / "pictures").iterdir()} == set(files)
    assert len(files) == 2
    with pytest.raises(InputError, match=r"`--boxes` with a .png file takes one image. Received: 3; "):
        predict.main([*images, *flags[:-1], "a.png"])


# --- A localiser alone, and nets of the wrong kind ------------------------------------------------------------------------


def test_a_localiser_alone(here, nets, capsys):
    of_scr = told(capsys, "photo.jpg", "wide.jpg", "--model", nets["scr"], "--boxes", "pictures")
    assert [set(line["boxes"][0]) for line in of_scr] == [{"score", "box"}] * 2
    assert "top" not in of_scr[0]
    named = told(capsys, "photo.jpg", "--model", nets["scr"], "--class", "b")
    assert named[0]["boxes"][0]["box"] == of_scr[0]["boxes"][0]["box"]
    (of_pcr,) = told(capsys, "photo.jpg", "--model", nets["pcr"], "--class", "b")
    (with_classifier,) = told(capsys, "photo.jpg", "--model", nets["classifier"], "--localiser", nets["pcr"], "--class", "b")
    assert of_pcr["boxes"][0]["box"] == with_classifier["boxes"][0]["box"]
    assert predict.main(["photo.jpg", "--model", nets["scr"]]) is None
    assert len(capsys.readouterr().out.splitlines()[-1].split()) == 5  # without a name


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--model classifier --localiser classifier", r"`--localiser` must be a localiser trained by .*letters, a classifier"),
        ("--model classifier --boxes a.png", r"`--boxes` requires a localiser. .*letters, a classifier; pass --localiser, too"),
        (
            "--model classifier --localiser others",
            r"must have all classes of the classifier. .* with 2 classes, without c, d, e, …",
        ),
        ("--model classifier --localiser pcr --localiser-scales 20", r"at least the net's input, 32 pixels. Received: 20"),
        ("--model classifier --localiser pcr --merge-threshold 2", r"merge threshold must be in \[0, 2\)"),
        ("--model classifier --localiser pcr --class z", r"`--class` must be one of the net's classes, .*'z'"),
        ("--model classifier --class a", r"`--class` requires --heatmap or --localiser"),
        ("--model pcr", r"pcr predicts a box per class. Pass --class NAME, or a classifier"),
        ("--model pcr --localiser pcr", r"`--model` must be a classifier if --localiser is passed. .*pcr, a localiser"),
        ("--model scr --heatmap a.png", r"`--heatmap` requires a classifier. .*scr, a localiser"),
    ],
)
def test_a_mistake_is_told(here, nets, arguments, reason):
    with pytest.raises(InputError, match=reason):
        predict.main(["photo.jpg", *(nets.get(word, word) for word in arguments.split())])


def test_a_localiser_that_tells_nan_is_told(here, nets, monkeypatch, capsys):
    monkeypatch.setattr("keras_vgg.inference.localiser.Localiser.boxes", lambda *args, **options: tf.fill([1, 1, 1, 4], np.nan))
    assert predict.main(["photo.jpg", "--model", nets["scr"]]) == 2
    assert "Expected a localiser with finite boxes. Received: " in capsys.readouterr().err


def test_a_localiser_stays_one_in_every_kind_of_file(nets, tmp_path):
    """Through all kinds one after another: classes, what its outputs are, and boxes without an activation behind them."""
    for regression in ("pcr", "scr"):
        source = first = open_net_file(nets[regression])
        digest = digest_of_net(first.load_model())
        for kind in (".pth", ".safetensors", ".h5", ".weights.h5", ".keras"):
            folder = tmp_path / f"{regression}{kind}"
            folder.mkdir()
            convert(source.path, folder / f"net{kind}")
            source = open_net_file(str(folder / f"net{kind}"))
            told = source.regression, source.classes, source.count_classes()
            assert told == (regression, first.classes, len(CLASSES)), kind
            assert digest_of_net(source.load_model()) == digest, kind
