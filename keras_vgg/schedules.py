"""Learning rate schedules, as data and pure functions. Imports no TensorFlow.

`plateau`, the paper's schedule, depends on the validation (`training.plateau`). The others are stateless functions of the
position in the run; a new one needs only a function and an entry of `RATES`.
"""

import math
from collections.abc import Callable
from typing import Protocol

PLATEAU = "plateau"


class Course(Protocol):
    """The fields of `recipe.Recipe` that a schedule may depend on."""

    @property
    def epochs(self) -> int:
        """Number of epochs of the run."""

    @property
    def warmup_epochs(self) -> float:
        """Epochs over which the learning rate rises from zero to its full value; may be fractional."""

    @property
    def factor(self) -> float:
        """Factor on the learning rate at a step."""

    @property
    def step_epochs(self) -> int:
        """Epochs from one step to the next."""


def constant(epoch: float, course: Course) -> float:
    """The full learning rate throughout."""
    return 1.0


def step(epoch: float, course: Course) -> float:
    """Multiplies the learning rate by `factor` every `step_epochs` epochs."""
    return course.factor ** int(epoch // course.step_epochs)


def cosine(epoch: float, course: Course) -> float:
    """Half a period of the cosine, from the full rate after the warm-up to zero (Loshchilov & Hutter 2017, Eq. 5)."""
    return (1 + math.cos(math.pi * (epoch - course.warmup_epochs) / (course.epochs - course.warmup_epochs))) / 2


RATES: dict[str, Callable[[float, Course], float]] = {"constant": constant, "step": step, "cosine": cosine}
"""Fraction of the initial learning rate, in [0, 1], as a function of completed epochs, which may be fractional."""

SCHEDULES = (PLATEAU, *RATES)
"""Names of schedules in recipes."""

DEPEND_ON_EPOCHS = ("cosine",)
"""Schedules in which every update depends on the number of epochs."""


def share(name: str, update: int, updates_per_epoch: int, course: Course) -> float:
    """Returns the fraction of the initial learning rate for an update, warm-up included.

    >>> from keras_vgg.recipe import Recipe
    >>> from keras_vgg.schedules import share
    >>> recipe = Recipe(schedule="step", step_epochs=30, warmup_epochs=1)
    >>> [share("step", update, 4, recipe) for update in (0, 1, 3, 4, 120)]
    [0.25, 0.5, 1.0, 1.0, 0.1]

    Args:
        name: one of `RATES`.
        update: number of weight updates before this one.
        updates_per_epoch: weight updates per epoch.
        course: parameters of the schedule.
    """
    warmup = course.warmup_epochs * updates_per_epoch
    if update < warmup:
        return min(1.0, (update + 1) / warmup)
    return RATES[name](update / updates_per_epoch, course)
