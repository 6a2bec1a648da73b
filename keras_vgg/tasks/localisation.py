"""Localization (Appendix A): bounding box regression for the object of a class, with a Euclidean loss."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vgg.data.boxes.datasets import open_boxes
from keras_vgg.data.boxes.drawing import outlined
from keras_vgg.data.boxes.targets import COUNT_AT, FIRST, FRAME, HEADER, LABEL_AT
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.images import Geometry
from keras_vgg.regression import PCR, outputs_of
from keras_vgg.support import plot_style
from keras_vgg.tasks.task import FAR, LOSS, Panel, Task

LEAST_SHOWN = 0.5
"""A view is used for training if it shows at least this share of the box, or the box covers as much of it (as in OverFeat)."""

START, START_DEVIATION = (0.5, 0.5, 0.6, 0.6), 1e-3
"""The initial box of a net, and the standard deviation of its initial random kernel."""

LEAST_OVERLAP = 0.5
"""IoU from which a box counts as correct, as in the devkit of ILSVRC."""

_TRUE, _FOUND = plot_style.rgb(plot_style.TRUE_BOX), plot_style.rgb(plot_style.BEST_BOX)


class Localisation(Task):
    """Localization with a known class; targets are those of `data.boxes.targets`, placed in the view.

    Of several boxes, the one with the largest area in the view is learned. It is learned whole, including parts outside the view,
    but clipped to the image. A view that shows less than half of it, and of which it covers less than half, has zero loss.
    The header of a placed target contains the label, whether the view is used, and zeros; the image frame and the boxes are in
    units of the crop's side, and the learned box is the first.

    An output is correct if its box, clipped to the image, and any box of the image have an IoU of at least 0.5.

    Args:
        classes: as for `Task`.
        regression: `"scr"` or `"pcr"`.
    """

    activation = "linear"
    counts = ("localisation_accuracy", "iou")
    columns = val_columns = ("loss", "localisation_error", "mean_iou")
    monitor, monitor_name = "localisation_accuracy", "validation localization accuracy"
    update_line = "loss {loss:.4f}  localization accuracy {localisation_accuracy:.2%}"
    epoch_line = (
        "loss {loss:.4f}  localization error {localisation_error:.2%}  "
        "val loss {val_loss:.4f}  val localization error {val_localisation_error:.2%}  mean IoU {val_mean_iou:.3f}"
    )
    panels = (
        Panel("Euclidean loss", ("loss",)),
        Panel("localization error (%)", ("localisation_error",), 100),
        Panel("mean IoU", ("mean_iou",)),
    )
    draws = True

    def __init__(self, classes: tuple[str, ...], regression: str = PCR):
        super().__init__(classes)
        self.regression = regression

    @classmethod
    def of_recipe(cls, recipe, classes, class_weights=None):
        """As for `Task`."""
        return cls(classes, recipe.regression)

    @staticmethod
    def open(name: str, *, limit_images: int | None = None, stream=None) -> Dataset:
        """Returns the dataset `name`, see `open_boxes`."""
        return open_boxes(name, limit_images=limit_images, stream=stream)

    @property
    def outputs(self):
        """Coordinates of one box, or of one box per class."""
        return outputs_of(self.regression, self.classes)

    @property
    def facts(self) -> dict[str, Any]:
        """The kind of regression, and the classes."""
        return {"regression": self.regression, "classes": list(self.classes)}

    @property
    def diverged_loss(self) -> float:
        """Ten times the loss of a box whose center and size are wrong by the whole side of the crop."""
        return FAR * len(START) / 2

    def start(self, weights, seed):
        """Returns weights whose boxes are in the center of the view with little noise, as in Fast R-CNN (Girshick 2015).

        With random boxes, whose squared errors are large, the first updates would destroy pretrained features.
        """
        kernel, bias = weights
        small = np.random.default_rng(seed).normal(0, START_DEVIATION, kernel.shape)
        return [small.astype(kernel.dtype), np.tile(np.array(START, bias.dtype), len(bias) // len(START))]

    def place(self, target, geometry: Geometry):
        """Returns the target of a view."""
        size = tf.cast(geometry.size[::-1], tf.float32)
        frame, boxes = target[FRAME], target[FIRST:]
        scale = size / tf.where(frame[2:] > 0, frame[2:], size)  # from the annotation's units to pixels
        whole = tf.concat([tf.zeros([2]), size], axis=0)
        boxes = boxes * tf.concat([scale, scale], axis=0)
        in_view = geometry.boxes_in_view(tf.concat([whole[tf.newaxis], boxes], axis=0)) / geometry.crop
        frame, boxes = in_view[0], in_view[1:]
        is_box = tf.range(tf.shape(boxes)[0]) < tf.cast(target[HEADER, COUNT_AT], tf.int32)
        boxes = tf.where(is_box[:, tf.newaxis], _intersection(boxes, frame), 0.0)
        view = tf.constant([0.0, 0.0, 1.0, 1.0])
        shown = _area(_intersection(boxes, view))
        first = tf.argmax(shown, output_type=tf.int32)
        teaches = shown[first] >= LEAST_SHOWN * tf.minimum(_area(boxes[first]), 1.0)
        header = tf.stack([target[HEADER, LABEL_AT], tf.cast(tf.logical_and(teaches, is_box[0]), tf.float32), 0.0, 0.0])
        order = tf.concat([[first], tf.range(first), tf.range(first + 1, tf.shape(boxes)[0])], axis=0)
        return tf.ensure_shape(tf.concat([[header], [frame], tf.gather(boxes, order)], axis=0), target.shape)

    def losses(self, outputs, targets, *, training: bool):
        """Returns half the squared distance of box centers and sizes, in units of the crop's side; 0 for an unused view."""
        x_min, y_min, x_max, y_max = tf.unstack(targets[:, FIRST], axis=-1)
        wanted = tf.stack([(x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min], axis=-1)
        return targets[:, HEADER, 1] * tf.reduce_sum(tf.square(self._of_class(outputs, targets) - wanted), axis=-1) / 2

    def measures(self, outputs, targets):
        """Returns whether the box is correct, and its largest IoU with a box of the image."""
        overlap = self._overlaps(outputs, targets)
        return [tf.cast(overlap >= LEAST_OVERLAP, tf.float32), overlap]

    def figures(self, sums: Mapping[str, float], examples: float) -> dict[str, float]:
        """Returns mean loss, accuracy and mean IoU."""
        means = super().figures(sums, examples)
        return {LOSS: means[LOSS], "localisation_accuracy": means["localisation_accuracy"], "mean_iou": means["iou"]}

    def to_columns(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Returns loss, error and mean IoU."""
        return {
            LOSS: figures[LOSS],
            "localisation_error": 1 - figures["localisation_accuracy"],
            "mean_iou": figures["mean_iou"],
        }

    def draw(self, pixels, outputs, targets):
        """Draws ground truth boxes in blue and predicted ones in orange."""
        found = _edges(self._of_class(tf.constant(outputs), targets)).numpy()
        true = targets[:, FIRST:]
        return np.stack(
            [
                outlined(outlined(view, boxes, _TRUE, 1), box[np.newaxis], _FOUND, 1)
                for view, boxes, box in zip(pixels, true, found, strict=True)
            ]
        )

    def _of_class(self, outputs, targets):
        """Returns the box predicted for the target's class, `(m, 4)` float32."""
        outputs = tf.cast(outputs, tf.float32)
        if self.regression != PCR:
            return outputs
        labels = tf.cast(targets[:, HEADER, LABEL_AT], tf.int32)
        return tf.gather(tf.reshape(outputs, [-1, len(self.classes), 4]), labels, batch_dims=1)

    def _overlaps(self, outputs, targets):
        found = _intersection(_edges(self._of_class(outputs, targets)), targets[:, FRAME])[:, tf.newaxis]
        boxes = targets[:, FIRST:]
        shared = _area(_intersection(found, boxes))
        return tf.reduce_max(tf.math.divide_no_nan(shared, _area(found) + _area(boxes) - shared), axis=-1)


def _edges(told):
    centres, sizes = told[..., :2], told[..., 2:]
    return tf.concat([centres - sizes / 2, centres + sizes / 2], axis=-1)


def _intersection(boxes, others):
    return tf.concat([tf.maximum(boxes[..., :2], others[..., :2]), tf.minimum(boxes[..., 2:], others[..., 2:])], axis=-1)


def _area(boxes):
    sides = tf.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    return sides[..., 0] * sides[..., 1]
