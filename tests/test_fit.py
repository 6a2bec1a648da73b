"""The command end to end: what it leaves, how it fails, how it goes on after being stopped or killed."""

import dataclasses
import json
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pandas as pd
import pytest
from keras.src.legacy.saving import legacy_h5_format
from PIL import Image
from run_folders import outcome
from warm_process import WarmProcess

from keras_vgg import configs, fit, preprocessing, transfer
from keras_vgg.data import color, datasets
from keras_vgg.data.pipeline import View
from keras_vgg.errors import InputError
from keras_vgg.identity import digest_of_net
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.models import build_vgg
from keras_vgg.precision import PRECISIONS
from keras_vgg.recipe import Recipe, read_run_recipe, to_toml
from keras_vgg.support import streams
from keras_vgg.support.huge_pages import ENVIRONMENT
from keras_vgg.support.progress import Progress
from keras_vgg.tasks.classification import Classification
from keras_vgg.tasks.localisation import Localisation
from keras_vgg.tasks.multi_label import MultiLabel
from keras_vgg.training import checkpoint, checks, run
from keras_vgg.training.cluster import make_cluster
from keras_vgg.training.run_folder import RunFolder, choose_folder

pytestmark = pytest.mark.usefixtures("colors_measured_once")

TINY = [
    *("--width", "0.02", "--crop", "32", "--jitter", "32", "40", "--random-flip", "--color", "--no-jit"),
    *("--batch-size", "50", "--learning-rate", "0.002"),
]  # fmt: skip
SMALL = [*TINY, "--epochs", "2", "--limit-images", "120"]
TASK = Classification(tuple("0123456789"))
LONG = [*TINY, "--epochs", "2", "--limit-images", "200", "--batch-size", "8"]  # 50 weight updates


def command(*arguments):
    return [sys.executable, "-m", "keras_vgg.fit", *arguments]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "finished"
    assert fit.main([*SMALL, "--workdir", str(folder)]) is None
    return folder


def test_leaves_a_whole_run_folder(finished):
    assert {entry.name for entry in finished.iterdir()} >= {
        *("recipe.toml", "log.csv", "tensorboard", "curves.png", "classes.txt", "best.keras", "last.keras", "summary.json"),
    }  # fmt: skip
    assert (finished / "classes.txt").read_text().split() == list("0123456789")
    log = pd.read_csv(finished / "log.csv")
    assert log.epoch.tolist() == [1, 2]
    assert log.step.tolist() == [3, 6]  # 120 images in batches of 50
    assert Image.open(finished / "curves.png").width > 500
    assert any((finished / "tensorboard").iterdir())
    assert json.loads((finished / "summary.json").read_text())["finished"]


def test_every_row_says_of_which_net_it_is(finished):
    digests = {name: digest_of_net(open_net_file(str(finished / f"{name}.keras")).load_model()) for name in ("best", "last")}
    log, summary = pd.read_csv(finished / "log.csv"), json.loads((finished / "summary.json").read_text())
    assert log["net sha256"].iloc[-1] == digests["last"] == summary["last_sha256"]
    assert log["net sha256"][log.val_top1_error.argmin()] == digests["best"] == summary["best_sha256"]
    assert log["net sha256"].nunique() == 2
    assert summary["init_from_sha256"] is None
    with Image.open(finished / "curves.png") as image:
        assert image.text["net sha256"] == digests["last"]


def test_logged_accuracy_is_that_of_the_saved_model(finished):
    """By another route: the plain Keras model, its attached preprocessing, one image after the other."""
    model = keras.saving.load_model(finished / "last.keras")
    preprocess = preprocessing.read_attached(finished / "last.keras")
    split = datasets.open_dataset("digits", limit_images=120).validation
    view = View(crop=32, scales=(36, 36))
    images, labels = zip(
        *((view(encoded, 0, label)[0], int(label)) for encoded, label in map(split.read, range(split.size))), strict=True
    )
    posteriors = model.predict(preprocess(np.stack(images)), verbose=0)
    last = pd.read_csv(finished / "log.csv").iloc[-1]
    assert last.val_top1_error == pytest.approx(np.mean(posteriors.argmax(1) != labels))
    assert last.val_loss == pytest.approx(-np.mean(np.log(posteriors[range(120), labels])), rel=1e-4)
    assert last.val_top5_error == pytest.approx(
        np.mean([label not in row.argsort()[-5:] for row, label in zip(posteriors, labels, strict=True)])
    )


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(tmp_path, precision):
    fit.main([*SMALL, "--precision", precision, "--limit-images", "50", "--epochs", "1", "--workdir", str(tmp_path / "run")])
    log = pd.read_csv(tmp_path / "run" / "log.csv")
    assert np.isfinite(log[["loss", "val_loss"]]).all(axis=None)
    arrays, _ = checkpoint.load(tmp_path / "run" / "state.zip")
    assert all(array.dtype == np.float32 for array in arrays if array.ndim > 1)  # weights stay in full precision
    assert keras.config.dtype_policy().name == "float32"  # what is made after the run is not the run's
    source = open_net_file(str(tmp_path / "run"))
    digests = {each: digest_of_net(source.load_model(precision=each)) for each in PRECISIONS}
    assert len(set(digests.values())) == len(PRECISIONS)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["best_sha256"] == digests[precision]  # whoever opens it in the run's precision has the net of the run
    assert digest_of_net(source.load_model()) == digests["float32"]


def test_goes_from_net_a_to_a_deeper_net(tmp_path, finished, capsys):
    fit.main([*SMALL, "--arch", "D", "--init-from", str(finished), "--epochs", "1", "--workdir", str(tmp_path / "d")])
    output = capsys.readouterr().out
    assert "copied: block1_conv1, block2_conv1, block3_conv1, block3_conv2, fc1, fc2, predictions" in output
    assert "left as initialized: block1_conv2" in output
    summary = json.loads((tmp_path / "d" / "summary.json").read_text())
    assert summary["init_from_sha256"] == json.loads((finished / "summary.json").read_text())["best_sha256"]
    assert f"from {finished} ({summary['init_from_sha256'][:8]})" in output


FREEZE = ["--init-from", "net.h5", "--freeze", "block1-block3, block5_conv1"]
FROZEN = ("block1_conv1", "block2_conv1", "block3_conv1", "block3_conv2", "block5_conv1")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A folder with net A without its top as the public files have it (legacy HDF5, for BGR minus the mean), and that net."""
    folder = tmp_path_factory.mktemp("bare")
    keras.utils.set_random_seed(5)
    net = build_vgg("A", input_shape=(None, None, 3), width=0.02, include_top=False)
    with h5py.File(folder / "net.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, net)
    return folder, net


@pytest.fixture
def beside_the_bare_net(bare, monkeypatch):
    monkeypatch.chdir(bare[0])
    return bare[1]


def test_fine_tunes_a_public_net_without_a_top(tmp_path, beside_the_bare_net, capsys):
    source, folder = beside_the_bare_net, tmp_path / "run"
    fit.main([*SMALL, *FREEZE, "--epochs", "1", "--workdir", str(folder)])
    output = capsys.readouterr().out
    copied = [layer.name for layer in source.layers if layer.weights]
    assert f"copied: {', '.join(copied)}\n" in output
    assert "left as initialized: predictions (the source has none)" in output
    tuned = keras.saving.load_model(folder / "last.keras")
    for name in copied[1:]:
        pairs = zip(tuned.get_layer(name).get_weights(), source.get_layer(name).get_weights(), strict=True)
        assert all(np.array_equal(ours, theirs) for ours, theirs in pairs) == (name in FROZEN), name
    # The first one is for what this run gives it, and stayed so: the same image, each in its own preprocessing.
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))
    first = [keras.Model(each.input, each.get_layer("block1_conv1").output) for each in (tuned, source)]
    given = preprocessing.read_attached(folder / "last.keras")
    inside = np.s_[:, 1:-1, 1:-1]
    expected = first[1](preprocessing.CAFFE(images))[inside]
    np.testing.assert_allclose(first[0](given(images))[inside], expected, atol=1e-4 * np.max(expected))
    assert np.std(expected) > 0


@pytest.mark.parametrize("said", [None, "caffe", "torch"])
def test_what_a_stock_keras_file_wants_of_an_image_must_be_said(tmp_path, said):
    build_vgg("A", input_shape=(32, 32, 3), width=0.02, classes=5).save(tmp_path / "stock.keras")
    wanted = Recipe(init_from=str(tmp_path / "stock.keras"), init_preprocessing=said)
    if said:
        assert preprocessing.for_model(run._source(wanted, wanted.init_from, TASK)[0]) == preprocessing.BY_NAME[said]
        return
    with pytest.raises(InputError, match=r"Received: .*stock\.keras, which does not; pass --init-preprocessing caffe or torch"):
        run._source(wanted, wanted.init_from, TASK)


class KilledError(BaseException):
    """Leaves on the disk what a SIGKILL would: nobody saves for it."""


def killed(self, text):
    raise KilledError


@pytest.mark.slow
def test_a_frozen_run_goes_on_after_a_kill_and_only_with_what_was_frozen(tmp_path, beside_the_bare_net, monkeypatch):
    """In half precision, too, whose copies of the weights no checkpoint has."""
    uninterrupted, folder = tmp_path / "uninterrupted", tmp_path / "run"
    arguments = [*SMALL, *FREEZE, "--precision", "mixed_bfloat16", "--micro-batch", "20"]
    fit.main([*arguments, "--workdir", str(uninterrupted)])
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "say", killed)  # after the first epoch
        with pytest.raises(KilledError):
            fit.main([*arguments, "--workdir", str(folder), "--checkpoint-minutes", "1e-9"])
    assert (folder / "state.zip").exists()
    with pytest.raises(InputError, match=r"another recipe .*freeze 'block1-block3, block5_conv1' there, 'block1' here"):
        fit.main([*arguments, "--freeze", "block1", "--workdir", str(folder)])
    fit.main([*arguments, "--workdir", str(folder)])
    assert outcome(folder) == outcome(uninterrupted)


MODERN = [
    *("--batch-norm", "--norm-group", "10", "--schedule", "cosine", "--warmup-epochs", "0.5", "--label-smoothing", "0.1"),
    *("--clip-norm", "1", "--ema-momentum", "0.8", "--optimizer", "adamw", "--layer-rate-decay", "0.9", "--sampling", "balanced"),
    *("--rand-augment", "1", "5", "--random-erasing", "0.3", "--mixup", "0.2", "--cutmix", "1", "--class-weights", "weights.csv"),
]  # fmt: skip


def test_what_came_after_the_paper_goes_on_after_a_kill(tmp_path, monkeypatch):
    """Batch norm, its statistics, schedule, clipping and the average of the weights, which is what is tested and kept; AdamW,
    rates of layers, augmentation, balanced classes and their weights."""
    monkeypatch.chdir(tmp_path)
    weights = "".join(f"{number},{1 + number / 10}\n" for number in range(10))
    (tmp_path / "weights.csv").write_text(f"class,weight\n{weights}")
    uninterrupted, folder = tmp_path / "uninterrupted", tmp_path / "run"
    fit.main([*SMALL, *MODERN, "--workdir", str(uninterrupted)])
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "say", killed)  # after the first epoch
        with pytest.raises(KilledError):
            fit.main([*SMALL, *MODERN, "--workdir", str(folder), "--checkpoint-minutes", "1e-9"])
    with pytest.raises(InputError, match=r"another recipe .*ema_momentum 0.8 there, 0.5 here"):
        fit.main([*SMALL, *MODERN, "--ema-momentum", "0.5", "--workdir", str(folder)])
    with pytest.raises(InputError, match=r"another recipe .*epochs 2 there, 3 here"):  # of a cosine, every rate depends on the end
        fit.main([*SMALL, *MODERN, "--epochs", "3", "--workdir", str(folder)])
    (tmp_path / "weights.csv").write_text(f"class,weight\n{weights.replace('1.5', '2.5')}")
    with pytest.raises(
        InputError, match=r"Cannot resume .*: the class weights have changed since this run started.* one that has changed"
    ):
        fit.main([*SMALL, *MODERN, "--workdir", str(folder)])
    (tmp_path / "weights.csv").write_text(f"class,weight\n{weights}")
    fit.main([*SMALL, *MODERN, "--workdir", str(folder)])
    assert outcome(folder) == outcome(uninterrupted)
    log, model = pd.read_csv(folder / "log.csv"), keras.saving.load_model(folder / "last.keras")
    assert log["net sha256"].iloc[-1] == digest_of_net(transfer.load_model(folder / "last.keras"))
    trained, _ = checkpoint.load(folder / "state.zip")
    assert not np.allclose(trained[0], model.get_weights()[0])  # the checkpoint has the weights, the model their average
    assert log.learning_rate.iloc[-1] < 0.002 / 4


def test_batch_norm_is_fine_tuned_from_a_net_that_has_it(tmp_path, capsys):
    first, second = tmp_path / "first.keras", tmp_path / "second"
    build_vgg("A", input_shape=(32, 32, 3), width=0.02, classes=10, batch_norm=True).save(first)
    preprocessing.attach(first, preprocessing.TORCH)
    told = [*SMALL, "--batch-norm", "--norm-group", "10", "--init-from", str(first), "--freeze", "block1-block2"]
    fit.main([*told, "--epochs", "1", "--workdir", str(second)])
    assert "model: net A BN" in capsys.readouterr().out
    before, after = (transfer.load_model(path) for path in (first, second))
    for name, stays in (("block1_bn1", True), ("block2_bn1", True), ("block3_bn1", False)):
        same = [
            np.array_equal(a, b)
            for a, b in zip(before.get_layer(name).get_weights(), after.get_layer(name).get_weights(), strict=True)
        ]
        assert all(same) == stays, name
    with pytest.raises(InputError, match=r"`init_from` takes the same net or net A"):
        fit.main([*SMALL, "--arch", "A", "--init-from", str(first), "--workdir", str(tmp_path / "third")])


def test_the_net_is_that_of_the_weights_to_begin_from(tmp_path, capsys):
    source, folder = tmp_path / "net.keras", str(tmp_path / "run")
    build_vgg("B", input_shape=(32, 32, 3), width=0.02, classes=10).save(source)
    preprocessing.attach(source, preprocessing.TORCH)
    told = [*TINY[2:], "--limit-images", "50", "--epochs", "1", "--init-from", str(source), "--workdir", folder]
    assert fit.main(told) is None
    begun = RunFolder(folder).experiment()
    assert (begun["arch"], begun["batch_norm"], configs.scaled_width(64, begun["width"])) == ("B", False, 1)
    assert "copied: block1_conv1, block1_conv2" in capsys.readouterr().out
    source.unlink()  # which a run that goes on needs no more
    assert fit.main(told) is None
    assert "contains a finished run" in capsys.readouterr().out


# --- Mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--scale", "100"], "`scale` must be at least the crop size, 224"),
        (["--jitter", "512", "256"], "`jitter` must be SMIN SMAX"),
        (["--recipe", "missing.toml"], "missing.toml"),
        (["--dataset", "flowers"], "`dataset` must be digits, folder:PATH"),
        (["--dataset", "folder:missing"], "missing, which is not a folder"),
        (["--init-from", "missing"], "missing"),
        (["--freeze", "block1"], "`freeze` must be given together with `init_from`"),
        (
            ["--arch", "A", "--init-from", "x", "--freeze", "blok1", "--dataset", "folder:missing"],
            "Received: 'blok1'; did you mean block1",
        ),
        (["--strategy", "multi-worker"], "TF_CONFIG"),
        (["--strategy", "one-device", "--replicas", "2"], "`replicas` must be 1 for the strategy one-device"),
    ],
)
def test_a_mistake_is_told_at_once(tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=told):
        fit.main(arguments)


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path):
    (tmp_path / "recipe.toml").write_text("archh = 'D'\n")
    process = subprocess.run(command("--recipe", str(tmp_path / "recipe.toml")), capture_output=True, text=True)
    assert process.returncode == 2
    assert len(process.stderr.splitlines()) == 1
    assert "unknown keys: archh" in process.stderr


def test_a_folder_of_another_recipe_is_left_alone(finished):
    before = (finished / "recipe.toml").read_bytes()
    with pytest.raises(InputError, match=r"another recipe \(epochs 2 there, 1 here\)"):
        fit.main([*SMALL, "--epochs", "1", "--workdir", str(finished)])
    assert (finished / "recipe.toml").read_bytes() == before


def begun(path, **fields):
    """A run folder with a checkpoint, as far as its recipe is concerned."""
    path.mkdir(parents=True)
    (path / "state.zip").touch()
    (path / "recipe.toml").write_text(to_toml(Recipe(**fields)))
    return RunFolder(path)


PLACED = {"dataset": "folder:fl", "init_from": "runs/a", "epochs": 5}


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "folder:./fl"},
        {"dataset": "folder:/scratch/job/fl"},
        {"init_from": "/elsewhere/a"},
        {"epochs": 6},
        {"max_bad_fraction": 0.2},
    ],
)
def test_a_run_is_gone_on_with_although_its_files_lie_elsewhere(tmp_path, change):
    begun(tmp_path / "run", **PLACED).check(Recipe(**PLACED | change))


@pytest.mark.parametrize(
    "change", [{"dataset": "csv:fl"}, {"dataset": "digits"}, {"init_from": None}, {"epochs": 4}, {"seed": 1}, {"scale": 300}]
)
def test_a_run_is_not_gone_on_with_as_another(tmp_path, change):
    with pytest.raises(InputError, match=f"another recipe .{next(iter(change))} "):
        begun(tmp_path / "run", **PLACED).check(Recipe(**PLACED | change))


@pytest.mark.parametrize(("ended_by", "more", "is_finished"), [("epochs", 0, True), ("epochs", 1, False), ("plateau", 1, True)])
def test_a_run_that_its_epochs_ended_is_unfinished_where_more_are_wanted(tmp_path, ended_by, more, is_finished):
    folder = begun(tmp_path / "run", epochs=5)
    assert not folder.is_finished(Recipe(epochs=5))
    folder.write_summary({"finished": True, "ended_by": ended_by, "epochs": 5})
    assert folder.is_finished(Recipe(epochs=5 + more)) == is_finished


@pytest.mark.slow
def test_with_more_epochs_a_run_goes_on_as_if_they_had_been_wanted_at_once(tmp_path, finished, monkeypatch):
    folder, shown = tmp_path / "run", []
    fit.main([*SMALL, "--epochs", "1", "--workdir", str(folder)])
    monkeypatch.setattr(Progress, "show", lambda self, text: shown.append(text))
    fit.main([*SMALL, "--workdir", str(folder)])
    assert outcome(folder) == outcome(finished)
    assert json.loads((folder / "summary.json").read_text())["epochs"] == 2
    assert "epoch 2/2  validation" in shown


def test_folders_whose_recipe_cannot_be_read_do_not_keep_from_beginning(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ours = begun(tmp_path / "runs" / "net-a-1").path
    for name in ("net-a-2", "net-a-3"):
        begun(tmp_path / "runs" / name)
    (tmp_path / "runs" / "net-a-2" / "recipe.toml").write_text("momentous = 0.9\n")
    (tmp_path / "runs" / "net-a-3" / "recipe.toml").unlink()
    folder, unfinished = choose_folder(None, Recipe(), "net-a")
    assert (folder.path, unfinished) == (ours.relative_to(tmp_path), True)
    told = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in told] == ["skipped runs/net-a-3", "skipped runs/net-a-2"]
    assert choose_folder(None, Recipe(seed=1), "net-a")[1] is False


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="contains other files"):
        fit.main([*SMALL, "--workdir", str(tmp_path)])


def test_a_path_that_cannot_be_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="`workdir` must be a writable folder"):
        fit.main([*SMALL, "--workdir", str(tmp_path / "file" / "run")])


def test_a_finished_run_is_not_trained_again(finished, capsys):
    before = (finished / "log.csv").stat().st_mtime_ns
    fit.main([*SMALL, "--workdir", str(finished)])
    data, folder = capsys.readouterr().out.splitlines()
    assert "no --dataset given: training on the embedded digits" in data
    assert "contains a finished run" in folder
    assert (finished / "log.csv").stat().st_mtime_ns == before


def test_frozen_layers_must_come_from_the_source(tmp_path, beside_the_bare_net):
    with pytest.raises(
        InputError, match=r"layers that `init_from` provides. Received: fc1, left as initialized \(the source has none"
    ):
        fit.main([*SMALL, "--head", "fc", "--init-from", "net.h5", "--freeze", "fc1", "--workdir", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()  # nothing was begun


def test_divergence_names_the_step_and_a_way_out(tmp_path):
    with pytest.raises(InputError, match=r"loss became (nan|inf) at epoch \d, step \d.*lower --learning-rate"):
        fit.main([*SMALL, "--learning-rate", "1e4", "--workdir", str(tmp_path / "run")])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["ended_by"], summary["finished"]) == ("diverged", False)


FINITE = ["--optimizer", "adamw", "--learning-rate", "1"]
"""Diverges, but to losses that float32 can represent: from 1e6 to 1e9."""


def test_a_finite_divergence_is_no_best_and_is_told(tmp_path, capsys):
    fit.main([*SMALL, *FINITE, "--epochs", "1", "--workdir", str(tmp_path / "run")])
    log, shown = pd.read_csv(tmp_path / "run" / "log.csv"), capsys.readouterr().out
    assert min(log.loss.iloc[0], log.val_loss.iloc[0]) > 1e3
    assert "best so far" not in shown
    assert "Warning: training seems to diverge: the losses are " in shown
    assert "; the chance level is 2.303 (learning rate 1). If they do not fall, start a new run with a lower" in shown
    assert (tmp_path / "run" / "best.keras").exists()  # whatever is to be tested


def test_a_run_that_stays_far_above_chance_is_ended_also_across_a_stop(tmp_path, monkeypatch):
    """Four updates in a row: three in the first epoch, and one after it was stopped."""
    monkeypatch.setattr(checks, "LONG", 4)
    folder = tmp_path / "run"
    diverging = [*SMALL, "--init", "gaussian", "--init-deviation", "0.5", "--learning-rate", "1e-12", "--workdir", str(folder)]
    fit.main([*diverging, "--epochs", "1"])
    wanted = (
        r"The loss was above 23 for 4 updates in a row and is [\d.]+e\+\d\d \(.*init gaussian.*--init glorot.*last checkpoint is in"
    )
    with pytest.raises(InputError, match=wanted):
        fit.main([*diverging, "--epochs", "2"])
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["ended_by"], summary["finished"]) == ("diverged", False)


@pytest.mark.parametrize(
    ("task", "losses", "far"),
    [
        (TASK, (23.1, 24.0), True),  # ten times ln 10
        (TASK, (22.9, 1e30), False),  # overfitted
        (TASK, (1e30, 2.0), False),  # the losses of the first updates, which have fallen
        (Classification(tuple("ab"), class_weights=(0.5, 4.0)), (27.0, 28.0), False),
        (Classification(tuple("ab"), class_weights=(0.5, 4.0)), (28.0, 28.0), True),  # 4 times ten times ln 2
        (MultiLabel(tuple("abc")), (7.0, 7.0), True),
        (Localisation(tuple("ab")), (19.0, 21.0), False),
        (Localisation(tuple("ab")), (21.0, 21.0), True),
    ],
)
def test_losses_are_far_above_chance_for_each_task(task, losses, far):
    assert checks.is_far(task, *losses) == far
    told = checks.loss_warning(task, *losses, Recipe(), 0.01)
    assert (told is not None) == far
    assert not far or ("chance level" in told) == (task.chance_loss is not None)


@pytest.mark.parametrize(
    ("fields", "given", "missing"),
    [
        ({}, ["--clip-norm 1", "--warmup-epochs with --schedule cosine"], ["--init", "--precision"]),
        ({"init": "he", "clip_norm": 5.0}, ["--init glorot"], ["--clip-norm", "--precision"]),
        ({"schedule": "step", "precision": "mixed_bfloat16"}, ["--warmup-epochs,", "or --precision float32"], ["cosine", "--init"]),
        ({"schedule": "step", "warmup_epochs": 2.0, "precision": "mixed_float16"}, ["float32 or mixed_bfloat16"], ["--warmup"]),
        ({"init": "gaussian", "init_from": "vgg16"}, ["a lower --learning-rate"], ["--init glorot", "init gaussian"]),
    ],
)
def test_advice_against_divergence_is_none_that_the_recipe_has(tmp_path, fields, given, missing):
    with pytest.raises(InputError, match=r"Start a new run with a lower --learning-rate") as caught:
        checks.check_loss(math.inf, Recipe(**fields), RunFolder(tmp_path), epoch=1, step=1, learning_rate=0.1)
    told = str(caught.value)
    assert all(each in told for each in given), told
    assert not any(each in told for each in missing), told


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({}, "try another --learning-rate or --batch-norm."),
        ({"arch": "D"}, "try another --learning-rate, --init-from a trained net A (Sec. 3.1), or --batch-norm."),
        ({"arch": "D", "init_from": "runs/a", "batch_norm": True}, "try another --learning-rate."),
        ({"init": "gaussian"}, "try another --learning-rate, --init glorot, or --batch-norm."),
    ],
)
def test_advice_to_a_stuck_run_is_none_that_it_follows(fields, advice):
    assert checks.loss_warning(TASK, 2.3026, 2.3026, Recipe(**fields), 0.01).endswith(f"If it stays there, {advice}")


def test_divergence_in_the_last_update_of_an_epoch_spoils_no_checkpoint(tmp_path, finished):
    """NaN weights show only in validation then; the saved models must be the ones from before."""
    folder = tmp_path / "run"
    one_step = [*TINY, "--batch-size", "120", "--limit-images", "120", "--epochs", "9", "--learning-rate", "1e4"]
    with pytest.raises(InputError, match="loss became"):
        fit.main([*one_step, "--workdir", str(folder)])
    for path in folder.glob("*.keras"):
        assert all(np.isfinite(weight).all() for weight in keras.saving.load_model(path).get_weights())


def test_a_slip_at_the_start_does_not_block_the_folder(tmp_path, finished):
    with pytest.raises(InputError, match="no_such_run"):
        fit.main([*SMALL, "--epochs", "1", "--init-from", "no_such_run", "--workdir", str(tmp_path / "run")])
    folder, unfinished = choose_folder(str(tmp_path / "run"), Recipe(init_from=str(finished)), "")
    assert not folder.path.exists()
    assert not unfinished


def test_several_workers_need_a_shared_folder(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(InputError, match="--workdir"):
        fit.main(SMALL)


def test_a_folder_of_one_class_is_refused_before_training(tmp_path):
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / "data" / "a").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "a" / name).touch()
    with pytest.raises(InputError, match="at least two classes"):
        fit.main([*SMALL, "--dataset", f"folder:{tmp_path / 'data'}", "--workdir", str(tmp_path / "run")])


@pytest.mark.parametrize(("precision", "advised"), [("float32", False), ("mixed_float16", True)])
def test_a_divergent_loss_is_advised_what_it_has_not(tmp_path, precision, advised):
    recipe = Recipe(precision=precision)
    with pytest.raises(InputError, match="The loss became nan") as caught:
        checks.check_loss(float("nan"), recipe, RunFolder(tmp_path), epoch=1, step=1, learning_rate=0.1)
    assert ("--precision float32" in str(caught.value)) == advised


@pytest.mark.parametrize(
    ("name", "way"), [("run", "Fix them, or raise --max-bad-fraction"), ("new", "Fix or remove them, or raise --max-bad-fraction")]
)
def test_ways_out_of_broken_images_are_those_there_are(tmp_path, name, way):
    """A run that was begun would refuse the data without them."""
    begun(tmp_path / "run")
    with pytest.raises(InputError, match=rf"2 of 9 train images .*, e.g. x: why \(all listed in .*\). {way}"):
        checks.check_broken("train", 2, 9, [("x", "why")], Recipe(), RunFolder(tmp_path / name))


def test_a_run_goes_on_whose_classes_were_otherwise_stored(tmp_path):
    then = {"sizes": [9, 1], "classes": ["cafe\u0301", "tea "]}
    checks.check_data(then, {"sizes": [9, 1], "classes": ["caf\u00e9", "tea"]}, RunFolder(tmp_path))
    for changed in ({"sizes": [8, 2]}, {"classes": ["tea", "caf\u00e9"]}):
        with pytest.raises(InputError, match=r"the classes or numbers of images of the dataset have changed .*\(\[9, 1\] then"):
            checks.check_data(then, {"sizes": [9, 1], "classes": ["caf\u00e9", "tea"]} | changed, RunFolder(tmp_path))


@pytest.mark.parametrize(
    ("broken", "named", "told"),
    [(1, 3, "3 of 25 train .*0.01: 0: why; 1: why; 2: why "), (9, 3, "9 of .*, e.g. 0: why"), (1, 7, "7 of .*, e.g. 0.*4: why ")],
)
def test_broken_images_are_as_many_as_are_named(tmp_path, broken, named, told):
    """Images are read ahead of the step that counts them, and those of other workers are not named here."""
    with pytest.raises(InputError, match=told):
        checks.check_broken("train", broken, 25, [(str(n), "why") for n in range(named)], Recipe(), RunFolder(tmp_path))


def test_colours_that_are_gone_are_measured_again(tmp_path):
    wanted = Recipe(crop=32, scale=32, limit_images=20)
    dataset = datasets.open_dataset("digits", limit_images=20)
    folder = begun(tmp_path / "run")
    first = run._colors(wanted, dataset, folder, resuming=False)
    assert run._colors(wanted, dataset, folder, resuming=True) == first
    folder.colors.write_text(json.dumps(dataclasses.asdict(color.IMAGENET)))
    kept = run._colors(wanted, dataset, folder, resuming=True)
    np.testing.assert_array_equal(kept.mean, color.IMAGENET.mean)


@pytest.mark.parametrize("task", [{"type": "worker", "index": 2}, {"type": "worker", "index": -1}, {"type": "ps", "index": 0}])
def test_a_task_that_its_cluster_has_not_is_told(monkeypatch, task):
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    with pytest.raises(
        InputError, match=rf"type '{task['type']}', index {task['index']}; the cluster has 1 of type chief and 2 of type"
    ):
        make_cluster("multi-worker")


def test_a_stuck_loss_draws_a_warning(tmp_path, capsys):
    fit.main([*SMALL, "--init", "gaussian", "--limit-images", "50", "--epochs", "1", "--workdir", str(tmp_path / "run")])
    assert "stuck at 2.303, the chance level" in capsys.readouterr().out


@pytest.mark.parametrize(("losses", "is_stuck"), [((2.3026, 2.3026), True), ((2.3138, 2.2223), False), ((1.9, 2.3), False)])
def test_a_loss_that_passes_by_what_guessing_gives_draws_none(losses, is_stuck):
    """The second are those of the quickstart's first epoch."""
    assert bool(checks.loss_warning(TASK, *losses, Recipe(), 0.005)) == is_stuck


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, finished):
    """The largest file that may be written stands in for the room on the disk: not enough for the next checkpoint."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "summary.json").unlink()  # as if it had been stopped after its first epoch
    arrays, values = checkpoint.load(folder / "state.zip")
    values["position"]["epoch"], values["position"]["history"] = 1, values["position"]["history"][:1]
    checkpoint.save(folder / "state.zip", arrays, values)
    before = (folder / "state.zip").read_bytes()
    room = len(before) // 2
    _, most = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    try:
        with pytest.raises(InputError, match="Could not write"):
            fit.main([*SMALL, "--workdir", str(folder)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (folder / "state.zip").read_bytes() == before


def make_images(folder, broken):
    rng = np.random.default_rng(0)
    for split, number in (("train", 30), ("val", 5)):
        for label in "ab":
            (folder / split / label).mkdir(parents=True)
            for i in range(number):
                pixels = rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{i}.jpg")
    for path in [folder / "train" / "a" / f"{i}.jpg" for i in range(broken)]:
        path.write_bytes(path.read_bytes()[:300])


IMAGES = [*TINY, "--epochs", "1", "--batch-size", "20"]


@pytest.fixture(scope="module")
def of_images(tmp_path_factory):
    """A folder with images, two of them broken, in `data` and a run on them in `run`."""
    place = tmp_path_factory.mktemp("of_images")
    make_images(place / "data", broken=2)
    fit.main([*IMAGES, *in_folder(place)])
    return place


def in_folder(place):
    return ["--dataset", f"folder:{place / 'data'}", "--max-bad-fraction", "0.05", "--workdir", str(place / "run")]


def test_broken_images_are_skipped_counted_and_listed(of_images):
    assert pd.read_csv(of_images / "run" / "log.csv").broken_images.tolist() == [2]
    listed = pd.read_csv(of_images / "run" / "broken_images.csv")
    assert listed.image.str.endswith(("a/0.jpg", "a/1.jpg")).all()
    assert len(listed) == 2


def test_an_image_that_came_back_leaves_the_list_and_one_that_did_not_stays(of_images, tmp_path):
    place = shutil.copytree(of_images, tmp_path / "mended")
    (place / "run" / "summary.json").unlink()
    images = place / "data" / "train" / "a"
    shutil.copy(images / "7.jpg", images / "0.jpg")
    table = pd.read_csv(place / "run" / "broken_images.csv")
    table["image"] = table.image.str.replace(str(of_images), str(place))
    table.to_csv(place / "run" / "broken_images.csv", index=False)
    fit.main([*IMAGES, *in_folder(place), "--epochs", "2"])
    listed = pd.read_csv(place / "run" / "broken_images.csv")
    assert listed.image.tolist() == [str(images / "1.jpg")]
    assert pd.read_csv(place / "run" / "log.csv").broken_images.tolist() == [2, 1]


def test_other_data_are_not_gone_on_with(of_images, tmp_path):
    place = shutil.copytree(of_images, tmp_path / "moved")
    (place / "run" / "summary.json").unlink()
    (place / "data" / "train" / "a" / "7.jpg").unlink()
    with pytest.raises(
        InputError, match=r"the classes or numbers of images of the dataset have changed .*\(\[60, 10\] then, \[59, 10\] now\)"
    ):
        fit.main([*IMAGES, *in_folder(place)])


def test_too_many_broken_images_stop_the_run_with_their_names(tmp_path):
    make_images(tmp_path / "data", broken=6)
    with pytest.raises(InputError, match=r"of 60 train images could not be read, more than .* 0.01(, e.g. |: ).*a/\d.jpg"):
        fit.main([*IMAGES, "--dataset", f"folder:{tmp_path / 'data'}", "--workdir", str(tmp_path / "run")])


# --- Stopping and going on ------------------------------------------------------------------------------------------------


def start(folder, output, *arguments):
    # With huge pages: else it would begin again, from scratch.
    return WarmProcess("keras_vgg.fit", [*LONG, "--workdir", str(folder), *arguments], output, environment=ENVIRONMENT)


def wait_for_updates(folder, process, seconds=120):
    """Waits until the process has written a checkpoint of its own."""

    def written():
        return (folder / "state.zip").stat().st_mtime_ns if (folder / "state.zip").exists() else 0

    before, deadline = written(), time.monotonic() + seconds
    while written() == before:
        assert process.poll() is None, process.output()
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.slow
def test_killed_and_stopped_at_random_moments_it_ends_the_same(tmp_path, capsys):
    """SIGKILL, also while a checkpoint is written (here after every update), SIGTERM or Ctrl-C; then bit for bit the same."""
    uninterrupted, folder = tmp_path / "uninterrupted", tmp_path / "run"
    fit.main([*LONG, "--workdir", str(uninterrupted)])
    seed = int(os.environ.get("KERAS_VGG_TEST_SEED", time.time_ns()))
    rng = random.Random(seed)
    for number in (signal.SIGKILL, rng.choice([signal.SIGTERM, signal.SIGINT])):
        process = start(folder, tmp_path / f"{number.name}.txt", "--checkpoint-minutes", "1e-9")
        wait_for_updates(folder, process)
        time.sleep(rng.random() * 0.3)
        process.send_signal(number)
        code, output = process.wait(120), process.output()
        if number == signal.SIGKILL:
            assert code == -number, output
        else:
            assert code == 128 + number, output
            assert f"stopped by {number.name}; saved in" in output
            keras.saving.load_model(folder / "last.keras")
        checkpoint.load(folder / "state.zip")  # whole at any instant
    fit.main([*LONG, "--workdir", str(folder)])
    assert "resuming" in capsys.readouterr().out
    assert outcome(folder) == outcome(uninterrupted), f"KERAS_VGG_TEST_SEED={seed}"


def test_a_reader_that_goes_away_ends_a_run_as_ctrl_c_does(tmp_path, finished, monkeypatch, capfd):
    """As `… | head -1` does."""
    read, write = os.pipe()
    show = Progress.show

    def go_away(self, text):
        monkeypatch.setattr(Progress, "show", show)
        self._every = 0
        os.close(read)
        self.show(text)

    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", streams.Output(os.fdopen(write, "w")))
        monkeypatch.setattr(Progress, "show", go_away)
        assert fit.main([*SMALL, "--workdir", str(tmp_path / "run")]) == 128 + signal.SIGPIPE
    assert "standard output was closed: saving" in capfd.readouterr().err
    _, values = checkpoint.load(tmp_path / "run" / "state.zip")
    assert (values["position"]["epoch"], values["position"]["step"]) == (0, 1)  # the update that it was in


def test_without_workdir_the_same_command_goes_on(tmp_path, monkeypatch, capsys, finished):
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(finished, tmp_path / "runs" / "net-a-1")
    (folder / "summary.json").unlink()
    fit.main(SMALL)
    assert "runs/net-a-1 (unfinished)" in capsys.readouterr().out
    assert json.loads((folder / "summary.json").read_text())["finished"]
    another, unfinished = choose_folder(None, read_run_recipe(folder / "recipe.toml"), "net-a")  # finished: a new one
    assert not another.path.exists()
    assert not unfinished
