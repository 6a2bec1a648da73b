"""Recipes: every setting of a training run in one frozen dataclass, read from and written to TOML. Imports no TensorFlow.

A recipe file holds the fields of `Recipe` at its top level; unknown keys are errors. A table `[paper]` may hold the
results of the paper that the recipe reproduces; it is for people and tables and does not affect a run.
"""

from keras_vgg.recipe.fields import GROUPS, RUN, Recipe
from keras_vgg.recipe.reading import (
    MADE_AGAIN,
    called_as_now,
    check_scales,
    read_recipe,
    read_run_recipe,
    resolve,
    to_toml,
)

__all__ = [
    "GROUPS",
    "MADE_AGAIN",
    "RUN",
    "Recipe",
    "called_as_now",
    "check_scales",
    "read_recipe",
    "read_run_recipe",
    "resolve",
    "to_toml",
]
