"""Reads studies from TOML files. Imports no TensorFlow.

title = "The paper"
dataset = "tfds:imagenet2012"
trainings = ["a-256", "d-256"]    # recipes in this folder; each starts from the one that its `init_from` names
tables = ["table3"]               # evaluation recipes, whose models are these trainings

A study with a `base` inherits its values and overrides some. `lengths` scales crops, S and Q; `[fit]` overrides fields of all
trainings' recipes, `[trainings_of."*-384"]` those of trainings whose names match.
"""

import dataclasses
import fnmatch
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from keras_vgg import recipe
from keras_vgg.errors import InputError
from keras_vgg.evaluation.recipe import read_evaluation
from keras_vgg.reproduction.claims import Place, claim_of, place_of
from keras_vgg.reproduction.study import NET_A, Study, TableRow, Training
from keras_vgg.support import files, paths

_KEYS = {
    "base": str, "title": str, "dataset": str, "split": str, "held_out": float, "seeds": int, "margin": float, "lengths": float,
    "threads": int, "trainings": list, "tables": list, "fit": dict, "trainings_of": dict, "initialisation": dict, "sizes": dict,
    "evaluate": dict, "class_names": dict,
}  # fmt: skip
_DEFAULTS: dict[str, Any] = {
    "split": "val", "held_out": 0.0, "seeds": 1, "margin": 0.01, "lengths": 1.0, "threads": 0, "fit": {}, "trainings_of": {},
    "initialisation": {}, "sizes": {}, "evaluate": {}, "class_names": {},
}  # fmt: skip
_OF_TABLES = ("trainings_of",)
_SIZES = {"train", "validation", "test", "classes", "image_bytes", "aspect"}
_INITIALISATION_KEYS = {"archs", "starts", "fit", "seeds"}
_OF_RUN = ("dataset", "seed", "init_from")  # fields of a recipe that the graph fills in
_LENGTHS = ("crop", "scale")


def read_study(path: str | os.PathLike[str]) -> Study:
    """Returns the study that a TOML file describes.

    Raises:
        InputError: for a file that is missing or not TOML, unknown keys, values of the wrong type, a training that starts from
            one outside the study, or a claim about a row outside it.
    """
    file = paths.path_of(path)
    values = _DEFAULTS | _with_base(file, ())
    if missing := {"title", "dataset", "trainings", "tables"} - set(values):
        raise InputError(f"Study {file} must have {', '.join(sorted(missing))}. Received: {', '.join(sorted(values))}.")
    trainings = _trainings(file, values)
    study = Study(
        name=file.stem,
        title=values["title"],
        dataset=paths.expanded(values["dataset"]),
        split="validation" if values["split"] == "val" else values["split"],
        held_out=values["held_out"],
        seeds=values["seeds"],
        margin=values["margin"],
        threads=values["threads"],
        trainings=trainings,
        tables={path.stem: _table(file, path, values["lengths"], trainings) for path in values["tables"]},
        starts=_starts(file, values, trainings),
        start_seeds=values["initialisation"].get("seeds", values["seeds"]),
        evaluate=values["evaluate"],
        sizes=values["sizes"],
        class_names=values["class_names"],
    ).changed()
    for place, claim in study.claims.items():
        if claim.against not in study.places:
            raise InputError(f"Study {file}: {place} is compared with {claim.against}, which is not one of its rows.")
    return study


def _with_base(file: pathlib.Path, within: tuple[pathlib.Path, ...]) -> dict:
    """Returns the values of a study and its bases, with trainings and tables as paths."""
    if file in within:
        raise InputError(f"Study {file} must have another study as its `base`. Received: itself.")
    values = files.read_recipe_file(file)
    if unknown := set(values) - set(_KEYS):
        raise InputError(f"Study {file} has unknown keys: {', '.join(sorted(unknown))}. Known: {', '.join(sorted(_KEYS))}.")
    for key, value in values.items():
        kinds = (int, float) if _KEYS[key] is float else (_KEYS[key],)
        if type(value) not in kinds or (key in _OF_TABLES and not all(isinstance(each, dict) for each in value.values())):
            raise InputError(f"Study {file}: `{key}` must be {_told_of(key)}. Received: {value!r}.")
    if unknown := {*values.get("sizes", {})} - _SIZES:
        raise InputError(
            f"Study {file}: `sizes` has unknown keys: {', '.join(sorted(unknown))}. Known: {', '.join(sorted(_SIZES))}."
        )
    for key in {"trainings", "tables"} & set(values):
        values[key] = [file.parent / f"{name}.toml" for name in values[key]]
    base = values.pop("base", None)
    return (_with_base(file.parent / base, (*within, file)) if base else {}) | values


def _told_of(key: str) -> str:
    return "a table of tables" if key in _OF_TABLES else _KEYS[key].__name__


def _trainings(file: pathlib.Path, values: dict) -> dict[str, Training]:
    found: dict[str, Training] = {}
    for path in values["trainings"]:
        name, fields = path.stem, recipe.read_recipe(path)
        start = pathlib.Path(fields["init_from"]).name if "init_from" in fields else None
        if start and start not in found:
            raise InputError(f"Study {file}: {name} starts from {start}, which must come before it in `trainings`.")
        found[name] = _training(file, name, fields, values, values["fit"], start)
    return found


def _training(file, name: str, fields: dict, values: dict, overrides: dict, start: str | None) -> Training:
    matching = [more for pattern, more in values["trainings_of"].items() if fnmatch.fnmatchcase(name, pattern)]
    layers = [{key: value for key, value in fields.items() if key not in _OF_RUN}, overrides, *matching]
    for layer in layers[1:]:
        if unknown := {*layer} & {*_OF_RUN} | {*layer} - {field.name for field in dataclasses.fields(recipe.Recipe)}:
            raise InputError(f"Study {file}: its trainings cannot override {', '.join(sorted(unknown))}.")
    wanted = recipe.resolve({"dataset": "open"}, *layers)
    given = {key for layer in layers for key in layer} | {"jitter" if wanted.jitter else "scale", "crop"}
    scaled: dict[str, Any] = {key: _length(file, getattr(wanted, key), values["lengths"]) for key in _LENGTHS}
    scaled["jitter"] = wanted.jitter and tuple(_length(file, each, values["lengths"]) for each in wanted.jitter)
    every = {field.name: scaled.get(field.name, getattr(wanted, field.name)) for field in dataclasses.fields(recipe.Recipe)}
    return Training(name, {key: value for key, value in every.items() if key in given and value is not None}, start)


def _length(file, pixels: int, factor: float) -> int:
    if (scaled := pixels * factor) != round(scaled):
        raise InputError(f"Study {file}: `lengths` must yield whole numbers of pixels. Received: {pixels} times {factor}.")
    return round(scaled)


def _table(file: pathlib.Path, path: pathlib.Path, factor: float, trainings: Mapping[str, Training]) -> tuple[TableRow, ...]:
    name, table = path.stem, read_evaluation(path)
    if table.precision:
        raise InputError(f"Study {file}: set the precision in its `evaluate`, not in {name}.")
    training_of = {model: pathlib.Path(path).name for model, path in table.models.items()}
    if unknown := {each for row in table.rows for each in row.models if training_of[each] not in trainings}:
        raise InputError(f"Study {file}: {name} tests {', '.join(sorted(unknown))}, which must be among `trainings`.")
    rows: dict[Place, TableRow] = {}
    for row in table.rows:
        tested = tuple(training_of[each] for each in row.models)
        own = ((trainings[each].recipe.test_scale,) for each in tested)  # if the row sets none
        scales = tuple(
            tuple(_length(file, q, factor) for q in each) if each else of_net for each, of_net in zip(row.scales, own, strict=True)
        )
        place = place_of(name, row)
        if place in rows:
            raise InputError(f"Study {file}: {place} occurs twice; move the second row to a separate table.")
        rows[place] = TableRow(dataclasses.replace(row, scales=scales), tested, claim_of(name, row))
    return tuple(rows.values())


def _starts(file: pathlib.Path, values: dict, trainings: Mapping[str, Training]) -> dict[str, Training]:
    """Returns the trainings of the initialization study: each net from each start, at the first scale of its chain."""
    wanted = values["initialisation"]
    if unknown := set(wanted) - _INITIALISATION_KEYS:
        known = ", ".join(sorted(_INITIALISATION_KEYS))
        raise InputError(f"Study {file}: `initialisation` has unknown keys: {', '.join(sorted(unknown))}. Known: {known}.")
    starts = wanted.get("starts", {})
    if not isinstance(starts, dict) or not all(isinstance(fields, dict) for fields in starts.values()):
        raise InputError(f"Study {file}: the `starts` of `initialisation` must be tables by name. Received: {starts!r}.")
    found, path_of = {}, {path.stem: path for path in values["trainings"]}
    for training in wanted.get("archs", []):
        if training not in trainings:
            raise InputError(f"Study {file}: `initialisation` names {training}, which must be among `trainings`.")
        of_chain = recipe.read_recipe(path_of[training])
        for start, fields in starts.items():
            begins = trainings[training].starts_from if start == NET_A else None
            if start == NET_A and begins is None:
                continue  # net A itself
            name = f"{training}-from-{start.replace(' ', '-')}"
            overrides = values["fit"] | wanted.get("fit", {}) | fields
            found[name] = dataclasses.replace(_training(file, name, of_chain, values, overrides, begins), start=start)
    return found
