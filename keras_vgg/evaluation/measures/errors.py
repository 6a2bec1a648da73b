"""Images of one class each: top-1 and top-5 errors with confidence intervals, and confused classes."""

import pathlib

import numpy as np
import pandas as pd

from keras_vgg.evaluation import confusion_matrix
from keras_vgg.evaluation.measures.caption import caption
from keras_vgg.evaluation.metrics import (
    class_errors,
    class_scores,
    confusion,
    first_guesses,
    most_confused,
    ranks,
    real_error,
    top_k_error,
    wilson_interval,
)
from keras_vgg.evaluation.results import REAL_DIGEST, Posteriors
from keras_vgg.identity import digests_of
from keras_vgg.support import files, picture


def figures(result: Posteriors) -> dict:
    """Returns errors in percent with their 95% confidence intervals, and the paper's errors if the row has them."""
    found: dict[str, float] = {}
    for k in (1, 5):
        error = top_k_error(result.values, result.labels, k)
        low, high = wilson_interval(error, len(result.labels))
        found |= {f"top-{k} error": 100 * error, f"top-{k} low": 100 * low, f"top-{k} high": 100 * high}
        if (paper := result.facts.get(f"paper top-{k}")) is not None:
            found[f"paper top-{k}"] = paper
    return found | _real_figures(result)


def _real_figures(result: Posteriors) -> dict:
    if result.real is None:
        return {}
    counted, error = real_error(result.values, result.real)
    low, high = wilson_interval(error, counted) if counted else (np.nan, np.nan)
    ends = {"ReaL error": 100 * error, "ReaL low": 100 * low, "ReaL high": 100 * high}
    return ends | {"ReaL images": counted, REAL_DIGEST: result.facts[REAL_DIGEST]}


def shown(line: dict) -> dict:
    """Returns errors with their confidence intervals, and the paper's."""
    found = {
        f"top-{k} error (95%)": f"{line[f'top-{k} error']:.1f} ({line[f'top-{k} low']:.1f}–{line[f'top-{k} high']:.1f})"
        for k in (1, 5)
    }
    real = "ReaL error" in line
    told = f"{line['ReaL error']:.1f} ({line['ReaL low']:.1f}–{line['ReaL high']:.1f})" if real else ""
    found["ReaL error (95%)"] = told
    paper = [line.get(f"paper top-{k}") for k in (1, 5)]
    return found | {"paper": " / ".join(f"{value:.1f}" for value in paper if value is not None)}


def of_classes(result: Posteriors) -> pd.DataFrame:
    """Returns for each class the number of images, and precision, recall, F1, top-1 and top-5 errors in percent.

    What is not defined, such as the recall of a class without images, is NaN.
    """
    precision, recall, f1, images = class_scores(result.values, result.labels)
    before = ranks(result.values, result.labels)
    table = {"class": result.classes, "images": images, "precision": 100 * precision, "recall": 100 * recall, "F1": 100 * f1}
    of = len(result.classes)
    return pd.DataFrame(table | {f"top-{k} error": 100 * class_errors(before, result.labels, of, k) for k in (1, 5)})


def of_images(result: Posteriors) -> pd.DataFrame:
    """Returns for each image its name, true class, predicted class, the posteriors of both, and the rank of the true class, from 1.

    Images that could not be read have no guess.
    """
    read, guesses, classes = result.is_read, first_guesses(result.values), np.array([*result.classes, ""])  # -1: ""
    places = np.arange(len(result.labels))
    table = pd.DataFrame(
        {
            "image": result.images,
            "true class": classes[result.labels],
            "predicted class": classes[guesses],
            "posterior of true class": result.values[places, result.labels],
            "posterior of predicted class": result.values[places, guesses],
            "rank of true class": pd.array(np.where(read, ranks(result.values, result.labels) + read, 0), "Int64"),
        }
    ).assign(**{"rank of true class": lambda table: table["rank of true class"].where(read)})
    if result.real is None:
        return table
    return table.assign(**{"ReaL classes": ["; ".join(classes[row[row >= 0]]) for row in result.real]})


def worst(result: Posteriors, most: int) -> list[tuple[int, str]]:
    """Returns index and description of up to `most` images with the most probable wrong predicted class, worst first."""
    guesses = first_guesses(result.values)
    wrong = np.flatnonzero((guesses >= 0) & (guesses != result.labels))
    posteriors = result.values[wrong, guesses[wrong]]
    chosen = wrong[np.argsort(-posteriors, kind="stable")[:most]]
    return [
        (int(place), f"{result.classes[result.labels[place]]}\n{result.classes[guesses[place]]}, "
         f"{100 * result.values[place, guesses[place]]:.1f}%")
        for place in chosen
    ]  # fmt: skip


WORST = "most probable wrong predictions (true class; predicted class and its posterior)"


def write(folder: pathlib.Path, name: str, result: Posteriors) -> str:
    """Writes `<name>-confusion.png` and `<name>-confused.csv`, and returns the most confused classes as text."""
    counts = confusion(result.values, result.labels)
    rows = [
        {
            "true class": result.classes[right],
            "predicted class": result.classes[guess],
            "images": images,
            "of": int(counts[right].sum()),
        }
        for right, guess, images in most_confused(counts, 20)
    ]
    found = pd.DataFrame(rows, columns=["true class", "predicted class", "images", "of"])
    files.write_text(folder / f"{name}-confused.csv", found.assign(**digests_of(result.facts)).to_csv(index=False))
    _draw(folder / f"{name}-confusion.png", counts, result)
    return f"most confused:\n{found.head(5).to_string(index=False)}" if rows else "no image is confused with another class"


def _draw(path: pathlib.Path, counts: np.ndarray, result: Posteriors) -> None:
    title, facts = caption(result)
    with picture.drawing(path, confusion_matrix.size_of(result.classes), facts=facts) as figure:
        confusion_matrix.draw(figure, figure.subplots(), counts, result.classes)
        picture.add_title(figure, title)
