"""Recipes in files: read from and written to TOML, and settings of several sources put together. Imports no TensorFlow."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import tomli_w

from keras_vgg.errors import InputError
from keras_vgg.recipe.fields import Recipe
from keras_vgg.support import files, paths

MADE_AGAIN = "Run the keras_vgg.fit command of this run again to restore it."
"""What to do about a damaged small file of a run folder: the checkpoint holds all their contents."""


def read_recipe(path: str | os.PathLike[str]) -> dict:
    """Returns the fields that a recipe file sets, without the `[paper]` table.

    Raises:
        InputError: if the file is missing or not TOML, has an unknown key, or a value has the wrong type.
    """
    values = files.read_recipe_file(path)
    values.pop("paper", None)
    known = {field.name: field for field in dataclasses.fields(Recipe)}
    values = called_as_now(values)
    if unknown := [key for key in values if key not in known]:
        raise InputError(f"Recipe {path} has unknown keys: {', '.join(unknown)}. Known: {', '.join(known)}.")
    return {key: _typed(path, known[key], value) for key, value in values.items()}


def read_run_recipe(path: str | pathlib.Path) -> Recipe:
    """Returns the recipe in a run folder.

    Raises:
        InputError: if it is damaged or truncated: the last field of `Recipe` is always its last line.
    """
    try:
        values = read_recipe(path)
    except InputError as error:
        raise InputError(f"{error} {MADE_AGAIN}") from error
    if (last := dataclasses.fields(Recipe)[-1].name) not in values:
        raise InputError(f"Recipe {path} is truncated: its last line, `{last}`, is missing. {MADE_AGAIN}")
    return resolve(values)


def called_as_now(values: Mapping) -> dict:
    """Returns the fields of a recipe with other names, such as those of earlier versions, replaced by the current ones."""
    now = {once: field.name for field in dataclasses.fields(Recipe) if (once := field.metadata.get("once"))}
    return {now.get(name, name): value for name, value in values.items()}


def check_scales(given: Mapping, where: str) -> None:
    """Raises `InputError` if `given`, the fields of a recipe file or of the command line, sets both `scale` and `jitter`."""
    if {"scale", "jitter"} <= set(given):
        raise InputError(
            f"{where} must set either `scale` or `jitter`, not both. Received: scale {given['scale']} and "
            f"jitter {' '.join(map(str, given['jitter']))}; remove one of them."
        )


def _typed(path, field: dataclasses.Field, value):
    if names := field.metadata.get("metavar"):
        if isinstance(value, list) and len(value) == len(names) and all(type(each) is int for each in value):
            return tuple(value)
        raise InputError(f"Recipe {path}: `{field.name}` must be [{', '.join(names)}], two whole numbers. Received: {value!r}.")
    allowed = {int: (int,), float: (int, float), bool: (bool,), str: (str,), str | int: (str, int)}
    types = next(types for annotation, types in allowed.items() if field.type in (annotation, annotation | None))
    if type(value) not in types:
        names = " or ".join(dict.fromkeys(type_.__name__ for type_ in types))
        raise InputError(f"Recipe {path}: `{field.name}` must be {names}. Received: {value!r}.")
    if field.metadata["path"]:
        return paths.expanded(value)
    return float(value) if types == (int, float) else value


def resolve(*layers: Mapping) -> Recipe:
    """Returns the defaults overridden by `layers` in order (a recipe file's fields, then flags) as a recipe.

    The embedded digits must not be mirrored and have no color, so both augmentations are off for them unless a layer enables
    them. `scale` replaces the `jitter` of an earlier layer and vice versa; `tune` replaces `freeze`.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        for name, replaced in (("scale", "jitter"), ("jitter", "scale"), ("tune", "freeze")):
            if name in layer:
                values.pop(replaced, None)
        values |= layer
    if values.get("dataset", Recipe.dataset) == "digits":
        values = {"random_flip": False, "color": False} | values
    return Recipe(**values)


def to_toml(recipe: Recipe) -> str:
    """Returns `recipe` as TOML that `read_recipe` reads back; fields that are `None` are omitted, as is `scale` with jitter."""
    values = {key: value for key, value in dataclasses.asdict(recipe).items() if value is not None}
    if recipe.jitter:
        del values["scale"]
    return tomli_w.dumps(values)
