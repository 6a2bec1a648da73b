"""Confusion matrices as plots."""

from collections.abc import Sequence

import numpy as np

from keras_vgg.support import picture, plot_style

NAMED = 40
"""Maximum number of classes whose names label the axes."""

_WRITTEN, _LEAST = 30, 2  # classes up to which cells contain their share; the least share that is written, in percent
_CELL, _SMALLEST, _LARGEST = 0.26, 2.6, 7.0  # inches: side of a cell with names, bounds of a matrix's side
_LETTER, _BAR, _LABELS = 0.085, 1.15, 1.0  # inches: width of a letter, labels of the color bar, everything else
_THICK, _SHRINK = 0.05, 0.8  # of the color bar, relative to the matrix


def size_of(classes: Sequence[str]) -> tuple[float, float]:
    """Returns width and height of a figure for the confusion matrix of these classes, in inches."""
    if len(classes) > NAMED:
        matrix, names = _LARGEST, 0.0
    else:
        matrix = max(_CELL * len(classes), _SMALLEST)
        names = _LETTER * max(len(picture.shortened(name)) for name in classes)
    side = matrix + names + _LABELS
    return side + _THICK * matrix + _BAR, side


def draw(figure, axes, counts: np.ndarray, classes: Sequence[str]) -> None:
    """Draws a confusion matrix, in percent of each true class's images.

    Args:
        figure: for the color bar.
        axes: of `figure`.
        counts: `(classes, classes)`, true class by predicted class.
        classes: their names.
    """
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap=plot_style.SHARES, vmin=0, vmax=100, interpolation="nearest")
    bar = {"shrink": _SHRINK, "fraction": _THICK, "aspect": _SHRINK / _THICK}
    figure.colorbar(image, label="share of the true class's images (%)", **bar).outline.set_visible(False)
    if len(classes) <= NAMED:
        names = [picture.shortened(name) for name in classes]
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=plot_style.SMALL)
        axes.set_yticks(range(len(names)), names, fontsize=plot_style.SMALL)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.spines[:].set_visible(True)
    for (row, column), share in np.ndenumerate(shares if len(shares) <= _WRITTEN else shares[:0]):
        if share >= _LEAST:
            color = plot_style.PAPER if share > 50 else plot_style.INK  # also on a dark page, as the cells are light
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=plot_style.TINY, color=color)
