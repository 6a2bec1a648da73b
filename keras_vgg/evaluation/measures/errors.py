"""Images of one class each: top-1 and top-5 errors with their intervals, and which classes are taken for which."""

import pathlib

import numpy as np
import pandas as pd

from keras_vgg.evaluation.measures.caption import caption
from keras_vgg.evaluation.metrics import confusion, most_confused, top_k_error, wilson_interval
from keras_vgg.evaluation.results import Posteriors
from keras_vgg.identity import digests_of
from keras_vgg.support import files, picture

NAMED = 40
"""Most classes whose names stand at the axes of the picture."""


def figures(result: Posteriors) -> dict:
    """Returns errors in percent, each with the ends of its 95% interval, and the paper's where the row has any."""
    found: dict[str, float] = {}
    for k in (1, 5):
        error = top_k_error(result.values, result.labels, k)
        low, high = wilson_interval(error, len(result.labels))
        found |= {f"top-{k} error": 100 * error, f"top-{k} low": 100 * low, f"top-{k} high": 100 * high}
        if (paper := result.facts.get(f"paper top-{k}")) is not None:
            found[f"paper top-{k}"] = paper
    return found


def shown(line: dict) -> dict:
    """Returns errors with their intervals, and the paper's."""
    found = {
        f"top-{k} error (95%)": f"{line[f'top-{k} error']:.1f} ({line[f'top-{k} low']:.1f}–{line[f'top-{k} high']:.1f})"
        for k in (1, 5)
    }
    paper = [line.get(f"paper top-{k}") for k in (1, 5)]
    return found | {"paper": " / ".join(f"{value:.1f}" for value in paper if value is not None)}


def write(folder: pathlib.Path, name: str, result: Posteriors) -> str:
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
    return f"most confused:\n{found.head(5).to_string(index=False)}" if rows else "no image is taken for another class"


def _draw(path: pathlib.Path, counts: np.ndarray, result: Posteriors) -> None:
    size = 7 if len(counts) <= NAMED else 9
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    title, facts = caption(result)
    with picture.drawing(path, (size + 1.5, size), dpi=120, facts=facts) as figure:
        axes = figure.subplots()
        image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
        figure.colorbar(image, label="share of the right class's images (%)", shrink=0.8)
        if len(counts) <= NAMED:
            axes.set_xticks(range(len(counts)), result.classes, rotation=90)
            axes.set_yticks(range(len(counts)), result.classes)
        axes.set_xlabel("first guess")
        axes.set_ylabel("right class")
        axes.set_title(title, fontsize="medium")
