"""The command that exports, and the files for other engines."""

import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from run_folders import write_run
from small_images import CLASSES, ENCODED
from small_nets import WANTS, net
from warm_process import WarmProcess

from keras_vgg import export
from keras_vgg.configs import CONFIGS
from keras_vgg.errors import InputError
from keras_vgg.serving import formats
from keras_vgg.serving.plan import plan_export
from keras_vgg.support import extras

pytestmark = pytest.mark.usefixtures("graphs_as_traced")

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "letters")


def images(*size):
    return np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.float32)


def test_the_command_exports_and_says_what(run, tmp_path, capsys):
    export.main(["--model", str(run), "--out", str(tmp_path / "vgg"), "--scales", "36", "44", "--flip", "--top", "2"])
    told = capsys.readouterr().out
    assert f"{tmp_path}/vgg/1: " in told
    assert f"\npreprocessing: {WANTS}, recorded in the file\n" in told
    assert "net A, 7 classes from a to g, dense at Q = 36, 44, with mirror images" in told
    assert "once reloaded, its outputs differ from the net's by at most" in told
    found = tf.saved_model.load(str(tmp_path / "vgg" / "1")).signatures["classify"](images=tf.constant(ENCODED[:3]))
    assert found["scores"].shape == (3, 2)


def command(*arguments, program=("-m", "keras_vgg.export")):
    return subprocess.run([sys.executable, *program, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT)


def test_a_mistake_is_one_line(tmp_path):
    finished = command("--model", tmp_path / "nowhere", "--out", tmp_path / "vgg", program=("tools/export_saved_model.py",))
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert "Expected a run folder with best.keras, a weight file" in finished.stderr


@pytest.mark.parametrize("flag", [["--model-version", "3"], ["--scales", "40"], ["--top", "2"], ["--layer", "fc1"], ["--no-check"]])
def test_some_flags_go_with_saved_models_alone(capsys, flag):
    with pytest.raises(SystemExit, match="2"):
        export.main(["--model", "x", "--out", "x.onnx", "--format", "onnx", *flag])
    assert f"--{flag[0].removeprefix('--no-').strip('-')}: applies only to SavedModels" in capsys.readouterr().err


# Other engines


@pytest.mark.parametrize("average", ["posteriors", "scores"])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("arch", CONFIGS)
def test_the_model_for_converters_says_what_the_net_says(arch, flip, average):
    plan = plan_export(net(arch, classifier_activation=None), scales=(40,), labels=CLASSES, flip=flip, average=average)
    model = formats.pixel_model(plan)
    for size in ((32, 32), (41, 70)):
        found, expected = model(images(*size)), plan.network.trace_posteriors(images(*size), "dense", flip)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_model_for_converters_without_dense():
    plan = plan_export(net(batch_norm=True), scales=(40,), labels=CLASSES, dense=False)
    model = formats.pixel_model(plan)
    assert model.input_shape == (None, 32, 32, 3)
    np.testing.assert_allclose(model(images(32, 32)), plan.network.trace_posteriors(images(32, 32), "center", False), atol=1e-6)


@pytest.mark.parametrize("kind", formats.FORMATS)
@pytest.mark.parametrize("arch", ["A-LRN", "C"])
def test_the_engine_computes_what_the_net_does(tmp_path, kind, arch):
    for package in extras.EXTRAS[kind].libraries:
        pytest.importorskip(package)
    model = net(arch)
    path = tmp_path / f"net{formats.FORMATS[kind].suffix}"
    exported = formats.export_file(model, path, format=kind, scales=(40,), labels=CLASSES, flip=True)
    assert exported.largest_difference < 1e-4
    plan = plan_export(model, scales=(40,), labels=CLASSES, flip=True)
    found = formats.FORMATS[kind].open(path)(images(50, 40))
    np.testing.assert_allclose(found, plan.network.trace_posteriors(images(50, 40), "dense", True), atol=1e-4)
    assert (tmp_path / f"{path.name}.json").exists()
    assert "scales" not in exported.card["protocol"]


def test_what_the_engine_computes_is_checked(run, tmp_path, monkeypatch):
    """Whatever is written, a file that computes another thing is not left behind."""

    def write(model, path, format):
        path.write_bytes(b"something else")

    wrong = formats.Format(".onnx", lambda path: lambda images: np.full((len(images), len(CLASSES)), 1 / len(CLASSES)))
    monkeypatch.setitem(formats.FORMATS, "onnx", wrong)
    monkeypatch.setitem(extras.EXTRAS, "onnx", extras.Extra("The format onnx", {}))
    monkeypatch.setattr(formats, "_write", write)
    with pytest.raises(RuntimeError, match="differ by"):
        formats.export_file(run, tmp_path / "net.onnx", format="onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_files_cannot_be_written(run, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"`format` must be one of onnx, litert, openvino. Received: format='caffe'"):
        formats.export_file(run, tmp_path / "net.caffe", format="caffe")
    with pytest.raises(InputError, match=r"The name of an onnx file must end in .onnx. Received: .*net.tflite"):
        formats.export_file(run, tmp_path / "net.tflite", format="onnx")
    monkeypatch.setitem(extras.EXTRAS, "onnx", extras.Extra("The format onnx", {"no_such_package": "no-such-package"}))
    with pytest.raises(InputError, match=r"format onnx needs no-such-package, .* not installed; pip install 'keras_vgg\[onnx\]'"):
        formats.export_file(run, tmp_path / "net.onnx", format="onnx")


def test_half_precision_has_no_file_for_other_engines():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = net()
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(
        InputError, match=r"supports only nets in float32. Received: one that computes in float16; pass precision float32"
    ):
        formats.pixel_model(plan_export(model, scales=(40,), labels=CLASSES))
    assert formats.pixel_model(plan_export(model, scales=(40,), labels=CLASSES, precision="float32")).compute_dtype == "float32"


def test_sigterm_midway_leaves_nothing_behind(run, tmp_path):
    arguments = ["--model", str(run), "--out", str(tmp_path / "vgg")]
    process = WarmProcess("keras_vgg.export", arguments, tmp_path / "told.txt")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("vgg/.writing-*")):
        assert process.poll() is None, process.output()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM, process.output()
    assert list((tmp_path / "vgg").iterdir()) == []
