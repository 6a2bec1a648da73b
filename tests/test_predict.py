"""The command `predict` and the heatmap."""

import hashlib
import io
import json
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from run_folders import without_flips, write_run
from small_images import CLASSES, ENCODED, SHAPES, TRUNCATED
from small_nets import WANTS, net

from keras_vgg import predict
from keras_vgg.data import images as image_ops
from keras_vgg.errors import InputError
from keras_vgg.evaluation import heatmap, prediction
from keras_vgg.fully_convolutional import to_fully_convolutional
from keras_vgg.identity import digest_of_net
from keras_vgg.inference import batches, grad_cam, passes
from keras_vgg.inference.code_digest import digest_of_code
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.inference.network import Network
from keras_vgg.inference.views import Views
from keras_vgg.support import progress
from keras_vgg.support.image_files import find_images

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "nets_loaded_once")

NAMES = ["photo.jpg", "other.png", "grey.png", "wide.jpg"]
FLOWERS = ("daisy", "crocus", "iris", "lily", "rose", "tulip", "violet")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "flowers", classes=FLOWERS)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with images, into which the process goes."""
    for name, content in zip(NAMES, ENCODED[:4], strict=True):
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def by_hand(run):
    """By another route: the saved model made fully convolutional, on an image and its mirror image."""
    model = to_fully_convolutional(keras.saving.load_model(run / "best.keras"))

    def posteriors(encoded, scale=40):
        height, width = image_ops.encoded_size(encoded).numpy()
        image = np.array(WANTS(image_ops.decode_whole(encoded, image_ops.rescaled_size(int(height), int(width), scale))))
        return np.mean([np.array(model(each[np.newaxis])).mean((0, 1, 2)) for each in (image, image[:, ::-1])], axis=0)

    return posteriors


def test_prints_the_top_five_with_names_and_bars(here, run, by_hand, capsys):
    assert predict.main(["photo.jpg", "--model", str(run)]) is None
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "photo.jpg"
    expected = by_hand(ENCODED[0])
    order = expected.argsort()[::-1][:5]
    assert [line.split()[-1] for line in lines] == [FLOWERS[label] for label in order]
    for line, label in zip(lines, order, strict=True):
        assert float(line.split("%")[0]) == pytest.approx(100 * expected[label], abs=0.06)
        assert line.count("█") == pytest.approx(30 * expected[label], abs=0.51)
    assert len({line.index(line.split()[-1]) for line in lines}) == 1  # names stand in a column


def test_json_is_a_line_for_each_image(here, run, by_hand, capsys):
    predict.main([*NAMES, "--model", str(run), "--json", "--top", "3"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["image"] for line in lines] == NAMES
    for line, encoded in zip(lines, ENCODED, strict=False):
        expected = by_hand(encoded)
        assert [top["label"] for top in line["top"]] == expected.argsort()[::-1][:3].tolist()
        for top in line["top"]:
            assert top["class"] == FLOWERS[top["label"]]
            assert top["posterior"] == pytest.approx(expected[top["label"]], abs=1e-5)


def test_answers_carry_what_they_are_of(here, run, capsys):
    predict.main(["photo.jpg", "--model", str(run), "--json", "--scales", "36", "40", "--no-flip", "--pooling", "ceil"])
    told = json.loads(capsys.readouterr().out)
    assert told["image sha256"] == hashlib.sha256(ENCODED[0]).hexdigest()
    assert told["net sha256"] == digest_of_net(open_net_file(run).load_model())
    assert told["code sha256"] == digest_of_code()
    wants = json.loads(WANTS.to_json())
    looked = {"kind": "dense", "scales": [36, 40], "flip": False, "average": "posteriors", "pooling": "ceil"}
    assert told["settings"] == looked | {"preprocessing": wants}


def test_an_image_replaced_after_it_was_looked_at_is_told(here, run, monkeypatch):
    run_passes = prediction.run_passes

    def run_and_replace(*args, **options):
        run_passes(*args, **options)
        (here / "photo.jpg").write_bytes(ENCODED[1])
        (here / "grey.png").unlink()

    monkeypatch.setattr(prediction, "run_passes", run_and_replace)
    found = prediction.predict(open_net_file(run).load(), NAMES, [Views("dense", 40)])
    assert found.problems == {0: batches.CHANGED, 2: batches.CHANGED}
    assert set(found.digests) == {1, 3}


def test_scales_are_averaged_and_flips_left_out(here, run, capsys):
    def posterior(*flags):
        predict.main(["photo.jpg", "--model", str(run), "--json", "--top", "7", *flags])
        top = json.loads(capsys.readouterr().out)["top"]
        return np.array([each["posterior"] for each in sorted(top, key=lambda each: each["label"])])

    at_36, at_40 = posterior("--scales", "36"), posterior()  # 40 is the middle of the jitter
    assert np.abs(at_36 - at_40).max() > 1e-3
    np.testing.assert_allclose(posterior("--scales", "36", "40"), (at_36 + at_40) / 2, atol=1e-6)
    assert np.abs(posterior("--no-flip") - at_40).max() > 1e-3


def test_a_net_that_was_trained_without_flips_sees_none(here, run, capsys):
    def posterior(model, *flags):
        predict.main(["photo.jpg", "--model", str(model), "--json", "--top", "1", *flags])
        return json.loads(capsys.readouterr().out)["top"][0]["posterior"]

    unflipped = without_flips(run, here / "unflipped")
    assert posterior(unflipped) == posterior(run, "--no-flip")
    assert posterior(unflipped, "--flip") == posterior(run) != posterior(unflipped)


def test_images_by_file_glob_and_folder(here):
    (here / "more" / "deeper").mkdir(parents=True)
    for name in ("more/b.jpg", "more/deeper/a.jpg", "more/.hidden", "[odd].jpg"):
        (here / name).write_bytes(ENCODED[0])
    find = find_images
    assert find(["wide.jpg", "photo.jpg"]) == ("wide.jpg", "photo.jpg")
    assert find(["*.png"]) == ("grey.png", "other.png")
    assert find(["more"]) == ("more/b.jpg", "more/deeper/a.jpg")
    assert find(["**/*.jpg"]) == ("[odd].jpg", "more/b.jpg", "more/deeper/a.jpg", "photo.jpg", "wide.jpg")
    assert find(["photo.jpg", "p*.jpg", "photo.jpg"]) == ("photo.jpg",)
    assert find(["[odd].jpg"]) == ("[odd].jpg",)
    for pattern in ("missing.jpg", "*.webp"):
        with pytest.raises(InputError, match="which matches no file"):
            find(["photo.jpg", pattern])


def test_a_broken_image_is_told_and_the_others_are_printed(here, run, capsys):
    (here / "broken.jpg").write_bytes(TRUNCATED)
    (here / "empty.jpg").write_bytes(b"")
    (here / "notes.txt").write_text("no image")
    assert predict.main([".", "--model", str(run), "--json"]) == 2
    captured = capsys.readouterr()
    assert [json.loads(line)["image"] for line in captured.out.splitlines()] == sorted(NAMES)
    said, *told = captured.err.splitlines()
    assert said.partition(" (")[2][8:].startswith("): preprocessing: ")
    assert len(told) == 3
    for line, name in zip(sorted(told), ("broken.jpg", "empty.jpg", "notes.txt"), strict=True):
        assert line.startswith(f"Expected an image. Received: {name} (")
    assert "(empty file)" in sorted(told)[1]


def test_names_that_are_not_utf_8(here, run, capfd):
    names = [os.fsdecode(name) for name in (b"br\xfcch.jpg", b"br\xfcche.jpg")]
    (here / names[0]).write_bytes(TRUNCATED)
    (here / names[1]).write_bytes(ENCODED[0])
    assert predict.main([*names, "--model", str(run)]) == 2
    captured = capfd.readouterr()  # a strict UTF-8 stream
    assert captured.out.splitlines()[0] == r"br\xfcche.jpg"
    assert len(captured.out.splitlines()) == 6
    assert captured.err.splitlines()[-1].startswith(r"Expected an image. Received: br\xfcch.jpg (")
    assert predict.main([names[1], "--model", str(run), "--heatmap", "map.png"]) is None


def test_progress_is_shown_on_a_terminal(here, run):
    stream = io.StringIO()
    stream.isatty = lambda: True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "_TERMINAL_SECONDS", 0)
        prediction.predict(open_net_file(run).load(), NAMES, [Views("dense", 40)], stream=stream)
    for text in ("scanning images", "vgg_a, dense at 40"):
        assert text in stream.getvalue()


def test_a_large_image_is_refused(here, run, capsys, monkeypatch):
    monkeypatch.setattr(passes, "MAX_PIXELS", 5000)
    assert predict.main(["wide.jpg", "photo.jpg", "--model", str(run)]) == 2
    captured = capsys.readouterr()
    assert "wide.jpg (40x182 pixels at Q=40, more than 5,000)" in captured.err
    assert "photo.jpg" in captured.out
    assert "wide.jpg" not in captured.out


def test_images_are_grouped(here, run, by_hand):
    network = open_net_file(run).load()
    paths = [str(here / f"{number}.jpg") for number in range(len(ENCODED))]
    for path, content in zip(paths, ENCODED, strict=True):
        (here / path).write_bytes(content)
    found = prediction.predict(network, paths, [Views("dense", 40)])
    assert not found.problems
    assert network._functions["dense", True].experimental_get_tracing_count() == 1
    for number in (0, 5, 11):
        np.testing.assert_allclose(found.posteriors[number], by_hand(ENCODED[number]), atol=1e-5)


# --- Heatmaps -------------------------------------------------------------------------------------------------------------


def test_heatmap_is_a_picture_of_the_images_shape(here, run, capsys):
    predict.main(["photo.jpg", "--model", str(run), "--heatmap", "top.png"])
    top = capsys.readouterr().out.splitlines()
    assert top[-1] == f"heatmap of {top[1].split()[-1]}: top.png"
    picture = Image.open("top.png")
    picture.load()
    assert picture.format == "PNG"
    assert picture.width > 600
    assert 0.6 < picture.height / picture.width < 0.95  # the image is 50 x 70
    pixels = np.asarray(picture.convert("RGB"))
    assert pixels.std() > 20
    assert (pixels == 255).all(axis=(1, 2)).mean() < 0.12  # blank rows; with a band above and below they were a fifth


def test_heatmap_carries_what_it_is_of(here, run):
    predict.main(["photo.jpg", "--model", str(run), "--heatmap", "rose.png", "--class", "rose", "--scales", "48"])
    with Image.open("rose.png") as picture:
        told = picture.text
    assert told["class"] == "rose"
    assert told["image"] == "photo.jpg"
    assert told["image sha256"] == hashlib.sha256(ENCODED[0]).hexdigest()
    assert told["net sha256"] == digest_of_net(open_net_file(run).load_model())
    assert told["code sha256"] == digest_of_code()
    settings = json.loads(told["settings"])
    assert (settings["scales"], settings["flip"]) == ([48], False)


def test_heatmap_of_a_class_of_choice(here, run, capsys):
    arguments = ["photo.jpg", "--model", str(run), "--json"]
    for name in ("rose", "tulip"):
        predict.main([*arguments, "--heatmap", f"{name}.png", "--class", name])
        captured = capsys.readouterr()
        assert captured.err.splitlines()[-1] == f"heatmap of {name}: {name}.png"
        json.loads(captured.out)  # nothing else on standard output
    rose, tulip = (np.asarray(Image.open(f"{name}.png"), np.float32) for name in ("rose", "tulip"))
    assert rose.shape != tulip.shape or np.abs(rose - tulip).max() > 50


def test_a_position_is_drawn_at_the_centre_of_its_window():
    values = np.arange(12.0).reshape(3, 4)
    drawn = heatmap._upsampled(values, (96, 128), ((16, 32), (16, 32)))
    assert drawn.shape == (96, 128)
    for row, column in np.ndindex(3, 4):
        # Pixel centres lie half a pixel beside those of windows.
        assert drawn[32 * row + 15 : 32 * row + 17, 32 * column + 15 : 32 * column + 17].mean() == pytest.approx(
            values[row, column], abs=0.1
        )
    assert drawn[0, 0] == 0
    assert drawn[-1, -1] == 11
    assert drawn[48, 64] == pytest.approx((values[1, 1] + values[1, 2]) / 2, abs=0.1)
    one = heatmap._upsampled(np.full((1, 2), 0.3), (40, 70), ((16, 32), (16, 32)))
    np.testing.assert_array_equal(one, np.full((40, 70), 0.3))


def test_what_is_seen_for_a_heatmap(here):
    network = Network(model := net())
    found = prediction.see(network, "photo.jpg", 73, 5)
    assert found.image.shape == (73, 102, 3)  # 50 x 70
    dense = to_fully_convolutional(model)
    expected = dense.predict(np.array(WANTS(found.image[np.newaxis])), verbose=0)[0]
    assert expected.shape == (2, 3, 7)
    np.testing.assert_allclose(found.values, expected[..., 5], atol=1e-5)
    assert found.centres == ((16, 32), (16, 32))


def test_the_picture_is_filled(tmp_path):
    """Whatever the image's shape, no large part of the picture is blank."""
    for height, width in ((60, 90), (90, 60), (70, 70), (40, 400), (300, 60)):
        image = np.random.default_rng(0).integers(0, 200, (height, width, 3), np.uint8)
        seen = prediction.Heatmap(image, np.eye(2, dtype=np.float32), ((16, 32), (16, 32)), "00")
        heatmap.draw(tmp_path / "map.png", seen, "a class", title="a title", facts={})
        pixels = np.asarray(Image.open(tmp_path / "map.png").convert("RGB"))
        blank = (pixels == 255).all(axis=2)
        runs = "".join("x."[int(each)] for each in blank.all(axis=1)).split("x")
        assert max(map(len, runs)) < 0.25 * 110, (height, width)  # a quarter of an inch
        runs = "".join("x."[int(each)] for each in blank.all(axis=0)).split("x")
        assert max(map(len, runs)) < 0.25 * 110, (height, width)


def test_grad_cam_of_a_net_whose_grad_cam_is_known():
    """Two feature maps, the red and the green of the image, and scores that are means of both: weights by hand."""
    body = [tf.identity]
    kernel = tf.constant([[2.0, -3.0], [-1.0, 4.0]])  # (channels, classes)
    head = [lambda maps: tf.reduce_mean(maps, axis=[1, 2]) @ kernel]
    maps = np.random.default_rng(0).random((3, 4, 5, 2)).astype(np.float32)
    for label, (red, green) in enumerate(kernel.numpy().T):
        # Each place has a share of 1/20 in the mean, and so has the gradient; eq. 1 averages, and does not sum.
        expected = np.maximum((red * maps[..., 0] + green * maps[..., 1]) / 20, 0)
        np.testing.assert_allclose(grad_cam.grad_cam(body, head, maps, label), expected, atol=1e-7)
        assert 0 < (expected == 0).mean() < 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"classifier_activation": None},
        {"classifier_activation": "sigmoid"},
        {"batch_norm": True},
        {"side": 48},
        {"arch": "D-pool"},
    ],
    ids=str,
)
def test_grad_cam_by_finite_differences(options):
    """The plain model in two halves, without our dense one, at its own size."""
    network = Network(model := net(**({"arch": "B"} | options)))
    image = np.random.default_rng(2).integers(0, 255, (1, network.crop, network.crop, 3), np.uint8)
    names = {"batch_norm": "block5_relu2", "arch": "block5_conv3"}
    last = model.get_layer(next((names[option] for option in options if option in names), "block5_conv2"))
    features = keras.Model(model.inputs, last.output)([np.array(WANTS(image))]).numpy()
    chain = model.layers[model.layers.index(last) + 1 :]
    classifier = chain[-1]

    def score(maps, label):
        for layer in chain[:-1]:
            maps = layer(maps)
        return (maps @ classifier.kernel + classifier.bias).numpy()[:, label].astype(np.float64)

    rows, columns, channels = features.shape[1:]
    for label in (0, 4):
        weights = np.zeros(channels)
        for channel in range(channels):
            moved = np.repeat(features, 2 * rows * columns, axis=0)
            for place in range(rows * columns):
                for sign in (0, 1):
                    moved[2 * place + sign, place // columns, place % columns, channel] += (1e-3, -1e-3)[sign]
            scores = score(moved, label)
            weights[channel] = np.mean((scores[::2] - scores[1::2]) / 2e-3)
        expected = np.maximum((features[0] * weights).sum(-1), 0)
        found, _ = network.grad_cam(image, label)
        np.testing.assert_allclose(found[0], expected, atol=0.02 * max(np.abs(features[0] * weights).sum(-1).max(), 1e-6))


def test_places_of_the_last_convolution_are_where_they_are_drawn():
    """A step in the middle of an image shows between the places whose centres lie on its two sides."""
    network = Network(net())
    _, places = network.grad_cam(np.zeros((1, 48, 80, 3), np.uint8), 0)
    assert places == ((8, 16), (8, 16))
    pooling = keras.layers.MaxPooling2D(3, 2)
    assert grad_cam.centres([pooling], 9) == (1.5, 2)  # the second of the first three pixels
    assert grad_cam.centres([keras.layers.Conv2D(1, 7, padding="same")], 9) == (0.5, 1)
    # 224 pixels by twos: two before and three behind, so that the first sees pixels -2 to 4.
    assert grad_cam.centres([keras.layers.Conv2D(1, 7, strides=2, padding="same")], 224) == (1.5, 2)


def test_grad_cam_of_an_image_is_in_shares_of_its_largest_place(here):
    network = Network(net())
    found = prediction.see(network, "photo.jpg", 48, 3, prediction.GRAD_CAM)
    values, centres = network.grad_cam(found.image[np.newaxis], 3)
    assert found.values.max() == 1
    np.testing.assert_allclose(found.values * values.numpy().max(), values[0], rtol=1e-5)
    assert (found.image.shape, found.values.shape, found.centres) == ((48, 67, 3), (3, 4), centres)


def test_heatmaps_of_several_images_lie_in_a_folder(here, run, capsys):
    (here / "deeper").mkdir()
    shutil.copy("photo.jpg", "deeper/photo.jpg")
    arguments = ["photo.jpg", "deeper/photo.jpg", "--model", str(run), "--heatmap", "maps", "--heatmap-of", "grad-cam"]
    assert predict.main(arguments) is None
    told = [line.split(": ")[1] for line in capsys.readouterr().out.splitlines() if line.startswith("heatmap of")]
    found = {str(path) for path in (here / "maps").iterdir()}
    assert {f"{here}/{name}" for name in told} == found
    assert len(found) == 2
    for name in told:
        with Image.open(name) as picture:
            assert (picture.text["heatmap"], picture.text["image"]) == ("grad-cam", "photo.jpg")
            assert picture.text["image sha256"] == hashlib.sha256(ENCODED[0]).hexdigest()
    (here / "broken.jpg").write_bytes(TRUNCATED)
    assert predict.main(["broken.jpg", *arguments]) == 2
    assert {str(path) for path in (here / "maps").iterdir()} == found  # their own are replaced
    assert predict.main(["wide.jpg", "--model", str(run), "--heatmap", "one"]) is None
    assert len(list((here / "one").iterdir())) == 1


def test_what_cannot_be_seen(here, monkeypatch):
    network = Network(net())
    (here / "broken.jpg").write_bytes(TRUNCATED)
    for name in ("broken.jpg", "missing.jpg"):
        with pytest.raises(InputError, match=rf"Expected an image. Received: {name} \("):
            prediction.see(network, name, 73, 0)
    monkeypatch.setattr(prediction, "MAX_PIXELS", 5000)
    with pytest.raises(InputError, match=r"wide\.jpg has 73x332 pixels at Q=73, more than 5,000"):
        prediction.see(network, "wide.jpg", 73, 0)


# --- Mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("missing.jpg", r"matches no file"),
        ("photo.jpg wide.jpg --heatmap a.png", r"`--heatmap` with a .png file takes one image. Received: 2; "),
        ("photo.jpg --heatmap a.png --class dandelion", r"one of the net's classes, e.g. daisy, crocus, iris. .*'dandelion'"),
        ("photo.jpg --heatmap nope/a.png", r"a file in an existing folder. Received: nope/a\.png"),
        ("photo.jpg --scales 20", r"at least the net's input, 32 pixels. Received: 20"),
        ("photo.jpg --scales 0", r"`scales` must be positive"),
    ],
)
def test_a_mistake_is_told(here, run, arguments, told):
    with pytest.raises(InputError, match=told):
        predict.main([*arguments.split(), "--model", str(run)])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["photo.jpg", "--model", "run", "--heatmap-of", "scores"], "Argument --heatmap-of: requires --heatmap (received scores)"),
        (["photo.jpg", "--model", "run", "--top", "0"], "Argument --top: must be at least 1 (received 0)"),
        (
            ["photo.jpg", "--model", "run", "--localiser-scales", "40"],
            "Argument --localiser-scales: requires --localiser (received 40)",
        ),
        (["photo.jpg"], "--model"),
        (["--model", "run"], "IMAGE"),
    ],
)
def test_flags_that_make_no_sense(capsys, arguments, told):
    with pytest.raises(SystemExit) as ended:
        predict.main(arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_a_model_that_says_little(here, run, tmp_path, capsys):
    with pytest.raises(InputError, match=r"no such file: missing"):
        predict.main(["photo.jpg", "--model", "missing"])
    net().save(tmp_path / "plain.keras")
    with pytest.raises(InputError, match=r"pass --preprocessing caffe or torch"):
        predict.main(["photo.jpg", "--model", "plain.keras"])
    predict.main(["photo.jpg", "--model", "plain.keras", "--preprocessing", "caffe", "--scales", "40"])
    assert " class " in capsys.readouterr().out
    (tmp_path / "alone").mkdir()
    shutil.copy(run / "best.keras", tmp_path / "alone")
    predict.main(["photo.jpg", "--model", "alone", "--json"])  # Q=256, where S is not known
    assert json.loads(capsys.readouterr().out)["top"][0]["class"].startswith("class ")


def test_shapes_of_the_images_used_here():
    assert [shape[:2] for shape in SHAPES[:4]] == [(50, 70), (70, 50), (40, 40), (33, 150)]
    assert len(CLASSES) == len(FLOWERS) == 7
