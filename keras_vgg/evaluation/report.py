"""What an evaluation leaves for people: the table, a picture of what is taken for what, the most confused classes."""

import collections
import json
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from keras_vgg.errors import InputError
from keras_vgg.evaluation.metrics import confusion, most_confused
from keras_vgg.evaluation.results import Posteriors, read_facts
from keras_vgg.identity import digests_of, short
from keras_vgg.support import files, picture
from keras_vgg.support.progress import speed

NAMED = 40
"""Most classes whose names stand at the axes of the picture."""

_IDENTITY = ("nets sha256", "Q", "protocol", "settings", "images sha256")
"""What tells one row from another."""

_IDENTITY_BEFORE = ("net", "S", "Q", "protocol", "settings", "data", "images")
"""What did in earlier versions, whose rows do not say of which weights and images they are: no row of today's is one of them."""

_TABLE = "table.json"


def format_table(lines: Sequence[dict]) -> str:
    """Returns the table for people: errors in percent with their 95% intervals."""
    rows = []
    for line in lines:
        row = {name: line.get(name, "") for name in ("net", "weights", "S", "Q", "protocol", "settings")}
        for k in (1, 5):
            row[f"top-{k} error (95%)"] = f"{line[f'top-{k} error']:.1f} ({line[f'top-{k} low']:.1f}–{line[f'top-{k} high']:.1f})"
        paper = [line.get(f"paper top-{k}") for k in (1, 5)]
        row["paper"] = " / ".join(f"{value:.1f}" for value in paper if value is not None)
        row["images/s"] = speed(line["images/s"]) if line["images/s"] != "" else ""
        rows.append(row)
    shown = pd.DataFrame(rows)
    return shown.loc[:, (shown != "").any()].to_string(index=False)


def read_tables(folder: pathlib.Path) -> list[dict]:
    """Returns the lines that evaluations into the same folder have left.

    Raises:
        InputError: if their table is damaged.
    """
    path = folder / _TABLE
    try:
        lines = files.read_json(path, list) if path.exists() else []
    except ValueError as error:
        raise InputError(f"Expected the table of earlier evaluations. Received: {path} ({error}); mend or remove it.") from error
    return [line for line in lines if {*_IDENTITY_BEFORE, "posteriors"} <= set(line)]  # of other versions there may be others


def file_names(folder: pathlib.Path, lines: Sequence[dict], slugs: Sequence[str]) -> list[str]:
    """Returns what the files of rows are called: a number and what is tested.

    A row that was tested into the same folder before has its name again, the others go on counting.

    Args:
        folder: the folder.
        lines: the rows.
        slugs: what is tested in each, for names of files.
    """
    there = read_tables(folder)
    taken = sorted({path.name for path in folder.glob("[0-9]*-*.npz")} - {line["posteriors"] for line in there})
    there += [_line_of(folder / name) for name in taken]  # of a table that could not be written, or was removed
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
    """Returns what tells the row of a file of posteriors from others, as lines of the table have it."""
    try:
        facts = read_facts(path)
    except InputError:  # another's file, or a damaged one, whose number is taken all the same
        facts = {}
    names = {*_IDENTITY, *_IDENTITY_BEFORE}
    return {name: facts.get(name, "") for name in names} | {"posteriors": path.name}


def _keys(lines: Sequence[dict]) -> Iterator[tuple]:
    """Yields what tells rows apart: two of one evaluation that look alike, as of two nets of one name, are two all the same."""
    times: collections.Counter[tuple] = collections.Counter()
    for line in lines:
        identity = tuple(line[name] for name in (_IDENTITY if line.get("nets sha256") else _IDENTITY_BEFORE))
        yield *identity, times[identity]
        times[identity] += 1


def write_tables(folder: pathlib.Path, lines: Sequence[dict]) -> None:
    """Writes `table.json`, and from it `table.csv`; rows of other evaluations that are there already stay."""
    every = {line["posteriors"]: line for line in [*read_tables(folder), *lines]}
    files.write_text(folder / _TABLE, json.dumps([*every.values()], indent=2) + "\n")
    files.write_text(folder / "table.csv", pd.DataFrame([*every.values()]).to_csv(index=False))


def write_confusion(folder: pathlib.Path, name: str, result: Posteriors) -> str:
    """Writes `<name>-confusion.png` and `<name>-confused.csv`, and returns the most confused classes for people."""
    counts = confusion(result.values, result.labels)
    rows = [
        {
            "right class": result.classes[right],
            "first guess": result.classes[guess],
            "images": images,
            "of": int(counts[right].sum()),
        }
        for right, guess, images in most_confused(counts, 20)
    ]
    found = pd.DataFrame(rows, columns=["right class", "first guess", "images", "of"])
    files.write_text(folder / f"{name}-confused.csv", found.assign(**digests_of(result.facts)).to_csv(index=False))
    _draw(folder / f"{name}-confusion.png", counts, result)
    return found.head(5).to_string(index=False) if rows else "no image is taken for another class"


def _draw(path: pathlib.Path, counts: np.ndarray, result: Posteriors) -> None:
    size = 7 if len(counts) <= NAMED else 9
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    digests = short(result.facts.get("nets sha256", ""))
    net = f"net {result.facts['net']}" + (f" ({digests})" if digests else "")
    told = [net, result.facts["protocol"], f"Q = {result.facts['Q']}", result.facts.get("settings")]
    names = ("net", "S", "Q", "protocol", "settings", "data")
    facts = {name: result.facts.get(name) for name in names} | digests_of(result.facts)
    with picture.drawing(path, (size + 1.5, size), dpi=120, facts=facts) as figure:
        axes = figure.subplots()
        image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
        figure.colorbar(image, label="share of the right class's images (%)", shrink=0.8)
        if len(counts) <= NAMED:
            axes.set_xticks(range(len(counts)), result.classes, rotation=90)
            axes.set_yticks(range(len(counts)), result.classes)
        axes.set_xlabel("first guess")
        axes.set_ylabel("right class")
        axes.set_title(", ".join(filter(None, told)), fontsize="medium")
