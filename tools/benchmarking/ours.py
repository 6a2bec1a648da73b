"""Our contestants: the training step, the forward pass and the pipeline of the keras_vgg commands."""

import time

import keras
import numpy as np
import tensorflow as tf

from benchmarking.pictures import CLASSES, LEARNING_RATE, FolderSettings, NetSettings, ReadingSettings
from keras_vgg import preprocessing
from keras_vgg.data.color import IMAGENET
from keras_vgg.data.datasets import open_dataset
from keras_vgg.data.order import Layout
from keras_vgg.data.pipeline import MicroBatch
from keras_vgg.data.split import files
from keras_vgg.inference.network import Network
from keras_vgg.inference.views import CENTER
from keras_vgg.models import build_vgg
from keras_vgg.preprocessing import Preprocessing
from keras_vgg.randomness import example_key
from keras_vgg.recipe import Recipe
from keras_vgg.support.xla import convolutions_prefer_xla
from keras_vgg.tasks.classification import Classification
from keras_vgg.tasks.task import LOSS
from keras_vgg.training.cluster import make_cluster
from keras_vgg.training.feed import training_feed
from keras_vgg.training.loss_scale import LossScale
from keras_vgg.training.optimizer import SGD
from keras_vgg.training.step import StepSettings, TrainingStep

_PREPROCESSING = Preprocessing(mean=IMAGENET.mean)


def _uses_jit(settings: NetSettings) -> bool:
    recipe = Recipe(arch=settings.arch, crop=settings.crop, scale=settings.crop, jit=settings.jit)
    return recipe.uses_jit(CLASSES, convolutions_prefer_xla())


_ENDLESS = 10**6  # a run stops reading after its last epoch


class Training:
    """Updates as in `keras_vgg.fit`: keyed dropout, color shift, L2, loss scaling, XLA where it pays off, huge pages."""

    processes = 0

    def __init__(self, settings: NetSettings):
        keras.config.set_dtype_policy(settings.precision)
        cluster = make_cluster("one-device", None)
        strategy = cluster.strategy
        with strategy.scope():
            self._model = build_vgg(settings.arch, input_shape=(settings.crop, settings.crop, 3), classes=CLASSES)
            optimizer = SGD(LEARNING_RATE, momentum=0.9, l2=5e-4)
        jit = _uses_jit(settings)
        task = Classification(tuple(map(str, range(CLASSES))))
        options = StepSettings(_PREPROCESSING, colors=IMAGENET, seed=0, jit=jit)
        self._step = TrainingStep(self._model, optimizer, strategy, task, options)
        images, labels = settings.images()
        examples = MicroBatch(images, labels, example_key(0, np.arange(len(images))), np.ones(len(images), np.float32), 0.0)
        per_image = tf.data.Dataset.from_tensor_slices(examples[:-1]).batch(settings.micro_batch, drop_remainder=True).repeat()
        batches = per_image.map(lambda *tensors: MicroBatch(*[*tensors, tf.constant(0.0)]))
        self._batches = iter(strategy.distribute_datasets_from_function(lambda context: batches))
        self._micro_batches, self._loss_scale = settings.micro_batches, LossScale.for_precision(settings.precision, settings.batch)
        self.note = f"XLA {'on' if jit else 'off'}, {cluster.description}, {self._model.count_params():,} parameters"

    def run(self, steps: int) -> float:
        """Makes `steps` weight updates and returns the seconds."""
        return _update(self._step, self._batches, self._model, steps, self._micro_batches, self._loss_scale)


def _update(step: TrainingStep, batches, model: keras.Model, steps: int, micro_batches: int, loss_scale: LossScale) -> float:
    began = time.perf_counter()
    for _ in range(steps):
        scale = tf.constant(loss_scale.of_example)
        for number in range(micro_batches):
            step.accumulate(next(batches), scale, first=number == 0)
        totals = step.totals()
        if loss_scale.is_dynamic:
            finite = bool(step.gradients_are_finite())
            loss_scale.adjust(finite)
            if not finite:
                continue  # as in `fit`: the next batch uses a lower scale
        step.update(tf.constant(totals.examples, tf.float32), scale)
    bias = model.weights[-1].numpy()  # waits for the last update
    seconds = time.perf_counter() - began
    if not np.isfinite(totals.sums[LOSS] + bias.sum()):
        raise RuntimeError("Training diverged: its time is meaningless.")
    return seconds


class SmallImages:
    """A narrow net on small images, trained as in `keras_vgg.fit`: views cropped from images that are decoded once."""

    processes = 0

    def __init__(self, settings: FolderSettings):
        keras.config.set_dtype_policy(settings.precision)
        cluster = make_cluster("one-device", None)
        dataset = open_dataset(f"folder:{settings.folder}")
        recipe = Recipe(
            arch=settings.arch,
            width=settings.width,
            crop=settings.crop,
            scale=settings.scale,
            batch_size=settings.batch,
            epochs=_ENDLESS,
            precision=settings.precision,
        )
        task = Classification(dataset.classes)
        with cluster.strategy.scope():
            shape = (settings.crop, settings.crop, 3)
            self._model = build_vgg(settings.arch, input_shape=shape, classes=len(dataset.classes), width=settings.width)
            optimizer = SGD(LEARNING_RATE, momentum=0.9, l2=5e-4)
        jit = recipe.uses_jit(len(dataset.classes), convolutions_prefer_xla())
        options = StepSettings(_PREPROCESSING, colors=IMAGENET, seed=0, jit=jit)
        self._step = TrainingStep(self._model, optimizer, cluster.strategy, task, options)
        layout = Layout(settings.batch, settings.batch, replicas=1)
        self._feed = training_feed(dataset.train, task, recipe, layout, cluster, epoch=0, step=0)
        self._loss_scale = LossScale.for_precision(settings.precision, settings.batch)
        self.note = f"{dataset.train.size:,} images, decoded once, {self._model.count_params():,} parameters"

    def run(self, steps: int) -> float:
        """Makes `steps` weight updates and returns the seconds."""
        return _update(self._step, self._feed, self._model, steps, 1, self._loss_scale)


class Forward:
    """Posteriors of uint8 images, as `keras_vgg.evaluate` and `predict` compute them for center crops."""

    processes = 0

    def __init__(self, settings: NetSettings):
        keras.config.set_dtype_policy(settings.precision)
        model = build_vgg(settings.arch, input_shape=(settings.crop, settings.crop, 3), classes=CLASSES)
        preprocessing.remember(model, _PREPROCESSING)
        self._network = Network(model)
        images, _ = settings.images()
        self._batches = np.split(images, settings.steps)
        self.note = f"Network.posteriors, {model.count_params():,} parameters"

    def run(self, steps: int) -> float:
        """Predicts `steps` batches, from NumPy to NumPy, and returns the seconds."""
        began = time.perf_counter()
        for batch in self._batches[:steps]:
            self._network.posteriors(batch, CENTER, flip=False).numpy()
        return time.perf_counter() - began


class Reading:
    """Micro-batches as in `keras_vgg.fit`: jittered, cropped, mirrored, uint8."""

    processes = 0
    note = "decodes only the crop's window, tf.data"

    def __init__(self, settings: ReadingSettings):
        self._settings = settings
        self._cluster = make_cluster("one-device", None)
        self._split = files(list(settings.paths), np.zeros(len(settings.paths), np.int32))
        self._recipe = Recipe(crop=settings.crop, jitter=settings.jitter, random_flip=True, epochs=_ENDLESS)
        self._layout = Layout(settings.batch, settings.batch, replicas=1)
        self._task = Classification(("photograph",))

    def run(self, steps: int) -> float:
        """Reads `steps` micro-batches and returns the seconds."""
        feed = training_feed(self._split, self._task, self._recipe, self._layout, self._cluster, epoch=0, step=0)
        for _ in range(self._settings.warm_up):
            next(feed)
        began = time.perf_counter()
        for _ in range(steps):
            next(feed)
        seconds = time.perf_counter() - began
        if len(feed.broken):
            raise RuntimeError(f"Images could not be read, so the time is meaningless: {feed.broken.rows()[:3]}.")
        return seconds
