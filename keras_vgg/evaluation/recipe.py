"""Evaluation recipes: the rows of a table as TOML, with the paper's figures.

dataset = "tfds:imagenet2012"
flip = true                       # mirror images too; by default, as each net was trained
precision = "mixed_bfloat16"      # compute precision of the nets; by default, float32

[models]
D = "runs/d-jitter"

[[rows]]
models = ["D"]
protocol = "dense"                # dense, multi-crop, center or both
scales = [256, 384, 512]          # Q; or a table by model
paper = { top1_error = 24.8, top5_error = 7.5 }
claim = { says = "better", against = { table = "table3" } }   # the paper's claim, see `reproduction.claims`
"""

import dataclasses
import pathlib
from typing import Any

from keras_vgg.errors import InputError
from keras_vgg.inference.views import PROTOCOLS, Views, passes
from keras_vgg.precision import checked
from keras_vgg.support import files, paths

_KEYS = {"dataset", "models", "rows", "flip", "precision"}
_ROW_KEYS = {"models", "protocol", "scales", "paper", "claim"}
PAPER_KEYS = ("top1_error", "top5_error")


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table: the nets and passes whose posteriors are averaged.

    Attributes:
        models: names of the nets.
        protocol: a key of `views.PROTOCOLS`.
        scales: Q for each net, in the order of `models`; `None` for the paper's single-scale Q of that net.
        flip: whether to evaluate mirror images too; `None` to follow each net's training.
        paper: the paper's errors in percent, `top1_error` and `top5_error`, if it reports any.
        claim: the paper's comparison with another row; does not affect the test.
    """

    models: tuple[str, ...]
    protocol: str
    scales: tuple[tuple[int, ...] | None, ...]
    flip: bool | None = None
    paper: dict[str, float] = dataclasses.field(default_factory=dict)
    claim: dict[str, Any] = dataclasses.field(default_factory=dict)

    def passes_of(self, model: str, default_scale: int, default_flip: bool = True) -> tuple[Views, ...]:
        """Returns the passes of one of the nets, with its own Q and flip where the row does not set them."""
        flip = default_flip if self.flip is None else self.flip
        return passes(self.protocol, self.scales[self.models.index(model)] or (default_scale,), flip=flip)


@dataclasses.dataclass(frozen=True)
class EvaluationRecipe:
    """An evaluation.

    Attributes:
        dataset: the dataset, as for `keras_vgg.fit`.
        models: paths by name.
        rows: the table's rows.
        precision: compute precision, one of `precision.PRECISIONS`; `None` if unspecified.
    """

    dataset: str | None
    models: dict[str, str]
    rows: tuple[Row, ...]
    precision: str | None = None


def read_evaluation(path: str | pathlib.Path) -> EvaluationRecipe:
    """Reads an evaluation recipe from a TOML file.

    Raises:
        InputError: for a file that is missing or not TOML, unknown keys, or values of the wrong kind.
    """
    values = files.read_recipe_file(path)
    if unknown := set(values) - _KEYS:
        raise InputError(f"Recipe {path} has unknown keys: {', '.join(sorted(unknown))}. Known: {', '.join(sorted(_KEYS))}.")
    models = values.get("models", {})
    if not isinstance(models, dict) or not all(isinstance(model, str) for model in models.values()) or not models:
        raise InputError(f"Recipe {path}: `models` must be a table of run folders or weight files by name.")
    rows = values.get("rows", [])
    if not isinstance(rows, list) or not rows:
        raise InputError(f"Recipe {path}: `rows` must be a list of tables, [[rows]].")
    flip, dataset = values.get("flip"), values.get("dataset")
    if not isinstance(flip, bool | None) or not isinstance(dataset, str | None):
        raise InputError(f"Recipe {path}: `flip` must be true or false and `dataset` text. Received: {flip!r} and {dataset!r}.")
    models, dataset = {name: paths.expanded(model) for name, model in models.items()}, dataset and paths.expanded(dataset)
    all_rows = tuple(_row(path, n, row, models, flip) for n, row in enumerate(rows, 1))
    return EvaluationRecipe(dataset, models, all_rows, read_precision(path, values))


def read_precision(path: str | pathlib.Path, values: dict) -> str | None:
    """Returns the precision in the values of a recipe, if any.

    Raises:
        InputError: for an unknown precision.
    """
    try:
        return checked(values["precision"]) if "precision" in values else None
    except InputError as error:
        raise InputError(f"Recipe {path}: {error}") from error


def _row(path, number: int, row: dict, models: dict, flip: bool | None) -> Row:
    told = f"Recipe {path}, row {number}"
    if not isinstance(row, dict):
        raise InputError(f"{told} must be a table, [[rows]]. Received: {row!r}.")
    if unknown := set(row) - _ROW_KEYS:
        raise InputError(f"{told} has unknown keys: {', '.join(sorted(unknown))}. Known: {', '.join(sorted(_ROW_KEYS))}.")
    names = row.get("models", list(models))
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name in models for name in names):
        raise InputError(f"{told}: `models` must be a list of names among {', '.join(models)}. Received: {names!r}.")
    if row.get("protocol") not in tuple(PROTOCOLS):
        raise InputError(f"{told}: `protocol` must be one of {', '.join(PROTOCOLS)}. Received: {row.get('protocol')!r}.")
    scales, paper, claim = row.get("scales"), row.get("paper", {}), row.get("claim", {})
    if isinstance(scales, dict) and (unknown := set(scales) - set(names)):
        raise InputError(f"{told}: `scales` names nets that are not in the row: {', '.join(sorted(unknown))}.")
    if not isinstance(paper, dict) or not all(key in PAPER_KEYS and type(value) in (int, float) for key, value in paper.items()):
        raise InputError(f"{told}: `paper` must be a table of {' and '.join(PAPER_KEYS)} in percent. Received: {paper!r}.")
    if not isinstance(claim, dict):
        raise InputError(f"{told}: `claim` must be a table. Received: {claim!r}.")
    by_model = [scales.get(name) for name in names] if isinstance(scales, dict) else [scales] * len(names)
    for each in by_model:
        if each is not None and not (isinstance(each, list) and each and all(type(q) is int and q > 0 for q in each)):
            raise InputError(
                f"{told}: `scales` must be whole numbers of pixels, or a table of these by model. Received: {scales!r}."
            )
    return Row(tuple(names), row["protocol"], tuple(each and tuple(each) for each in by_model), flip, paper, claim)
