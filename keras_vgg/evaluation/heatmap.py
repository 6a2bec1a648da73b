"""A picture of where in an image a net sees a class."""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_vgg.evaluation.prediction import Heatmap
from keras_vgg.support import picture

_WIDTH, _SCALE_WIDTH, _TITLE_HEIGHT = 8.0, 1.2, 0.4  # inches


def draw(path: pathlib.Path, heatmap: Heatmap, label: int, class_name: str, *, title: str, facts: Mapping[str, Any]) -> None:
    """Writes the image with the posterior of a class laid over it, as a PNG.

    A position of the score map is drawn at the centre of the window it looks at, and between positions it is interpolated.

    Args:
        path: where to.
        heatmap: what the net saw.
        label: the class.
        class_name: its name.
        title: stands above.
        facts: what the file says of the net and how it was asked; class and image are added.
    """
    values = heatmap.posteriors[..., label]  # (rows, columns)
    height, width = heatmap.image.shape[:2]
    # As high as the image comes out beside the colour scale, and a panorama's scale must still be legible.
    size = (_WIDTH, max((_WIDTH - _SCALE_WIDTH) * height / width, _SCALE_WIDTH) + _TITLE_HEIGHT)
    told = {"class": class_name, "image sha256": heatmap.digest, **facts}
    with picture.drawing(path, size, dpi=110, facts=told) as figure:
        axes = figure.subplots()
        axes.imshow(heatmap.image)
        overlay = axes.imshow(
            _upsampled(values, height, width, heatmap.crop, heatmap.stride),
            cmap="inferno",
            alpha=0.55,
            vmin=0,
            vmax=max(values.max(), 1e-3),
        )
        figure.colorbar(overlay, label=f"posterior of {class_name}", fraction=0.05, pad=0.02)
        rows, columns = values.shape
        axes.set_title(f"{title}; {rows}x{columns} positions", fontsize="medium")
        axes.set_axis_off()


def _upsampled(values: np.ndarray, height: int, width: int, crop: int, stride: int) -> np.ndarray:
    """Bilinear between the centres of windows; beyond the outermost, their values."""
    for axis, size in enumerate((height, width)):
        centres = crop / 2 + stride * np.arange(values.shape[axis])
        values = np.apply_along_axis(functools.partial(np.interp, np.arange(size) + 0.5, centres), axis, values)
    return values
