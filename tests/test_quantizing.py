"""Files for other engines in int8: what they compute beside the net, what is told of them, and what is refused."""

import json
import re

import numpy as np
import pytest
from run_folders import write_run
from small_images import CLASSES, ENCODED, LABELS, TRUNCATED, write_images
from small_nets import fill, net

from keras_vgg import class_names, export
from keras_vgg.errors import InputError
from keras_vgg.identity import digest_of_net
from keras_vgg.inference.network import Network
from keras_vgg.inference.views import Views
from keras_vgg.serving import file_figures, formats, image_sets, quantizing
from keras_vgg.serving.engines import FORMATS
from keras_vgg.serving.plan import plan_export
from keras_vgg.support import extras

pytestmark = pytest.mark.usefixtures("graphs_as_traced")

CALIBRATED = {"scales": (40,), "quantize": "int8"}
NETS = {
    "A": {},
    "A-LRN": {"arch": "A-LRN"},
    "D": {"arch": "D"},
    "batch norm": {"batch_norm": True},
    "pooled": {"arch": "D-pool"},
}


def wide_net(**options):
    """Wide enough that weights are most of a file."""
    model = net(**options, width=0.1)
    if options.get("batch_norm"):
        fill(model)
    class_names.adopt(model, CLASSES)
    return model


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A data set with two images for training that are no images, or break off."""
    folder = write_images(tmp_path_factory.mktemp("images") / "set")
    for number, content in enumerate(ENCODED):
        (folder / "train" / "a" / f"more{number:02}.png").write_bytes(content)
    (folder / "train" / "a" / "broken.png").write_bytes(b"no image")
    (folder / "train" / "b" / "cut.jpg").write_bytes(TRUNCATED)
    return folder


@pytest.fixture(autouse=True)
def measured_briefly(monkeypatch):
    monkeypatch.setattr(file_figures, "_SECONDS", 0.01)
    monkeypatch.setattr(file_figures, "_LEAST", 2)


def engine(kind):
    for package in extras.EXTRAS[kind].libraries:
        pytest.importorskip(package)
    return FORMATS[kind]


def crops_of(split, indices, crop=32, scale=40):
    return np.concatenate([*image_sets.Crops(split, np.asarray(indices), scale, crop)])


@pytest.mark.parametrize("kind", FORMATS)
def test_an_int8_file_is_measured_beside_the_net(tmp_path, images, kind):
    format_, model, told = engine(kind), wide_net(), []
    path = tmp_path / f"net{format_.suffix}"
    sets = {"calibrate": f"folder:{images}", "labelled": f"folder:{images}"}
    exported = formats.export_file(model, path, format=kind, **CALIBRATED, **sets, say=told.append)
    card = json.loads((tmp_path / f"{path.name}.json").read_text())
    assert card == exported.card
    facts, rows = card["quantization"], exported.figures
    assert card["net"]["precision"] == facts["type"] == "int8"
    assert card["net"]["sha256"] == digest_of_net(model)
    # Images: all for training, but for the two that are none; no others.
    assert facts["calibration"]["images"] == len(CLASSES) + len(ENCODED)
    assert [line.split(" - ")[0].split("/")[-1] for line in facts["calibration"]["not used"]] == ["broken.png", "cut.jpg"]
    assert sum(line.startswith("skipped ") for line in told) == 2
    assert facts["labelled"]["images"] == len(ENCODED)
    # Figures, computed once more.
    names = [row["computed by"] for row in rows]
    assert names == ["net float32", "net mixed_bfloat16", f"{format_.engine} float32", f"{format_.engine} int8"]
    split = image_sets.open_labelled(image_sets.open_dataset(f"folder:{images}"), "validation", "").images.split
    seen, labels = crops_of(split, range(split.size)), np.array([int(split.read(i)[1]) for i in range(split.size)])
    expected = np.asarray(Network(model).posteriors(seen.astype(np.uint8), "dense", flip=True))
    found = format_.open(path)(seen)
    right, was_right = found.argmax(1) == labels, expected.argmax(1) == labels
    int8 = rows[-1]
    assert int8["top-1 error %"] == pytest.approx(100 * np.mean(~right))
    assert (int8["right to wrong"], int8["wrong to right"]) == (np.sum(was_right & ~right), np.sum(~was_right & right))
    assert int8["agrees %, labelled"] == pytest.approx(100 * np.mean(found.argmax(1) == expected.argmax(1)))
    assert np.abs(found - expected).max() <= int8["largest difference"] + 1e-6
    assert rows[0]["largest difference"] < 1e-6  # the net beside itself, alone or among others
    assert rows[2]["largest difference"] < 1e-4
    assert 1e-4 < int8["largest difference"] < 0.3
    assert int8["MB"] == format_.size(path) / 1e6 < 0.45 * rows[2]["MB"]
    assert rows[1]["MB"] < 0.55 * rows[0]["MB"]
    assert all(row["images/s"] > 0 for row in rows)
    # Soft-max and averages are float32, at any size of image.
    whole = np.random.default_rng(0).integers(0, 256, (2, 41, 70, 3)).astype(np.float32)
    for probabilities in (found, format_.open(path)(whole)):
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", [name for name in NETS if name != "A"])
def test_every_kind_of_net_is_quantised(tmp_path, images, kind, name):
    format_, model = engine(kind), wide_net(**NETS[name])
    plan = plan_export(model, scales=(40,), labels=CLASSES, flip=False, dense=False)
    plain, target = tmp_path / f"plain{format_.suffix}", tmp_path / f"int8{format_.suffix}"
    formats._write(formats.pixel_model(plan), plain, kind)
    split = image_sets.open_calibration(str(images / "val"), 100).images.split
    crops = image_sets.Crops(split, np.arange(split.size), 40, 32)
    quantizing.quantise(kind, plain, target, crops, "predictions")
    seen = np.concatenate([*crops])
    expected, found = (np.concatenate([run(crop[None]) for crop in seen]) for run in map(format_.open, (plain, target)))
    assert 1e-6 < np.abs(found - expected).max() < 0.3  # of the pooled one, whose maps are small, least
    assert np.mean(found.argmax(1) == expected.argmax(1)) > 0.8
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert format_.size(target) < 0.45 * format_.size(plain)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_call_gives_the_same_file(tmp_path, images, kind):
    format_, model = engine(kind), wide_net()
    seen = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    found = []
    for number in range(2):
        path = tmp_path / f"{number}{format_.suffix}"
        formats.export_file(model, path, format=kind, **CALIBRATED, calibrate=images / "val", calibration_images=5, flip=False)
        found.append(format_.open(path)(seen))
    np.testing.assert_array_equal(*found)


def test_calibration_images_are_taken_evenly_in_a_fixed_order(images):
    names = [[found.images.split.name_of(i) for i in range(len(found.labels))] for found in _opened(images, 12, 5, 5, 100)]
    assert len(names[0]) == 12
    assert names[1] == names[2] == [names[0][place] for place in (0, 3, 6, 8, 11)]
    assert names[3] == names[0]


def _opened(images, *numbers):
    return [image_sets.open_calibration(str(images / "val"), number) for number in numbers]


def test_crops_are_what_the_net_sees_of_an_image(images):
    """As a test with centre crops sees them, decoded by the pipeline."""
    found = image_sets.open_calibration(str(images / "val"), 100)
    views = Views("center", 40, flip=False)
    seen = {}
    groups = image_sets.batches.group(found.images.survey, views, 32, 32 * 32, np.ones(12, bool))
    for indices, _, pixels in image_sets.batches.read_batches(found.images.split, found.images.survey, views, 32, groups):
        seen |= {int(indices[0]): pixels.numpy()[0]}
    np.testing.assert_array_equal(crops_of(found.images.split, range(12)), np.stack([seen[place] for place in range(12)]))


def test_a_tool_that_fails_is_one_line_and_leaves_nothing_behind(tmp_path, images, monkeypatch):
    engine("onnx")

    def fail(source, target, crops, classifier):
        raise RuntimeError("no kernel for this\nand many lines more")

    tool = quantizing.TOOLS["onnx"]
    monkeypatch.setitem(quantizing.TOOLS, "onnx", quantizing.Tool(tool.package, tool.function, tool.settings, fail))
    with pytest.raises(InputError, match=r"^quantize_static of onnxruntime [\d.]+ could not .* \(no kernel for this\);"):
        formats.export_file(wide_net(), tmp_path / "net.onnx", format="onnx", **CALIBRATED, calibrate=images / "val")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--quantize", "int8"], "--quantize: requires --calibrate"),
        (["--calibrate", "folder:x"], "--calibrate: requires --quantize int8"),
        (["--labelled", "folder:x"], "--labelled: requires --quantize int8"),
        (["--calibration-images", "5"], "--calibration-images: requires --quantize int8"),
        (["--quantize", "int8", "--calibrate", "x", "--calibration-images", "0"], "--calibration-images: must be at least 1"),
        (["--quantize", "int8", "--calibrate", "x", "--format", "saved_model"], "--quantize: requires --format onnx, litert or"),
        (["--quantize", "int8", "--calibrate", "x", "--precision", "mixed_bfloat16"], "--format onnx supports only float32"),
        (["--quantize", "int4", "--calibrate", "x"], "--quantize: invalid choice"),
    ],
)
def test_flags_that_do_not_go_together(capsys, arguments, told):
    with pytest.raises(SystemExit, match="2"):
        export.main(["--model", "x", "--out", "x.onnx", "--format", "onnx", *arguments])
    assert told in capsys.readouterr().err


@pytest.fixture
def no_engine(monkeypatch):
    """What is refused before the engine is asked is refused without one."""
    monkeypatch.setitem(extras.EXTRAS, "onnx", extras.Extra("The format onnx", {}))
    monkeypatch.setattr(formats, "plan_export", None)  # nor is the net loaded


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"quantize": "int4", "calibrate": "x"}, "`quantize` must be 'int8'. Received: quantize='int4'"),
        ({"quantize": "int8"}, "`quantize` requires `calibrate`"),
        ({"calibrate": "x"}, "`calibrate` requires `quantize`. Received: calibrate='x' without it"),
        ({"labelled": "x"}, "`labelled` requires `quantize`"),
        ({"quantize": "int8", "calibrate": "nowhere"}, "Expected image files, globs or folders of images. Received: 'nowhere'"),
        ({"quantize": "int8", "calibrate": "folder:nowhere"}, "nowhere"),
        ({"quantize": "int8", "calibrate": "x", "calibration_images": 0}, "`calibration_images` must be at least 1. Received: 0"),
    ],
)
def test_what_cannot_be_quantised_is_told_before_the_net_is_loaded(tmp_path, no_engine, given, told):
    with pytest.raises(InputError, match=told):
        formats.export_file("no such net", tmp_path / "net.onnx", format="onnx", **given)
    assert list(tmp_path.iterdir()) == []


def test_images_that_cannot_be_read_and_classes_that_the_net_does_not_know(tmp_path, no_engine, images):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"`calibrate` must have readable images. Received: .*, none of 1 readable; "):
        formats.export_file("no such net", tmp_path / "net.onnx", format="onnx", quantize="int8", calibrate=broken)
    run = write_run(tmp_path / "letters")
    other = tmp_path / "other"
    for name in ("a", "zebra"):
        (other / name).mkdir(parents=True)
        (other / name / "0.png").write_bytes(ENCODED[int(LABELS[0])])
    asked = {"quantize": "int8", "calibrate": images / "val", "labelled": f"folder:{other}"}
    with pytest.raises(InputError, match=r"has 7 classes; the dataset has 2, of which the net lacks zebra"):
        formats.export_file(run, tmp_path / "net.onnx", format="onnx", **asked)


def test_the_command_tells_figures(tmp_path, images, capsys):
    engine("onnx")
    run, path = write_run(tmp_path / "letters"), tmp_path / "net.onnx"
    sets = ["--calibrate", f"folder:{images}", "--labelled", f"folder:{images}"]
    export.main(["--model", str(run), "--out", str(path), "--format", "onnx", "--quantize", "int8", *sets])
    told = capsys.readouterr().out
    assert f"{path}: " in told
    assert "computed in int8" in told
    assert "measured one image at a time, center crops of 32x32 at Q = 40:" in told
    table = told.split("\n\n")[-1].splitlines()
    assert [re.split(r"\s+[\d.]+\s", line.strip())[0] for line in table[1:]] == [
        "net float32",
        "net mixed_bfloat16",
        "ONNX Runtime float32",
        "ONNX Runtime int8",
    ]
