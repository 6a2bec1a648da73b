"""Telling of each class whether an image shows it (PASCAL VOC): sigmoids, one cross-entropy a class, mean average precision."""

import keras
import numpy as np
import tensorflow as tf

from keras_vgg.data import datasets, voc
from keras_vgg.data.dataset import Dataset
from keras_vgg.errors import InputError
from keras_vgg.tasks.average_precision import DIFFICULT, PRESENT, area
from keras_vgg.tasks.task import Panel, Task


class MultiLabel(Task):
    """Any number of classes an image; targets are `(m, classes)` int8: 1 present, 0 absent, -1 difficult, which does not count.

    The loss of an image is the mean over all classes of their cross-entropies. `label_error` is the share of labels that the net
    has wrong at a probability of one half; `mean_ap` the mean over the classes of the area under precision, VOC's since 2010.
    """

    activation = "sigmoid"
    counts = ("label_error",)
    columns = ("loss", "label_error")
    val_columns = ("loss", "label_error", "mean_ap")
    monitor, monitor_name = "mean_ap", "validation mean AP"
    update_line = "loss {loss:.4f}  label error {label_error:.2%}"
    epoch_line = (
        "loss {loss:.4f}  label error {label_error:.2%}  "
        "val loss {val_loss:.4f}  val label error {val_label_error:.2%}  mean AP {val_mean_ap:.2%}"
    )
    panels = (
        Panel("cross-entropy a label (nats)", ("loss",)),
        Panel("label error (%)", ("label_error",), 100),
        Panel("mean AP (%)", ("mean_ap",), 100),
    )

    @staticmethod
    def open(name: str, *, limit_images: int | None = None, stream=None) -> Dataset:
        """Returns the data set `name`, see `datasets.open_dataset`."""
        dataset = datasets.open_dataset(name, limit_images=limit_images)
        if len(dataset.target.shape) != 1:
            raise InputError(f"`dataset` must be {voc.NAMES} for the task multi-label. Received: {name}, of one class an image.")
        return dataset

    @property
    def row_length(self) -> int:
        """Scores and labels."""
        return 2 * len(self.classes)

    def losses(self, outputs, targets, *, training: bool):
        """Means over the classes of binary cross-entropies; smoothed, a label is ε / 2 away from 0 or 1."""
        wanted = tf.cast(targets == PRESENT, tf.float32)
        if training:
            wanted += self.label_smoothing * (0.5 - wanted)
        of_labels = keras.losses.binary_crossentropy(wanted[..., tf.newaxis], outputs[..., tf.newaxis])  # (m, classes)
        return tf.reduce_mean(tf.cast(targets != DIFFICULT, tf.float32) * of_labels, axis=-1)

    def measures(self, outputs, targets):
        """The share of an image's labels that are wrong."""
        counted = targets != DIFFICULT
        wrong = tf.logical_and(counted, (outputs > 0.5) != (targets == PRESENT))
        return [_count(wrong) / tf.maximum(_count(counted), 1.0)]

    def rows(self, outputs, targets):
        """Scores, then labels."""
        return tf.concat([outputs, tf.cast(targets, tf.float32)], axis=-1)

    def row_figures(self, rows: np.ndarray) -> dict[str, float]:
        """Mean average precision over the classes that some image shows."""
        scores, labels = rows[:, : len(self.classes)], rows[:, len(self.classes) :]
        shown = np.flatnonzero((labels == PRESENT).any(axis=0))
        return {"mean_ap": float(np.mean([area(labels[:, each], scores[:, each]) for each in shown])) if len(shown) else 0.0}


def _count(which):
    return tf.math.count_nonzero(which, axis=-1, dtype=tf.float32)
