"""A moving average of the weights over the updates (Polyak & Juditsky 1992), which is tested and kept in place of the latest."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


class WeightAverage:
    """Averages all that a net's answers depend on: trained weights, and the statistics of batch norm with them.

    Args:
        model: the net that is trained, made in the strategy's scope.
        momentum: share of the average that stays at each update, in [0, 1); at 0 there is no average, and the net is as trained.
        strategy: the strategy.

    Attributes:
        variables: what a checkpoint must hold.
    """

    def __init__(self, model: keras.Model, momentum: float, strategy: tf.distribute.Strategy):
        self._followed = [variable.value for variable in model.variables if variable.dtype == "float32"] if momentum else []
        self._momentum = momentum
        with strategy.scope():
            self.variables = [tf.Variable(each, trainable=False) for each in self._followed]
            self._updates = [tf.Variable(0.0, trainable=False)] if momentum else []
        self.variables += self._updates

    def follow(self) -> None:
        """Moves the average towards the weights; to be called in a graph after each update.

        Early on, the average is over few updates: of `n` of them a share of `n / (n + 9)` stays at most, as is the custom.
        """
        if not self._followed:
            return
        (updates,) = self._updates
        stays = tf.minimum(self._momentum, updates / (updates + 9.0))
        for average, weight in zip(self.variables, self._followed, strict=False):
            average.assign(stays * average + (1 - stays) * weight)
        updates.assign_add(1.0)

    def keep(self) -> None:
        """Puts the average in the place of the net's weights for good, once nothing more is trained."""
        for average, weight in zip(self.variables, self._followed, strict=False):
            weight.assign(average)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Puts the average in the place of the net's weights for a while."""
        kept = [weight.numpy() for weight in self._followed]
        self.keep()
        try:
            yield
        finally:
            for value, weight in zip(kept, self._followed, strict=True):
                weight.assign(value)
