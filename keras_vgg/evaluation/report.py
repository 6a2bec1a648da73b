"""The table of an evaluation: printed, and kept in files that later evaluations in the same folder extend."""

import collections
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from keras_vgg.errors import InputError
from keras_vgg.evaluation.measures import measure_of
from keras_vgg.evaluation.results import Posteriors, read_facts
from keras_vgg.identity import digests_of, short
from keras_vgg.support import files
from keras_vgg.support.progress import speed

_IDENTITY = ("nets sha256", "Q", "protocol", "settings", "images sha256")
"""What identifies a row."""

_IDENTITY_BEFORE = ("net", "S", "Q", "protocol", "settings", "data", "images")
"""What identified a row in earlier versions, which did not record weights and images: never equal to a current row."""

_TABLE = "table.json"


def table_line(result: Posteriors) -> dict:
    """Returns the table row of a result, its figures in percent; see `measures`."""
    line = {"net": result.facts.get("net", ""), "weights": short(result.facts.get("nets sha256", ""))}
    line |= {name: result.facts.get(name, "") for name in ("S", "Q", "protocol", "settings")}
    line |= measure_of(result).figures(result)
    line["data"] = result.facts.get("data", "")
    line["images"] = len(result.labels)
    line["broken"] = int((~result.is_read).sum())
    line["images/s"] = result.facts.get("images/s", "")
    return line | digests_of(result.facts)


def format_table(lines: Sequence[dict], shown_of: Callable[[dict], dict]) -> str:
    """Returns the table as text.

    Args:
        lines: the rows.
        shown_of: returns the figures of a row to show, by column heading: `shown` of the rows' measure.
    """
    rows = []
    for line in lines:
        row = {name: line.get(name, "") for name in ("net", "weights", "S", "Q", "protocol", "settings")}
        row |= shown_of(line)
        row["images/s"] = speed(line["images/s"]) if line["images/s"] != "" else ""
        rows.append(row)
    shown = pd.DataFrame(rows)
    return shown.loc[:, (shown != "").any()].to_string(index=False)


def read_tables(folder: pathlib.Path) -> list[dict]:
    """Returns the rows of earlier evaluations in the same folder.

    Raises:
        InputError: if their table is damaged.
    """
    path = folder / _TABLE
    try:
        lines = files.read_json(path, list) if path.exists() else []
    except ValueError as error:
        raise InputError(f"Expected the table of earlier evaluations. Received: {path} ({error}); fix or delete it.") from error
    return [line for line in lines if {*_IDENTITY_BEFORE, "posteriors"} <= set(line)]  # other versions may have other columns


def file_names(folder: pathlib.Path, lines: Sequence[dict], slugs: Sequence[str]) -> list[str]:
    """Returns the file names of rows: a number and a description of the test.

    A row already tested in the folder keeps its name; the others continue the numbering.

    Args:
        folder: the folder.
        lines: the rows.
        slugs: descriptions of their tests, for file names.
    """
    there = read_tables(folder)
    taken = sorted({path.name for path in folder.glob("[0-9]*-*.npz")} - {line["posteriors"] for line in there})
    there += [_line_of(folder / name) for name in taken]  # if the table could not be written, or was deleted
    known = {key: line["posteriors"] for key, line in zip(_keys(there), there, strict=True)}
    number = max((int(found[0]) for found in map(re.compile(r"\d+(?=-)").match, known.values()) if found), default=0)
    names = []
    for key, slug in zip(_keys(lines), slugs, strict=True):
        if key not in known:
            number += 1
            known[key] = f"{number:02}-{slug}.npz"
        names.append(known[key])
    return names


def _line_of(path: pathlib.Path) -> dict:
    """Returns the columns that identify the row of a file of posteriors."""
    try:
        facts = read_facts(path)
    except InputError:  # an unrelated or damaged file still occupies its number
        facts = {}
    names = {*_IDENTITY, *_IDENTITY_BEFORE}
    return {name: facts.get(name, "") for name in names} | {"posteriors": path.name}


def _keys(lines: Sequence[dict]) -> Iterator[tuple]:
    """Yields the identity of each row; equal rows of one evaluation, e.g. two nets with one name, stay distinct."""
    times: collections.Counter[tuple] = collections.Counter()
    for line in lines:
        identity = tuple(line[name] for name in (_IDENTITY if line.get("nets sha256") else _IDENTITY_BEFORE))
        yield *identity, times[identity]
        times[identity] += 1


def write_tables(folder: pathlib.Path, lines: Sequence[dict]) -> None:
    """Writes `table.json` and `table.csv`, keeping the rows of other evaluations."""
    every = {line["posteriors"]: line for line in [*read_tables(folder), *lines]}
    files.write_text(folder / _TABLE, json.dumps([*every.values()], indent=2) + "\n")
    files.write_text(folder / "table.csv", pd.DataFrame([*every.values()]).to_csv(index=False))
