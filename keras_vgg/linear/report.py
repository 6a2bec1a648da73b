"""Reports of a transfer evaluation: the table with the paper's figures, and the figures of each class."""

import json
import math
import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_vgg.errors import InputError
from keras_vgg.identity import digests_of
from keras_vgg.linear.classify import Outcome
from keras_vgg.support import files

TITLES = {
    "mean_class_recall": "mean class recall",
    "accuracy": "accuracy",
    "mean_ap_11_point": "mAP (11-point)",
    "mean_ap_area": "mAP (area)",
}

_NAMED = ("net", "weights", "data", "layer", "Q", "combined", "descriptor", "protocol", "seed", "train images", "measure")
"""Columns beside the figures of each class, for readers."""

_BEFORE = tuple(name for name in _NAMED if name != "weights")
"""Columns that identified a measurement in earlier versions, which recorded neither weights nor images."""

_IDENTITY = ("nets sha256", "images sha256", *(name for name in _BEFORE if name not in ("net", "data")))
"""Columns that identify a measurement; names of nets and data do not matter."""


def lines_of(outcomes: Sequence[Outcome], facts: dict, paper: dict, classes: Sequence[str]) -> list[dict]:
    """Returns a line for each measure.

    `value` is the mean over splits and `deviation` the sample standard deviation (n - 1), `None` for a single split. The paper
    does not specify its deviation. `by class` contains the value of each class, if the measure is a mean over classes; `None` for
    those that were not tested.

    Args:
        outcomes: of each split.
        facts: what was tested, the first columns of each line.
        paper: by measure, the paper's figure and deviation.
        classes: class names in label order.
    """
    lines = []
    for measure in outcomes[0].measures:
        values = [outcome.measures[measure] for outcome in outcomes]
        figure, deviation = paper.get(measure, (None, None))
        lines.append(
            facts
            | {
                "measure": TITLES[measure],
                "value": float(np.mean(values)),
                "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
                "paper": figure,
                "paper deviation": deviation,
                "values": " ".join(f"{value:.2f}" for value in values),
                "C": " ".join(f"{outcome.cost:g}" for outcome in outcomes),
                "duality gap": max(outcome.gap for outcome in outcomes),
                "train images": outcomes[0].train_images,
                "test images": outcomes[0].test_images,
                "by class": _by_class(outcomes, measure, classes),
            }
        )
    return lines


def _by_class(outcomes: Sequence[Outcome], measure: str, classes: Sequence[str]) -> dict[str, float | None]:
    if measure not in outcomes[0].by_class:
        return {}
    means = np.mean([outcome.by_class[measure] for outcome in outcomes], axis=0).tolist()
    return {name: None if math.isnan(value) else value for name, value in zip(classes, means, strict=True)}


def format_table(lines: Sequence[dict]) -> str:
    """Returns the table as text, in percent."""
    rows = []
    for line in lines:
        row = {
            name: line.get(name, "")
            for name in ("net", "weights", "data", "protocol", "layer", "Q", "combined", "descriptor", "C", "measure")
        }
        if ", " not in line["Q"]:
            row["combined"] = ""  # meaningless for a single scale
        row["ours"] = _shown(line["value"], line["deviation"])
        row["paper"] = _shown(line["paper"], line["paper deviation"])
        rows.append(row)
    shown = pd.DataFrame(rows)
    return shown.loc[:, (shown != "").any()].to_string(index=False)


def write(folder: pathlib.Path, lines: Sequence[dict]) -> None:
    """Writes `table.json`, and from it `table.csv` and `classes.csv`; other measurements in it are kept, in front."""
    new = {_identity(line) for line in lines}
    every = [line for line in _read(folder / "table.json") if _identity(line) not in new] + list(lines)
    files.write_text(folder / "table.json", json.dumps(every, indent=2) + "\n")
    table = pd.DataFrame(every).drop(columns="by class")
    files.write_text(folder / "table.csv", table.to_csv(index=False))
    of_classes = [
        {name: line.get(name, "") for name in _NAMED} | {"class": name, "value": value} | digests_of(line)
        for line in every
        for name, value in line["by class"].items()
    ]
    files.write_text(folder / "classes.csv", pd.DataFrame(of_classes).to_csv(index=False))


def _identity(line: dict) -> tuple:
    is_known = line.get("nets sha256") and line.get("images sha256")
    return tuple(line[name] for name in (_IDENTITY if is_known else _BEFORE))


def _read(path: pathlib.Path) -> list[dict]:
    try:
        lines = files.read_json(path, list) if path.exists() else []
    except ValueError as error:
        raise InputError(f"Expected the table of earlier measurements. Received: {path} ({error}); fix or delete it.") from error
    return [line for line in lines if {*_BEFORE, "by class"} <= set(line)]  # other versions may write other columns


def _shown(value: float | None, deviation: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if deviation is None else f"{value:.1f} ± {deviation:.1f}"
