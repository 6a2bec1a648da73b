"""The command `evaluate` end to end, and `tools/dense_to_conv.py`: what they print and leave, and how they fail."""

import importlib.util
import json
import pathlib
import shutil
import sys

import keras
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
import tensorflow as tf
from PIL import Image
from run_folders import write_run
from small_images import CLASSES, ENCODED, LABELS, TRUNCATED, write_images
from small_nets import WANTS, net

from keras_vgg import evaluate, preprocessing
from keras_vgg.data.pipeline import View
from keras_vgg.errors import InputError
from keras_vgg.evaluation.results import Posteriors
from keras_vgg.fully_convolutional import to_fully_convolutional
from keras_vgg.inference.network import Network
from keras_vgg.support import entry

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "images_surveyed_once", "nets_loaded_once")

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two runs and a data set, one image of which is broken."""
    folder = tmp_path_factory.mktemp("place")
    write_run(folder / "jitter")
    write_run(folder / "fixed", seed=5, jitter=None, scale=36)
    write_images(folder / "data", [*ENCODED, TRUNCATED], [*LABELS, 2])
    return folder


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)


@pytest.fixture(scope="module")
def evaluated(place):
    """Two models and two protocols: six rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        models = ["--model", "jitter", "--model", "second=fixed"]
        evaluate.main([*models, "--dataset", "folder:data", "--protocol", "center", "dense", "--no-flip", "--out", "out"])
    return place / "out"


@pytest.fixture(scope="module")
def table(evaluated):
    return pd.read_csv(evaluated / "table.csv", keep_default_na=False)


def test_rows_for_every_model_and_protocol_and_the_fused_ones(table):
    assert table.net.tolist() == [*["jitter"] * 2, *["second"] * 2, *["jitter + second"] * 2]
    assert table.protocol.tolist() == ["center, no flip", "dense, no flip"] * 3
    assert table.S.tolist() == ["[36;44]"] * 2 + ["36"] * 2 + ["[36;44] + 36"] * 2
    assert table.Q.tolist() == ["40"] * 2 + ["36"] * 2 + ["40 + 36"] * 2
    assert (table.images == 13).all()
    assert (table.broken == 1).all()


def test_errors_are_those_of_the_plain_model(table, place):
    """By another route: the view of training's validation, the plain Keras model, scikit-learn."""
    files = sorted((place / "data" / "val").rglob("*.jpg"))
    read = [path for path in files if path.read_bytes() != TRUNCATED]
    view = View(crop=32, scales=(40, 40))
    crops = np.stack([view(tf.constant(path.read_bytes()), 0, 0)[0] for path in read])
    model = keras.saving.load_model(place / "jitter" / "best.keras")
    posteriors = model.predict(np.array(WANTS(crops)), verbose=0)
    labels = [CLASSES.index(path.parent.name) for path in read]
    for k in (1, 5):
        right = sklearn.metrics.top_k_accuracy_score(labels, posteriors, k=k, labels=range(7), normalize=False)
        assert table[f"top-{k} error"][0] == pytest.approx(100 * (1 - right / 13))
        assert table[f"top-{k} low"][0] < table[f"top-{k} error"][0] < table[f"top-{k} high"][0]


def test_files_that_are_left(table, evaluated):
    lines = json.loads((evaluated / "table.json").read_text())
    assert [line["top-1 error"] for line in lines] == pytest.approx(table["top-1 error"].tolist())
    read = [Posteriors.read(evaluated / name) for name in table.posteriors]
    np.testing.assert_allclose(read[4].values, (read[0].values + read[2].values) / 2, atol=1e-6)
    assert np.isnan(read[0].values).any(axis=1).sum() == 1
    (picture,) = evaluated.glob("*-confusion.png")
    assert min(Image.open(picture).size) > 300
    Image.open(picture).verify()
    listed = pd.read_csv(evaluated / "broken_images.csv")
    assert listed.image.tolist() == ["data/val/c/012.jpg"]
    assert listed.reason.str.len().min() > 5


def test_all_that_is_left_says_of_what_it_is(table, evaluated):
    """Of which weights, images and code: a list or picture may be taken out of its folder."""
    last = table.iloc[-1]
    told = {name: last[name] for name in ("nets sha256", "images sha256", "code sha256")}
    assert all(told.values())
    (picture,), (confused,) = evaluated.glob("*-confusion.png"), evaluated.glob("*-confused.csv")
    with Image.open(picture) as image:
        assert told.items() <= image.text.items()
        assert (image.text["net"], image.text["Q"]) == (last.net, last.Q)
    for path in (confused, evaluated / "broken_images.csv"):
        listed = pd.read_csv(path)
        for name, digest in told.items():
            assert set(listed[name]) == {digest}, (path, name)
    for path in (evaluated / "passes").glob("*.json"):
        facts = json.loads(path.read_text())
        assert facts["net sha256"] in told["nets sha256"]
        assert facts["code sha256"] == told["code sha256"]


def test_every_row_says_of_its_classes_and_images(table, evaluated, place):
    for line in table.itertuples():
        name = line.posteriors.removesuffix(".npz")
        result = Posteriors.read(evaluated / line.posteriors)
        predictions, classes = (pd.read_csv(evaluated / f"{name}-{what}.csv") for what in ("predictions", "classes"))
        assert predictions.image.tolist() == result.images.tolist()
        right = predictions["rank of true class"] == 1
        assert 100 * (1 - right.mean()) == pytest.approx(table["top-1 error"][line.Index])
        assert classes.images.sum() == 13
        with Image.open(evaluated / f"{name}-worst.png") as picture:
            assert picture.text["images sha256"] == predictions["images sha256"][0]


def test_confused_classes_are_those_of_the_last_row(table, evaluated):
    (path,) = evaluated.glob("*-confused.csv")
    result = Posteriors.read(evaluated / table.posteriors.iloc[-1])
    confused = pd.read_csv(path)
    whole = np.isfinite(result.values).all(axis=1)
    guesses = result.values[whole].argmax(axis=1)
    expected = {}
    for right, guess in zip(result.labels[whole], guesses, strict=True):
        if right != guess:
            expected[CLASSES[right], CLASSES[guess]] = expected.get((CLASSES[right], CLASSES[guess]), 0) + 1
    found = {(row["true class"], row["predicted class"]): row.images for _, row in confused.iterrows()}
    assert found == expected
    assert confused.images.is_monotonic_decreasing
    assert (confused.of == [np.sum(result.labels[whole] == CLASSES.index(name)) for name in confused["true class"]]).all()


def test_the_same_command_again_computes_nothing(here, evaluated, table, monkeypatch, capsys):
    monkeypatch.setattr(Network, "posteriors", None)  # cannot be called
    assert (
        evaluate.main(["--model", "jitter", "--dataset", "folder:data", "--protocol", "dense", "--no-flip", "--out", "out"]) is None
    )
    shown = capsys.readouterr().out
    for text in ("folder: out", "13 images for validation, 7 classes", "top-1 error (95%)", "top-5 error (95%)", "images/s"):
        assert text in shown
    line = next(line for line in shown.splitlines() if "[36;44]" in line)
    low, high = table["top-1 low"][1], table["top-1 high"][1]
    assert f"{table['top-1 error'][1]:.1f} ({low:.1f}–{high:.1f})" in line
    assert "most confused" in shown
    assert "1 image could not be tested and counts as an error: out/broken_images.csv" in shown


def test_posteriors_of_earlier_evaluations_are_fused(here, evaluated, table, capsys):
    names = [str(evaluated / table.posteriors[n]) for n in (0, 2)]
    evaluate.main(["--posteriors", *names, "--out", "fused"])
    fused = pd.read_csv("fused/table.csv")
    columns = ["net", "top-1 error", "top-5 error", "broken"]
    assert fused[columns].values.tolist() == table[columns].iloc[[0, 2, 4]].values.tolist()
    assert "jitter + second" in capsys.readouterr().out
    evaluate.main(["--posteriors", names[0], "--out", "one"])
    assert len(pd.read_csv("one/table.csv")) == 1


RECIPE = """
dataset = "folder:data"
[models]
"D/jitter" = "jitter"
"E/384" = "missing"
[[rows]]
models = ["D/jitter", "E/384"]
protocol = "dense"
scales = { "E/384" = [36], "D/jitter" = [36, 40] }
paper = { top1_error = 24.4, top5_error = 7.1 }
[[rows]]
models = ["E/384"]
protocol = "dense"
"""


def test_a_recipe_whose_models_are_said(here, tmp_path, capsys):
    (tmp_path / "mine.toml").write_text(RECIPE)
    evaluate.main(["--recipe", str(tmp_path / "mine.toml"), "--model", "E/384=fixed"])
    lines = pd.read_csv("evaluations/mine-folder-data/table.csv", keep_default_na=False)
    assert lines.net.tolist() == ["D/jitter + E/384", "E/384"]
    assert lines.Q.tolist() == ["36, 40 + 36", "36"]
    assert lines["paper top-1"].tolist() == ["24.4", ""]
    said, first, second = (line for line in capsys.readouterr().out.splitlines() if "E/384" in line)
    assert said.endswith(", recorded in the file")
    assert "24.4 / 7.1" in first
    assert "24.4" not in second


def test_a_recipe_on_other_data_with_fewer_images(here, tmp_path, place):
    (tmp_path / "mine.toml").write_text('dataset = "folder:no"\n[models]\na = "fixed"\n[[rows]]\nprotocol = "dense"\n')
    arguments = ["--dataset", f"folder:{place / 'data'}", "--limit-images", "4", "--out", str(tmp_path / "out")]
    evaluate.main(["--recipe", str(tmp_path / "mine.toml"), *arguments])
    assert pd.read_csv(tmp_path / "out" / "table.csv").images.tolist() == [4]


def test_a_path_with_an_equals_sign_is_a_path(here, place, tmp_path):
    shutil.copytree(place / "jitter", place / "lr=0.1")
    evaluate.main(["--model", "lr=0.1", "--dataset", "folder:data", "--protocol", "center", "--out", str(tmp_path / "out")])
    assert pd.read_csv(tmp_path / "out" / "table.csv").net.tolist() == ["lr=0.1"]


def test_other_settings_into_the_same_folder_are_other_rows(here, tmp_path):
    arguments = ["--model", "jitter", "--dataset", "folder:data", "--protocol", "center", "--no-flip", "--out", str(tmp_path)]
    for more in ([], ["--average", "scores"]):
        evaluate.main([*arguments, *more])
    found = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    assert found.settings.tolist() == ["", "scores averaged"]
    names = ["01-jitter-center-no-flip-40.npz", "02-jitter-center-no-flip-40-scores-averaged.npz"]
    assert found.posteriors.tolist() == sorted(path.name for path in tmp_path.glob("*.npz")) == names
    assert Posteriors.read(tmp_path / found.posteriors[1]).facts["settings"] == "scores averaged"


def test_replicas_and_batches_change_nothing(here, evaluated, table, tmp_path):
    arguments = ["--model", "jitter", "--dataset", "folder:data", "--protocol", "dense", "--no-flip", "--replicas", "2"]
    evaluate.main([*arguments, "--batch", "1", "--out", str(tmp_path)])
    (found,) = tmp_path.glob("*.npz")
    expected = Posteriors.read(evaluated / table.posteriors[1])
    np.testing.assert_allclose(Posteriors.read(found).values, expected.values, atol=1e-6)


# --- Mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--dataset folder:data", r"Pass --model RUN_OR_FILE"),
        ("--model jitter", r"Pass --dataset: digits, folder:PATH"),
        ("--model missing --dataset folder:data", r"Received: missing \(no such file: missing\)"),
        ("--model data --dataset folder:data", r"no such file: data/best\.keras"),
        ("--model jitter --dataset folder:no", r"no, which is not a folder"),
        ("--model jitter --dataset flowers", r"`dataset` must be digits"),
        ("--model jitter --dataset folder:data --scales 31", r"at least the net's input, 32 pixels. Received: 31"),
        ("--model jitter --dataset folder:data --scales 0", r"`scales` must be positive"),
        ("--model jitter --dataset folder:data --batch 0", r"`--batch` must be at least 1"),
        ("--model jitter --dataset folder:data --replicas 9", r"`replicas` must be between 1"),
        (
            "--model jitter --model ./jitter --dataset folder:data",
            r"Several models have the same name; name them with --model NAME=PATH",
        ),
        ("--model jitter --dataset digits", r"has 7 classes; the dataset has 10, of which the net lacks 0, 1, 2, …"),
        ("--model jitter --posteriors a.npz", r"`--posteriors` fuses existing results and cannot be combined with --model\."),
        ("--posteriors a.npz --recipe b --protocol dense", r"cannot be combined with --recipe, --protocol\."),
        ("--posteriors a.npz --scales 36 --no-flip --average scores", r"cannot be combined with --scales, --flip, --average\."),
        ("--posteriors a.npz --dataset digits --limit-images 3", r"cannot be combined with --dataset, --limit-images\."),
        ("--posteriors a.npz --out jitter/classes.txt", r"Expected a writable folder. Received: jitter/classes\.txt"),
        (
            "--model jitter --dataset folder:data --out spoilt",
            r"earlier evaluations. Received: spoilt/table\.json .*; fix or delete it",
        ),
        ("--posteriors jitter/best.keras", r"Expected posteriors .* Received: jitter/best\.keras"),
        ("--recipe missing.toml", r"missing\.toml \(No such file"),
        ("--recipe recipe.toml", r"Received: missing \(no such file: missing\)"),
        ("--recipe recipe.toml --model fixed", r"must be NAME=PATH with NAME one of D/jitter, E/384. Received: fixed"),
        ("--recipe recipe.toml --model F=fixed", r"with NAME one of D/jitter, E/384. Received: F"),
        ("--recipe recipe.toml --scales 40", r"`--scales` and `--flip` are set by the recipe"),
        ("--recipe recipe.toml --no-flip", r"cannot be combined with --recipe"),
        ("--recipe recipe.toml --protocol center", r"cannot be combined with --recipe"),
    ],
)
def test_a_mistake_is_told(here, place, arguments, told):
    (place / "recipe.toml").write_text(RECIPE)
    (place / "spoilt").mkdir(exist_ok=True)
    (place / "spoilt" / "table.json").write_text("{")
    with pytest.raises(InputError, match=told) as error:
        evaluate.main(arguments.split())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("arguments", ["--protocol sparse", "--scales large", "--average logits", "--no-such-flag"])
def test_flags_that_there_are_not(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        evaluate.main(["--model", "jitter", "--dataset", "digits", *arguments.split()])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_nets_that_cannot_be_tested(here, tmp_path):
    net(include_top=False).save(tmp_path / "no_top.keras")
    net().save(tmp_path / "plain.keras")
    arguments = ["--dataset", "folder:data", "--protocol", "center", "--scales", "40", "--out", str(tmp_path / "out")]
    with pytest.raises(InputError, match=r"net with its top. Received: .*no_top\.keras"):
        evaluate.main(["--model", str(tmp_path / "no_top.keras"), *arguments])
    with pytest.raises(InputError, match=r"does not record its input preprocessing; pass --preprocessing caffe or torch"):
        evaluate.main(["--model", str(tmp_path / "plain.keras"), *arguments])
    evaluate.main(["--model", str(tmp_path / "plain.keras"), "--preprocessing", "torch", *arguments])
    assert (tmp_path / "out" / "table.csv").exists()


def test_a_mistake_is_one_line_and_exit_code_2(here, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["evaluate", "--model", "missing", "--dataset", "folder:data"])
    with pytest.raises(SystemExit) as ended:
        entry.run(evaluate.main)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "missing" in line


# --- tools/dense_to_conv.py -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dense_to_conv():
    spec = importlib.util.spec_from_file_location("dense_to_conv", ROOT / "tools" / "dense_to_conv.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("flags", "options"), [([], {}), (["--scores", "--pooling", "ceil"], {"activation": None, "pooling": "ceil"})]
)
def test_a_run_becomes_a_fully_convolutional_file(dense_to_conv, place, tmp_path, capsys, flags, options):
    path = tmp_path / "dense.keras"
    dense_to_conv.main([str(place / "jitter"), str(path), *flags])
    assert "for images of at least (32, 32)" in capsys.readouterr().out
    images = np.random.default_rng(0).uniform(-2, 2, (2, 70, 90, 3)).astype("float32")
    expected = to_fully_convolutional(keras.saving.load_model(place / "jitter" / "best.keras"), **options)(images)
    np.testing.assert_allclose(keras.saving.load_model(path)(images), expected, atol=1e-6)
    assert expected.shape[1:3] == ((3, 3) if options else (2, 2))
    assert preprocessing.read_attached(path) == WANTS


def test_mistakes_of_dense_to_conv(dense_to_conv, place, tmp_path):
    run, out = str(place / "jitter"), str(tmp_path / "dense.keras")
    with pytest.raises(InputError, match=r"must end in \.keras. Received: dense\.h5"):
        dense_to_conv.main([run, "dense.h5"])
    with pytest.raises(InputError, match=r"Expected a run folder with best\.keras"):
        dense_to_conv.main([str(tmp_path / "missing"), out])
    with pytest.raises(InputError, match=r"a file in an existing folder. Received: .*no/folder/dense\.keras"):
        dense_to_conv.main([run, str(tmp_path / "no" / "folder" / "dense.keras")])
    net(include_top=False).save(tmp_path / "no_top.keras")
    with pytest.raises(InputError, match=r"Expected a net with its top"):
        dense_to_conv.main([str(tmp_path / "no_top.keras"), out])
    assert not pathlib.Path(out).exists()
