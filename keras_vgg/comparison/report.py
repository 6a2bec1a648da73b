"""The table of comparisons: printed, and kept in files that later comparisons in the same folder extend."""

import json
import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_vgg.errors import InputError
from keras_vgg.identity import SHORT, digests_of, short
from keras_vgg.support import files

_TABLE = "table.json"
_IDENTITY = ("metric", "settings", "k", "nets sha256", "images sha256")
_SHOWN = (
    "metric",
    "weights",
    "settings",
    "mean",
    "deviation",
    "pairs",
    "precision",
    "recall",
    "k",
    "real",
    "generated",
    "left out",
)
_DIGITS = 4


def line_of_pairs(metric: str, settings: str, values: np.ndarray, left_out: int, digests: dict[str, str]) -> dict:
    """Returns the table row of a distance: mean and standard deviation over pairs, from `(pairs,)` with NaN for unusable ones."""
    used = values[~np.isnan(values)]
    deviation = float(used.std(ddof=1)) if len(used) > 1 else None
    figures = {"mean": float(used.mean()), "deviation": deviation, "pairs": len(used)}
    return line_of(metric, settings, figures, left_out, digests)


def line_of(metric: str, settings: str, figures: dict, left_out: int, digests: dict[str, str]) -> dict:
    """Returns the table row of a comparison; `digests` are by column name."""
    named = {"metric": metric, "weights": short(digests["nets sha256"]), "settings": settings}
    return named | figures | {"left out": left_out} | digests_of(digests)


def write(folder: pathlib.Path, line: dict) -> None:
    """Writes a row to `table.json` and `table.csv`, replacing one of the same comparison."""
    lines = [each for each in _read(folder) if _key(each) != _key(line)] + [line]
    files.write_text(folder / _TABLE, json.dumps(lines, indent=2) + "\n")
    files.write_text(folder / "table.csv", pd.DataFrame(lines).convert_dtypes().to_csv(index=False))


def write_pairs(
    folder: pathlib.Path, metric: str, names: Sequence[str], values: np.ndarray, digests: dict[str, str]
) -> pathlib.Path:
    """Writes the distances of all pairs, the largest first, to a file named after its digests; returns its path."""
    key = f"{digests['nets sha256'][:SHORT]}-{digests['images sha256'][:SHORT]}"
    path = folder / f"{metric}-{key}.csv"
    table = pd.DataFrame({"pair": names, metric: values.astype(np.float32)}).sort_values(metric, ascending=False, kind="stable")
    files.write_text(path, table.assign(**digests).to_csv(index=False))
    return path


def told(line: dict) -> str:
    """Returns a row as text."""
    shown = {name: line[name] for name in _SHOWN if line.get(name) not in (None, "")}
    rounded = {name: f"{value:.{_DIGITS}f}" if isinstance(value, float) else value for name, value in shown.items()}
    return pd.DataFrame([rounded]).to_string(index=False)


def _read(folder: pathlib.Path) -> list[dict]:
    path = folder / _TABLE
    try:
        return files.read_json(path, list) if path.exists() else []
    except ValueError as error:
        raise InputError(f"Expected the table of earlier comparisons. Received: {path} ({error}); fix or delete it.") from error


def _key(line: dict) -> tuple:
    return tuple(line.get(name) for name in _IDENTITY)
