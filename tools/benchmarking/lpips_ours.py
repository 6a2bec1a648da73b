"""Our contestant in training a generator with LPIPS: Keras' own compiled step, with `features.LPIPS` as its loss."""

import math
import os
import pathlib
import tempfile
import time

import keras
import numpy as np
from safetensors.numpy import save_file

from benchmarking.pictures import GENERATOR, LEARNING_RATE, LossSettings
from keras_vgg.features import LPIPS
from keras_vgg.features.calibrations import CHANNELS


class Training:
    """Adam; the loss uses a random net with equal weights for all channels, which does not affect the time."""

    processes = 0

    def __init__(self, settings: LossSettings):
        outputs = images = keras.Input((settings.crop, settings.crop, 3))
        for filters in GENERATOR:
            outputs = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(outputs)
        self._model = keras.Model(images, images + keras.layers.Conv2D(3, 3, padding="same")(outputs))
        linear = {f"lin{place}.model.1.weight": np.full(size, 1 / size, np.float32) for place, size in enumerate(CHANNELS)}
        with tempfile.TemporaryDirectory() as folder:
            calibration = pathlib.Path(folder) / "linear.safetensors"
            save_file(linear, calibration)
            loss = LPIPS(weights=None, calibration=calibration, value_range=(0, 1))
        options = {} if settings.jit is None else {"jit_compile": settings.jit}
        self._model.compile(keras.optimizers.Adam(LEARNING_RATE), loss=loss, **options)
        self._batches = settings.batches()
        self.note = (
            f"train_on_batch, XLA {'on' if self._model.jit_compile else 'off'}, oneDNN {os.environ['TF_ENABLE_ONEDNN_OPTS']}"
        )

    def run(self, steps: int) -> float:
        """Makes `steps` updates and returns the seconds."""
        began = time.perf_counter()
        for degraded, whole in self._batches[:steps]:
            loss = self._model.train_on_batch(degraded, whole)  # waits for the loss
        bias = self._model.weights[-1].numpy().sum()  # waits for the last update
        seconds = time.perf_counter() - began
        if not math.isfinite(float(loss) + float(bias)):
            raise RuntimeError("Training diverged: its time is meaningless.")
        return seconds
