"""What a run leaves for people: `log.csv`, TensorBoard events, `curves.png`."""

import contextlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from keras_vgg.errors import InputError
from keras_vgg.support import files, picture
from keras_vgg.tasks.task import Panel, Task


def log_columns(task: type[Task] | Task) -> tuple[str, ...]:
    """Columns of `log.csv`: one row an epoch, with the digest of the net after it (`identity.digest_of_net`).

    No times, so that equal runs have equal logs.
    """
    validation = (f"val_{name}" for name in task.val_columns)
    return "epoch", "step", "learning_rate", *task.columns, *validation, "broken_images", "net sha256"


def write_log(path: pathlib.Path, history: list[dict], task: Task) -> None:
    """Writes the rows of `history` as CSV, floats in full."""
    files.write_text(path, pd.DataFrame(history, columns=log_columns(task)).to_csv(index=False))


def add_broken(path: pathlib.Path, found: dict[str, list[tuple[str, str]]]) -> None:
    """Adds images that could not be read, `(image, reason)` by split, to the CSV file at `path`, each once."""
    table = pd.DataFrame([(split, *row) for split, rows in found.items() for row in rows], columns=["split", "image", "reason"])
    if path.exists():
        try:
            table = pd.concat([pd.read_csv(path)[table.columns], table])
        except (OSError, ValueError, KeyError):  # damaged, as by a power failure; pandas' own errors are among these
            print(f"{path} is damaged: it begins anew with the images found from here on")
    if len(table):
        files.write_text(path, table.drop_duplicates(["split", "image"]).to_csv(index=False))


def draw_curves(path: pathlib.Path, history: list[dict], task: Task, title: str) -> None:
    """Draws the task's figures and the learning rate against epochs; the file says which net the last of them left."""
    table = pd.DataFrame(history, columns=log_columns(task))
    facts = {"title": title, "epochs": len(history), "net sha256": history[-1].get("net sha256")}
    with picture.drawing(path, (4 * (1 + len(task.panels)), 3.6), dpi=110, facts=facts) as figure:
        *panels, rate = figure.subplots(1, 1 + len(task.panels))
        for axes, panel in zip(panels, task.panels, strict=True):
            _draw_panel(axes, table, panel)
        _draw_rate(rate, table)
        figure.suptitle(title)


def _draw_panel(axes, table: pd.DataFrame, panel: Panel) -> None:
    many = len(panel.columns) > 1  # then colours tell them apart, and dots the training
    names = panel.names or panel.columns
    for number, column in enumerate(panel.columns):
        told = f"{names[number]}, " if many else ""
        validation = {"color": f"C{number if many else 1}", "marker": _mark(table), "markersize": 3}
        training = {"color": f"C{number}", "linestyle": ":"} if many else validation | {"color": "C0"}
        for name, label, style in ((column, "training", training), (f"val_{column}", "validation", validation)):
            if name in table:
                axes.plot(table.epoch, panel.factor * table[name], label=f"{told}{label}", **style)
    axes.set_ylabel(panel.label)
    if panel.factor != 1:  # shares, whose zero means something
        axes.set_ylim(bottom=0)
    _finish(axes)
    axes.legend(fontsize="small" if many else None)


def _draw_rate(axes, table: pd.DataFrame) -> None:
    from matplotlib.ticker import LogFormatter

    axes.plot(table.epoch, table.learning_rate, drawstyle="steps-mid", color="C2")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatter())  # plain text: the usual one writes formulas
    axes.yaxis.set_minor_formatter(LogFormatter())
    axes.set_ylabel("learning rate")
    _finish(axes)


def _finish(axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def _mark(table: pd.DataFrame) -> str | None:
    return "o" if len(table) < 30 else None


class Events:
    """TensorBoard events of a run, laid out as by Keras' callback: of the training in `train/`, of the validation in `validation/`.

    Figures of an epoch have the same tags in both (`epoch_loss`, …), so that TensorBoard draws them in one chart; epochs count from
    1, as in `log.csv`. Those of a weight update are `batch_loss`, …. Nothing is made before the first figure.

    Raises:
        InputError: if the file system refuses.
    """

    def __init__(self, folder: pathlib.Path, task: Task):
        self._folder, self._task = folder, task
        self._writers: dict[str, Any] = {}  # TensorFlow's, once there is something to write
        self._has_earlier_epochs = (folder / "train").exists()

    def write_update(self, number: int, figures: Mapping[str, float]) -> None:
        """Writes the figures of a weight update."""
        self._write("train", number, {f"batch_{name}": value for name, value in figures.items()})

    def write_epoch(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Writes the figures of the last row of `log.csv`; of all, if a run goes on whose events lie otherwise, or are gone."""
        for row in history[-1:] if self._has_earlier_epochs else history:
            train = {f"epoch_{name}": row[name] for name in (*self._task.columns, "learning_rate")}
            validation = {f"epoch_{name}": row[f"val_{name}"] for name in self._task.val_columns}
            self._write("train", row["epoch"], train)
            self._write("validation", row["epoch"], validation)
        self._has_earlier_epochs = True

    def write_pictures(self, pictures: np.ndarray, epoch: int) -> None:
        """Writes views of the validation with what the net says of them, `(n, height, width, 3)` uint8."""
        with self._told(), self._writer("validation").as_default():
            tf.summary.image("views", pictures, step=epoch, max_outputs=len(pictures))

    def _write(self, which: str, step: int, values: Mapping[str, float]) -> None:
        with self._told(), self._writer(which).as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step=step)

    def _writer(self, which: str):
        if which not in self._writers:
            self._writers[which] = tf.summary.create_file_writer(str(self._folder / which))
        return self._writers[which]

    def close(self) -> None:
        """Writes out what is pending."""
        with self._told():
            for writer in self._writers.values():
                writer.close()

    @contextlib.contextmanager
    def _told(self):
        try:
            yield
        except tf.errors.OpError as error:
            raise InputError(
                f"Could not write to {self._folder}: {error.message}; make room and run the same command again."
            ) from error
