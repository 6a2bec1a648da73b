"""What a run leaves for people: `log.csv`, TensorBoard events, `curves.png`."""

import contextlib
import pathlib

import pandas as pd
import tensorflow as tf

from keras_vgg.errors import InputError
from keras_vgg.support import files, picture

COLUMNS = (
    "epoch", "step", "learning_rate", "loss", "top1_error", "top5_error",
    "val_loss", "val_top1_error", "val_top5_error", "broken_images", "net sha256",
)  # fmt: skip
"""Columns of `log.csv`: one row an epoch; errors as fractions; the digest of the net after it (`identity.digest_of_net`). No times,
so that equal runs have equal logs."""


def write_log(path: pathlib.Path, history: list[dict]) -> None:
    """Writes the rows of `history` as CSV, floats in full."""
    files.write_text(path, pd.DataFrame(history, columns=COLUMNS).to_csv(index=False))


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


def draw_curves(path: pathlib.Path, history: list[dict], title: str) -> None:
    """Draws loss, errors and learning rate against epochs; the file says which net the last of them left."""
    table = pd.DataFrame(history, columns=COLUMNS)
    facts = {"title": title, "epochs": len(history), "net sha256": history[-1].get("net sha256")}
    with picture.drawing(path, (12, 3.6), dpi=110, facts=facts) as figure:
        _draw_curves(figure, table)
        figure.suptitle(title)


def _draw_curves(figure, table: pd.DataFrame) -> None:
    from matplotlib.ticker import LogFormatter, MaxNLocator

    loss, error, rate = figure.subplots(1, 3)
    mark = "o" if len(table) < 30 else None
    for column, label in (("loss", "training"), ("val_loss", "validation")):
        loss.plot(table.epoch, table[column], label=label, marker=mark, markersize=3)
    loss.set_ylabel("cross-entropy (nats)")
    for name, color in (("top1", "C0"), ("top5", "C1")):
        label = name.replace("top", "top-")
        error.plot(table.epoch, 100 * table[f"{name}_error"], ":", color=color, label=f"{label}, training")
        error.plot(
            table.epoch, 100 * table[f"val_{name}_error"], color=color, label=f"{label}, validation", marker=mark, markersize=3
        )
    error.set_ylabel("error (%)")
    error.set_ylim(bottom=0)
    rate.plot(table.epoch, table.learning_rate, drawstyle="steps-mid", color="C2")
    rate.set_yscale("log")
    rate.yaxis.set_major_formatter(LogFormatter())  # plain text: the usual one writes formulas
    rate.yaxis.set_minor_formatter(LogFormatter())
    rate.set_ylabel("learning rate")
    for axes in (loss, error, rate):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    loss.legend()
    error.legend(fontsize="small")


class Events:
    """TensorBoard events of a run: `train/…` by step, `epoch/…` by epoch. Nothing is made before the first figure.

    Raises:
        InputError: if the file system refuses.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder, self._writer = folder, None

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
