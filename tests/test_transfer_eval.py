"""The command `transfer_eval` end to end, on the real extraction with a narrow net: what it prints and leaves, and how it fails."""

import io
import json
import pathlib
import shutil
import sys

import keras
import numpy as np
import pandas as pd
import pytest
import sklearn.svm
from PIL import Image
from run_folders import write_run
from small_nets import WANTS, net
from voc_tree import write_voc

from keras_vgg import extract, preprocessing, transfer_eval
from keras_vgg.data.datasets import open_dataset
from keras_vgg.descriptors import extraction, network
from keras_vgg.descriptors.descriptor_file import DescriptorFile
from keras_vgg.errors import InputError
from keras_vgg.linear import run as linear_run
from keras_vgg.support import entry

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "images_surveyed_once", "layers_loaded_once")

COLORS = {"ant": (0, 1, 1), "bee": (1, 0, 1), "cat": (1, 1, 0)}
COUNTS = {"ant": 9, "bee": 7, "cat": 12}


def tinted(color, seed):
    """A noisy PNG of a tint, which any net can tell from others."""
    pixels = np.random.default_rng(seed).integers(0, 256, (34, 38, 3)) * np.array(color)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two runs, a flat folder of classes with a broken image, one with train and val, and a VOC tree."""
    folder = tmp_path_factory.mktemp("place")
    write_run(folder / "first")
    write_run(folder / "second", seed=5, jitter=None, scale=36)
    for name, count in COUNTS.items():
        for part in ("flat", "parts/train", "parts/val"):
            (folder / part / name).mkdir(parents=True)
        for number in range(count):
            content = tinted(COLORS[name], number)
            (folder / "flat" / name / f"{number:02}.png").write_bytes(content)
            (folder / "parts" / ("val" if number % 3 == 0 else "train") / name / f"{number:02}.png").write_bytes(content)
    (folder / "flat" / "cat" / "99.png").write_bytes(tinted(COLORS["cat"], 0)[:100])
    return folder


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)


SMALL = ["--costs", "1"]
RANDOM = ["--protocol", "random", "--train-images", "4", "--test-images", "3"]


def run(*arguments):
    transfer_eval.main([*arguments, *([] if "--costs" in arguments else SMALL)])


def read(folder):
    return pd.read_csv(pathlib.Path(folder) / "table.csv", keep_default_na=False, dtype={"Q": str, "C": str})


@pytest.fixture(scope="module")
def tested(place):
    """Two nets, each and stacked, on random splits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        run("--model", "first", "--model", "b=second", "--dataset", "folder:flat", *RANDOM, "--out", "out", "--costs", "1", "10")
    return place / "out"


def test_a_line_for_each_net_and_measure_and_the_stacked(tested):
    table = read(tested)
    assert table.net.tolist() == ["first"] * 2 + ["b"] * 2 + ["first & b"] * 2
    assert table.measure.tolist() == ["mean class recall", "accuracy"] * 3
    assert (table["train images"] == 12).all()
    assert (table["test images"] == 9).all()  # at most three of a class
    assert table.Q.tolist() == ["40"] * 2 + ["36"] * 2 + ["40, 36"] * 2
    assert (table["left out"] == 1).all()
    assert table.value.min() > 80  # tints are easy to tell
    assert all(len(values.split()) == 3 for values in table["values"])
    assert all(set(costs.split()) <= {"1", "10"} for costs in table.C)


def test_files_that_are_left(tested):
    lines = json.loads((tested / "table.json").read_text())
    assert [line["value"] for line in lines] == pytest.approx(read(tested).value.tolist())
    left = pd.read_csv(tested / "left_out.csv")
    assert left[["data", "image"]].values.tolist() == [["folder:flat", "flat/cat/99.png"]]
    assert left.reason.str.len().min() > 5
    assert left["nets sha256"].tolist() == [lines[-1]["nets sha256"]]  # of both nets
    for name in ("images sha256", "code sha256"):
        assert left[name].tolist() == [lines[-1][name]]
    classes = pd.read_csv(tested / "classes.csv")
    of_first = classes[(classes.net == "first") & (classes.measure == "mean class recall")]
    assert of_first["class"].tolist() == ["ant", "bee", "cat"]
    for name in ("nets sha256", "images sha256", "code sha256"):
        assert set(of_first[name]) == {lines[0][name]}
    assert of_first.value.mean() == pytest.approx(lines[0]["value"])


def test_the_same_command_again_computes_no_feature(here, tested, monkeypatch, capsys):
    monkeypatch.setattr(network.FeatureNetwork, "see", None)  # cannot be called
    before = read(tested)
    run("--model", "first", "--dataset", "folder:flat", *RANDOM, "--out", "out", "--costs", "1", "10")
    after = read(tested)
    pd.testing.assert_frame_equal(after.iloc[-2:].reset_index(drop=True), before.iloc[:2])
    pd.testing.assert_frame_equal(after.iloc[:-2].reset_index(drop=True), before.iloc[2:].reset_index(drop=True))  # they stay
    assert not list(pathlib.Path("out/features/descriptors").iterdir())
    shown = capsys.readouterr().out
    for text in ("folder: out", "data: folder flat, 29 images, 3 classes", "1 image of folder:flat could not be used", "±"):
        assert text in shown
    run("--model", "first", "--model", "b=second", "--dataset", "folder:flat", *RANDOM, "--out", "out", "--costs", "1", "10")


def test_images_are_read_through_once_and_without_a_class_still_meet_their_features(here, tested, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_vgg.inference.images.survey", None)  # neither can be called
    monkeypatch.setattr(network.FeatureNetwork, "see", None)
    shutil.copytree(tested / "features", tmp_path / "features")
    run("--model", "first", "--dataset", "folder:flat", *RANDOM, "--leave-out", "bee", "--out", str(tmp_path))
    table = read(tmp_path)
    assert (table["test images"] == 6).all()
    assert (table["left out"] == 1).all()
    assert table.value.min() > 80
    assert pd.read_csv(tmp_path / "left_out.csv").image.tolist() == ["flat/cat/99.png"]


def test_another_seed_is_another_split(here, tested, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(linear_run.protocols.splits, "random_split", record(drawn, linear_run.protocols.splits.random_split))
    for seed in ("0", "0", "1"):
        shutil.copytree(tested / "features", tmp_path / "features", dirs_exist_ok=True)
        run("--model", "first", "--dataset", "folder:flat", *RANDOM, "--seed", seed, "--splits", "2", "--out", str(tmp_path))
    assert drawn[:2] == drawn[2:4]
    assert drawn[0] != drawn[1]
    assert not {*map(str, drawn[:2])} & {*map(str, drawn[4:])}
    assert read(tmp_path).seed.tolist() == [0, 0, 1, 1]


def record(found, function):
    def recorded(*arguments, **options):
        result = function(*arguments, **options)
        found.append([part.tolist() for part in result])
        return result

    return recorded


FIXED = ["--dataset", "folder:parts", "--protocol", "fixed", "--layer", "block5_pool", "--scales", "36", "44"]


@pytest.mark.slow
def test_fixed_is_the_svm_on_what_extract_gives(here, tmp_path):
    """By another route: the descriptors of both splits, scikit-learn by itself."""
    run("--model", "first", *FIXED, "--combine", "stack", "--out", str(tmp_path))
    protocol = extraction.DescriptorProtocol("block5_pool", (36, 44), combine="stack")
    dataset, source = open_dataset("folder:parts"), extraction.open_feature_source("first")
    train, test = (extraction.extract(s, [source], protocol, tmp_path / "x") for s in (dataset.train, dataset.validation))
    machine = sklearn.svm.LinearSVC(C=1.0, dual=True, random_state=0).fit(train.values, train.labels)
    guesses = machine.predict(test.values)
    recalls = [np.mean(guesses[test.labels == label] == label) for label in range(3)]
    table = read(tmp_path)
    assert table.value.tolist() == pytest.approx([100 * np.mean(recalls), 100 * np.mean(guesses == test.labels)])
    assert table.deviation.tolist() == ["", ""]
    assert table["train images"].tolist() == [len(train.labels)] * 2
    assert table.Q.tolist() == ["36, 44"] * 2


def test_a_net_without_its_top(here, tmp_path):
    net(include_top=False).save(tmp_path / "no_top.keras")
    arguments = [*FIXED, "--preprocessing", "torch", "--no-flip", "--no-normalize", "--out", str(tmp_path / "out")]
    run("--model", str(tmp_path / "no_top.keras"), *arguments)
    assert (tmp_path / "out" / "table.csv").exists()


PROTOCOLS = {"random": RANDOM, "fixed": ["--protocol", "fixed"]}


@pytest.fixture(scope="module")
def described(place, tmp_path_factory):
    """A folder with descriptors of two nets in files of each kind, and what comes of the nets themselves by each protocol."""
    folder = tmp_path_factory.mktemp("described")
    shutil.copytree(place / "parts", folder / "parts")
    (folder / "parts" / "train" / "ant" / "01.png").write_bytes(b"no image")
    wanted = ["--dataset", f"folder:{folder / 'parts'}", "--scales", "36", "44", "--combine", "stack"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name in ("first", "second"):
            extract.main(["--model", name, *wanted, "--out", str(folder / f"{name}.npz")])
            DescriptorFile.read(folder / f"{name}.npz").save(folder / f"{name}.parquet")
        for name, protocol in PROTOCOLS.items():
            run("--model", "first", "--model", "second", *wanted, *protocol, "--out", str(folder / name))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", [".npz", ".parquet"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_descriptors_from_files_give_the_same(described, tmp_path, protocol, kind):
    """Also where an image is broken, which must not change the splits of the others; and two nets stacked from two files."""
    files = [str(described / f"{name}{kind}") for name in ("first", "second")]
    run("--features", files[0], *PROTOCOLS[protocol], "--out", str(tmp_path / "one"))
    run("--features", *files, *PROTOCOLS[protocol], "--out", str(tmp_path / "both"))
    direct = read(described / protocol)
    columns = ["measure", "values", "C", "train images", "test images", "left out", "Q", "layer", "combined"]
    for name, lines in (("one", direct.iloc[:2]), ("both", direct.iloc[4:])):
        pd.testing.assert_frame_equal(read(tmp_path / name)[columns], lines[columns].reset_index(drop=True))
        assert pd.read_csv(tmp_path / name / "left_out.csv").image.str.endswith("01.png").tolist() == [True]


def test_files_of_the_two_splits_are_taken_together(here, tmp_path):
    files = [str(tmp_path / f"{split}.npz") for split in ("train", "validation")]
    for file in files:
        extract.main(["--model", "first", "--dataset", "folder:parts", "--split", pathlib.Path(file).stem, "--out", file])
    run("--features", *files, *RANDOM, "--out", str(tmp_path / "files"))
    run("--model", "first", "--dataset", "folder:parts", *RANDOM, "--out", str(tmp_path / "direct"))
    assert read(tmp_path / "files")["values"].tolist() == read(tmp_path / "direct")["values"].tolist()
    with pytest.raises(InputError, match=r"must contain different images. Received: train\.npz, train\.npz with the same"):
        run("--features", files[0], files[0], *RANDOM, "--out", str(tmp_path / "twice"))
    extract.main(["--model", "second", "--dataset", "folder:parts", "--split", "train", "--out", str(tmp_path / "other.npz")])
    with pytest.raises(
        InputError, match=r"must contain the same images. Received: other\.npz, validation\.npz with different images"
    ):
        run("--features", str(tmp_path / "other.npz"), files[1], *RANDOM, "--out", str(tmp_path / "unlike"))


def test_classes_that_do_not_take_part(here, tmp_path):
    run("--model", "first", "--dataset", "folder:flat", *RANDOM, "--leave-out", "BEE", "--out", str(tmp_path))
    assert (read(tmp_path).classes == 2).all()
    assert (read(tmp_path)["train images"] == 8).all()
    assert (read(tmp_path)["left out"] == 1).all()  # of an image that cannot be read nobody knows the class
    assert set(pd.read_csv(tmp_path / "classes.csv")["class"]) == {"ant", "cat"}


# --- VOC ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def voc(tmp_path):
    """Images tinted as what they show: ants, bees, both, or neither; one image of each set shows a difficult ant."""
    shown = {"train": {}, "val": {}, "test": {}}
    for number in range(36):
        objects = [(name, 0) for bit, name in enumerate(("ant", "bee")) if number % 4 >> bit & 1]
        shown[("train", "val", "test")[number // 12]][f"{number:06}"] = [("ant", 1)] if number % 12 == 4 else objects
    root = write_voc(tmp_path / "VOC2007", shown)
    for images in shown.values():
        for image, objects in images.items():
            names = [name for name, _ in objects]
            color = (0.1 if "ant" in names else 1, 0.1 if "bee" in names else 1, 1)
            (root / "JPEGImages" / f"{image}.jpg").write_bytes(tinted(color, int(image)))
    return root


def test_voc_by_both_definitions(here, voc, tmp_path, capsys):
    run("--model", "first", "--dataset", f"voc:{voc}", "--scales", "36", "44", "--out", str(tmp_path / "out"), "--costs", "1", "10")
    table = read(tmp_path / "out")
    assert table.measure.tolist() == ["mAP (11-point)", "mAP (area)"]
    assert table.protocol.tolist() == ["multi-label"] * 2
    assert table.value.min() > 90
    assert (table["train images"] == 24).all()
    assert (table["test images"] == 12).all()
    (voc / "JPEGImages" / "000030.jpg").write_bytes(b"no image")
    run("--model", "first", "--dataset", f"voc:{voc}", "--test-set", "val", "--out", str(tmp_path / "out"))
    assert read(tmp_path / "out")["train images"].tolist() == [24, 24, 12, 12]
    run("--model", "first", "--dataset", f"voc:{voc}", "--out", str(tmp_path / "out"))
    assert read(tmp_path / "out")["test images"].tolist()[-2:] == [11, 11]
    assert "1 image of voc:" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "out" / "left_out.csv").image.str.endswith("000030.jpg").tolist() == [True]


# --- Recipes --------------------------------------------------------------------------------------------------------------

RECIPE = """
[models]
D = "missing"
E = "second"
[data.flat]
dataset = "folder:none"
protocol = "random"
train_images = 4
splits = 2
scales = [36, 44]
combine = "stack"
[data.parts]
dataset = "folder:parts"
protocol = "fixed"
[[rows]]
data = "flat"
models = ["D"]
paper = { mean_class_recall = [91.8, 1.0] }
[[rows]]
data = "parts"
models = ["E"]
paper = { accuracy = 88.5 }
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "mine.toml").write_text(RECIPE)
    return str(tmp_path / "mine.toml")


def test_a_recipe_with_the_papers_figures(here, recipe, tmp_path, capsys):
    run("--recipe", recipe, "--model", "D=first", "--dataset", "flat=folder:flat", "--out", str(tmp_path / "out"))
    table = read(tmp_path / "out")
    assert table.data.tolist() == ["flat", "flat", "parts", "parts"]
    assert table.net.tolist() == ["D", "D", "E", "E"]
    assert table.paper.tolist() == ["91.8", "", "", "88.5"]
    shown = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in shown if ": preprocessing: " in line] == [
        f"{net}: preprocessing: {str(WANTS).partition(',')[0]}" for net in "DE"
    ]
    assert sum(line.endswith(", recorded in the file") for line in shown) == 2
    assert next(line for line in shown if "mean class recall" in line).endswith("91.8 ± 1.0")
    assert next(line for line in reversed(shown) if "accuracy" in line).endswith("88.5")


def test_only_some_data_of_a_recipe(here, recipe, tmp_path):
    run("--recipe", recipe, "--only", "parts", "--out", str(tmp_path / "out"))  # where neither net D nor the other data is
    assert read(tmp_path / "out").data.tolist() == ["parts", "parts"]


# --- Mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--dataset folder:flat", r"Pass either --model RUN_OR_FILE with --dataset, or --features FILE, or --recipe FILE"),
        ("--model first", r"Pass one --dataset: folder:PATH"),
        ("--model first --dataset folder:flat --dataset folder:parts", r"Pass one --dataset"),
        ("--model first --features a.npz", r"Pass either --model"),
        ("--model none --dataset folder:flat", r"Received: none \(no such file: none\)"),
        ("--model first --model ./first --dataset folder:flat", r"Several models have the same name"),
        ("--model first --dataset folder:none", r"none, which is not a folder"),
        ("--model first --dataset voc:none", r"`voc:` must name a folder with JPEGImages"),
        ("--model first --dataset flat", r"`dataset` must be digits"),
        ("--model first --dataset folder:flat", r"at least 31 usable images, .* Received: ant with 9, bee with 7, cat with 12\."),
        ("--model first --dataset folder:flat --train-images 9", r"Received: ant with 9, bee with 7\."),
        ("--model first --dataset folder:flat --train-images 0", r"`train_images` must be at least 1. Received: 0"),
        (
            "--model first --dataset folder:flat --train-images 1 --costs 1 2",
            r"at least two training images .*Received: 1 of ant; pass --costs",
        ),
        ("--model first --dataset folder:flat --leave-out dog", r"`leave_out` must name classes of the dataset. Received: dog"),
        ("--model first --dataset folder:flat --leave-out ant bee", r"at least two classes. Received: cat"),
        ("--model first --dataset folder:flat --train-images 4 --layer fc9", r"fc9"),
        ("--model first --dataset folder:flat --train-images 4 --scales 16", r"32"),
        ("--model first --dataset folder:flat --costs 0", r"`costs` must be positive numbers"),
        ("--model first --dataset folder:flat --seed -1", r"`--seed` must not be negative"),
        ("--model first --dataset folder:flat --batch 0", r"`--batch` must be at least 1"),
        ("--model first --dataset folder:flat --only x", r"`--only` selects datasets of a recipe"),
        ("--model first --dataset folder:parts --protocol fixed --splits 3", r"Only the protocol random uses `--splits`"),
        (
            "--model first --dataset folder:flat --test-set val",
            r"Only the protocol multi-label uses `--test-set`. Received: --protocol r",
        ),
        ("--recipe none.toml", r"none\.toml \(No such file"),
        ("--recipe RECIPE", r"Received: missing \(no such file: missing\)"),
        ("--recipe RECIPE --model first", r"--model must be NAME=… with NAME one of D, E. Received: first"),
        ("--recipe RECIPE --dataset x=folder:flat", r"--dataset must be NAME=… with NAME one of flat, parts. Received: x=folder"),
        ("--recipe RECIPE --only x", r"`--only` must name datasets of the recipe: flat, parts. Received: x"),
        ("--recipe RECIPE --scales 40 --splits 2", r"A recipe sets `--splits`, `--scales`"),
        ("--recipe RECIPE --model D=first", r"none, which is not a folder"),
        ("--features none.npz", r"Expected a descriptor file of keras_vgg.extract. Received: none.npz"),
        ("--features none.npz --layer fc1", r"Descriptors in files do not use `--layer`"),
        ("--features none.npz --preprocessing torch", r"Descriptors in files do not use `--preprocessing`"),
        ("--features none.npz --protocol multi-label", r"needs several labels per image, but `--features` have one"),
    ],
)
def test_a_mistake_is_told(here, recipe, tmp_path, arguments, told):
    with pytest.raises(InputError, match=told) as error:
        run(*arguments.replace("RECIPE", recipe).split(), "--out", str(tmp_path / "out"))
    assert "\n" not in str(error.value)


def write_features(path, values, labels, split=None, classes=("a", "b")):
    names = np.array([f"{n}.jpg" for n in range(len(labels))])
    DescriptorFile(np.asarray(values, np.float32), np.asarray(labels), names, split, classes, {}).save(path, keep_broken=True)
    return str(path)


@pytest.fixture
def features():
    random = np.random.default_rng(0)
    return random.normal(size=(40, 5)) + 9 * (np.arange(40) % 2)[:, None], np.arange(40) % 2


def test_rows_of_nan_are_left_out_and_counted(features, tmp_path, capsys):
    values, labels = features
    values[[3, 8]] = np.nan
    run("--features", write_features(tmp_path / "f.npz", values, labels), *RANDOM, "--out", str(tmp_path / "out"))
    assert (read(tmp_path / "out")["left out"] == 2).all()
    assert pd.read_csv(tmp_path / "out" / "left_out.csv").image.tolist() == ["3.jpg", "8.jpg"]
    assert (read(tmp_path / "out").value == 100).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_in_part_are_told(features, tmp_path, value):
    values, labels = features
    values[7, 2] = values[9, 0] = value
    with pytest.raises(InputError, match=r"partly NaN or infinite features for 2 images, such as 7\.jpg"):
        run("--features", write_features(tmp_path / "f.npz", values, labels), *RANDOM, "--out", str(tmp_path / "out"))


def test_files_of_features_that_do_not_do(features, tmp_path):
    values, labels = features
    out = ["--out", str(tmp_path / "out")]
    good = write_features(tmp_path / "f.npz", values, labels)
    with pytest.raises(InputError, match=r"needs the split of each image. Received: .*f\.npz, without `split`"):
        run("--features", good, "--protocol", "fixed", *out)
    with pytest.raises(InputError, match=r"must have the same classes and descriptor length"):
        run("--features", good, write_features(tmp_path / "g.npz", values[:, :3], labels), *out)
    with pytest.raises(InputError, match=r"labels from 1 to 2 for 2 classes"):
        run("--features", write_features(tmp_path / "h.npz", values, labels + 1), *out)
    with pytest.raises(InputError, match=r"none of the 40 images could be used"):
        run("--features", write_features(tmp_path / "i.npz", values * np.nan, labels), *out)
    with pytest.raises(InputError, match=r"Each class must have usable images. Received: none for c"):
        run("--features", write_features(tmp_path / "j.npz", values, labels, classes=("a", "b", "c")), *out)


def test_what_is_wrong_is_told_before_it_takes_long(here, monkeypatch, tmp_path):
    monkeypatch.setattr(linear_run, "extract", None)  # cannot be called
    with pytest.raises(InputError, match=r"at least 31 usable images"):
        run("--model", "first", "--dataset", "folder:flat", "--out", str(tmp_path))
    monkeypatch.setattr(linear_run, "open_data", None)  # nor are images looked through for a mistake with a net
    with pytest.raises(InputError, match=r"The net first has no layer 'fc3'"):
        run("--model", "first", "--dataset", "folder:flat", "--layer", "fc3", "--out", str(tmp_path))
    with pytest.raises(InputError, match=r"`scales` must be at least the net's input"):
        run("--model", "first", "--dataset", "folder:flat", "--scales", "8", "--out", str(tmp_path))


def test_the_choice_of_c_on_images_that_show_nothing_is_told_too(here, voc, monkeypatch, tmp_path):
    for image in (voc / "ImageSets" / "Main" / "val.txt").read_text().split():
        (voc / "Annotations" / f"{image}.xml").write_text("<annotation/>")
    monkeypatch.setattr(linear_run, "extract", None)
    with pytest.raises(InputError, match=r"C cannot be chosen: the held-out images show no class"):
        run("--model", "first", "--dataset", f"voc:{voc}", "--out", str(tmp_path / "out"), "--costs", "1", "10")


def test_a_net_that_overflows_is_told(here, tmp_path):
    folder = shutil.copytree("first", tmp_path / "large")
    model = keras.saving.load_model(folder / "best.keras")
    model.get_layer("fc2").kernel.assign(model.get_layer("fc2").kernel * 1e38)
    model.save(folder / "best.keras")
    preprocessing.attach(folder / "best.keras", WANTS)
    with pytest.raises(
        InputError, match=r"none of the 29 images could be used, such as .*ant.*: the net's features are not finite: it overflowed"
    ):
        run("--model", str(folder), "--dataset", "folder:flat", *RANDOM, "--out", str(tmp_path / "out"))


def test_a_place_that_cannot_be_written_is_told_first(here, monkeypatch):
    monkeypatch.setattr(linear_run, "open_data", None)
    with pytest.raises(InputError, match=r"Expected a writable folder. Received: first/recipe.toml/out"):
        run("--model", "first", "--dataset", "folder:flat", "--out", "first/recipe.toml/out")


def test_classes_without_images_for_testing_are_told(here, place, tmp_path, capsys):
    shutil.copytree(place / "parts", tmp_path / "parts")
    shutil.rmtree(tmp_path / "parts" / "val" / "cat")
    run("--model", "first", "--dataset", f"folder:{tmp_path / 'parts'}", "--protocol", "fixed", "--out", str(tmp_path / "out"))
    assert "1 class of" in capsys.readouterr().out
    assert read(tmp_path / "out").value.notna().all()


def test_a_mistake_is_one_line_and_exit_code_2(here, tmp_path, monkeypatch, capsys):
    flags = ["--model", "first", "--dataset", "folder:flat", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["transfer_eval", *flags])
    with pytest.raises(SystemExit) as ended:
        entry.run(transfer_eval.main)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "ant with 9" in line
