"""A recipe's training images as `tf.data` batches for your own `Model.fit`."""

import dataclasses
import itertools
import os
import warnings
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_vgg.data import color, order, pipeline
from keras_vgg.data.broken import BrokenImages
from keras_vgg.data.split import Split
from keras_vgg.errors import InputError
from keras_vgg.preprocessing import Preprocessing
from keras_vgg.recipe import Recipe, check_scales, read_recipe, resolve
from keras_vgg.tasks import get_task
from keras_vgg.training.feed import drawn_from, training_view, validation_view

_OF_THE_STEP = ("mixup", "cutmix", "class_weights")  # fields of a recipe


@dataclasses.dataclass(frozen=True)
class Data:
    """Data for `Model.compile` and `Model.fit`.

    Attributes:
        train: batches `(images, targets)` of an epoch: `(B, crop, crop, 3)` float32, random views as in Sec. 3.1, preprocessed;
            `(B,)` int32 labels, or `(B, classes)` int8 for multi-label. Each iteration is the next epoch.
        validation: the same for the validation set, in center crops at scale Q.
        classes: class names in label order.
        preprocessing: the preprocessing applied to the images, which a net trained on them expects.
    """

    train: tf.data.Dataset
    validation: tf.data.Dataset
    classes: tuple[str, ...]
    preprocessing: Preprocessing


def load_data(recipe: Recipe | str | os.PathLike[str], *, first_epoch: int = 0) -> Data:
    """Returns the images of a recipe in the views and the order in which `fit` trains on them.

    The recipe determines everything: `dataset`, `scale` or `jitter`, `crop`, `random_flip`, `color`, `rand_augment`,
    `random_erasing`, `sampling`, `batch_size`, `seed`, `limit_images`. An unreadable image causes a warning and a smaller batch.

    Args:
        recipe: a `Recipe`, a recipe file, or the name of one of the package's recipes, such as `"quickstart"`.
        first_epoch: the first epoch, as `initial_epoch` of `Model.fit`.

    Raises:
        InputError: if the dataset is missing, inconsistent or unsuitable for the recipe's task, or the recipe sets `mixup`,
            `cutmix` or `class_weights`.

    Example:
        >>> from keras_vgg import training
        >>> from keras_vgg.models import build_vgg
        >>> from keras_vgg.recipe import Recipe
        >>> data = training.load_data(Recipe(crop=32, scale=32, batch_size=64, limit_images=64, random_flip=False, color=False))
        >>> model = build_vgg("A", input_shape=(32, 32, 3), classes=len(data.classes), width=1 / 16)
        >>> model.compile(training.SGD(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
        >>> history = model.fit(data.train, validation_data=data.validation, verbose=0, callbacks=[training.PlateauSchedule()])
        >>> sorted(history.history)
        ['accuracy', 'learning_rate', 'loss', 'val_accuracy', 'val_loss']
    """
    if not isinstance(recipe, Recipe):
        given = read_recipe(recipe)
        check_scales(given, f"Recipe {os.fspath(recipe)}")
        recipe = resolve(given)
    if done_by_step := [name for name in _OF_THE_STEP if getattr(recipe, name)]:
        told = ", ".join(f"{name}={getattr(recipe, name)!r}" for name in done_by_step)
        raise InputError(f"`load_data` does not mix or weight examples. Received: {told}; use `training.fit` instead.")
    task_class = get_task(recipe.task)
    dataset = task_class.open(recipe.dataset, limit_images=recipe.limit_images)
    task = task_class(dataset.classes)
    if recipe.color_statistics == "imagenet":
        colors = color.IMAGENET
    else:
        colors = color.measure(dataset.train, scale=recipe.test_scale, crop=recipe.crop)
    wants = Preprocessing(mean=colors.mean)
    layout = order.Layout(recipe.batch_size, recipe.batch_size, replicas=1)
    alone, epochs = range(1), itertools.count(first_epoch)
    drawn, balance = drawn_from(dataset.train, recipe)

    def training_rows():
        endless = order.training_rows(
            dataset.train.size, layout, seed=recipe.seed, epoch=next(epochs), step=0, my_replicas=alone, balance=balance
        )
        return itertools.islice(endless, layout.steps(dataset.train.size))

    def validation_rows():
        endless = order.validation_rows(dataset.validation.size, layout, my_replicas=alone)
        return itertools.islice(endless, layout.steps(dataset.validation.size))

    def prepare(batch: pipeline.MicroBatch):
        images = tf.cast(batch.images, tf.float32)
        if recipe.color:
            images += color.shifts(batch.keys, colors, seed=recipe.seed)[:, tf.newaxis, tf.newaxis]
        return wants(images)

    return Data(
        _batches(drawn, training_rows, layout, training_view(task, recipe), prepare),
        _batches(dataset.validation, validation_rows, layout, validation_view(task, recipe), lambda batch: wants(batch.images)),
        dataset.classes,
        wants,
    )


def _batches(split: Split, rows: Callable, layout: order.Layout, view: pipeline.View, prepare: Callable) -> tf.data.Dataset:
    broken, told = BrokenImages(split), set[int]()

    def report(indices: np.ndarray):
        broken.report(indices)
        new = {*map(int, indices)} - told
        told.update(new)
        for name in map(split.name_of, sorted(new)):
            warnings.warn(f"skipped unreadable image {name}: {dict(broken.rows())[name]}", stacklevel=1)

    def without_empty_places(batch: pipeline.MicroBatch):
        present = batch.weights > 0
        one = tf.debugging.assert_greater(
            tf.math.count_nonzero(present), tf.constant(0, tf.int64), "all images of a batch are unreadable"
        )
        with tf.control_dependencies([one]):
            images = prepare(batch)
        return tf.boolean_mask(images, present), tf.boolean_mask(batch.targets, present)

    found = pipeline.micro_batches(split, rows, layout.batch_size, view, report)
    batches = found.map(without_empty_places, num_parallel_calls=1)
    return batches.apply(tf.data.experimental.assert_cardinality(layout.steps(split.size)))
