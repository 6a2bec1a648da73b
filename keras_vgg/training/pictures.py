"""Draws predictions on a few validation views, the same ones after every epoch."""

import keras
import numpy as np
import tensorflow as tf

from keras_vgg.data.pipeline import View
from keras_vgg.data.split import Split
from keras_vgg.preprocessing import Preprocessing
from keras_vgg.tasks.task import Task

MOST = 8
"""Number of views drawn."""


class ValidationPictures:
    """Draws predictions on views spread evenly over the validation set.

    Args:
        model: the net being trained.
        preprocessing: its preprocessing.
        task: the task, which draws the predictions.
        split: the validation set.
        view: the view of each image.
    """

    def __init__(self, model: keras.Model, preprocessing: Preprocessing, task: Task, split: Split, view: View):
        self._model, self._preprocessing, self._task, self._split, self._view = model, preprocessing, task, split, view
        self._views: list[tuple[np.ndarray, np.ndarray]] | None = None

    def draw(self) -> np.ndarray:
        """Returns the views, `(n, crop, crop, 3)` uint8; unreadable images are skipped."""
        if self._views is None:
            self._views = list(self._read())
        if not self._views:
            return np.zeros((0, self._view.crop, self._view.crop, 3), np.uint8)
        pixels, targets = (np.stack(each) for each in zip(*self._views, strict=True))
        outputs = self._model(self._preprocessing(pixels), training=False)
        return self._task.draw(pixels, keras.ops.convert_to_numpy(outputs), targets)

    def _read(self):
        last = self._split.size - 1
        for index in np.unique(np.linspace(0, last, MOST).round().astype(np.int64)):
            try:
                encoded, target = self._split.read(tf.constant(index))
                pixels, placed = self._view(encoded, tf.constant(index), target)
            except tf.errors.OpError:  # validation lists it as broken
                continue
            yield pixels.numpy(), placed.numpy()
