"""Every file that a run and an evaluation leave, damaged as by a power failure: made again, or named in one line."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pandas as pd
import pytest

from keras_vgg import evaluate, export, fit, predict, transfer
from keras_vgg.errors import InputError
from keras_vgg.evaluation.results import Posteriors
from keras_vgg.identity import digest_of_net
from keras_vgg.inference import net_files
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.linear import report as transfer_report
from keras_vgg.models import build_vgg
from keras_vgg.preprocessing import CAFFE
from keras_vgg.recipe import read_run_recipe
from keras_vgg.serving.model_card import _summary, read_table
from keras_vgg.tasks.classification import Classification
from keras_vgg.training import report
from keras_vgg.training.cluster import make_cluster
from keras_vgg.training.run_folder import RunFolder
from keras_vgg.training.run_state import RunState
from keras_vgg.training.run_writer import RunWriter

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "colors_measured_once", "images_surveyed_once")

ARGUMENTS = [
    *("--width", "0.02", "--crop", "32", "--scale", "36", "--no-jit", "--color"),
    *("--batch-size", "50", "--limit-images", "50", "--epochs", "1"),
]  # fmt: skip
DAMAGES = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "garbage": lambda data: np.random.default_rng(0).bytes(len(data)),
    "zeros": lambda data: bytes(len(data)),
}
OF_A_RUN = (
    "recipe.toml",
    "classes.txt",
    "colors.json",
    "data.json",
    "log.csv",
    "summary.json",
    "curves.png",
    "best.keras",
    "last.keras",
)
"""Files that are made again; with `state.zip`, TensorBoard's and the lock all that there are."""

every_damage = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


every_other = pytest.mark.parametrize("turn", [0, 2])
"""Where a trial takes seconds: each file is damaged in two ways, other files in others at the same time."""


def spoil(path, damage):
    path.write_bytes(damage(path.read_bytes()))


def spoil_each(paths, turn):
    for number, path in enumerate(paths, start=turn):
        spoil(path, list(DAMAGES.values())[number % len(DAMAGES)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert fit.main([*ARGUMENTS, "--workdir", str(folder)]) is None
    assert {path.name for path in folder.iterdir()} == {*OF_A_RUN, "state.zip", "tensorboard", ".lock"}
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


# --- A run that is gone on with -------------------------------------------------------------------------------------------


@pytest.mark.slow
@every_other
def test_a_run_makes_its_files_again(finished, run, turn, capsys):
    spoil_each([run / name for name in OF_A_RUN], turn)
    assert fit.main([*ARGUMENTS, "--workdir", str(run)]) is None
    assert "(unfinished)" in capsys.readouterr().out
    for name in ("recipe.toml", "classes.txt", "colors.json", "data.json", "log.csv"):
        assert (run / name).read_bytes() == (finished / name).read_bytes(), name
    was, now = (json.loads((folder / "summary.json").read_text()) for folder in (finished, run))
    assert {**now, "seconds": 0, "images_per_second": 0} == {**was, "seconds": 0, "images_per_second": 0}
    for name in ("best.keras", "last.keras"):
        assert len({digest_of_net(transfer.load_model(folder / name)) for folder in (finished, run)}) == 1


@every_damage
@pytest.mark.parametrize("name", OF_A_RUN)
def test_a_finished_run_is_gone_on_with_where_a_text_of_it_is_damaged(run, name, damage):
    folder, wanted = RunFolder(run), read_run_recipe(run / "recipe.toml")
    assert folder.is_finished(wanted)
    spoil(run / name, damage)
    assert folder.is_finished(wanted) == (name in ("curves.png", "colors.json", "data.json", "best.keras", "last.keras"))
    folder.check(wanted)
    (run / "state.zip").unlink()  # without it nothing can be made again, and a finished run stays one
    assert folder.is_finished(wanted) == (name != "summary.json")


@every_damage
def test_a_checkpoint_must_be_whole(run, damage):
    (run / "summary.json").unlink()
    spoil(run / "state.zip", damage)
    with pytest.raises(InputError, match=r"Checkpoint .*state\.zip is damaged .*Delete it"):
        fit.main([*ARGUMENTS, "--workdir", str(run)])
    spoil(run / "recipe.toml", damage)
    with pytest.raises(InputError, match=r"Cannot read the recipe of this run, neither from .*recipe\.toml nor from state\.zip"):
        fit.main([*ARGUMENTS, "--workdir", str(run)])


def keeper_of(folder, errors, step=0):
    """A keeper of models at a place of a run whose epochs had these errors, and that place."""
    model = build_vgg("A", input_shape=(32, 32, 3), width=0.02, classes=3)
    history = [{"epoch": epoch, "val_top1_error": error, "val_top5_error": 0.0} for epoch, error in enumerate(errors, start=1)]
    best = errors.index(min(errors)) + 1
    state = RunState(epoch=len(errors), step=step, history=history, best_figure=1 - min(errors), best_epoch=best)
    task = Classification(("a", "b", "c"))
    return RunWriter(RunFolder(folder), make_cluster("one-device", None), model, [], CAFFE, task, ""), state


@every_damage
@pytest.mark.parametrize(("errors", "step", "is_made"), [((0.5, 0.4), 0, True), ((0.5, 0.4), 3, False), ((0.4, 0.5), 0, False)])
def test_the_best_net_is_made_again_where_the_checkpoint_has_it(tmp_path, damage, errors, step, is_made):
    keeper, position = keeper_of(tmp_path, errors, step)
    keeper.save_models(improved=True)
    assert not keeper.mend_models(position)
    spoil(tmp_path / "best.keras", damage)
    if is_made:
        assert not keeper.mend_models(position)
        assert keras.saving.load_model(tmp_path / "best.keras").count_params()
        return
    with pytest.raises(InputError, match=r"best\.keras, of epoch [12], is damaged\. Restore a copy, or"):
        keeper.mend_models(position)
    (tmp_path / "best.keras").unlink()
    assert keeper.mend_models(position)
    position.forget_best()
    assert position.best is None
    assert not keeper.mend_models(position)


def test_after_a_lost_best_net_an_epoch_to_come_is_the_best():
    state = RunState(epoch=1, history=[{"epoch": 1, "val_top1_error": 0.1}], best_figure=0.9, best_epoch=1)
    state.forget_best()
    assert state.best is None
    assert state.finish_epoch({"epoch": 2, "val_top1_error": 0.3}, 0.7)
    assert RunState.from_values(json.loads(json.dumps(state.to_values()))) == state
    assert state.best["epoch"] == 2


def test_the_state_of_a_run_of_version_0_1_is_taken_up():
    totals = {"loss": 1.5, "top1": 1.0, "top5": 2.0, "examples": 3.0, "broken": 0.0, "stop": 0.0}
    history = [{"epoch": epoch, "val_top1_error": error} for epoch, error in enumerate((0.1, 0.4, 0.3), start=1)]
    old = {"epoch": 3, "step": 1, "totals": totals, "history": history, "best_accuracy": 0.7, "best_from": 1, "seconds": 4.0}
    state = RunState.from_values(old)
    assert (state.best_figure, state.best_epoch, state.best) == (0.7, 3, history[2])
    assert state.totals.sums == {"loss": 1.5, "top1": 1.0, "top5": 2.0}
    assert RunState.from_values(old | {"history": [], "best_from": 0, "best_accuracy": -1.0}).best is None


@every_damage
def test_a_damaged_list_of_broken_images_begins_anew(tmp_path, damage, capsys):
    path = tmp_path / "broken_images.csv"
    report.write_broken(
        path, pd.DataFrame([("train", f"{name}.jpg", "why") for name in "ab"], columns=["split", "image", "reason"])
    )
    spoil(path, damage)
    listed = report.read_broken(path)
    assert list(listed.columns) == ["split", "image", "reason"]
    assert ("is damaged: replacing it" in capsys.readouterr().out) == (not len(listed))


# --- What others read of a run --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seen(finished):
    return look(finished)


def look(run):
    """What a test, a prediction and an export take from a run folder."""
    source = open_net_file(run)
    model = source.load_model()
    names, digest = source.class_names(10), digest_of_net(model)
    return source.default_scale, source.flip, names, digest, source.preprocessing_text, _summary(run, digest)


NAMED = {"recipe.toml", "classes.txt", "data.json", "summary.json", "best.keras"}


@every_damage
@pytest.mark.parametrize("name", [*OF_A_RUN, "state.zip"])
def test_a_damaged_file_is_named_or_does_not_matter(seen, run, name, damage):
    spoil(run / name, damage)
    if name not in NAMED:
        assert look(run) == seen
        return
    with pytest.raises(InputError, match=name.replace(".", r"\.")) as caught:
        look(run)
    told = str(caught.value)
    assert name == "best.keras" or "keras_vgg.fit command" in told or "must list the net's 10 classes" in told


@pytest.mark.parametrize("removed", [True, False])
def test_a_net_file_that_goes_or_changes_each_time_it_is_read_is_told(run, monkeypatch, removed):
    net, load, reads = open_net_file(run), transfer.load_model, []

    def load_while_it_is_written(path, **options):
        reads.append(load(path, **options))
        path.unlink() if removed else path.touch()
        if removed:
            raise InputError("changed while it was being read")
        return reads[-1]

    monkeypatch.setattr(transfer, "load_model", load_while_it_is_written)
    told = "could not be read: No such file or directory" if removed else "changed each time it was read"
    with pytest.raises(InputError, match=told):
        net.load_model()
    assert len(reads) == (1 if removed else net_files._TRIES)


def test_names_of_classes_that_are_cut_off_within_the_last_are_damaged(run):
    (run / "classes.txt").write_text("\n".join(map(str, range(10))))
    with pytest.raises(InputError, match=r"classes\.txt .it is truncated: its last line has no newline"):
        open_net_file(run)
    (run / "recipe.toml").unlink()  # a list beside others' weights, which people may have written
    assert open_net_file(run).classes == tuple(map(str, range(10)))


@pytest.mark.parametrize("name", ["recipe.toml", "classes.txt"])
def test_commands_end_in_one_line(run, name, tmp_path):
    spoil(run / name, DAMAGES["half"])
    for main, arguments in (
        (predict.main, [__file__, "--model", str(run)]),
        (evaluate.main, ["--model", str(run), "--dataset", "digits", "--out", str(tmp_path / "out")]),
        (export.main, ["--model", str(run), "--out", str(tmp_path / "out")]),
        (fit.main, [*ARGUMENTS, "--init-from", str(run), "--workdir", str(tmp_path / "new")]),
    ):
        if (main, name) == (fit.main, "recipe.toml"):
            continue  # which takes nothing from it
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            main(arguments)


# --- What an evaluation leaves --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tested(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tested") / "out"
    test_into(folder, finished)
    return folder


def test_into(folder, run):
    evaluate.main(
        ["--model", str(run), "--dataset", "digits", "--limit-images", "20", "--protocol", "center", "--out", str(folder)]
    )


test_into.__test__ = False


def lines_of(folder):
    return [{**line, "images/s": 0} for line in json.loads((folder / "table.json").read_text())]


@every_other
def test_an_evaluation_makes_its_files_again(finished, tested, tmp_path, turn):
    folder = shutil.copytree(tested, tmp_path / "out")
    others = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "table.json")
    assert {path.suffix for path in others} == {".npz", ".npy", ".json", ".csv", ".png"}
    spoil_each(others, turn)
    test_into(folder, finished)
    assert lines_of(folder) == lines_of(tested)
    (name,) = (path.name for path in tested.glob("*.npz"))
    np.testing.assert_array_equal(Posteriors.read(folder / name).values, Posteriors.read(tested / name).values)


@every_damage
def test_a_damaged_table_is_named_and_nothing_of_it_is_lost(finished, tested, tmp_path, damage):
    folder = shutil.copytree(tested, tmp_path / "out")
    spoil(folder / "table.json", damage)
    with pytest.raises(InputError, match=r"table of earlier evaluations. Received: .*table\.json .*; fix or delete it"):
        test_into(folder, finished)
    with pytest.raises(InputError, match=r"with its table\.json. Received: "):
        read_table(folder)
    with pytest.raises(InputError, match=r"table of earlier measurements. Received: .*table\.json .*; fix or delete it"):
        transfer_report.write(folder, [])


@pytest.mark.parametrize("content", ["null", "1", "{}", "[1]", '["net"]', "[" * 100_000])
def test_a_table_is_a_list_of_lines(tmp_path, content):
    (tmp_path / "table.json").write_text(content)
    for read in (read_table, lambda folder: transfer_report.write(folder, [])):
        with pytest.raises(InputError, match=r"table\.json"):
            read(tmp_path)


def test_posteriors_of_a_table_that_was_removed_are_written_over_by_their_like_alone(finished, tested, tmp_path):
    folder = shutil.copytree(tested, tmp_path / "out")
    (path,) = folder.glob("*.npz")
    (folder / "table.json").unlink()
    before = Posteriors.read(path)
    test_into(folder, finished)
    assert [each.name for each in folder.glob("*.npz")] == [path.name]
    np.testing.assert_array_equal(Posteriors.read(path).values, before.values)
    (folder / "table.json").unlink()
    dataclasses.replace(before, facts=before.facts | {"nets sha256": "another's"}).save(path)
    content = path.read_bytes()
    test_into(folder, finished)
    assert path.read_bytes() == content
    assert len(list(folder.glob("*.npz"))) == 2


@every_damage
def test_damaged_posteriors_are_named(tested, tmp_path, damage):
    (path,) = shutil.copytree(tested, tmp_path / "out").glob("*.npz")
    spoil(path, damage)
    with pytest.raises(InputError, match=r"Expected posteriors .*Received: .*\.npz"):
        evaluate.main(["--posteriors", str(path), "--out", str(tmp_path / "fused")])
