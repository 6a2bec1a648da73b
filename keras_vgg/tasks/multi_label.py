"""Multi-label classification (PASCAL VOC): sigmoids, one cross-entropy per class, mean average precision."""

import math

import keras
import numpy as np
import tensorflow as tf

from keras_vgg.data import datasets, voc
from keras_vgg.data.dataset import Dataset
from keras_vgg.errors import InputError
from keras_vgg.tasks.average_precision import DIFFICULT, PRESENT, area
from keras_vgg.tasks.task import Panel, Task


class MultiLabel(Task):
    """Any number of classes per image; targets are `(m, classes)` int8: 1 present, 0 absent, -1 difficult, which is ignored.

    The loss of an image is the mean of the cross-entropies of all classes. `label_error` is the share of wrong labels at a
    probability threshold of one half; `mean_ap` is the mean over classes of the area under precision, as in VOC since 2010.
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
        Panel("cross-entropy per label (nats)", ("loss",)),
        Panel("label error (%)", ("label_error",), 100),
        Panel("mean AP (%)", ("mean_ap",), 100),
    )

    @staticmethod
    def open(name: str, *, limit_images: int | None = None, stream=None) -> Dataset:
        """Returns the dataset `name`, see `datasets.open_dataset`."""
        dataset = datasets.open_dataset(name, limit_images=limit_images)
        if len(dataset.target.shape) != 1:
            raise InputError(f"`dataset` must be {voc.NAMES} for the task multi-label. Received: {name}, with one class per image.")
        return dataset

    @property
    def chance_loss(self) -> float:
        """Loss of a net that predicts each class with probability one half."""
        return math.log(2)

    @property
    def row_length(self) -> int:
        """Scores and labels."""
        return 2 * len(self.classes)

    def losses(self, outputs, targets, *, training: bool):
        """Returns the mean binary cross-entropies over classes; smoothed labels are ε / 2 away from 0 or 1."""
        wanted = tf.cast(targets == PRESENT, tf.float32)
        if training:
            wanted += self.label_smoothing * (0.5 - wanted)
        of_labels = keras.losses.binary_crossentropy(wanted[..., tf.newaxis], outputs[..., tf.newaxis])  # (m, classes)
        return tf.reduce_mean(tf.cast(targets != DIFFICULT, tf.float32) * of_labels, axis=-1)

    def measures(self, outputs, targets):
        """Returns the share of wrong labels of each image."""
        counted = targets != DIFFICULT
        wrong = tf.logical_and(counted, (outputs > 0.5) != (targets == PRESENT))
        return [_count(wrong) / tf.maximum(_count(counted), 1.0)]

    def rows(self, outputs, targets):
        """Returns scores, then labels."""
        return tf.concat([outputs, tf.cast(targets, tf.float32)], axis=-1)

    def row_figures(self, rows: np.ndarray) -> dict[str, float]:
        """Returns the mean average precision over the classes that occur."""
        scores, labels = rows[:, : len(self.classes)], rows[:, len(self.classes) :]
        shown = np.flatnonzero((labels == PRESENT).any(axis=0))
        return {"mean_ap": float(np.mean([area(labels[:, each], scores[:, each]) for each in shown])) if len(shown) else 0.0}


def _count(which):
    return tf.math.count_nonzero(which, axis=-1, dtype=tf.float32)
