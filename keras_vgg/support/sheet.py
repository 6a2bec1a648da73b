"""A sheet of small pictures with a line or more under each."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_vgg.support import picture, plot_style

_MARGIN, _GAP, _NARROWEST = 0.15, 0.1, 3.5  # inches
_CAPTION, _TITLE = (plot_style.LINE * points / 72 for points in (plot_style.TINY, plot_style.MEDIUM))  # inches per line


def draw(
    path: pathlib.Path,
    pictures: Sequence[np.ndarray],
    captions: Sequence[str],
    *,
    title: str,
    facts: Mapping[str, Any],
    columns: int = 8,
    side: float = 1.3,
) -> None:
    """Writes pictures side by side, as a PNG.

    Args:
        path: output file.
        pictures: each `(height, width, 3)` in 0–1 or uint8, or `(height, width)` of any values, each drawn from 0 (dark) to its
            own maximum.
        captions: text under each picture, of any number of lines, which are shortened to the picture's width; "" for none.
        title: text above all pictures.
        facts: metadata of the file; see `picture.write_png`.
        columns: maximum number of pictures per row.
        side: side of each picture's square, in inches.
    """
    columns = min(columns, len(pictures))
    rows, lines = math.ceil(len(pictures) / columns), max(text.count("\n") + 1 if text else 0 for text in captions)
    across, down = side + _GAP, side + _GAP + lines * _CAPTION
    width = max(columns * across - _GAP, _NARROWEST) + 2 * _MARGIN
    heading = picture.wrapped(title, width - 2 * _MARGIN)
    top = len(heading) * _TITLE + _GAP
    height = rows * down + top + 2 * _MARGIN - _GAP
    with picture.drawing(path, (width, height), facts=facts) as figure:
        figure.set_layout_engine("none")  # all positions are explicit
        figure.text(_MARGIN / width, 1 - _MARGIN / height, "\n".join(heading), va="top", linespacing=plot_style.LINE)
        for place, (pixels, caption) in enumerate(zip(pictures, captions, strict=True)):
            left = _MARGIN + place % columns * across
            bottom = height - _MARGIN - top - place // columns * down - side
            axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
            largest = {} if pixels.ndim == 3 else {"vmin": 0, "vmax": max(float(pixels.max()), 1e-12), "cmap": plot_style.MAPS}
            axes.imshow(pixels, interpolation="nearest", **largest)
            axes.set_axis_off()
            if caption:
                style = {"ha": "center", "va": "top", "fontsize": plot_style.TINY, "linespacing": plot_style.LINE}
                text = axes.text(0.5, -0.03, caption, transform=axes.transAxes, **style)
                picture.fit_lines(text, (side + _GAP / 2) * figure.dpi)
