"""What an evaluation leaves for people: the table, a picture of what is taken for what, the most confused classes."""

import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_vgg import files
from keras_vgg.evaluation.metrics import confusion, most_confused
from keras_vgg.evaluation.results import Posteriors

NAMED = 40
"""Most classes whose names stand at the axes of the picture."""


def table(lines: Sequence[dict]) -> pd.DataFrame:
    """Returns the lines of `results.table_line` as a table, in full."""
    return pd.DataFrame(lines)


def format_table(lines: Sequence[dict]) -> str:
    """Returns the table for people: errors in percent with their 95% intervals."""
    rows = []
    for line in lines:
        row = {name: line[name] for name in ("net", "S", "Q", "protocol")}
        for k in (1, 5):
            row[f"top-{k} error (95%)"] = f"{line[f'top-{k} error']:.1f} ({line[f'top-{k} low']:.1f}–{line[f'top-{k} high']:.1f})"
        paper = [line.get(f"paper top-{k}") for k in (1, 5)]
        row["paper"] = " / ".join(f"{value:.1f}" for value in paper if value is not None)
        row["images/s"] = f"{line['images/s']:.3g}" if line["images/s"] != "" else ""
        rows.append(row)
    shown = pd.DataFrame(rows)
    return shown.loc[:, (shown != "").any()].to_string(index=False)


def write_tables(folder: pathlib.Path, lines: Sequence[dict]) -> None:
    """Writes `table.csv` and `table.json`."""
    files.write_text(folder / "table.csv", table(lines).to_csv(index=False))
    files.write_text(folder / "table.json", table(lines).to_json(orient="records", indent=2) + "\n")


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
    files.write_text(folder / f"{name}-confused.csv", found.to_csv(index=False))
    _draw(folder / f"{name}-confusion.png", counts, result)
    return found.head(5).to_string(index=False) if rows else "no image is taken for another class"


def _draw(path: pathlib.Path, counts: np.ndarray, result: Posteriors) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = 7 if len(counts) <= NAMED else 9
    figure = Figure(figsize=(size + 1.5, size), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(image, label="share of the right class's images (%)", shrink=0.8)
    if len(counts) <= NAMED:
        axes.set_xticks(range(len(counts)), result.classes, rotation=90)
        axes.set_yticks(range(len(counts)), result.classes)
    axes.set_xlabel("first guess")
    axes.set_ylabel("right class")
    axes.set_title(f"net {result.facts['net']}, {result.facts['protocol']}, Q = {result.facts['Q']}", fontsize="medium")
    with files.replacing(path) as beside:
        figure.savefig(beside, dpi=120, format="png")
