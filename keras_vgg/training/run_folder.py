"""The run folder: its files, the recipe that it belongs to, and how to find one to resume."""

import contextlib
import datetime
import json
import os
import pathlib
from typing import IO

from keras_vgg import recipe
from keras_vgg.data.trained_on import DATA
from keras_vgg.errors import InputError
from keras_vgg.schedules import DEPEND_ON_EPOCHS
from keras_vgg.support import files, paths
from keras_vgg.training import checkpoint

RUNS = pathlib.Path("runs")


class RunFolder:
    """Paths and small files of a run.

    Args:
        path: the folder, created by `claim`.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = paths.path_of(path)
        self.recipe = self.path / "recipe.toml"
        self.state = self.path / "state.zip"
        self.best = self.path / "best.keras"
        self.last = self.path / "last.keras"
        self.log = self.path / "log.csv"
        self.curves = self.path / "curves.png"
        self.classes = self.path / "classes.txt"
        self.data = self.path / DATA
        self.summary = self.path / "summary.json"
        self.colors = self.path / "colors.json"
        self.broken = self.path / "broken_images.csv"
        self.tensorboard = self.path / "tensorboard"
        self._lock: IO[str] | None = None
        self._made: list[pathlib.Path] = []

    def check(self, wanted: recipe.Recipe) -> None:
        """Raises `InputError` if the folder belongs to another experiment than `wanted` or contains other files.

        A folder without a checkpoint belongs to no experiment yet.
        """
        if self.state.exists():
            ours, theirs = wanted.experiment(), self.experiment()
            if differing := [name for name in ours if ours[name] != theirs[name] and not _may_change(name, ours, theirs)]:
                told = ", ".join(f"{name} {theirs[name]!r} there, {ours[name]!r} here" for name in differing)
                raise InputError(f"`workdir` {self.path} contains a run of another recipe ({told}). Pass another folder.")
        elif self.path.is_dir() and not self.recipe.exists() and any(entry.name != files.LOCK for entry in self.path.iterdir()):
            raise InputError(
                f"`workdir` must be a new folder or a run of this recipe. Received: {self.path}, which contains other files."
            )

    def claim(self) -> None:
        """Creates the folder and locks it for this process, until `release` or the end of the process.

        Raises:
            InputError: if it cannot be written or is in use.
        """
        try:
            self._made = [path for path in (self.path, *self.path.parents) if not path.exists()]  # innermost first
            self.path.mkdir(parents=True, exist_ok=True)
            in_use = f"`workdir` {self.path} is in use by another process. Wait for it to finish or pass another folder."
            self._lock = files.lock(self.path, in_use)
        except OSError as error:
            raise InputError(f"`workdir` must be a writable folder. Received: {self.path} ({error.strerror}).") from error
        files.remove_leftovers(self.path, claimed=True)

    def release(self) -> None:
        """Unlocks the folder if it was claimed here, and removes it if `claim` created it and it is empty."""
        if not self._lock:
            return
        with contextlib.suppress(OSError):  # another process may have written to it
            if self.path in self._made and [entry.name for entry in self.path.iterdir()] == [files.LOCK]:
                (self.path / files.LOCK).unlink()
                for path in self._made:
                    path.rmdir()
        self._lock.close()

    def experiment(self) -> dict:
        """Returns `Recipe.experiment` of the run in the folder, from its recipe or, if that is damaged, its checkpoint.

        Raises:
            InputError: if neither can be read.
        """
        try:
            return recipe.read_run_recipe(self.recipe).experiment()
        except InputError as error:
            with contextlib.suppress(InputError, TypeError):  # damaged too, or from a version with other fields
                if kept := checkpoint.read_values(self.state).get("experiment"):
                    return recipe.Recipe(**recipe.called_as_now(kept)).experiment()
            raise InputError(
                f"Cannot read the recipe of this run, neither from {self.recipe} nor from {self.state.name}. Restore a copy of "
                "the recipe, or pass another --workdir."
            ) from error

    def is_finished(self, wanted: recipe.Recipe) -> bool:
        """Whether the run is complete for `wanted`: a run that ended after its last epoch continues if `wanted` has more.

        A run with a damaged small file, for example after a power failure, is unfinished: the checkpoint can restore the file.
        """
        if not self.summary.exists():
            return False
        try:
            summary = files.read_json(self.summary, dict)
            is_over = summary["finished"] and (summary["ended_by"] != "epochs" or wanted.epochs <= summary["epochs"])
        except (ValueError, KeyError, TypeError):
            return False
        return is_over and not self._is_damaged()

    def _is_damaged(self) -> bool:
        """Whether a small file is damaged that the checkpoint can restore."""
        try:
            values = checkpoint.read_values(self.state)
        except InputError:  # removed to save space, or damaged itself
            return False
        try:
            recipe.read_run_recipe(self.recipe)
        except InputError:
            return True
        expected = {self.classes: len(values["data"]["classes"]), self.log: 1 + len(values["position"]["history"])}
        return any(_count_lines(path) != number for path, number in expected.items())

    def write_summary(self, summary: dict) -> None:
        """Writes the results of the run, which marks it as finished."""
        files.write_text(self.summary, json.dumps(summary, indent=2) + "\n")


def _count_lines(path: pathlib.Path) -> int | None:
    """Returns the number of lines of a text file; `None` if it is missing, truncated or not text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    return len(text.splitlines()) if text.endswith("\n") and "\0" not in text else None


def _may_change(name: str, ours: dict, theirs: dict) -> bool:
    """Whether a run can be resumed although the field `name` differs."""
    match name:
        case "dataset":  # its location; the checkpoint records sizes and classes, by which it is compared
            kinds = {each[name].partition(":")[0] for each in (ours, theirs)}
            return kinds in ({"folder"}, {"csv"})
        case "init_from":  # the location of the initial weights, which the checkpoint supersedes
            return None not in (ours[name], theirs[name])
        case "epochs":  # except in some schedules, no update depends on the number of epochs
            return ours[name] > theirs[name] and ours["schedule"] not in DEPEND_ON_EPOCHS
    return False


def _is_of(folder: RunFolder, wanted: recipe.Recipe) -> bool:
    try:
        return folder.experiment() == wanted.experiment()
    except InputError as error:  # an unreadable run, e.g. of another version, does not prevent a new one
        print(f"skipped {folder.path}: cannot read its recipe: {error}")
        return False


def choose_folder(workdir: str | os.PathLike[str] | None, wanted: recipe.Recipe, name: str) -> tuple[RunFolder, bool]:
    """Returns the folder of a run and whether it contains an unfinished run.

    Without `workdir` it is the latest unfinished run of the same experiment under `runs/`, so that the same command resumes it,
    or else a new `runs/<name>-<time>`.

    Raises:
        InputError: if `workdir` does not fit this recipe.
    """
    if workdir:
        folder = RunFolder(workdir)
        folder.check(wanted)
        return folder, folder.state.exists() and not folder.is_finished(wanted)
    for path in sorted(RUNS.glob(f"{name}-*"), reverse=True):
        folder = RunFolder(path)
        if folder.state.exists() and not folder.is_finished(wanted) and _is_of(folder, wanted):
            return folder, True
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    path, number = RUNS / f"{name}-{stamp}", 1
    while path.exists():  # two runs within a second
        number += 1
        path = RUNS / f"{name}-{stamp}-{number}"
    return RunFolder(path), False
