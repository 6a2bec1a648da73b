"""Figures drawn with matplotlib, with any names in them, and the metadata that every PNG records."""

import contextlib
import json
import pathlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_vgg.support import extras, files


@contextlib.contextmanager
def drawing(path: pathlib.Path, size: tuple[float, float], *, dpi: int, facts: Mapping[str, Any]) -> Iterator:
    """Yields a figure to draw on and writes it as a PNG.

    Args:
        path: output file.
        size: width and height in inches.
        dpi: dots per inch.
        facts: as for `write_png`.
    """
    with extras.needed("plots"):
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    # Names of classes and files are plain text: a dollar sign starts no formula, and missing glyphs are drawn as boxes.
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with files.replacing(path) as beside:
            figure.savefig(beside, dpi=dpi, format="png", metadata=_texts(facts))


def write_png(path: pathlib.Path, pixels: np.ndarray, facts: Mapping[str, Any]) -> None:
    """Writes pixels as a PNG.

    Args:
        path: output file.
        pixels: `(height, width, 3)` uint8, RGB.
        facts: metadata, such as the digests of weights and image: a text chunk (`tEXt`, or `iTXt` beyond Latin-1) for each, text
            as is, anything else as JSON; `None` is omitted. Pillow provides them in `Image.text`.
    """
    with extras.needed("style"):
        from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    for name, text in _texts(facts).items():
        info.add_text(name, text)
    with files.replacing(path) as beside:
        Image.fromarray(pixels).save(beside, format="PNG", pnginfo=info)


def _texts(facts: Mapping[str, Any]) -> dict[str, str]:
    known = {name: value for name, value in facts.items() if value not in (None, "")}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in known.items()}
