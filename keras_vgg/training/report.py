"""Reports of a run: `log.csv`, TensorBoard events, `curves.png`."""

import contextlib
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from keras_vgg.errors import InputError
from keras_vgg.support import files, picture, plot_style
from keras_vgg.tasks.task import Panel, Task


def log_columns(task: type[Task] | Task) -> tuple[str, ...]:
    """Returns the columns of `log.csv`: one row per epoch, with the digest of the net after it (`identity.digest_of_net`).

    Updates are skipped where the gradients of mixed_float16 overflow.

    There are no times, so identical runs, on CPUs of one kind with the same number of cores, have identical logs.
    """
    validation = (f"val_{name}" for name in task.val_columns)
    return "epoch", "step", "learning_rate", *task.columns, *validation, "broken_images", "skipped_updates", "net sha256"


def write_log(path: pathlib.Path, history: list[dict], task: Task) -> None:
    """Writes the rows of `history` as CSV, floats in full precision."""
    rows = [{"skipped_updates": 0} | row for row in history]  # earlier versions did not count them
    files.write_text(path, pd.DataFrame(rows, columns=log_columns(task)).to_csv(index=False))


_BROKEN_COLUMNS = ["split", "image", "reason"]


def read_broken(path: pathlib.Path) -> pd.DataFrame:
    """Returns the list of unreadable images that `write_broken` wrote; an empty one if it is missing or damaged."""
    nothing = pd.DataFrame([], columns=_BROKEN_COLUMNS)
    if not path.exists():
        return nothing
    try:
        return pd.read_csv(path)[_BROKEN_COLUMNS]
    except (OSError, ValueError, KeyError):  # damaged, e.g. by a power failure; pandas' errors are subclasses
        print(f"{path} is damaged: replacing it with a list of the images found from now on")
        return nothing


def write_broken(path: pathlib.Path, table: pd.DataFrame) -> None:
    """Writes a list of unreadable images, with the columns split, image and reason; without any there is no file."""
    if len(table):
        files.write_text(path, table.to_csv(index=False))
    else:
        with files.telling(path):
            path.unlink(missing_ok=True)


def draw_curves(path: pathlib.Path, history: list[dict], task: Task, title: str) -> None:
    """Plots the task's metrics and the learning rate over epochs; the file records the digest of the last net."""
    table = pd.DataFrame(history, columns=log_columns(task))
    facts = {"title": title, "epochs": len(history), "net sha256": history[-1].get("net sha256")}
    with picture.drawing(path, (4 * (1 + len(task.panels)), 3.6), facts=facts) as figure:
        *panels, rate = figure.subplots(1, 1 + len(task.panels))
        for axes, panel in zip(panels, task.panels, strict=True):
            _draw_panel(axes, table, panel)
        _draw_rate(rate, table)
        picture.add_title(figure, title)


def _draw_panel(axes, table: pd.DataFrame, panel: Panel) -> None:
    """Draws training and validation, each in its color in every panel; dashes tell several columns apart."""
    names = [picture.shortened(name) for name in panel.names or panel.columns]
    shapes = itertools.cycle(zip(plot_style.DASHES, plot_style.MARKS, strict=True))
    for column, name, (dash, mark) in zip(panel.columns, names, shapes, strict=False):
        told = f"{name}, " if len(names) > 1 else ""
        for key, label, color in (
            (column, "training", plot_style.TRAINING),
            (f"val_{column}", "validation", plot_style.VALIDATION),
        ):
            if key in table:
                style = {"color": color, "linestyle": dash, "marker": mark if _is_short(table) else None}
                axes.plot(table.epoch, panel.factor * table[key], label=told + label, markersize=_MARK, **style)
    axes.set_ylabel(panel.label)
    if panel.factor != 1:  # percentages: show zero
        axes.set_ylim(bottom=0)
    _finish(axes)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, ncols=2)  # above the panel: it never covers a line


def _draw_rate(axes, table: pd.DataFrame) -> None:
    from matplotlib.ticker import FixedLocator, LogFormatter, NullLocator, StrMethodFormatter

    style = {"color": plot_style.LEARNING_RATE, "marker": plot_style.MARKS[0] if _is_short(table) else None}
    axes.plot(table.epoch, table.learning_rate, drawstyle="steps-mid", markersize=_MARK, **style)
    axes.set_yscale("log")
    rates = np.unique(table.learning_rate)
    if len(rates) <= _MOST_RATES and np.all(rates[1:] >= _APART * rates[:-1]):  # constant, or falls in steps: show each
        axes.yaxis.set_major_locator(FixedLocator(rates.tolist()))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.3g}"))
    else:
        axes.yaxis.set_major_formatter(LogFormatter())  # plain text: the default one writes formulas
        axes.yaxis.set_minor_formatter(LogFormatter())
    axes.set_ylabel("learning rate")
    _finish(axes)


_MOST_RATES, _APART = 6, 2.5
"""How many learning rates are written at the axis, and by what factor they must differ for that."""


def _finish(axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axes.grid(visible=True)


_MARK = 3.5  # points


def _is_short(table: pd.DataFrame) -> bool:
    return len(table) < 30


class Events:
    """TensorBoard events of a run, in the layout of Keras' callback: training in `train/`, validation in `validation/`.

    Epoch metrics have the same tags in both (`epoch_loss`, …), so TensorBoard shows them in one chart; epochs count from 1, as in
    `log.csv`. Metrics of a weight update are `batch_loss`, …. No file is created before the first metric.

    Raises:
        InputError: if the files cannot be written.
    """

    def __init__(self, folder: pathlib.Path, task: Task):
        self._folder, self._task = folder, task
        self._writers: dict[str, Any] = {}  # TensorFlow's, once there is something to write
        self._has_earlier_epochs = (folder / "train").exists()

    def write_update(self, number: int, figures: Mapping[str, float]) -> None:
        """Writes the metrics of a weight update."""
        self._write("train", number, {f"batch_{name}": value for name, value in figures.items()})

    def write_epoch(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Writes the metrics of the last row of `log.csv`, or of all rows if a resumed run has no events in this layout."""
        for row in history[-1:] if self._has_earlier_epochs else history:
            train = {f"epoch_{name}": row[name] for name in (*self._task.columns, "learning_rate")}
            validation = {f"epoch_{name}": row[f"val_{name}"] for name in self._task.val_columns}
            self._write("train", row["epoch"], train)
            self._write("validation", row["epoch"], validation)
        self._has_earlier_epochs = True

    def write_pictures(self, pictures: np.ndarray, epoch: int) -> None:
        """Writes validation views with the net's predictions, `(n, height, width, 3)` uint8."""
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
        """Flushes pending events."""
        with self._told():
            for writer in self._writers.values():
                writer.close()

    @contextlib.contextmanager
    def _told(self):
        try:
            yield
        except tf.errors.OpError as error:
            raise InputError(
                f"Could not write to {self._folder}: {error.message}. Free disk space and run the same command again."
            ) from error
