"""Testing localisers: a perfect regressor through the whole protocol, the command's rows against plain code, its refusals."""

import json
import pathlib

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from boxed_images import CLASSES, write_boxed, write_listing
from PIL import Image
from small_images import encode
from small_nets import WANTS, net

from keras_vgg import evaluate, localise, preprocessing, transfer
from keras_vgg.data.boxes.datasets import open_boxes
from keras_vgg.data.images import decode_view_placed, decode_whole, encoded_size
from keras_vgg.errors import InputError
from keras_vgg.inference import net_files
from keras_vgg.inference.localiser import Localiser
from keras_vgg.localisation import candidates
from keras_vgg.localisation.boxes import overlap
from keras_vgg.localisation.guessing import Merging, guess
from keras_vgg.localisation.recipe import read_localisation
from keras_vgg.recipe import read_recipe, resolve
from keras_vgg.resizing import rescaled_size
from keras_vgg.tasks.localisation import Localisation

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "images_surveyed_once", "nets_loaded_once")

RNG = np.random.default_rng(0)
RECIPES = pathlib.Path(__file__).parents[1] / "recipes"


def write_localiser(path, regression, *, seed=1, classes=CLASSES, side=32):
    """Writes a narrow localiser whose boxes differ from image to image and from place to place, around the middle of the crop."""
    units = 4 if regression == "scr" else 4 * len(classes)
    model = net("A", side=side, classes=units, seed=seed, classifier_activation="linear")
    kernel, bias = model.get_layer("predictions").get_weights()
    model.get_layer("predictions").set_weights([kernel / 100, bias / 4 + 0.5])
    model.save(path)
    preprocessing.attach(path, WANTS, {"regression": regression, "classes": list(classes)})
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("localise")
    listing = write_boxed(root / "images", train=2, val=9, sides=(40, 72))
    nets = {name: write_localiser(root / f"{name}.keras", name[:3], seed=seed) for seed, name in enumerate(("scr", "pcr", "pcr2"))}
    classifier = root / "classifier.keras"
    net("A", classes=2, seed=5).save(classifier)
    preprocessing.attach(classifier, WANTS, {"classes": list(CLASSES[::-1])})  # in another order than the data set's
    return {"data": f"csv:{listing}", "classifier": classifier, **nets}


def run(out, *arguments):
    localise.main([*map(str, arguments), "--out", str(out)])
    return json.loads((out / "table.json").read_text())


# --- A perfect regressor --------------------------------------------------------------------------------------------------


class Perfect(Localiser):
    """Tells at each place where what is bright in the whole image is, relative to the place's window."""

    def _outputs(self, images):
        bright = tf.cast(images[..., 0], tf.float32) > 127
        edges = []
        for axis in (1, 2):  # over rows: where columns are bright
            along = tf.cast(tf.reduce_any(bright, axis=axis), tf.float32)
            length = tf.shape(along)[1]
            first = tf.argmax(along, axis=1, output_type=tf.int32)
            last = length - tf.argmax(along[:, ::-1], axis=1, output_type=tf.int32)
            edges.append(tf.cast(tf.stack([first, last], axis=-1), tf.float32))
        (left, right), (top, bottom) = (tf.unstack(each, axis=-1) for each in edges)
        rows, columns = (self.stride * tf.range((tf.shape(images)[axis] - self.crop) // self.stride + 1) for axis in (1, 2))
        y, x = (tf.cast(each, tf.float32) for each in tf.meshgrid(rows, columns, indexing="ij"))
        told = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
        centre_x, centre_y, width, height = (each[:, None, None] + tf.zeros_like(x) for each in told)
        return tf.stack([centre_x - x, centre_y - y, width, height], axis=-1) / float(self.crop)


@pytest.mark.parametrize("flip", ["--flip", "--no-flip"])
def test_a_white_rectangle_is_found_by_a_perfect_regressor_at_three_scales(tmp_path, monkeypatch, flip):
    rows = []
    for number in range(6):
        height, width = RNG.integers(60, 140, 2)
        left, top = RNG.integers(0, width - 40), RNG.integers(0, height - 40)
        right, bottom = RNG.integers(left + 25, width), RNG.integers(top + 25, height)
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[top:bottom, left:right] = 255
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append([f"{number}.png", "white", "val", left, top, right - 1, bottom - 1])
    write_listing(tmp_path / "boxes.csv", rows)
    model = write_localiser(tmp_path / "perfect.keras", "scr", classes=["white"], side=64)
    monkeypatch.setattr(net_files, "Localiser", Perfect)
    given = ("--model", model, "--dataset", f"csv:{tmp_path / 'boxes.csv'}", "--scales", 128, 192, 256, flip)
    (line,) = run(tmp_path / "out", *given)
    assert line["top-1 error"] == 0
    assert line["protocol"] == f"dense{', flips' if flip == '--flip' else ''}, class known"
    found = pd.read_csv(tmp_path / "out" / (line["posteriors"].removesuffix(".npz") + "-images.csv"))
    assert found.IoU.min() > 0.95
    assert found.rating.tolist() == [1] * 6  # all places agree
    assert Image.open(tmp_path / "out" / (line["posteriors"].removesuffix(".npz") + "-boxes.png")).text["net"] == "perfect.keras"


# --- Rows against plain code ----------------------------------------------------------------------------------------------


def boxes_by_hand(path, regression, encoded, scale, kind, label):
    """The model itself on each window of an image, one after another: edges in fractions of the image."""
    model = transfer.load_model(path)
    preprocess = preprocessing.for_model(model)
    image = np.array(Image.open(encoded).convert("RGB"))
    height, width = image.shape[:2]
    if kind == "center":
        crop, geometry = decode_view_placed(tf.io.read_file(str(encoded)), scale, 0.5, 0.5, tf.constant(False), 32)
        windows = [(crop.numpy(), geometry.window.numpy(), (height, width))]
    else:
        rescaled = rescaled_size(height, width, scale).numpy()
        whole = decode_whole(tf.io.read_file(str(encoded)), rescaled).numpy()
        places = [(y, x) for y in range(0, rescaled[0] - 31, 32) for x in range(0, rescaled[1] - 31, 32)]
        windows = [(whole[y : y + 32, x : x + 32], (y, x, 32, 32), tuple(rescaled)) for y, x in places]
    found = []
    for pixels, (y, x, part_height, part_width), (image_height, image_width) in windows:
        told = model(preprocess(pixels[np.newaxis]), training=False).numpy()[0]
        told = told if regression == "scr" else told[4 * label : 4 * label + 4]
        told[2:] = np.maximum(told[2:], 0)
        box = np.array([told[0] - told[2] / 2, told[1] - told[3] / 2, told[0] + told[2] / 2, told[1] + told[3] / 2])
        box = np.array([x, y, x, y]) + box * [part_width, part_height, part_width, part_height]
        found.append(np.clip(box / [image_width, image_height, image_width, image_height], 0, 1))
    return np.array(found)


@pytest.mark.parametrize(("name", "kind", "scale"), [("scr", "center", 40), ("pcr", "center", 32), ("pcr", "dense", 32)])
def test_boxes_are_what_the_model_says_of_each_window(files, tmp_path, name, kind, scale):
    """Densely at Q=32, where images of one window are compared; there the net looks a little beyond its window's edges."""
    given = ("--model", files[name], "--dataset", files["data"], "--protocol", kind, "--scales", scale, "--no-flip")
    (line,) = run(tmp_path, *given, "--merge-threshold", 1.99)
    stored = np.load(tmp_path / line["posteriors"])
    split = open_boxes(files["data"]).validation
    for place in range(split.size):
        label = int(stored["true_labels"][place])
        boxes = boxes_by_hand(files[name], name, split.name_of(place), scale, kind, label)
        if len(boxes) > 1:
            continue
        width, height = stored["sizes"][place]
        np.testing.assert_allclose(
            stored["boxes"][place, 0] / [width, height, width, height], boxes[0], atol=1e-4 if kind == "center" else 1e-2
        )
    wrong = [overlap(stored["boxes"][place, :1], stored["true_boxes"][place]).max() < 0.5 for place in range(split.size)]
    assert line["top-1 error"] == pytest.approx(100 * np.mean(wrong))


def test_the_validation_of_a_run_and_the_center_protocol_agree(files, tmp_path):
    """The error by which the rate drops is that of Table 8's protocol."""
    (line,) = run(tmp_path, "--model", files["pcr"], "--dataset", files["data"], "--protocol", "center", "--scales", 40)
    localiser = net_files.open_net_file(str(files["pcr"])).load_localiser()
    split, task, right = open_boxes(files["data"]).validation, Localisation(CLASSES, "pcr"), []
    for place in range(split.size):
        encoded, target = split.read(tf.constant(place, tf.int64))
        pixels, geometry = decode_view_placed(encoded, 40, 0.5, 0.5, tf.constant(False), 32)
        outputs = localiser.model(preprocessing.for_model(localiser.model)(pixels[None].numpy()), training=False)
        right.append(float(task.measures(outputs, task.place(target, geometry)[None])[0][0]))
    assert line["top-1 error"] == pytest.approx(100 * (1 - np.mean(right)))


def test_classes_of_classifiers_localisers_united_and_posteriors_of_before(files, tmp_path):
    nets = ("--model", files["pcr"], "--model", files["pcr2"])
    given = ("--dataset", files["data"], "--scales", 40, 64, "--merge-threshold", 1.99, "--class-count", 2)
    lines = run(tmp_path / "out", *nets, *given, "--classifier", files["classifier"], "--classifier-scales", 40)
    assert [line["net"] for line in lines] == ["pcr.keras", "pcr2.keras", "pcr.keras + pcr2.keras"]
    for line in lines:
        assert line["class wrong"] + line["box wrong"] == pytest.approx(line["top-5 error"])
        assert line["class wrong"] == 0  # of two classes both are guessed
        assert line["protocol"] == "dense, classes of classifier.keras"
    # The united row by hand, from the boxes and posteriors that lie in the folder.
    found = evaluate_by_hand(files, tmp_path / "out", lines[2])
    stored = np.load(tmp_path / "out" / lines[2]["posteriors"])
    for place, guessed in enumerate(found):
        count = len(guessed.labels)
        np.testing.assert_array_equal(stored["labels"][place, :count], guessed.labels)
        np.testing.assert_allclose(stored["ratings"][place, :count], guessed.ratings, rtol=1e-5)
    # The same posteriors from a file give the same rows.
    evaluate.main(
        ["--model", str(files["classifier"]), "--dataset", files["data"], "--scales", "40", "--out", str(tmp_path / "tested")]
    )
    (posteriors,) = (tmp_path / "tested").glob("*.npz")
    again = run(tmp_path / "again", *nets, *given, "--posteriors", posteriors)
    for mine, other in zip(again, lines, strict=True):
        assert mine["top-5 error"] == other["top-5 error"]
        assert mine["nets sha256"] == other["nets sha256"]


def evaluate_by_hand(files, folder, line):
    """Returns the guesses of the two localisers united, with one plain call of `Localiser.boxes` an image."""
    localisers = [net_files.open_net_file(str(files[name])).load_localiser() for name in ("pcr", "pcr2")]
    network = net_files.open_net_file(str(files["classifier"])).load()
    split = open_boxes(files["data"]).validation
    for place in range(split.size):
        encoded, _ = split.read(tf.constant(place, tf.int64))
        wholes = {
            scale: decode_whole(encoded, rescaled_size(*tf.unstack(encoded_size(encoded)), scale))[None] for scale in (40, 64)
        }
        posteriors = network.posteriors(wholes[40], "dense", flip=True).numpy()[0]
        labels = np.argsort(-posteriors, kind="stable")
        of_localiser = tf.constant([[1 - label for label in labels]])  # the classifier has the classes the other way round
        boxes = [each.boxes(wholes[scale], of_localiser).numpy()[0] for each in localisers for scale in (40, 64)]
        yield guess([each.astype(np.float64) for each in boxes], labels, posteriors[labels].astype(np.float64), Merging(1.99, 2))


class StoppedError(Exception):
    pass


def test_a_killed_test_goes_on_and_computes_nothing_twice(files, tmp_path, monkeypatch):
    given = ("--model", files["pcr"], "--dataset", files["data"], "--scales", 40, "--batch", 1)
    (whole,) = run(tmp_path / "whole", *given)
    see, seen = candidates.Asked.see, []

    def stops(self, images, views, which=None):
        if len(seen) == 4:
            raise StoppedError
        seen.extend(which)
        return see(self, images, views, which)

    monkeypatch.setattr(candidates.Asked, "see", stops)
    with pytest.raises(StoppedError):
        run(tmp_path / "out", *given)
    assert len(seen) == 4
    monkeypatch.setattr(candidates.Asked, "see", lambda *arguments: seen.extend(arguments[3]) or see(*arguments))
    (line,) = run(tmp_path / "out", *given)
    assert sorted(seen) == list(range(9))
    assert line["top-1 error"] == whole["top-1 error"]
    first, second = (np.load(tmp_path / name / line["posteriors"])["boxes"] for name in ("out", "whole"))
    np.testing.assert_array_equal(first, second)


def test_a_recipe_is_a_table(files, tmp_path):
    recipe = tmp_path / "table.toml"
    recipe.write_text(
        f"""dataset = '{files["data"]}'
        [localisers]
        S = '{files["scr"]}'
        P = '{files["pcr"]}'
        [classifiers]
        C = '{files["classifier"]}'
        [[rows]]
        localisers = ["S"]
        protocol = "center"
        scales = [40]
        paper = {{ top1_error = 36.4 }}
        [[rows]]
        protocol = "dense"
        scales = {{ S = [40], P = [40, 64] }}
        classes = ["C"]
        merging = {{ threshold = 0.3, classes = 2 }}
        """
    )
    center, united = run(tmp_path / "out", "--recipe", recipe)
    assert (center["net"], center["protocol"], center["paper top-1"]) == ("S", "center, class known", 36.4)
    assert (united["net"], united["Q"], united["settings"]) == ("S + P", "40, 64", "merged up to 0.3, 2 classes")
    assert read_localisation(recipe).rows[1].localisers == ("S", "P")
    recipe.write_text(recipe.read_text().replace('"center"', '"multi-crop"'))
    with pytest.raises(InputError, match=r"row 1: `protocol` must be one of dense, center. Received: 'multi-crop'"):
        read_localisation(recipe)


@pytest.mark.parametrize(
    ("number", "rows"),
    [
        (8, ["SCR, FC center 36.4", "PCR, FC center 34.3", "PCR, all center 33.1"]),
        (9, ["256 dense 29.5", "384 dense 28.2", "384 dense 27.5", "256+384 dense 26.9"]),
        (10, ["256+384 dense 26.9"]),
    ],
)
def test_rows_of_the_papers_tables(number, rows):
    recipe = read_localisation(RECIPES / f"table{number}.toml")
    figures = [next(iter(row.paper.values())) for row in recipe.rows]
    assert [f"{'+'.join(row.localisers)} {row.protocol} {figure}" for row, figure in zip(recipe.rows, figures, strict=True)] == rows
    assert {bool(row.classes) for row in recipe.rows} == {number > 8}
    for path in recipe.localisers.values():  # trained by the recipe of that name, of the same S
        trained = resolve(read_recipe(RECIPES / f"{path.removeprefix('runs/')}.toml"))
        assert (trained.task, f"-{trained.scale}-" in path, trained.learning_rate) == ("localisation", True, 1e-3)
        assert trained.init_from == f"runs/d-{trained.scale}"
        assert (trained.tune, trained.regression) == ("fc" if path.endswith("fc") else "all", path.split("-")[2])
        assert trained.jitter is None


def test_images_that_cannot_be_used_count_as_errors(files, tmp_path):
    listing = write_boxed(tmp_path / "images", train=0, val=6)
    (tmp_path / "images" / "000.png").write_bytes(encode(50, 50, 3, "PNG", 0)[:100])
    rows = [line.split(",") for line in listing.read_text().splitlines()[1:]]
    rows[1][3:] = ["7", "7", "7", "7"]
    write_listing(listing, rows)
    (line,) = run(tmp_path / "out", "--model", files["scr"], "--dataset", f"csv:{listing}", "--scales", 40)
    assert (line["images"], line["counted"], line["broken"]) == (6, 6, 2)
    assert line["top-1 error"] >= 100 * 2 / 6
    reasons = pd.read_csv(tmp_path / "out" / "broken_images.csv").reason.tolist()
    assert reasons == ["damaged or truncated PNG", "a box without area: x from 7 to 7, y from 7 to 7"]


@pytest.mark.parametrize("classified", [False, True])
def test_trivial_guesses_look_at_no_image(files, tmp_path, classified):
    """The classifier has the classes in another order than the data set."""
    sides, rows, of_image = np.array([50, 60, 50, 60]), [], []
    for number in range(40):
        label, split = CLASSES[number % 2], "train" if number < 20 else "val"
        first, last = RNG.integers(0, 16, 2), RNG.integers(26, 43, 2)
        corners = np.stack([first, last]) + np.array([0, 18 * (number % 2)])
        Image.new("RGB", (50, 60)).save(tmp_path / f"{number}.png")
        rows.append([f"{number}.png", label, split, *corners[0], *(corners[1] - 1)])
        of_image.append((label, corners.ravel() / sides))
    write_listing(tmp_path / "boxes.csv", rows)
    classes_of = ("--classifier", files["classifier"]) if classified else ()
    given = ("--dataset", f"csv:{tmp_path / 'boxes.csv'}", "--model", files["scr"], "--above-half", "--trivial")
    _, *lines = run(tmp_path / "out", *given, *classes_of)
    mean = np.mean([box for _, box in of_image[:20]], axis=0)
    means = {name: np.mean([box for label, box in of_image[:20] if label == name], axis=0) for name in CLASSES}
    wanted = {
        "whole image": lambda label: np.array([0, 0, 1, 1]),
        "mean box": lambda label: mean,
        "mean box of the class": means.get,
    }
    assert [line["net"] for line in lines] == list(wanted)
    assert len({line["top-1 error"] for line in lines}) == 3
    for line, box_of in zip(lines, wanted.values(), strict=True):
        wrong = [overlap(box, box_of(label)) <= 0.5 for label, box in of_image[20:]]
        assert line["top-1 error"] == pytest.approx(100 * np.mean(wrong))
        assert line["settings"] == "IoU above 0.5"
    assert lines[0]["nets sha256"] != lines[1]["nets sha256"]


def test_a_blacklist_and_the_papers_reading(files, tmp_path):
    names = tmp_path / "blacklist.txt"
    names.write_text("003.png\n005.png\n")
    given = ("--model", files["scr"], "--dataset", files["data"], "--scales", 40)
    (line,) = run(tmp_path / "out", *given, "--blacklist", names, "--above-half")
    assert (line["images"], line["counted"], line["settings"]) == (9, 7, "merged up to 0.5, IoU above 0.5, blacklist")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--model", "CLASSIFIER"], "`--model` must be a localiser trained by .* a classifier; pass it as --classifier"),
        (["--model", "SCR", "--classifier", "PCR"], "Expected a classifier. Received: .*, a localiser"),
        ([], r"Pass --model RUN_OR_FILE"),
        (["--model", "SCR", "--scales", "20"], "`scales` must be at least the net's input, 32 pixels. Received: 20"),
        (["--model", "SCR", "--merge-threshold", "2.5"], r"The merge threshold must be in \[0, 2\). Received: 2.5"),
        (["--model", "SCR", "--class-count", "0"], "The number of classes whose boxes are merged must be at least 1"),
    ],
)
def test_what_cannot_be_is_told(files, tmp_path, arguments, told):
    known = {"CLASSIFIER": files["classifier"], "SCR": files["scr"], "PCR": files["pcr"]}
    with pytest.raises(InputError, match=told):
        run(tmp_path, *(known.get(each, each) for each in arguments), "--dataset", files["data"])


def test_evaluate_sends_localisers_to_their_own_test(files, tmp_path):
    with pytest.raises(InputError, match=r"a localiser; test it with python -m keras_vgg.localise"):
        evaluate.main(["--model", str(files["pcr"]), "--dataset", files["data"], "--out", str(tmp_path)])


def test_the_recipe_for_small_machines_names_what_the_others_train():
    recipe = read_localisation(RECIPES / "localise-tiny-boxes.toml")
    for path in (*recipe.localisers.values(), *recipe.classifiers.values()):
        trained = read_recipe(RECIPES / f"{pathlib.Path(path).name}.toml")
        assert trained.get("init_from", "runs/tiny-boxes") == "runs/tiny-boxes"
    assert {(row.protocol, bool(row.classes)) for row in recipe.rows} == {
        ("center", False),
        ("dense", False),
        ("center", True),
        ("dense", True),
    }
