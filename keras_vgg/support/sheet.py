"""A sheet of small pictures with a line or more under each."""

import math
import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_vgg.support import picture

_MARGIN, _GAP, _LINE, _LETTERS = 0.15, 0.1, 0.16, 13  # inches; letters per inch
_DPI = 110


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
        captions: text under each picture, of any number of lines; "" for none.
        title: text above all pictures.
        facts: metadata of the file; see `picture.write_png`.
        columns: maximum number of pictures per row.
        side: side of each picture's square, in inches.
    """
    columns = min(columns, len(pictures))
    rows, lines = math.ceil(len(pictures) / columns), max(text.count("\n") + 1 if text else 0 for text in captions)
    across, down = side + _GAP, side + _GAP + lines * _LINE
    width = max(columns * across - _GAP, 3.5) + 2 * _MARGIN
    heading = textwrap.wrap(title, int((width - 2 * _MARGIN) * _LETTERS))
    top = len(heading) * _LINE * 1.2 + _GAP
    height = rows * down + top + 2 * _MARGIN - _GAP
    with picture.drawing(path, (width, height), dpi=_DPI, facts=facts) as figure:
        figure.set_layout_engine("none")  # all positions are explicit
        figure.text(_MARGIN / width, 1 - _MARGIN / height, "\n".join(heading), va="top", fontsize="medium")
        for place, (pixels, caption) in enumerate(zip(pictures, captions, strict=True)):
            left = _MARGIN + place % columns * across
            bottom = height - _MARGIN - top - place // columns * down - side
            axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
            largest = {} if pixels.ndim == 3 else {"vmin": 0, "vmax": max(float(pixels.max()), 1e-12), "cmap": "viridis"}
            axes.imshow(pixels, interpolation="nearest", **largest)
            axes.set_axis_off()
            if caption:
                axes.text(0.5, -0.03, caption, transform=axes.transAxes, ha="center", va="top", fontsize="x-small")
