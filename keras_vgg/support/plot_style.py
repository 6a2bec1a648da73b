"""The style of all plots, as data: colors, colormaps, font sizes, matplotlib's settings. Imports no matplotlib.

The colors are those of Okabe and Ito, which people with color blindness can tell apart; plots distinguish by more than color
where lines cross. PNGs are dark on light; charts embedded in a page take its text color.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

ORANGE, SKY, GREEN, YELLOW = "#e69f00", "#56b4e9", "#009e73", "#f0e442"
BLUE, VERMILION, PURPLE, GRAY = "#0072b2", "#d55e00", "#cc79a7", "#8a8f98"
INK, PAPER = "#1d1d1f", "#ffffff"
PAGE_INK = "#0a0b0c"
"""Placeholder for the text color of a page, see `reproduction.figures`."""

# Lines and bars
TRAINING, VALIDATION, LEARNING_RATE, BARS = BLUE, VERMILION, PURPLE, BLUE
DASHES = ("-", "--", ":", "-.")
MARKS = ("o", "s", "^", "D")
"""Of several metrics in one panel, or of more nets than colors; marks are for few epochs."""
CYCLE = (BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE)
"""Of lines without a meaning of their own; yellow is missing, as it vanishes on white."""
NETS = {"A": SKY, "A-LRN": GREEN, "B": BLUE, "C": ORANGE, "D": VERMILION, "E": PURPLE}
HOLDS, FAILS, OPEN = GREEN, VERMILION, GRAY
"""Of a claim, by its verdict."""

# Bounding boxes on photographs
TRUE_BOX, BEST_BOX, OTHER_BOXES = SKY, VERMILION, YELLOW

# Layers of networks
BLOCKS = ("#d6e4f0", "#a9cbe3", "#76aed3", "#4589bd", "#2a6096", "#1b4470")
"""From the first block to the last; further blocks have the last one's."""
FC, POOLING, LRN = "#f2c14e", VERMILION, "#a3abb8"

# Colormaps
SHARES, HEAT, MAPS = "Blues", "inferno", "viridis"

# Sizes
TINY, SMALL, MEDIUM = 7.0, 8.5, 10.0  # points: captions of thumbnails; names of classes, legends; everything else
DPI = 110
LINE = 1.25  # distance of lines, relative to the font size
NAME_LETTERS = 26
"""Of a name at an axis; longer ones are shortened."""

GRID = 0.25  # opacity

RC: Mapping[str, Any] = {
    "font.size": MEDIUM,
    "axes.titlesize": MEDIUM,
    "figure.titlesize": MEDIUM,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.alpha": GRID,
    "lines.linewidth": 1.6,
    "text.parse_math": False,  # names of classes and files are plain text: a dollar sign starts no formula
}
"""Settings of matplotlib, on top of its defaults."""


def lines_of(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Returns color and line style of each name: nets of Table 1 have their own, other names take what is left of the cycle."""
    known = {name: {"color": NETS[name], "linestyle": "-"} for name in names if name in NETS}
    dashes = DASHES[1:] if known else DASHES
    left = itertools.cycle({"color": color, "linestyle": dash} for dash in dashes for color in CYCLE)
    return {name: known[name] if name in known else next(left) for name in dict.fromkeys(names)}


def rgb(color: str) -> tuple[int, int, int]:
    """Returns red, green and blue of a color `#rrggbb`, in 0–255."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue
