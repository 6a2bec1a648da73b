"""Stock Keras: `keras.applications`, `fit`, `predict_on_batch` and plain tf.data, as in its own guides."""

import pathlib
import time

import keras
import numpy as np
import tensorflow as tf

from benchmarking.pictures import CLASSES, LEARNING_RATE, FolderSettings, NetSettings, ReadingSettings
from keras_vgg.models import build_vgg

_MEAN = (123.68, 116.779, 103.939)
_SHUFFLED = 10_000

_NETS = {
    "D": (keras.applications.VGG16, keras.applications.vgg16.preprocess_input),
    "E": (keras.applications.VGG19, keras.applications.vgg19.preprocess_input),
}


def _build(settings: NetSettings) -> keras.Model:
    keras.config.set_dtype_policy(settings.precision)
    net, preprocess = _NETS[settings.arch]
    shape = (settings.crop, settings.crop, 3)
    inputs = keras.Input(shape, dtype="uint8")
    scores = net(weights=None, input_shape=shape, classes=CLASSES, classifier_activation=None)
    outputs = scores(preprocess(keras.ops.cast(inputs, "float32")))
    return keras.Model(inputs, keras.layers.Activation("softmax", dtype="float32")(outputs))  # as in the guide to mixed precision


class Training:
    """`compile` with defaults, `fit` on arrays. Its net has no dropout; its optimizer, which accumulates gradients, no L2."""

    processes = 0

    def __init__(self, settings: NetSettings):
        self._model, self._settings = _build(settings), settings
        pieces = settings.micro_batches if settings.micro_batches > 1 else None
        self._model.compile(
            optimizer=keras.optimizers.SGD(LEARNING_RATE, momentum=0.9, gradient_accumulation_steps=pieces),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        self._images, self._labels = settings.images()
        self.note = f"fit, jit_compile={self._model.jit_compile}, {self._model.count_params():,} parameters"

    def run(self, steps: int) -> float:
        """Fits `steps` batches and returns the seconds."""
        number, size = steps * self._settings.batch, self._settings.micro_batch
        began = time.perf_counter()
        history = self._model.fit(self._images[:number], self._labels[:number], batch_size=size, verbose=0)
        bias = self._model.weights[-1].numpy()  # waits for the last update
        seconds = time.perf_counter() - began
        if not np.isfinite(history.history["loss"][-1] + bias.sum()):
            raise RuntimeError("Training diverged: its time is meaningless.")
        return seconds


class SmallImages:
    """The same narrow net with `compile` and `fit`, on `image_dataset_from_directory`, decoded once and cached in memory."""

    processes = 0

    def __init__(self, settings: FolderSettings):
        keras.config.set_dtype_policy(settings.precision)
        size, shape = (settings.scale, settings.scale), (settings.crop, settings.crop, 3)
        folder = pathlib.Path(settings.folder)
        found = keras.utils.image_dataset_from_directory(
            folder / "train" if (folder / "train").is_dir() else folder, image_size=size, batch_size=None, verbose=0
        )

        def view(image, label):
            image = tf.image.random_flip_left_right(tf.image.random_crop(image, shape))
            return image - _MEAN, label

        self._images = (
            found.cache().shuffle(_SHUFFLED).repeat().map(view, tf.data.AUTOTUNE).batch(settings.batch).prefetch(tf.data.AUTOTUNE)
        )
        self._model = build_vgg(settings.arch, input_shape=shape, classes=len(found.class_names), width=settings.width)
        self._model.compile(
            keras.optimizers.SGD(LEARNING_RATE, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        self.note = f"fit, jit_compile={self._model.jit_compile}, decoded once, {self._model.count_params():,} parameters"

    def run(self, steps: int) -> float:
        """Fits two epochs of `steps` batches and returns the seconds of the second, whose images are already shuffled."""
        clock = _Clock()
        history = self._model.fit(self._images, steps_per_epoch=steps, epochs=2, verbose=0, callbacks=[clock])
        if not np.isfinite(history.history["loss"][-1]):
            raise RuntimeError("Training diverged: its time is meaningless.")
        return clock.seconds


class _Clock(keras.callbacks.Callback):
    """Measures the time of the last epoch."""

    seconds = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.model.weights[-1].numpy()  # waits for the last update
        self.seconds = time.perf_counter() - self._began


class Forward:
    """`predict_on_batch` of uint8 images."""

    processes = 0

    def __init__(self, settings: NetSettings):
        self._model = _build(settings)
        images, _ = settings.images()
        self._batches = np.split(images, settings.steps)
        self.note = f"predict_on_batch, {self._model.count_params():,} parameters"

    def run(self, steps: int) -> float:
        """Predicts `steps` batches, from NumPy to NumPy, and returns the seconds."""
        began = time.perf_counter()
        for batch in self._batches[:steps]:
            self._model.predict_on_batch(batch)
        return time.perf_counter() - began


class Reading:
    """Decode, resize, crop, flip, in the style of `keras.utils.image_dataset_from_directory`, which does not support jitter."""

    processes = 0
    note = "decode, resize, random_crop, flip; tf.data, AUTOTUNE"

    def __init__(self, settings: ReadingSettings):
        self._settings = settings
        crop, (smallest, largest) = settings.crop, settings.jitter

        def read(path):
            image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
            scale = tf.random.uniform([], smallest, largest + 1, tf.int32)
            size = tf.cast(tf.shape(image)[:2], tf.float32)
            size = tf.cast(tf.round(size * tf.cast(scale, tf.float32) / tf.reduce_min(size)), tf.int32)
            image = tf.image.random_crop(tf.image.resize(image, size), [crop, crop, 3])
            return tf.image.random_flip_left_right(image)

        paths = tf.data.Dataset.from_tensor_slices(list(settings.paths)).shuffle(len(settings.paths)).repeat()
        self._batches = paths.map(read, tf.data.AUTOTUNE).batch(settings.batch).prefetch(tf.data.AUTOTUNE)

    def run(self, steps: int) -> float:
        """Reads `steps` batches and returns the seconds."""
        batches = iter(self._batches)
        for _ in range(self._settings.warm_up):
            next(batches)
        began = time.perf_counter()
        for _ in range(steps):
            next(batches)
        return time.perf_counter() - began
