"""Recipes for tests of localisers: the rows of a table as TOML, with the paper's figures.

dataset = "ilsvrc:imagenet"
precision = "mixed_bfloat16"      # compute precision of the nets; by default, float32

[localisers]
PCR = "runs/d-384-pcr"

[classifiers]
D = "runs/d-jitter"

[[rows]]
localisers = ["PCR"]
protocol = "dense"                # dense or center
scales = [352, 384]               # Q; or a table by localiser
classes = ["D"]                   # classifiers; without them, the class is known
merging = { threshold = 0.5, classes = 5 }
paper = { top5_error = 27.5 }
"""

import dataclasses
import pathlib

from keras_vgg.errors import InputError
from keras_vgg.evaluation.recipe import PAPER_KEYS, read_precision
from keras_vgg.inference.views import OF_LOCALISERS
from keras_vgg.localisation.merging_settings import Merging
from keras_vgg.support import files, paths

_KEYS = {"dataset", "localisers", "classifiers", "classifier_scales", "rows", "precision"}
_ROW_KEYS = {"localisers", "protocol", "scales", "flip", "classes", "merging", "paper"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table: localisers whose boxes are combined, and the source of classes.

    Attributes:
        localisers: names of the localisers.
        protocol: a kind of `views.Views`, `"dense"` or `"center"`.
        scales: Q for each localiser, in their order; `None` for its own.
        flip: whether to predict boxes from mirror images, too.
        classes: names of the classifiers whose posteriors are averaged; if empty, the class is known.
        merging: how boxes become guesses.
        paper: the paper's errors in percent, `top1_error` and `top5_error`, if it reports any.
    """

    localisers: tuple[str, ...]
    protocol: str
    scales: tuple[tuple[int, ...] | None, ...]
    flip: bool = False
    classes: tuple[str, ...] = ()
    merging: Merging = dataclasses.field(default_factory=Merging)
    paper: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class LocalisationRecipe:
    """A test of localisers.

    Attributes:
        dataset: the dataset, see `data.boxes.datasets.open_boxes`.
        localisers, classifiers: paths by name; for a classifier also a file of posteriors (`.npz`).
        classifier_scales: Q of the classifiers, evaluated densely; `None` for their own.
        rows: the table's rows.
        precision: compute precision, one of `precision.PRECISIONS`; `None` if unspecified.
    """

    dataset: str | None
    localisers: dict[str, str]
    classifiers: dict[str, str]
    classifier_scales: tuple[int, ...] | None
    rows: tuple[Row, ...]
    precision: str | None = None


def read_localisation(path: str | pathlib.Path) -> LocalisationRecipe:
    """Reads a test recipe from a TOML file.

    Raises:
        InputError: for a file that is missing or not TOML, unknown keys, or values of the wrong kind.
    """
    values = files.read_recipe_file(path)
    if unknown := set(values) - _KEYS:
        raise InputError(f"Recipe {path} has unknown keys: {', '.join(sorted(unknown))}. Known: {', '.join(sorted(_KEYS))}.")
    nets = {kind: values.get(kind, {}) for kind in ("localisers", "classifiers")}
    for kind, table in nets.items():
        if not isinstance(table, dict) or not all(isinstance(net, str) for net in table.values()):
            raise InputError(f"Recipe {path}: `{kind}` must be a table of run folders or files by name. Received: {table!r}.")
    rows, dataset, scales = values.get("rows", []), values.get("dataset"), values.get("classifier_scales")
    if not nets["localisers"] or not isinstance(rows, list) or not rows or not isinstance(dataset, str | None):
        raise InputError(f"Recipe {path} must have a table `localisers`, a list of tables `rows`, and `dataset` as text.")
    if not _are_scales(scales):
        raise InputError(f"Recipe {path}: `classifier_scales` must be whole numbers of pixels. Received: {scales!r}.")
    localisers, classifiers = ({name: paths.expanded(net) for name, net in table.items()} for table in nets.values())
    found = tuple(_row(f"Recipe {path}, row {number}", row, nets) for number, row in enumerate(rows, 1))
    expanded, precision = dataset and paths.expanded(dataset), read_precision(path, values)
    return LocalisationRecipe(expanded, localisers, classifiers, scales and tuple(scales), found, precision)


def _row(told: str, row: dict, nets: dict[str, dict]) -> Row:
    if not isinstance(row, dict):
        raise InputError(f"{told} must be a table, [[rows]]. Received: {row!r}.")
    if unknown := set(row) - _ROW_KEYS:
        raise InputError(f"{told} has unknown keys: {', '.join(sorted(unknown))}. Known: {', '.join(sorted(_ROW_KEYS))}.")
    localisers, classes = row.get("localisers", list(nets["localisers"])), row.get("classes", [])
    for key, names, known in (("localisers", localisers, nets["localisers"]), ("classes", classes, nets["classifiers"])):
        if not isinstance(names, list) or not all(isinstance(name, str) and name in known for name in names):
            raise InputError(f"{told}: `{key}` must be a list of names among {', '.join(known) or 'none'}. Received: {names!r}.")
    if not localisers:
        raise InputError(f"{told}: `localisers` must list at least one. Received: none.")
    if row.get("protocol") not in OF_LOCALISERS:
        raise InputError(f"{told}: `protocol` must be one of {', '.join(OF_LOCALISERS)}. Received: {row.get('protocol')!r}.")
    scales, flip, paper = row.get("scales"), row.get("flip", False), row.get("paper", {})
    by_name = [scales.get(name) for name in localisers] if isinstance(scales, dict) else [scales] * len(localisers)
    if not all(map(_are_scales, by_name)) or (isinstance(scales, dict) and not set(scales) <= set(localisers)):
        raise InputError(
            f"{told}: `scales` must be whole numbers of pixels, or a table of these by localiser. Received: {scales!r}."
        )
    if type(flip) is not bool:
        raise InputError(f"{told}: `flip` must be true or false. Received: {flip!r}.")
    if not isinstance(paper, dict) or not all(key in PAPER_KEYS and type(value) in (int, float) for key, value in paper.items()):
        raise InputError(f"{told}: `paper` must be a table of {' and '.join(PAPER_KEYS)} in percent. Received: {paper!r}.")
    given = tuple(each and tuple(each) for each in by_name)
    return Row(tuple(localisers), row["protocol"], given, flip, tuple(classes), _merging(told, row.get("merging", {})), paper)


def _merging(told: str, given: dict) -> Merging:
    usual = dataclasses.asdict(Merging())
    if not isinstance(given, dict) or not set(given) <= set(usual):
        raise InputError(f"{told}: `merging` must be a table of {' and '.join(usual)}. Received: {given!r}.")
    return Merging(**usual | given)


def _are_scales(scales) -> bool:
    return scales is None or (isinstance(scales, list) and bool(scales) and all(type(q) is int and q > 0 for q in scales))
