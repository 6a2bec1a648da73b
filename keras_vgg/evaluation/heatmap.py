"""Plots of where in an image a net sees a class."""

import functools
import hashlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_vgg.evaluation.prediction import GRAD_CAM, SCORES, Heatmap
from keras_vgg.support import naming, picture, plot_style
from keras_vgg.support.image_files import printable

_SIDE, _NARROWEST, _HIGHEST = 8.0, 3.5, 20.0  # inches: the image's longer side, its least width, its greatest height
_MARGIN, _SCALE, _GAP, _LABELS = 0.18, 0.16, 0.1, 0.42  # inches
_LINE = plot_style.LINE * plot_style.MEDIUM / 72  # inches
_QUANTITIES = {SCORES: "posterior of {}", GRAD_CAM: "Grad-CAM of {} (share of the largest)"}


def file_of(folder: pathlib.Path, path: str) -> pathlib.Path:
    """Returns the file in `folder` for an image's heatmap, deterministic and unique to the image's path."""
    # Hashes bytes, since names that are not UTF-8 may print alike.
    which = hashlib.sha256(os.fsencode(os.path.abspath(path))).hexdigest()[:8]
    return folder / f"{naming.slug(printable(pathlib.PurePath(path).stem))}-{which}.png"


def draw(path: pathlib.Path, heatmap: Heatmap, class_name: str, *, title: str, facts: Mapping[str, Any]) -> None:
    """Writes a PNG of the image under a heatmap, with a color scale beneath and a title above.

    Each position of the map is drawn at the center of its window; values in between are interpolated.

    Args:
        path: output file.
        heatmap: the heatmap.
        class_name: the name of its class.
        title: text above the image.
        facts: metadata of the file about the net and its settings; class, kind and image are added.
    """
    values = heatmap.values
    height, width = heatmap.image.shape[:2]
    rows, columns = values.shape
    across = max(_SIDE * min(1, width / height), _NARROWEST)
    down = min(across * height / width, _HIGHEST)
    lines = picture.wrapped(f"{title}; {rows}x{columns} positions", across)
    above, beneath = len(lines) * _LINE + _GAP, _GAP + _SCALE + _LABELS
    size = (across + 2 * _MARGIN, down + above + beneath + 2 * _MARGIN)

    def part(bottom, part_height):  # inches to fractions of the figure
        return (_MARGIN / size[0], (_MARGIN + bottom) / size[1], across / size[0], part_height / size[1])

    told = {"class": class_name, "heatmap": heatmap.kind, "image sha256": heatmap.digest, **facts}
    with picture.drawing(path, size, facts=told) as figure:
        figure.set_layout_engine("none")  # the parts have fixed places
        axes = figure.add_axes(part(beneath, down))
        axes.imshow(heatmap.image)
        overlay = axes.imshow(
            _upsampled(values, (height, width), heatmap.centres),
            cmap=plot_style.HEAT,
            alpha=0.55,
            vmin=0,
            vmax=max(values.max(), 1e-3),
        )
        axes.set_axis_off()
        heading = {"va": "top", "linespacing": plot_style.LINE}
        figure.text(_MARGIN / size[0], 1 - _MARGIN / size[1], "\n".join(lines), **heading)
        scale = figure.add_axes(part(_LABELS, _SCALE))
        figure.colorbar(overlay, cax=scale, orientation="horizontal")
        scale.locator_params(axis="x", nbins=6)
        told_of = _QUANTITIES[heatmap.kind].format
        scale.set_xlabel(told_of(picture.fitted(class_name, lambda name: len(picture.wrapped(told_of(name), across)) == 1)))


def _upsampled(values: np.ndarray, size: tuple[int, int], centres) -> np.ndarray:
    """Interpolates bilinearly between the centers of positions; constant beyond the outermost."""
    for axis, (pixels, (first, step)) in enumerate(zip(size, centres, strict=True)):
        places = first + step * np.arange(values.shape[axis])
        values = np.apply_along_axis(functools.partial(np.interp, np.arange(pixels) + 0.5, places), axis, values)
    return values
