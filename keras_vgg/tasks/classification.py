"""Classification with one class per image (the paper's task): softmax, cross-entropy, top-1 and top-5 errors."""

import math
from collections.abc import Mapping

import keras
import tensorflow as tf

from keras_vgg.data import datasets
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.split import LABEL
from keras_vgg.errors import InputError
from keras_vgg.tasks.task import FAR, LOSS, Panel, Task


class Classification(Task):
    """Classification; targets are labels, `(m,)` int32."""

    activation = "softmax"
    counts = ("top1", "top5")
    columns = val_columns = ("loss", "top1_error", "top5_error")
    monitor, monitor_name = "accuracy", "validation accuracy"
    update_line = "loss {loss:.4f}  accuracy {accuracy:.2%}"
    epoch_line = (
        "loss {loss:.4f}  top-1 error {top1_error:.2%}  "
        "val loss {val_loss:.4f}  val top-1 {val_top1_error:.2%}  top-5 {val_top5_error:.2%}"
    )
    panels = (Panel("cross-entropy (nats)", ("loss",)), Panel("error (%)", ("top1_error", "top5_error"), 100, ("top-1", "top-5")))

    @staticmethod
    def open(name: str, *, limit_images: int | None = None, stream=None) -> Dataset:
        """Returns the dataset `name`, see `datasets.open_dataset`; with a single class there would be nothing to learn."""
        dataset = datasets.open_dataset(name, limit_images=limit_images)
        if dataset.target != LABEL:
            raise InputError(
                f"`dataset` must have one class per image. Received: {name}, which has several; pass --task multi-label."
            )
        if len(dataset.classes) < 2:
            raise InputError(
                f"`dataset` must contain at least two classes. Received: {name}, which has only {', '.join(dataset.classes)}; "
                "use one folder or label per class."
            )
        return dataset

    @property
    def chance_loss(self) -> float:
        """Loss of a net that predicts all classes with equal probability."""
        return math.log(len(self.classes))

    @property
    def diverged_loss(self) -> float:
        """As for `Task`, for batches of the class with the largest weight."""
        return FAR * self.chance_loss * max((1.0, *(self.class_weights or ())))

    def losses(self, outputs, targets, *, training: bool):
        """Returns cross-entropies of posteriors; smoothed, 1 - ε of the label's plus ε of the mean (Szegedy et al. 2016, Sec. 7).

        In training each is multiplied by the weight of its class, like `class_weight` of `keras.Model.fit`.
        """
        losses = keras.losses.sparse_categorical_crossentropy(targets, outputs)
        if training and self.label_smoothing:
            every = tf.fill(tf.shape(outputs), 1 / len(self.classes))
            smoothed = keras.losses.categorical_crossentropy(every, outputs)
            losses = (1 - self.label_smoothing) * losses + self.label_smoothing * smoothed
        if training and self.class_weights:
            losses *= tf.gather(tf.constant(self.class_weights, losses.dtype), targets)
        return losses

    def measures(self, outputs, targets):
        """Returns top-1 and top-5 hits.

        A label's rank counts the classes with a higher probability, and those with the same one and a lower index, as in argmax.
        """
        of_label = tf.gather(outputs, targets, batch_dims=1)[:, tf.newaxis]
        lower = tf.range(outputs.shape[-1]) < targets[:, tf.newaxis]
        ahead = tf.logical_or(outputs > of_label, tf.logical_and(outputs == of_label, lower))
        rank = tf.math.count_nonzero(ahead, axis=-1, dtype=tf.int32)
        return [tf.cast(rank < k, tf.float32) for k in (1, 5)]

    def figures(self, sums: Mapping[str, float], examples: float) -> dict[str, float]:
        """Returns the mean loss and the accuracies."""
        means = super().figures(sums, examples)
        return {LOSS: means[LOSS], "accuracy": means["top1"], "top5_accuracy": means["top5"]}

    def compile_arguments(self):
        """Returns cross-entropy and accuracies."""
        top5 = keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5_accuracy")
        return {
            "loss": keras.losses.SparseCategoricalCrossentropy(),
            "metrics": [keras.metrics.SparseCategoricalAccuracy(name="accuracy"), top5],
        }

    def to_columns(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Returns the loss and the errors."""
        return {LOSS: figures[LOSS], "top1_error": 1 - figures["accuracy"], "top5_error": 1 - figures["top5_accuracy"]}
