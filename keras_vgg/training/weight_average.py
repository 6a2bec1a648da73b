"""A moving average of the weights over updates (Polyak & Juditsky 1992), tested and saved instead of the latest weights."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


class WeightAverage:
    """Averages everything that a net's predictions depend on: trained weights and batch norm statistics.

    Args:
        model: the net being trained, created in the strategy's scope.
        momentum: share of the average that remains at each update, in [0, 1); 0 disables averaging.
        strategy: the strategy.

    Attributes:
        variables: variables to save in a checkpoint.
    """

    def __init__(self, model: keras.Model, momentum: float, strategy: tf.distribute.Strategy):
        self._followed = [variable.value for variable in model.variables if variable.dtype == "float32"] if momentum else []
        self._momentum = momentum
        with strategy.scope():
            self.variables = [tf.Variable(each, trainable=False) for each in self._followed]
            self._updates = [tf.Variable(0.0, trainable=False)] if momentum else []
        self.variables += self._updates

    def follow(self) -> None:
        """Moves the average towards the weights; call it in a graph after each update.

        Early averages are over few updates: after `n` of them, a share of at most `n / (n + 9)` remains, as usual.
        """
        if not self._followed:
            return
        (updates,) = self._updates
        stays = tf.minimum(self._momentum, updates / (updates + 9.0))
        for average, weight in zip(self.variables, self._followed, strict=False):
            average.assign(stays * average + (1 - stays) * weight)
        updates.assign_add(1.0)

    def keep(self) -> None:
        """Replaces the net's weights by the average permanently, after training."""
        for average, weight in zip(self.variables, self._followed, strict=False):
            weight.assign(average)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Replaces the net's weights by the average within the context."""
        kept = [weight.numpy() for weight in self._followed]
        self.keep()
        try:
            yield
        finally:
            for value, weight in zip(kept, self._followed, strict=True):
                weight.assign(value)
