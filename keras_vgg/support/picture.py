"""Pictures on matplotlib, whatever names stand in them, and what every PNG tells of how it came about."""

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
    """Gives a figure to draw on; afterwards it is written as a PNG.

    Args:
        path: where to.
        size: width and height in inches.
        dpi: dots an inch.
        facts: as for `write_png`.
    """
    with extras.needed("plots"):
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    # Names of classes and files are text: a dollar begins no formula, and what the font lacks is drawn as boxes.
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
        path: where to.
        pixels: `(height, width, 3)` uint8, RGB.
        facts: what the file says of itself, such as the digests of weights and image: a text chunk (`tEXt`, or `iTXt` beyond
            Latin-1) for each, text as it is, anything else as JSON; `None` is left out. Pillow has them in `Image.text`.
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
