"""Figures drawn with matplotlib in one style, with any names in them, and the metadata that every PNG records."""

import bisect
import contextlib
import json
import pathlib
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from keras_vgg.support import extras, files, plot_style

if TYPE_CHECKING:
    import numpy as np


@contextlib.contextmanager
def styled(extra: str = "plots", **more: Any) -> Iterator[None]:
    """Applies the style of all plots, whatever the user's own settings of matplotlib are.

    Args:
        extra: name of the extra that brings matplotlib, for the message if it is missing.
        more: settings of matplotlib on top of the style, with `__` for dots.
    """
    with extras.needed(extra):
        import matplotlib

    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")}
    settings: Any = defaults | dict(plot_style.RC) | {name.replace("__", "."): value for name, value in more.items()}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")  # they are drawn as boxes
        yield


@contextlib.contextmanager
def drawing(path: pathlib.Path, size: tuple[float, float], *, dpi: int = plot_style.DPI, facts: Mapping[str, Any]) -> Iterator:
    """Yields a figure to draw on and writes it as a PNG.

    Args:
        path: output file.
        size: width and height in inches.
        dpi: dots per inch.
        facts: as for `write_png`.
    """
    with styled():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=size, dpi=dpi, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with files.replacing(path) as beside:
            figure.savefig(beside, dpi=dpi, format="png", metadata=_texts(facts))


def wrapped(text: str, inches: float, points: float = plot_style.MEDIUM) -> list[str]:
    """Returns a text as lines that are at most `inches` wide when drawn in `points`; words that are too long are broken."""
    with styled():
        from matplotlib.figure import Figure

        line = Figure(dpi=plot_style.DPI).text(0, 0, "", fontsize=points)

        def fits(lines: list[str]) -> bool:
            line.set_text("\n".join(lines))
            return not lines or line.get_window_extent().width <= inches * plot_style.DPI

        lines, letters = [text] if text else [], len(text)
        while not fits(lines) and letters > 1:
            letters = min(letters - 1, letters * 19 // 20)
            lines = textwrap.wrap(text, letters)
        return lines


def add_title(figure, text: str) -> None:
    """Writes a title above a figure with constrained layout, on as many lines as it needs."""
    figure.suptitle("\n".join(wrapped(text, 0.96 * figure.get_size_inches()[0])))


def shortened(text: str, letters: int = plot_style.NAME_LETTERS) -> str:
    """Returns a text of at most `letters`, with an ellipsis near its end, as names often differ at both ends."""
    if len(text) <= letters:
        return text
    tail = (letters - 1) // 3
    return f"{text[: letters - 1 - tail]}…{text[len(text) - tail :]}"


def fitted(text: str, fits: Callable[[str], bool]) -> str:
    """Returns a text shortened as little as `fits` demands, at least one letter."""
    if fits(text):
        return text
    letters = bisect.bisect_left(range(1, len(text)), True, key=lambda count: not fits(shortened(text, count)))
    return shortened(text, max(letters, 1))


def fit_lines(artist, width: float) -> None:
    """Shortens each line of a drawn text to `width` dots."""

    def fits(line: str) -> bool:
        artist.set_text(line)
        return not line or artist.get_window_extent().width <= width

    artist.set_text("\n".join([fitted(line, fits) for line in artist.get_text().split("\n")]))


def write_png(path: pathlib.Path, pixels: "np.ndarray", facts: Mapping[str, Any]) -> None:
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
