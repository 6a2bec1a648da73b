"""What a run leaves for people: `log.csv`, TensorBoard events, `curves.png`."""

import contextlib
import pathlib
from typing import Any

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
    """TensorBoard events of a run: `train/…` by step, `epoch/…` by epoch. Nothing is made before the first figure.

    Raises:
        InputError: if the file system refuses.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._writer: Any = None  # TensorFlow's, once there is something to write

    def write(self, prefix: str, step: int, values: dict[str, float]) -> None:
        """Writes figures under `prefix`."""
        with self._told():
            self._writer = self._writer or tf.summary.create_file_writer(str(self._folder))
            with self._writer.as_default():
                for name, value in values.items():
                    tf.summary.scalar(f"{prefix}/{name}", value, step=step)

    def close(self) -> None:
        """Writes out what is pending."""
        if self._writer:
            with self._told():
                self._writer.close()

    @contextlib.contextmanager
    def _told(self):
        try:
            yield
        except tf.errors.OpError as error:
            raise InputError(
                f"Could not write to {self._folder}: {error.message}; make room and run the same command again."
            ) from error
