"""Writes the run folder: checkpoints, models and reports. Only the chief worker writes."""

import dataclasses
import pathlib
import sys
import time
import zipfile
from collections.abc import Mapping

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from keras_vgg import preprocessing
from keras_vgg.data.broken import BrokenImages
from keras_vgg.errors import InputError
from keras_vgg.identity import digest_of_net
from keras_vgg.support import files
from keras_vgg.tasks.task import Task
from keras_vgg.training import checkpoint, report
from keras_vgg.training.cluster import Cluster
from keras_vgg.training.run_folder import RunFolder
from keras_vgg.training.run_state import RunState

_CURVES_SECONDS = 30.0


class RunWriter:
    """Writes a run's files.

    Args:
        folder: the run folder.
        cluster: determines whether this worker writes.
        model: the model being trained.
        variables: TensorFlow variables to save in a checkpoint.
        wanted: the model's preprocessing.
        task: defines the metrics.
        title: title of the curves.
    """

    def __init__(
        self,
        folder: RunFolder,
        cluster: Cluster,
        model: keras.Model,
        variables: list,
        wanted: preprocessing.Preprocessing,
        task: Task,
        title: str,
    ):
        self._folder, self._cluster, self._model, self._variables = folder, cluster, model, variables
        self._preprocessing, self._task, self._title = wanted, task, title
        self._events = report.Events(folder.tensorboard, task) if cluster.is_chief else None
        self._broken_checked: set[str] = set()
        self._saved_at = self._drawn_at = time.monotonic()
        preprocessing.remember(model, wanted)  # part of the net's digest

    @property
    def stream(self):
        """Stream for progress output, or `None`."""
        return sys.stdout if self._cluster.is_chief else None

    @property
    def seconds_since_save(self) -> float:
        """Seconds since the last checkpoint or, before the first, since the start."""
        return time.monotonic() - self._saved_at

    def restore(self) -> dict:
        """Restores the variables from the last checkpoint and returns its plain values."""
        arrays, values = checkpoint.load(self._folder.state)
        if [array.shape for array in arrays] != [tuple(variable.shape) for variable in self._variables]:
            raise InputError(
                f"Checkpoint {self._folder.state} does not fit the model: it is of another net or has another number of classes."
            )
        for variable, array in zip(self._variables, arrays, strict=True):
            variable.assign(array)
        return values

    def save(self, values: dict, history: list[dict]) -> None:
        """Writes a checkpoint with `values`, and the log and curves of `history`."""
        if not self._cluster.is_chief:
            return
        # The log is written from the history in the checkpoint; if a kill falls between the two, it is written again.
        if history:
            report.write_log(self._folder.log, history, self._task)
        checkpoint.save(self._folder.state, [variable.numpy() for variable in self._variables], values)
        self._saved_at = time.monotonic()
        if history and time.monotonic() - self._drawn_at > _CURVES_SECONDS:
            self._draw(history)

    def save_models(self, improved: bool) -> None:
        """Writes `last.keras`, and `best.keras` if the model is the best so far."""
        if not self._cluster.is_chief:
            return
        with files.replacing(self._folder.last) as beside:
            self._model.save(beside)
            preprocessing.attach(beside, self._preprocessing, self._task.facts)
        if improved:
            files.copy(self._folder.last, self._folder.best)

    def digest(self) -> str:
        """Returns the digest of the current model, equal to that of the file from `save_models`; "" except on the chief."""
        return digest_of_net(self._model) if self._cluster.is_chief else ""

    def mend_models(self, state: RunState) -> bool:
        """Restores missing or damaged `last.keras` and `best.keras` of a resumed run where the checkpoint allows it.

        Returns:
            Whether `best.keras` is lost, so that the best of the remaining epochs must replace it.

        Raises:
            InputError: if it is damaged and from an epoch that cannot be restored.
        """
        if not self._cluster.is_chief or not state.history:
            return False
        has_weights = state.step == 0  # otherwise the weights are already from a later update
        best_is_lost = state.best_epoch > 0 and not _is_whole(self._folder.best)
        best_is_last = state.best_epoch == state.epoch
        if has_weights and (not _is_whole(self._folder.last) or (best_is_lost and best_is_last)):
            self.save_models(improved=best_is_lost and best_is_last)
            best_is_lost = best_is_lost and not best_is_last
        if best_is_lost and self._folder.best.exists():
            raise InputError(
                f"{self._folder.best}, of epoch {state.best_epoch}, is damaged. Restore a copy, or delete it and run the same "
                "command again: the best of the remaining epochs will replace it."
            )
        return best_is_lost

    def write_update(self, number: int, figures: dict[str, float]) -> None:
        """Writes the metrics of a weight update for TensorBoard."""
        if self._events:
            self._events.write_update(number, figures)

    def write_epoch(self, history: list[dict]) -> None:
        """Writes the metrics of the latest epoch for TensorBoard."""
        if self._events:
            self._events.write_epoch(history)

    def write_pictures(self, pictures: np.ndarray, epoch: int) -> None:
        """Writes validation images after an epoch for TensorBoard, `(n, height, width, 3)` uint8."""
        if self._events and len(pictures):
            self._events.write_pictures(pictures, epoch)

    def write_broken(self, ledgers: Mapping[str, BrokenImages]) -> None:
        """Writes the list of unreadable images, by split; every worker has its own.

        Images that an earlier process of the run listed are read again, once: those that came back are dropped.
        """
        path = self._folder.broken
        if not self._cluster.is_chief:
            path = path.with_stem(f"{path.stem}-replica{self._cluster.my_replicas.start}")
        listed = report.read_broken(path)
        for split in [split for split in ledgers if split not in self._broken_checked]:
            ledgers[split].report_if_broken(listed.image[listed.split == split].astype(str))
            self._broken_checked.add(split)
        found = [(split, *row) for split, ledger in ledgers.items() for row in ledger.rows()]
        others = listed[~listed.split.isin([*ledgers])]
        report.write_broken(path, pd.concat([others, pd.DataFrame(found, columns=listed.columns)]))

    def close(self) -> None:
        """Flushes pending events."""
        if self._events:
            self._events.close()

    def finish(self, state: RunState, facts: dict) -> None:
        """Writes the log, the final curves, and `summary.json` with the metrics of the best epoch and further `facts`."""
        if not self._cluster.is_chief:
            return
        history, best = state.history, state.best or {}
        report.write_log(self._folder.log, history, self._task)  # again: a missing log may be why a finished run was resumed
        self._draw(history)
        summary = {"parameters": self._model.count_params(), "epochs": len(history)}
        summary |= {"best_epoch": state.best_epoch}
        summary |= {f"best_{name}": value for name, value in best.items() if name.startswith("val_") and name != "val_loss"}
        summary |= {"best_sha256": best.get("net sha256"), "last_sha256": history[-1].get("net sha256")}
        summary |= facts | _versions()
        summary |= {"preprocessing": dataclasses.asdict(self._preprocessing)}
        self._folder.write_summary(summary)

    def give_up(self, state: RunState, facts: dict) -> None:
        """Writes `summary.json` for a failed run, with what it had completed."""
        if self._cluster.is_chief:
            done = {"parameters": self._model.count_params(), "epochs": len(state.history)}
            self._folder.write_summary(done | facts | _versions())

    def _draw(self, history):
        report.draw_curves(self._folder.curves, history, self._task, self._title)
        self._drawn_at = time.monotonic()


def _versions() -> dict:
    return {"tensorflow": tf.__version__, "keras": keras.__version__}


def _is_whole(path: pathlib.Path) -> bool:
    """Whether a `.keras` file exists and all its checksums are correct."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # a damaged file can raise anything in zipfile
        return False
