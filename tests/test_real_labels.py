"""ReaL labels: what counts as right by hand, through the command on a small folder as ImageNet's, and what is refused."""

import hashlib
import json
import pathlib

import numpy as np
import pandas as pd
import pytest
from run_folders import write_run
from small_images import ENCODED, TRUNCATED

from keras_vgg import evaluate
from keras_vgg.errors import InputError
from keras_vgg.evaluation import real_labels
from keras_vgg.evaluation.metrics import real_error
from keras_vgg.inference import class_labels

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "images_surveyed_once", "nets_loaded_once")

COMMAND = ["--model", "run", "--dataset", "folder:val", "--split", "all", "--protocol", "center", "--no-flip", "--out", "out"]
IDS = ("n01440764", *(f"n{2_000_000 + number:08}" for number in range(998)), "n15075141")


def write_labels(path, known):
    """Writes a file of 50,000 lists, those that are known by the images' numbers."""
    path.write_text(json.dumps([known.get(number, [7]) for number in range(1, 50_001)]))
    return str(path)


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    """A folder with a run of 1,000 classes, five images, the last cut off, and what was found of them without ReaL labels."""
    folder = tmp_path_factory.mktemp("imagenet")
    write_run(folder / "run", classes=IDS)
    for number, content in enumerate([*ENCODED[:4], TRUNCATED], start=1):
        path = folder / "val" / IDS[number % 2] / f"ILSVRC2012_val_{number:08}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        evaluate.main(COMMAND)
    found = pd.read_csv(next((folder / "out").glob("*-predictions.csv")))
    numbers = found["image"].str.extract(r"_(\d{8})")[0].astype(int)
    guesses = {number: IDS.index(guess) for number, guess in zip(numbers, found["predicted class"], strict=True) if guess in IDS}
    return folder, guesses


@pytest.fixture
def here(tested, monkeypatch):
    monkeypatch.chdir(tested[0])


def test_any_valid_class_is_right_and_images_without_one_do_not_count(here, tested, tmp_path, capsys):
    guesses = tested[1]
    assert sorted(guesses) == [1, 2, 3, 4]
    other = next(label for label in range(1000) if label not in guesses.values())
    known = {1: [], 2: [guesses[2]], 3: [other, guesses[3]], 4: [other], 5: [other]}
    labels = write_labels(tmp_path / "real.json", known)
    evaluate.main([*COMMAND, "--real-labels", labels])
    (row,) = json.loads(pathlib.Path("out/table.json").read_text())  # the same row, which has gained columns
    assert (row["ReaL error"], row["ReaL images"], row["images"]) == (50, 4, 5)
    assert row["ReaL low"] < 50 < row["ReaL high"]
    assert row["ReaL labels sha256"] == hashlib.sha256(pathlib.Path(labels).read_bytes()).hexdigest()
    assert "ReaL error (95%)" in capsys.readouterr().out
    told = pd.read_csv(next(pathlib.Path("out").glob("*-predictions.csv")), keep_default_na=False).set_index("image")[
        "ReaL classes"
    ]
    assert told[told.index.str.contains("00000003")].item() == f"{IDS[other]}; {IDS[guesses[3]]}"
    # Kept posteriors are measured by other labels without a net.
    labels = write_labels(tmp_path / "others.json", {number: [guess] for number, guess in guesses.items()} | {5: []})
    kept = str(next(pathlib.Path("out").glob("*.npz")))
    evaluate.main(["--posteriors", kept, kept, "--real-labels", labels, "--out", str(tmp_path / "fused")])
    rows = json.loads((tmp_path / "fused" / "table.json").read_text())
    assert [(row["ReaL error"], row["ReaL images"]) for row in rows] == [(0, 4)] * 3  # each and fused


def test_by_hand():
    posteriors = np.array([[0.1, 0.9], [0.8, 0.2], [0.8, 0.2], [np.nan, np.nan], [0.6, 0.4]])
    right = np.array([[1, 0], [-2, 1], [-2, -1], [0, -1], [-1, -1]])  # -2: a class that the net does not know
    assert real_error(posteriors, right) == (4, 0.75)


def test_classes_are_found_by_their_ids_in_whatever_order(monkeypatch):
    assert real_labels.columns_of(IDS).tolist() == list(range(1000))
    assert real_labels.columns_of(IDS[::-1]).tolist() == list(range(1000))[::-1]
    monkeypatch.setattr(real_labels, "imagenet_classes", lambda: tuple((name, "") for name in IDS))
    few = real_labels.columns_of((IDS[5], IDS[2]))
    assert {place: few[place] for place in (2, 5, 6)} == {2: 1, 5: 0, 6: -2}
    with pytest.raises(InputError, match=r"with ImageNet's 1,000 classes. Received: one with other classes, .*: 2 from ant to bee"):
        real_labels.columns_of(("ant", "bee"))
    assert class_labels.is_imagenet(IDS)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[[1], [2]]", "with 2 entries"),
        (json.dumps([[1000]] * 50_000), "with something else"),
        (json.dumps([1] * 50_000), "with something else"),
        ("{", "Expected ReaL labels"),
    ],
)
def test_other_files_are_refused(tmp_path, content, told):
    (tmp_path / "real.json").write_text(content)
    with pytest.raises(InputError, match=told):
        real_labels.read_real_labels(tmp_path / "real.json")


@pytest.mark.parametrize("name", ["val/n01440764/00000001.JPEG", "ILSVRC2012_val_00050001.JPEG", "ILSVRC2012_val_000000001.JPEG"])
def test_names_that_tell_no_number_are_refused(name):
    real = real_labels.RealLabels(np.zeros((50_000, 1), int), "")
    assert real.of_images(["a/ILSVRC2012_val_00050000.JPEG"]).tolist() == [[0]]
    with pytest.raises(InputError, match=f"Received: 1 of 2 without one, such as {name}."):
        real.of_images(["ILSVRC2012_val_00000001.JPEG", name])
