"""Photographs with the boxes of guesses drawn on them, pixel for pixel."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_vgg.localisation.single import Located
from keras_vgg.support import picture, plot_style

_DPI = 100
_LEAST, _NARROWEST = 480, 360  # dots: mean side of an enlarged small photograph; minimum width of the plot
_FONT = 0.022  # size of labels relative to the photograph's mean side
_SMALLEST, _LARGEST = 11, 64  # of a font, dots


def draw(path: pathlib.Path, pixels: np.ndarray, guesses: Sequence[Located], *, title: str, facts: Mapping[str, Any]) -> None:
    """Writes a PNG of a photograph with boxes, labels and scores: the first box thick and orange, the others thin and yellow.

    All pixels of the photograph are kept; a small one is enlarged by an integer factor.

    Args:
        path: output file.
        pixels: `(height, width, 3)` uint8, RGB, the photograph at its own size.
        guesses: the guesses to draw, the best first.
        title: text above the photograph.
        facts: metadata of the file, see `picture.write_png`; the guesses are added.
    """
    height, width = pixels.shape[:2]
    zoom = max(1, round(_LEAST / np.sqrt(height * width)))
    height, width = zoom * height, zoom * width
    font = float(np.clip(_FONT * np.sqrt(height * width), _SMALLEST, _LARGEST))
    across = max(width, _NARROWEST)
    points = 72 / _DPI
    lines = picture.wrapped(title, (across - 0.8 * font) / _DPI, font * points)
    above = round((1.35 * len(lines) + 0.6) * font)
    size = (across / _DPI, (height + above) / _DPI)
    told = [guess._asdict() | {"box": [round(edge, 2) for edge in guess.box]} for guess in guesses]
    with picture.drawing(path, size, dpi=_DPI, facts={**facts, "boxes": told}) as figure:
        figure.set_layout_engine("none")  # everything has a fixed position, in dots
        figure.add_artist(_pixel_for_pixel(pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)))
        axes = figure.add_axes((0, 0, width / across, height / (height + above)))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        figure.text(
            0.4 * font / across,
            1 - 0.3 * font / (height + above),
            "\n".join(lines),
            va="top",
            fontsize=font * points,
            linespacing=1.2,
        )
        for place, guess in reversed([*enumerate(guesses)]):  # the best on top
            _outline(axes, np.multiply(guess.box, zoom), place, font)
        taken: list = []
        for place, guess in enumerate(guesses):
            _label(axes, guess, np.multiply(guess.box, zoom), place, font, taken)


def _pixel_for_pixel(pixels: np.ndarray):
    """Returns an artist that draws pixels unscaled at the lower left: matplotlib resamples its own images, using gigabytes."""
    from matplotlib.artist import Artist

    class Photograph(Artist):
        def draw(self, renderer):
            whole = np.full((*pixels.shape[:2], 4), 255, np.uint8)
            whole[..., :3] = pixels
            context = renderer.new_gc()
            renderer.draw_image(context, 0, 0, whole[::-1])
            context.restore()

    photograph = Photograph()
    photograph.set_zorder(-1)
    return photograph


def _outline(axes, box: np.ndarray, place: int, font: float) -> None:
    from matplotlib.patches import Rectangle

    thickness = font * (0.24 if place == 0 else 0.1)
    inside = thickness / 2  # so that lines at the photograph's border are not cut
    left, top, right, bottom = np.add(box, (inside, inside, -inside, -inside))
    axes.add_patch(
        Rectangle(
            (left, top), max(right - left, 0), max(bottom - top, 0),
            fill=False, color=_color(place), linewidth=thickness * 72 / _DPI, joinstyle="miter",
        )
    )  # fmt: skip


def _label(axes, guess: Located, box: np.ndarray, place: int, font: float, taken: list) -> None:
    """Draws a label above its box, or inside if there is no space, avoiding `taken` areas, and within the photograph."""
    width, height = axes.get_xlim()[1], axes.get_ylim()[0]
    size, margin = font * (1 if place == 0 else 0.85), 0.25 * font
    score = f"{100 * guess.score:.0f}%"
    text = axes.text(0, 0, "", va="top", ha="left", fontsize=size * 72 / _DPI, color="black", clip_on=True)

    def fits(name: str) -> bool:
        text.set_text(f"{name} {score}".strip())
        return text.get_window_extent().width <= width - 2 * margin

    fits(picture.fitted(guess.label, fits))  # leaves the text
    extent = text.get_window_extent(axes.figure.canvas.get_renderer())
    across, down = extent.width + 2 * margin, extent.height + 2 * margin
    left = min(max(box[0], 0), max(width - across, 0))
    tops = [box[1] - down, box[1], box[3] - down, box[3]]  # above, inside at the top, inside at the bottom, below
    tops = [min(max(top, 0), height - down) for top in tops] + list(np.arange(0, max(height - down, 0) + 1, down))
    free = [top for top in tops if not any(_meet((left, top, left + across, top + down), each) for each in taken)]
    top = (free or tops)[0]
    taken.append((left, top, left + across, top + down))
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((left, top), across, down, color=_color(place), linewidth=0, alpha=0.85))
    text.set_position((left + margin, top + margin))
    text.set_zorder(3)


def _meet(a: tuple, b: tuple) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _color(place: int) -> str:
    return plot_style.BEST_BOX if place == 0 else plot_style.OTHER_BOXES
