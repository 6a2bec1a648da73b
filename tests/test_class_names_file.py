"""Names of a net's classes from a file: the usual forms, and what is wrong with others in a line."""

import json

import numpy as np
import pytest
from run_folders import write_run
from small_images import CLASSES, write_images

from keras_vgg import evaluate
from keras_vgg.errors import InputError
from keras_vgg.inference.class_labels import read_class_names
from keras_vgg.inference.net_files import open_net_file


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("daisy\ntulip\n", ("daisy", "tulip")),
        ("\ufeffdaisy\r\nsea holly\r\n", ("daisy", "sea holly")),
        ("n01440764 tench, Tinca tinca\nn01443537 goldfish\n", ("n01440764", "n01443537")),
        ("n01440764 tench\nother\n", ("n01440764 tench", "other")),  # not all are ids
        ('["daisy", "tulip"]', ("daisy", "tulip")),
        ('{"1": "tulip", "0": "daisy"}', ("daisy", "tulip")),
        ('{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}', ("n01440764", "n01443537")),
        ('{"tulip": 1, "daisy": 0}', ("daisy", "tulip")),
    ],
)
def test_the_usual_forms(tmp_path, text, names):
    (tmp_path / "classes").write_text(text, encoding="utf-8")
    assert read_class_names(tmp_path / "classes") == names


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "with no names"),
        ("a\n\nb\n", "with a blank name"),
        ("a\nb\na\n", "with a duplicate name"),
        ('{"0": "a", "2": "b"}', "labels must be 0 to 1, each once"),
        ('{"a": 0, "b": 0}', "labels must be 0 to 1, each once"),
        ('{"x": "a"}', "invalid literal"),
        ("[1, 2]", "names must be text"),
        ('{"0": [', "Expecting value"),
    ],
)
def test_what_names_no_classes_is_told(tmp_path, text, told):
    (tmp_path / "classes").write_text(text)
    with pytest.raises(InputError, match=rf"Received: .*classes.*{told}"):
        read_class_names(tmp_path / "classes")
    with pytest.raises(InputError, match=r"one per line or as JSON\. Received: .*none"):
        read_class_names(tmp_path / "none")


@pytest.mark.usefixtures("graphs_as_traced")
def test_a_test_takes_names_from_the_file(tmp_path, capsys):
    """Labels go by name: the same net with its classes called in another order is wrong elsewhere."""
    run = write_run(tmp_path / "run", classes="tuvwxyz")
    write_images(tmp_path / "data")
    (tmp_path / "order.json").write_text(json.dumps({name: label for label, name in enumerate(CLASSES)}))
    (tmp_path / "few.txt").write_text("a\nb\n")
    told = ["--model", str(run), "--dataset", f"folder:{tmp_path / 'data'}", "--protocol", "center", "--no-flip"]
    with pytest.raises(InputError, match="of which the net lacks a, b, c, …"):
        evaluate.main([*told, "--out", str(tmp_path / "out")])
    with pytest.raises(InputError, match=r".*few\.txt must list the net's 7 classes\. Received: 2"):
        evaluate.main([*told, "--classes", str(tmp_path / "few.txt"), "--out", str(tmp_path / "out")])
    evaluate.main([*told, "--classes", str(tmp_path / "order.json"), "--out", str(tmp_path / "out")])
    (path,) = (tmp_path / "out").glob("*.npz")
    with np.load(path) as stored:
        assert tuple(stored["classes"]) == tuple(CLASSES)
        assert sorted(set(stored["labels"].tolist())) == list(range(7))
    assert open_net_file(str(run), classes=str(tmp_path / "order.json")).classes == tuple(CLASSES)
