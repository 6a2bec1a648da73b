"""Schedules of the learning rate, as data and pure functions. Imports no TensorFlow.

`plateau`, the paper's, looks at the validation (`training.plateau`). The others are functions of the place in the run alone, so
that nothing of them need be kept: another one is another function and a row of `RATES`.
"""

import math
from collections.abc import Callable
from typing import Protocol

PLATEAU = "plateau"


class Course(Protocol):
    """What a rate may depend on, as `recipe.Recipe` has it.

    Attributes:
        epochs: length of the run.
        warmup_epochs: over which the rate rises from nothing to its full height; fractions are allowed.
        factor: what the rate is multiplied by at a step.
        step_epochs: epochs from one step to the next.
    """

    epochs: int
    warmup_epochs: float
    factor: float
    step_epochs: int


def constant(epoch: float, course: Course) -> float:
    """The full rate to the end."""
    return 1.0


def step(epoch: float, course: Course) -> float:
    """The rate times `factor` every `step_epochs` epochs."""
    return course.factor ** int(epoch // course.step_epochs)


def cosine(epoch: float, course: Course) -> float:
    """Half a period of the cosine, from the full rate at the end of the warm-up to nothing (Loshchilov & Hutter 2017, Eq. 5)."""
    return (1 + math.cos(math.pi * (epoch - course.warmup_epochs) / (course.epochs - course.warmup_epochs))) / 2


RATES: dict[str, Callable[[float, Course], float]] = {"constant": constant, "step": step, "cosine": cosine}
"""Share of the initial rate, in [0, 1], by the epochs that are over, a fraction within an epoch."""

SCHEDULES = (PLATEAU, *RATES)
"""What recipes may call a schedule."""

DEPEND_ON_EPOCHS = ("cosine",)
"""Schedules that look at where the end is: with another end, every update is another."""


def share(name: str, update: int, updates_per_epoch: int, course: Course) -> float:
    """Returns the share of the initial rate for an update, warm-up included.

    >>> from keras_vgg.recipe import Recipe
    >>> from keras_vgg.schedules import share
    >>> recipe = Recipe(schedule="step", step_epochs=30, warmup_epochs=1)
    >>> [share("step", update, 4, recipe) for update in (0, 1, 3, 4, 120)]
    [0.25, 0.5, 1.0, 1.0, 0.1]

    Args:
        name: one of `RATES`.
        update: weight updates before this one.
        updates_per_epoch: their number in an epoch.
        course: what the schedule depends on.
    """
    warmup = course.warmup_epochs * updates_per_epoch
    if update < warmup:
        return min(1.0, (update + 1) / warmup)
    return RATES[name](update / updates_per_epoch, course)
