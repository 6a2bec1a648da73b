"""Applies a schedule: sets the optimizer's learning rate, may end the run, and can be saved and restored."""

import types
from typing import Protocol

import keras

from keras_vgg.recipe import Recipe
from keras_vgg.schedules import PLATEAU, share
from keras_vgg.training.plateau import PlateauSchedule, as_float32, learning_rate_of


class Schedule(Protocol):
    """Interface of a schedule."""

    @property
    def ended(self) -> bool:
        """Whether the schedule has ended the run."""

    @property
    def rate(self) -> float:
        """The learning rate, known without waiting for the updates in progress, as reading the optimizer's does."""

    def before_update(self, update: int) -> None:
        """Called before each weight update, with the number of earlier ones."""

    def after_epoch(self, epoch: int, figure: float) -> None:
        """Called after each validation, with the epoch, from 0, and the monitored metric; larger is better."""

    def state(self) -> dict:
        """Returns the state for an exact resume, as plain JSON values."""

    def restore(self, state: dict) -> None:
        """Restores a `state`."""


def make_schedule(recipe: Recipe, optimizer: keras.optimizers.Optimizer, updates_per_epoch: int) -> Schedule:
    """Returns a new schedule for `recipe`."""
    if recipe.schedule == PLATEAU:
        return OnPlateau(recipe, optimizer)
    return ByUpdate(recipe, optimizer, updates_per_epoch)


class OnPlateau:
    """The paper's schedule: Keras' callback, without a Keras training loop around it.

    Args:
        recipe: provides `patience`, `drops` and `factor`.
        optimizer: its learning rate is lowered.
    """

    def __init__(self, recipe: Recipe, optimizer: keras.optimizers.Optimizer):
        self._callback = PlateauSchedule(recipe.patience, recipe.drops, recipe.factor, monitor="figure")
        self._callback.set_model(types.SimpleNamespace(optimizer=optimizer, stop_training=False))  # all that it uses of a model
        self._callback.on_train_begin()
        self.rate = learning_rate_of(optimizer)

    @property
    def ended(self) -> bool:
        """Whether there was a plateau after the last drop."""
        return self._callback.model.stop_training

    def before_update(self, update: int) -> None:
        """Does nothing: the rate changes only at plateaus."""

    def after_epoch(self, epoch: int, figure: float) -> None:
        """Lowers the learning rate or ends the run at a plateau."""
        self._callback.on_epoch_end(epoch, {"figure": figure})
        self.rate = learning_rate_of(self._callback.model.optimizer)

    def state(self) -> dict:
        """Returns the callback's counters."""
        return self._callback.state() | {"ended": self.ended}

    def restore(self, state: dict) -> None:
        """Restores the callback's counters; the optimizer restores the rate itself."""
        counters = dict(state)
        self._callback.model.stop_training = counters.pop("ended")
        self._callback.restore(counters)
        self._callback.on_train_begin()
        self.rate = learning_rate_of(self._callback.model.optimizer)


class ByUpdate:
    """A schedule that is a function of the number of updates, and so has no state.

    Args:
        recipe: provides the schedule's name, the initial learning rate and its other parameters.
        optimizer: its learning rate is set.
        updates_per_epoch: number of weight updates per epoch.
    """

    ended = False

    def __init__(self, recipe: Recipe, optimizer: keras.optimizers.Optimizer, updates_per_epoch: int):
        self._recipe, self._optimizer, self._updates_per_epoch = recipe, optimizer, updates_per_epoch
        self.rate = learning_rate_of(optimizer)
        self._given: float | None = None

    def before_update(self, update: int) -> None:
        """Sets the learning rate of the update."""
        rate = self._recipe.learning_rate * share(self._recipe.schedule, update, self._updates_per_epoch, self._recipe)
        if rate != self._given:
            self._optimizer.learning_rate = self._given = rate
            self.rate = as_float32(rate)

    def after_epoch(self, epoch: int, figure: float) -> None:
        """Does nothing: the schedule ignores metrics."""

    def state(self) -> dict:
        """Returns an empty state."""
        return {}

    def restore(self, state: dict) -> None:
        """Reads the rate, which the optimizer has restored."""
        self.rate = learning_rate_of(self._optimizer)
