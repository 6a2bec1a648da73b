"""Images of any number of classes each (PASCAL VOC): average precision of each class, and its mean over them."""

import pathlib

import numpy as np
import pandas as pd

from keras_vgg.errors import InputError
from keras_vgg.evaluation.measures.caption import caption
from keras_vgg.evaluation.results import Posteriors
from keras_vgg.support import picture, plot_style
from keras_vgg.support.counts import counted
from keras_vgg.tasks.average_precision import DIFFICULT, PRESENT, area, eleven_point

DEFINITIONS = {"AP": area, "AP (11 points)": eleven_point}
"""VOC's from 2010 on, and VOC-2007's."""


def figures(result: Posteriors) -> dict:
    """Returns means of average precision over the classes with images, and the share of wrong labels, in percent.

    An image that could not be read stands behind all others, and each of its labels is wrong.
    """
    table = of_classes(result)
    counted = result.labels != DIFFICULT
    with np.errstate(invalid="ignore"):  # unreadable: NaN, which counts as wrong
        wrong = (result.values > 0.5) != (result.labels == PRESENT)
    wrong[~result.is_read] = True
    found = {f"mean {name}": float(table[name].mean()) for name in DEFINITIONS}
    return found | {"label error": 100 * float(wrong[counted].mean()), "classes": len(table)}


def of_classes(result: Posteriors) -> pd.DataFrame:
    """Returns for each class with images their number, and its average precision in percent by two definitions.

    Raises:
        InputError: if no image has a class.
    """
    scores = np.where(result.is_read[:, None], result.values, -1.0)  # below every probability
    rows = []
    for number, name in enumerate(result.classes):
        labels = result.labels[:, number]
        if images := int((labels == PRESENT).sum()):
            rows.append({"class": name, "images": images} | {k: 100 * f(labels, scores[:, number]) for k, f in DEFINITIONS.items()})
    if not rows:
        found = counted(len(result.labels), "image")
        raise InputError(f"Average precision requires an image of some class. Received: none among {found}.")
    return pd.DataFrame(rows)


def shown(line: dict) -> dict:
    """Returns means of average precision, and the share of wrong labels."""
    return {f"{name} (%)": f"{line[name]:.1f}" for name in (*(f"mean {name}" for name in DEFINITIONS), "label error")}


def of_images(result: Posteriors) -> pd.DataFrame:
    """Returns for each image its name, its classes and those predicted above 0.5, separated by semicolons."""
    with np.errstate(invalid="ignore"):
        told = result.values > 0.5  # unreadable: none
    named = {"shown": result.labels == PRESENT, "told": told}
    return pd.DataFrame({"image": result.images} | {name: [_names(row, result) for row in rows] for name, rows in named.items()})


def _names(row: np.ndarray, result: Posteriors, between: str = "; ") -> str:
    return between.join(result.classes[label] for label in np.flatnonzero(row))


def worst(result: Posteriors, most: int) -> list[tuple[int, str]]:
    """Returns index and description of up to `most` images with the highest loss, worst first.

    The loss is the mean cross-entropy over the classes that are told of an image, as in training.
    """
    read = np.flatnonzero(result.is_read)
    losses = np.zeros(len(read))
    for start in range(0, len(read), _ROWS):
        part = slice(start, start + _ROWS)
        values, labels = result.values[read[part]], result.labels[read[part]]
        of_right = np.clip(np.where(labels == PRESENT, values, 1 - values), _SMALLEST, 1)
        counted = labels != DIFFICULT
        losses[part] = -np.where(counted, np.log(of_right), 0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
    order = np.argsort(-losses, kind="stable")[:most]

    def described(place, loss):
        shown, told = (_names(row, result, ", ") or "–" for row in (result.labels[place] == PRESENT, result.values[place] > 0.5))
        return f"{shown}\n{told}\nloss {loss:.2f}"

    return [(int(place), described(place, loss)) for place, loss in zip(read[order], losses[order], strict=True)]


WORST = "highest losses (classes shown, classes told at 0.5)"
_ROWS, _SMALLEST = 4096, 1e-7
_NAMED = 100  # classes whose bars have names


def write(folder: pathlib.Path, name: str, result: Posteriors) -> str:
    """Writes `<name>-classes.png`, and returns the classes with the lowest average precision as text."""
    table = of_classes(result).sort_values("AP", kind="stable")
    title, facts = caption(result)
    is_named = len(table) <= _NAMED
    height = 1.6 + (0.24 * len(table) if is_named else 8)
    mean = float(table["AP"].mean())
    with picture.drawing(folder / f"{name}-classes.png", (7, height), facts=facts) as figure:
        axes, places = figure.subplots(), np.arange(len(table))
        axes.barh(places, table["AP"], height=0.8 if is_named else 1.0, color=plot_style.BARS)
        line = axes.axvline(mean, color=plot_style.INK, linewidth=1, linestyle="--", label=f"mean, {mean:.1f}%")
        axes.set_xlim(0, 100)
        axes.set_ylim(-0.6, len(table) - 0.4)
        axes.set_xlabel("average precision (%)")
        if is_named:
            axes.set_yticks(places, [picture.shortened(each) for each in table["class"]], fontsize=plot_style.SMALL)
        else:
            axes.set_ylabel("classes, from the lowest average precision to the highest")
        figure.legend(handles=[line], loc="outside lower right")
        picture.add_title(figure, title)
    return f"lowest average precision (%):\n{table.head(5).to_string(index=False, float_format='%.1f')}"
