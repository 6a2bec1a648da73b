"""The micro-batches of a run, distributed to the replicas of this worker."""

import itertools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_vgg.data import order, pipeline
from keras_vgg.data.augmentation import Augmentation
from keras_vgg.data.broken import BrokenImages
from keras_vgg.data.split import Split
from keras_vgg.recipe import Recipe
from keras_vgg.recipe_bounds import BALANCED
from keras_vgg.support.determinism import op_determinism
from keras_vgg.tasks.task import Task
from keras_vgg.training.cluster import Cluster


class Feed:
    """Endless micro-batches of a split for this worker's replicas, and its unreadable images.

    Args:
        split: the split to read.
        rows: function that yields the worker's rows, see `data.order`.
        micro_batch: images per micro-batch.
        view: the view of each image.
        cluster: the cluster.
    """

    def __init__(self, split: Split, rows, micro_batch: int, view: pipeline.View, cluster: Cluster):
        self.size = split.size
        self.broken = BrokenImages(split)
        # Deterministic ops would make tf.data serial because of the Python functions in it. Order and content of the batches do not
        # depend on threads.
        with op_determinism(False):
            batches = pipeline.micro_batches(split, rows, micro_batch, view, self.broken.report)
            self._dealt = (_copied_ahead if cluster.has_gpus else _handed_over)(batches, cluster.strategy)

    def __iter__(self) -> Iterator:
        return self

    def __next__(self):
        return next(self._dealt)


def _copied_ahead(batches: tf.data.Dataset, strategy: tf.distribute.Strategy) -> Iterator:
    """Returns the micro-batches of all replicas, a few of which are copied to each GPU before they are needed."""
    # Otherwise every `next` would ask all workers whether there is more.
    endless = batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    return iter(strategy.distribute_datasets_from_function(lambda context: endless))


def _handed_over(batches: tf.data.Dataset, strategy: tf.distribute.Strategy) -> Iterator:
    """Returns the micro-batches of all replicas where there is nothing to copy, since they share their memory.

    TensorFlow's distributed iterators would have a thread that tunes them, see `data.untuned`, for each replica.
    """
    iterator = iter(batches)  # now, as its caller has it
    return (strategy.experimental_distribute_values_from_function(lambda context: next(iterator)) for _ in itertools.count())


def training_feed(
    split: Split, task: Task, recipe: Recipe, layout: order.Layout, cluster: Cluster, *, epoch: int, step: int
) -> Feed:
    """Returns the training examples from `step` of `epoch` on, in random views (Sec. 3.1) with the recipe's augmentation.

    After the run's last epoch, micro-batches are empty.
    """
    drawn, balance = drawn_from(split, recipe)

    def rows():
        return order.training_rows(
            split.size,
            layout,
            seed=recipe.seed,
            epoch=epoch,
            step=step,
            my_replicas=cluster.my_replicas,
            epochs=recipe.epochs,
            balance=balance,
        )

    return Feed(drawn, rows, layout.micro_batch, training_view(task, recipe), cluster)


def drawn_from(split: Split, recipe: Recipe) -> tuple[Split, np.ndarray | None]:
    """Returns the examples that a recipe samples, and the labels for balanced sampling or `None`."""
    return (split.repeating(), split.labels()) if recipe.sampling == BALANCED else (split, None)


def training_view(task: Task, recipe: Recipe) -> pipeline.View:
    """Returns the view of training images."""
    augments = recipe.rand_augment is not None or recipe.random_erasing > 0
    return pipeline.View(
        recipe.crop,
        recipe.scales,
        flip=recipe.random_flip,
        random=True,
        seed=recipe.seed,
        place=task.place,
        augment=Augmentation(recipe.rand_augment, recipe.random_erasing, recipe.seed) if augments else None,
    )


def validation_view(task: Task, recipe: Recipe) -> pipeline.View:
    """Returns the view of validation images."""
    return pipeline.View(recipe.crop, (recipe.test_scale,) * 2, place=task.place)


def validation_feed(split: Split, task: Task, recipe: Recipe, layout: order.Layout, cluster: Cluster, *, epoch: int = 0) -> Feed:
    """Returns the validation examples, each once per epoch from `epoch` on, in center crops at scale Q."""

    def rows():
        return order.validation_rows(split.size, layout, my_replicas=cluster.my_replicas, passes=recipe.epochs - epoch)

    return Feed(split, rows, layout.micro_batch, validation_view(task, recipe), cluster)
