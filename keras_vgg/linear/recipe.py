"""A table of transfer results as data: TOML in, with the paper's figures beside them.

[models]
D = "runs/d-jitter"

[data.caltech101]
dataset = "tfds:caltech101"
protocol = "random"               # random, fixed or multi-label
train_images = 30                 # per class; at most test_images of the rest are tested
scales = [256, 384, 512]          # Q
combine = "stack"                 # or "average"
precision = "mixed_bfloat16"      # compute precision; default float32

[[rows]]
data = "caltech101"
models = ["D"]
paper = { mean_class_recall = [91.8, 1.0] }   # percent, with its deviation over splits or without
"""

import dataclasses
import pathlib
from typing import Any

from keras_vgg.descriptors.descriptor import DescriptorProtocol
from keras_vgg.errors import InputError
from keras_vgg.linear.benchmarks import Benchmark, Row
from keras_vgg.linear.classify import MEASURES
from keras_vgg.support import files, paths

_KEYS = {"models", "data", "rows"}
_ROW_KEYS = {"data", "models", "paper"}
_LISTS = {"leave_out": str, "scales": int}


@dataclasses.dataclass(frozen=True)
class TransferRecipe:
    """A table.

    Attributes:
        models: paths of nets by name.
        data: benchmarks by name.
        rows: the table's rows.
    """

    models: dict[str, str]
    data: dict[str, Benchmark]
    rows: tuple[Row, ...]


def read_transfer(path: str | pathlib.Path) -> TransferRecipe:
    """Reads a table recipe.

    Raises:
        InputError: if the file is missing or not TOML, or for unknown keys or values of the wrong type.
    """
    values, told = files.read_recipe_file(path), f"Recipe {path}"
    _check_keys(told, values, _KEYS)
    models, data, rows = values.get("models"), values.get("data"), values.get("rows")
    if not isinstance(models, dict) or not models or not all(isinstance(model, str) for model in models.values()):
        raise InputError(f"{told}: `models` must be a table that maps names to run folders or weight files.")
    if not isinstance(data, dict) or not data:
        raise InputError(f"{told}: `data` must contain tables [data.NAME].")
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{told}: `rows` must be a list of tables, [[rows]].")
    models = {name: paths.expanded(model) for name, model in models.items()}
    benchmarks = {name: _benchmark(f"{told}, data {name}", table) for name, table in data.items()}
    return TransferRecipe(
        models, benchmarks, tuple(_row(f"{told}, row {n}", row, models, benchmarks) for n, row in enumerate(rows, 1))
    )


def _check_keys(told: str, table, known) -> None:
    if not isinstance(table, dict):
        raise InputError(f"{told} must be a table. Received: {table!r}.")
    if unknown := set(table) - set(known):
        raise InputError(f"{told} has unknown keys: {', '.join(sorted(unknown))}. Known: {', '.join(sorted(known))}.")


def _benchmark(told: str, table: dict) -> Benchmark:
    of_task = {field.name: field.type for field in dataclasses.fields(Benchmark) if field.name != "descriptor"}
    of_descriptor = {field.name: field.type for field in dataclasses.fields(DescriptorProtocol)}
    kinds: dict[str, Any] = of_task | of_descriptor | {"flip": bool}  # TOML has no `None`, the default
    _check_keys(told, table, kinds)
    if missing := {"dataset", "protocol"} - set(table):
        raise InputError(f"{told} must have {' and '.join(sorted(missing))}.")
    for name, value in table.items():
        if name in _LISTS:
            right = isinstance(value, list) and value and all(type(each) is _LISTS[name] for each in value)
            kind = f"a list of {_LISTS[name].__name__}"
        else:
            right, kind = type(value) is kinds[name], kinds[name].__name__
        if not right:
            raise InputError(f"{told}: `{name}` must be {kind}. Received: {value!r}.")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    values["dataset"] = paths.expanded(values["dataset"])
    try:
        descriptor = DescriptorProtocol(**{name: value for name, value in values.items() if name in of_descriptor})
        return Benchmark(**{name: value for name, value in values.items() if name in of_task}, descriptor=descriptor)
    except InputError as error:
        raise InputError(f"{told}: {error}") from error


def _row(told: str, row: dict, models: dict, benchmarks: dict) -> Row:
    _check_keys(told, row, _ROW_KEYS)
    names, data, paper = row.get("models", list(models)), row.get("data"), row.get("paper", {})
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name in models for name in names):
        raise InputError(f"{told}: `models` must be a list of names among {', '.join(models)}. Received: {names!r}.")
    if not isinstance(data, str) or data not in benchmarks:
        raise InputError(f"{told}: `data` must be one of {', '.join(benchmarks)}. Received: {data!r}.")
    figures = {}
    for measure, figure in paper.items() if isinstance(paper, dict) else [(paper, None)]:
        pair = figure if isinstance(figure, list) else [figure, None]
        is_pair = len(pair) == 2 and type(pair[0]) in (int, float) and type(pair[1]) in (int, float, type(None))
        if measure not in MEASURES or not is_pair:
            raise InputError(
                f"{told}: `paper` must map {', '.join(MEASURES)} to a percentage or [percentage, deviation]. Received: {paper!r}."
            )
        figures[measure] = tuple(pair)
    return Row(data, tuple(names), figures)
