"""The notebooks: each runs on a few images and shows what it says, and the kept outputs are those of its source."""

import ast
import base64
import io
import json
import pathlib
import re
import sys

import numpy as np
import pandas as pd
import pytest
import reference_distances as reference
from PIL import Image
from safetensors.numpy import save_file
from small_nets import net_without_top

from keras_vgg import preprocessing
from keras_vgg.localisation.boxes import from_inclusive, overlap
from keras_vgg.models import build_vgg

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
NAMES = ("fine-tune", "features-and-style", "tests-of-the-paper", "localization")
MOST_BYTES = 1_500_000
LINK = re.compile(r"\[[^\[\]]*\]\((?!https?:)([^()\s#]*)(?:#[^()\s]*)?\)")

sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(FOLDER))
import digits  # noqa: E402
import patterns  # noqa: E402

import notebooks as tool  # noqa: E402

nbformat = tool.nbformat


def kept(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def sources(notebook):
    return [(cell.id, cell.cell_type, cell.source) for cell in notebook.cells]


def kinds(notebook):
    """For each cell the kinds of its outputs, without those that depend on a parameter."""
    cells = [cell for cell in code_cells(notebook) if "DISTANCE_WEIGHTS is None" not in cell.source]
    return [
        ["picture" if is_picture(output) else sorted(output.get("data", {"text"})) for output in cell.outputs] for cell in cells
    ]


def is_picture(output):
    return bool({"image/png", "image/jpeg"} & set(output.get("data", ())))


def summary(notebook):
    """The last output of a notebook: a dict."""
    return ast.literal_eval(code_cells(notebook)[-1].outputs[-1].text)


def figure_of(side):
    """A PNG of noise, in base64."""
    stored = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(stored, "PNG")
    return base64.b64encode(stored.getvalue()).decode()


def run(name, folder, **values):
    notebook = kept(name)
    before = json.dumps(notebook)
    ran = tool.execute(notebook, {key: repr(value) for key, value in values.items()}, folder)
    assert json.dumps(notebook) == before
    assert sources(ran) == sources(notebook)
    assert kinds(ran) == kinds(notebook), "the kept outputs are those of another source; run tools/notebooks.py"
    return summary(ran)


# --- What is kept ---------------------------------------------------------------------------------------------------------


def test_every_notebook_is_known():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(NAMES)
    about = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"({name}.ipynb)" in about for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_kept_file_is_whole(name):
    path, notebook = FOLDER / f"{name}.ipynb", kept(name)
    nbformat.validate(notebook)
    assert path.stat().st_size < MOST_BYTES
    assert json.dumps(tool.stripped(notebook)) == json.dumps(notebook)  # nothing that differs from run to run
    assert notebook.cells[0].source.startswith("# ")
    tool.parameters_of(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert sum(is_picture(output) for cell in cells for output in cell.outputs) >= 3
    assert summary(notebook)


@pytest.mark.parametrize("name", NAMES)
def test_no_path_of_a_machine_is_kept(name):
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    text = re.sub(r'"image/\w+": "[^"]*"', "", text)
    assert not re.findall(r"(?<![\w.:/])/(?:home|root|tmp|work|usr|opt|Users|mnt)/[^\s\"']*|[A-Z]:\\\\\\\\", text)


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    for cell in kept(name).cells:
        if cell.cell_type == "markdown":
            for target in LINK.findall(cell.source):
                assert (FOLDER / target).exists(), target


def test_what_the_text_says_holds_for_the_kept_outputs():
    found = {name: summary(kept(name)) for name in NAMES}
    tuned = found["fine-tune"]
    assert tuned["accuracy"] > 0.85  # chance: an eighth
    assert tuned["Grad-CAM inside"] > 2 * tuned["random pixel inside"]
    shuffled, china = found["features-and-style"]["style of the shuffled flower and of china"]
    assert shuffled > china  # the edges between the tiles
    shifted, blurred = found["features-and-style"]["shift and blur"]
    assert shifted < blurred
    first, last = found["features-and-style"]["losses"]
    assert last < first / 2
    errors = found["tests-of-the-paper"]["errors"]
    assert all(errors["dense at 76"][net] < 25 for net in ("A", "B"))  # chance: 90
    for net in ("A", "B", "A + B"):
        assert errors["dense at 76, mirrored"][net] > errors["dense at 76"][net]  # a mirrored digit is not a digit
        assert max(errors["dense at 76"][net], errors["multi-crop at 76"][net]) < errors["center at 76"][net]
    boxes = found["localization"]
    assert boxes["classification error"] < 0.25  # chance: 0.9
    assert boxes["localizer"]["error"] < 0.5 * boxes["mean box"]["error"]
    assert boxes["localizer"]["mean IoU"] > boxes["mean box"]["mean IoU"] > boxes["whole image"]["mean IoU"]


def test_the_distances_are_not_downloaded_unasked():
    assert any("DISTANCE_WEIGHTS is None" in cell.source for cell in code_cells(kept("features-and-style")))


# --- What runs ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def narrow_weights(tmp_path_factory):
    """A narrow net D without its top, random, as public weights are kept."""
    path = tmp_path_factory.mktemp("weights") / "narrow.keras"
    net_without_top("D").save(path)
    preprocessing.attach(path, preprocessing.CAFFE)
    return str(path)


@pytest.mark.slow
def test_fine_tune(tmp_path, narrow_weights):
    found = run("fine-tune", tmp_path, WEIGHTS=narrow_weights, IMAGES=(40, 24), EPOCHS=1)
    assert found["images"] == 24
    predictions = pd.read_csv(*tmp_path.glob("runs/fine-tune-evaluation/*-predictions.csv"))
    assert predictions["true class"].value_counts().to_dict() == dict.fromkeys(patterns.PATTERNS, 3)
    mistakes = (predictions["true class"] != predictions["predicted class"]).sum()
    assert found["mistakes"] == mistakes
    assert found["accuracy"] == pytest.approx(1 - mistakes / 24, abs=1e-4)
    table = pd.read_csv(tmp_path / "patterns-on-photographs" / "boxes.csv").query("split == 'val'")
    sides = table.xmax - table.xmin + 1
    assert found["random pixel inside"] == pytest.approx((sides**2 / 112**2).mean(), abs=1e-4)
    assert 0 <= found["Grad-CAM inside"] <= 1


@pytest.mark.slow
def test_features_and_style(tmp_path, narrow_weights):
    trunk = tmp_path / "vgg16.keras"
    build_vgg("D", input_shape=(None, None, 3), include_top=False).save(trunk)
    preprocessing.attach(trunk, preprocessing.TORCH)
    calibrations = {}
    for name, arrays in zip(("LPIPS", "DISTS"), reference.calibration(), strict=True):
        save_file(arrays, tmp_path / f"{name}.safetensors")
        calibrations[f"{name}_CALIBRATION"] = str(tmp_path / f"{name}.safetensors")
    given = {"SIZE": 96, "STEPS": 6, "WEIGHTS": narrow_weights, "DISTANCE_WEIGHTS": str(trunk), **calibrations}
    found = run("features-and-style", tmp_path, **given)
    first, last = found["losses"]
    assert last < first
    assert min(found["style of the shuffled flower and of china"]) > 0
    assert found["picture"] == (64, 96, 3)
    for distances in found["distances"].values():
        assert distances["original"] == pytest.approx(0, abs=1e-4)
        assert all(value > 0 for kind, value in distances.items() if kind != "original")


@pytest.mark.slow
def test_tests_of_the_paper(tmp_path):
    found = run("tests-of-the-paper", tmp_path, IMAGES=(64, 20), EPOCHS=1, WIDTH=0.05)
    assert found["dense equals net within"] < 1e-5
    assert found["score map"] == (9, 19, 10)  # 320x640 pixels, windows of 64, a stride of 32
    assert len(found["errors"]) == 9
    for errors in found["errors"].values():
        assert set(errors) == {"A", "B", "A + B"}
        assert all(error in np.arange(0, 101, 5) for error in errors.values())  # of 20 images


@pytest.mark.slow
def test_localization(tmp_path):
    found = run("localization", tmp_path, IMAGES=(48, 20), EPOCHS=1, WIDTH=0.05)
    table = pd.read_csv(tmp_path / "boxed-digits" / "boxes.csv")
    corners = table[["xmin", "ymin", "xmax", "ymax"]].to_numpy()
    true = from_inclusive(corners[table.split == "val"])
    iou = overlap(from_inclusive(corners[table.split == "train"]).mean(axis=0), true)
    assert found["mean box"] == {"mean IoU": round(iou.mean(), 4), "error": round(float((iou < 0.5).mean()), 4)}
    assert 0 <= found["localizer"]["mean IoU"] <= 1
    assert found["classification error"] in [pytest.approx(count / 20) for count in range(21)]
    for label, *box in found["guesses"]:
        assert label in map(str, range(10))
        assert all(0 <= edge <= 96 for edge in box)


# --- The tool -------------------------------------------------------------------------------------------------------------


def test_values_of_parameters_are_replaced():
    source = 'NAME = "a"  # a comment\nSIZES = (\n    1,\n    2,\n)\nOTHER = 3'
    assert tool.substituted(source, {"SIZES": "(4,)", "NAME": "'b'"}) == "NAME = 'b'\nSIZES = (4,)\nOTHER = 3"
    with pytest.raises(ValueError, match=r"must name a variable of the parameters cell\. Received: SIZE\.$"):
        tool.substituted(source, {"SIZE": "1"})


def test_a_notebook_without_parameters_is_refused():
    with pytest.raises(ValueError, match="one cell tagged `parameters`"):
        tool.parameters_of(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]))


def test_what_differs_from_run_to_run_is_stripped():
    shown = nbformat.v4.new_output("execute_result", {"text/plain": "<Figure>", "image/png": figure_of(5)}, execution_count=7)
    texts = "epoch 1\n", "epoch 2/9  loss 1.0  41.2 images/s  3m10s left\n", "warning\n", "done in 1h02m: best 9%\n"
    streams = "stdout", "stdout", "stderr", "stdout"
    said = [nbformat.v4.new_output("stream", name=name, text=text) for name, text in zip(streams, texts, strict=True)]
    cell = nbformat.v4.new_code_cell(
        "1",
        outputs=[shown, *said],
        execution_count=7,
        metadata={"execution": {"iopub.status.busy": "2026-01-01T00:00:00Z"}, "tags": ["b"]},
    )
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"language_info": {"name": "python", "version": "3.11.7"}})
    (found,) = tool.stripped(notebook).cells
    assert found.metadata == {"tags": ["b"]}
    assert found.execution_count == 1
    picture, text = found.outputs
    assert [*picture.data] == ["image/png"]
    assert text.text == "epoch 1\ndone: best 9%\n"
    assert "version" not in tool.stripped(notebook).metadata["language_info"]


@pytest.mark.parametrize(("side", "kind"), [(20, "image/png"), (300, "image/jpeg")])
def test_large_pictures_become_jpegs(side, kind):
    output = nbformat.v4.new_output("display_data", {"image/png": figure_of(side)})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])])
    once = tool.stripped(notebook)
    assert [*once.cells[0].outputs[0].data] == [kind]
    assert json.dumps(tool.stripped(once)) == json.dumps(once)
    with Image.open(io.BytesIO(base64.b64decode(once.cells[0].outputs[0].data[kind]))) as picture:
        assert picture.size == (side, side)


# --- The pictures ---------------------------------------------------------------------------------------------------------


def test_the_drawn_digits_lie_in_their_boxes():
    scene = np.full((90, 120, 3), 100, np.uint8)
    x_min, y_min, x_max, y_max = digits.paste(scene, 3, 40, (30, 20), np.random.default_rng(0))
    rows, columns = np.nonzero((scene != 100).any(axis=-1))
    assert (x_min, y_min, y_max) == (30, 20, 59)
    assert (columns.min(), columns.max()) == pytest.approx((x_min, x_max), abs=4)
    assert (rows.min(), rows.max()) == pytest.approx((y_min, y_max), abs=4)


def test_digits_are_lighter_than_what_is_around_them():
    random = np.random.default_rng(0)
    for number in range(10):
        pixels, (x_min, y_min, x_max, y_max) = digits.picture(number, 60, (96, 96), random)
        outside = np.ones(pixels.shape[:2], bool)
        outside[y_min : y_max + 1, x_min : x_max + 1] = False
        lightest = pixels.min(axis=-1)
        assert pixels[outside].max() <= 115 < 165 <= lightest.max()


def test_digits_of_validation_are_not_trained_on(tmp_path):
    drawn = digits.draw_dataset(tmp_path, training=12, validation=8)
    target = digits.load().target
    expected = [*target[:12], *target[digits.FIRST_HELD_OUT : digits.FIRST_HELD_OUT + 8]]
    assert drawn.label.tolist() == [str(label) for label in expected]
    assert drawn.split.tolist() == ["train"] * 12 + ["val"] * 8
    assert all((tmp_path / path).is_file() for path in drawn.path)


@pytest.mark.parametrize("name", patterns.PATTERNS)
def test_a_pattern_fills_its_disc_with_two_colors(name):
    pixels = np.full((112, 112, 3), 128, np.uint8)
    x_min, y_min, x_max, y_max = patterns.paste(pixels, name, 60, (40, 30), np.random.default_rng(0))
    rows, columns = np.mgrid[:112, :112] + 0.5
    distance = np.hypot(columns - (x_min + x_max + 1) / 2, rows - (y_min + y_max + 1) / 2)
    assert (x_min, y_min, x_max, y_max) == (40, 30, 99, 89)
    assert (pixels[distance > 31] == 128).all()
    colors, counts = np.unique(pixels[distance < 29], axis=0, return_counts=True)
    darker, lighter = sorted(colors[np.argsort(counts)[-2:]], key=np.sum)  # between them lie mixtures, at the edges
    assert darker.max() <= 110 < 145 <= lighter.min()
    assert np.sort(counts)[-2] > 0.1 * counts.sum()


def test_the_same_seed_draws_the_same_pictures(tmp_path):
    first, again, other = (
        patterns.draw_dataset(tmp_path / name, training=8, validation=8, seed=seed)
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    pd.testing.assert_frame_equal(first, again)
    assert not first[["xmin", "ymin"]].equals(other[["xmin", "ymin"]])
    for path in first.path:
        assert (tmp_path / "first" / path).read_bytes() == (tmp_path / "again" / path).read_bytes()
    assert first.label.value_counts().to_dict() == dict.fromkeys(patterns.PATTERNS, 2)
