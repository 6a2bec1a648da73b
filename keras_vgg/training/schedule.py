"""A schedule at work: it sets the optimizer's learning rate, says when the run is over, and survives a restart."""

import types
from typing import Protocol

import keras

from keras_vgg.recipe import Recipe
from keras_vgg.schedules import PLATEAU, share
from keras_vgg.training.plateau import PlateauSchedule, learning_rate_of


class Schedule(Protocol):
    """What the loop asks of a schedule.

    Attributes:
        ended: whether it has ended the run.
    """

    ended: bool

    def before_update(self, update: int) -> None:
        """Is called before each weight update, with the number of those before it."""

    def after_epoch(self, epoch: int, figure: float) -> None:
        """Is called after each validation, with the epoch, from 0, and the figure that is watched; the larger the better."""

    def state(self) -> dict:
        """What must be kept to go on as if never stopped; plain JSON values."""

    def restore(self, state: dict) -> None:
        """Takes up a `state`."""


def make_schedule(recipe: Recipe, optimizer: keras.optimizers.Optimizer, updates_per_epoch: int) -> Schedule:
    """Returns the schedule that `recipe` names, at its beginning."""
    if recipe.schedule == PLATEAU:
        return OnPlateau(recipe, optimizer)
    return ByUpdate(recipe, optimizer, updates_per_epoch)


class OnPlateau:
    """The paper's schedule: Keras' callback, without a Keras training loop around it.

    Args:
        recipe: gives `patience`, `drops` and `factor`.
        optimizer: whose rate it lowers.
    """

    def __init__(self, recipe: Recipe, optimizer: keras.optimizers.Optimizer):
        self._callback = PlateauSchedule(recipe.patience, recipe.drops, recipe.factor, monitor="figure")
        self._callback.set_model(types.SimpleNamespace(optimizer=optimizer, stop_training=False))  # all that it asks of a model
        self._callback.on_train_begin()

    @property
    def ended(self) -> bool:
        """Whether there was a plateau after the last drop."""
        return self._callback.model.stop_training

    def before_update(self, update: int) -> None:
        """Leaves the rate as the last plateau left it."""

    def after_epoch(self, epoch: int, figure: float) -> None:
        """Lowers the rate, or ends the run, at a plateau."""
        self._callback.on_epoch_end(epoch, {"figure": figure})

    def state(self) -> dict:
        """The callback's counters."""
        return self._callback.state() | {"ended": self.ended}

    def restore(self, state: dict) -> None:
        """Takes up the callback's counters; the rate itself is the optimizer's."""
        counters = dict(state)
        self._callback.model.stop_training = counters.pop("ended")
        self._callback.restore(counters)
        self._callback.on_train_begin()


class ByUpdate:
    """A schedule that is a function of the number of updates, so that nothing of it need be kept.

    Args:
        recipe: names it, and gives the initial rate and what else it depends on.
        optimizer: whose rate it sets.
        updates_per_epoch: number of weight updates in an epoch.
    """

    ended = False

    def __init__(self, recipe: Recipe, optimizer: keras.optimizers.Optimizer, updates_per_epoch: int):
        self._recipe, self._optimizer, self._updates_per_epoch = recipe, optimizer, updates_per_epoch

    def before_update(self, update: int) -> None:
        """Sets the update's rate."""
        rate = self._recipe.learning_rate * share(self._recipe.schedule, update, self._updates_per_epoch, self._recipe)
        if rate != learning_rate_of(self._optimizer):
            self._optimizer.learning_rate = rate

    def after_epoch(self, epoch: int, figure: float) -> None:
        """Needs no figure."""

    def state(self) -> dict:
        """Nothing."""
        return {}

    def restore(self, state: dict) -> None:
        """Needs nothing."""
