"""What commands make outside of `files.replacing` is refused in one line, too: a file where a folder should be, or the reverse."""

import builtins
import contextlib
import errno
import io
import os
import shutil
import tempfile

import numpy as np
import pytest
from PIL import Image

from keras_vgg import evaluate, extract, fit, preprocessing, saved_model, transfer_eval
from keras_vgg.errors import InputError
from keras_vgg.models import build_vgg
from keras_vgg.remote.features_file import FeaturesFile
from keras_vgg.training.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "images_surveyed_once")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A net, and images of its two classes, of which one is broken."""
    folder = tmp_path_factory.mktemp("made")
    build_vgg("A", input_shape=(32, 32, 3), width=0.02, classes=2).save(folder / "net.keras")
    preprocessing.attach(folder / "net.keras", preprocessing.TORCH)
    for place in ("train/a", "train/b", "val/a", "val/b"):
        (folder / place).mkdir(parents=True)
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(folder / place / f"{number}.png")
    for part in ("train", "val"):
        (folder / part / "b" / "2.png").write_bytes(b"no image")
    return folder


GIVEN = ["--model", "net.keras", "--dataset", "folder:.", "--scales", "32", "--out"]
COMMANDS = {
    "evaluate": (evaluate.main, [*GIVEN, "out", "--protocol", "center"]),
    "extract": (extract.main, [*GIVEN, "out.npz"]),
    "transfer_eval": (transfer_eval.main, [*GIVEN, "transfer", "--train-images", "1", "--splits", "1", "--costs", "1"]),
}


@pytest.fixture(scope="module")
def done(made):
    """The same place after all commands, which have nothing to compute any more."""
    with contextlib.chdir(made):
        for main, arguments in COMMANDS.values():
            main(arguments)
    return made


@pytest.fixture
def place(done, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(done, tmp_path / "here"))
    return tmp_path / "here"


@pytest.mark.parametrize(
    ("command", "blocked"),
    [
        ("evaluate", "out/passes"),
        ("evaluate", "out/broken_images.csv"),
        ("evaluate", "out/table.csv"),
        ("extract", "out.parts/passes"),
        ("extract", "out.parts/descriptors"),
        ("extract", "out.parts/broken_images.csv"),
        ("transfer_eval", "transfer/features"),
        ("transfer_eval", "transfer/left_out.csv"),
    ],
)
def test_what_is_in_the_way_is_named(place, command, blocked):
    path, (main, arguments) = place / blocked, COMMANDS[command]
    if path.is_dir():
        shutil.rmtree(path)
        path.touch()
    else:
        path.unlink()
        path.mkdir()
    with pytest.raises(InputError, match=rf"Could not write {blocked}.*: (Is a directory|Not a directory|File exists)"):
        main(arguments)


def test_the_folder_of_a_report_may_be_taken_while_nets_are_at_work(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match=r"Could not write .*out: File exists\. Finished work is kept; free disk space"):
        evaluate._report(tmp_path / "out", [])


def test_temporary_files_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"Could not write a temporary file: Not a directory\. .* TMPDIR"):
        contextlib.ExitStack().enter_context(saved_model._file_of_labels(("a", "b")))


def test_features_of_what_is_served_in_a_folder_that_went_away(tmp_path):
    with pytest.raises(InputError, match=r"Could not write .*gone/features\.npz: No such file or directory"):
        FeaturesFile(str(tmp_path / "gone" / "features.npz"), "vgg", 1)


def test_a_run_folder_that_went_away_is_released(tmp_path):
    folder = RunFolder(tmp_path / "runs" / "a")
    folder.claim()
    shutil.rmtree(tmp_path / "runs")
    folder.release()


def test_a_run_whose_recipe_cannot_be_written_has_begun_nothing_and_can_be_begun(tmp_path):
    tiny = "--width 0.02 --crop 32 --scale 36 --no-jit --limit-images 40 --batch-size 20 --epochs 1"
    run = tmp_path / "run"
    (run / "recipe.toml").mkdir(parents=True)
    arguments = [*tiny.split(), "--workdir", str(run)]
    with pytest.raises(InputError, match=r"recipe\.toml"):
        fit.main(arguments)
    assert {path.name for path in run.iterdir()} <= {".lock", "recipe.toml"}
    (run / "recipe.toml").rmdir()
    assert not fit.main(arguments)
    assert any((run / "tensorboard").iterdir())


def test_a_file_that_cannot_be_opened_a_second_time_is_not_emptied(tmp_path, monkeypatch):
    path = tmp_path / "net.keras"
    build_vgg("A", input_shape=(32, 32, 3), classes=2, width=0.02).save(path)
    before, opened = path.read_bytes(), io.open

    def refused(file, mode="r", *args, **options):
        if mode == "r+b":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        return opened(file, mode, *args, **options)

    for place in (io, builtins):  # zipfile opens with the one, the package with the other
        monkeypatch.setattr(place, "open", refused)
    with pytest.raises(OSError, match="No space left on device"):
        preprocessing.attach(path, preprocessing.Preprocessing((1.0, 2.0, 3.0)))
    assert path.read_bytes() == before
