"""Charts of the report, as SVG embedded in the page: text has the page's color, so that light and dark pages work."""

import contextlib
import io
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_vgg.reproduction.statistics import FAILS, HOLDS, OPEN
from keras_vgg.support import extras

_INK = "#0a0b0c"  # placeholder for the page's color
COLORS = {HOLDS: "#2e9e5b", FAILS: "#d1495b", OPEN: "#8a8f98"}
_NETS = {"A": "#4477aa", "A-LRN": "#66ccee", "B": "#228833", "C": "#b8a600", "D": "#ee6677", "E": "#aa3377"}
_STARTS = ("#4477aa", "#ee6677", "#228833", "#b8a600", "#aa3377", "#66ccee")
_INCH_A_ROW = 0.3


@contextlib.contextmanager
def _svg(width: float, height: float, **grid) -> Iterator:
    """Yields `(figure, axes, result)`; afterwards `result` contains the SVG text."""
    with extras.needed("paper"):
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

    ink: Any = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK)
    settings: Any = ink | {"svg.fonttype": "none", "svg.hashsalt": "keras_vgg", "font.size": 10, "text.parse_math": False}
    settings |= {"font.family": "sans-serif", "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        result: list[str] = []
        yield figure, figure.subplots(**grid), result
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        result.append(_for_page(text.getvalue()))


def _for_page(svg: str) -> str:
    """Returns an SVG for embedding in a page: text in the page's color, height following from width."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL).replace(_INK, "currentColor")
    return re.sub(r' height="[^"]*pt"', "", svg, count=1)


def differences(claims: Sequence[Mapping]) -> str:
    """Draws each claim's difference in points with its interval, colored by verdict, and the paper's as a cross.

    Args:
        claims: each with `label`, `difference`, `interval`, `paper_difference` and `verdict`, shares and points as in a table.
    """
    with _svg(8.5, 1.1 + _INCH_A_ROW * len(claims)) as (_, axes, result):
        for place, claim in enumerate(claims):
            low, high = claim["interval"]
            color = COLORS[claim["verdict"] or OPEN]
            if low is not None:
                axes.plot((100 * low, 100 * high), (place, place), color=color, linewidth=2.5, solid_capstyle="round")
            axes.plot(100 * claim["difference"], place, "o", color=color, markersize=6)
            if claim["paper_difference"] is not None:
                axes.plot(claim["paper_difference"], place, "x", color=_INK, markersize=6, alpha=0.7)
        axes.axvline(0, color=_INK, linewidth=0.8, alpha=0.5)
        axes.set_yticks(range(len(claims)), [claim["label"] for claim in claims])
        axes.set_ylim(len(claims) - 0.4, -0.6)
        axes.set_xlabel("difference of top-1 error, points (left: fewer errors); cross: the paper's")
        axes.grid(axis="x", alpha=0.25)
    return result[0]


def trainings(found: Sequence[Mapping]) -> str:
    """Draws the validation error of all nets by epoch, with a panel per scale S and a line per seed."""
    scales = [*dict.fromkeys(each["S"] for each in found)]
    with _svg(3.2 * len(scales) + 0.6, 3.2, nrows=1, ncols=len(scales), sharey=True, squeeze=False) as (figure, axes, result):
        for panel, scale in zip(axes[0], scales, strict=True):
            for each in (each for each in found if each["S"] == scale):
                _lines(panel, each["curves"], "val_top1_error", 100, color=_NETS.get(each["net"], _INK), label=each["net"])
            panel.set_title(f"S = {scale}", fontsize=10)
            panel.set_xlabel("epoch")
            panel.grid(alpha=0.25)
        axes[0][0].set_ylabel("validation top-1 error, %")
        _legend(figure, axes[0])
    return result[0]


def starts(found: Sequence[Mapping], chance_loss: float) -> str:
    """Draws the training loss of each net from each start, with a panel per net and a line per seed."""
    nets = [*dict.fromkeys(each["net"] for each in found)]
    color_of = dict(zip(dict.fromkeys(each["start"] for each in found), itertools.cycle(_STARTS), strict=False))
    with _svg(2.4 * len(nets) + 0.6, 3.0, nrows=1, ncols=len(nets), sharey=True, squeeze=False) as (figure, axes, result):
        for panel, net in zip(axes[0], nets, strict=True):
            for each in (each for each in found if each["net"] == net):
                _lines(panel, each["curves"], "loss", 1, color=color_of[each["start"]], label=each["start"])
            panel.axhline(chance_loss, color=_INK, linewidth=0.8, linestyle=":", alpha=0.6)
            panel.set_title(f"net {net}", fontsize=10)
            panel.set_xlabel("epoch")
            panel.grid(alpha=0.25)
        axes[0][0].set_ylabel("training loss (dotted: guessing)")
        axes[0][0].set_ylim(top=1.15 * chance_loss)
        _legend(figure, axes[0])
    return result[0]


def _lines(panel, curves: Sequence[Mapping], name: str, factor: float, *, color: str, label: str) -> None:
    """Draws a thin line for each seed and a bold one for their mean, up to the shortest run."""
    from matplotlib.ticker import MaxNLocator

    of_seeds = [factor * np.asarray(curve[name]) for curve in curves if curve[name]]
    for values in of_seeds:
        panel.plot(
            range(1, len(values) + 1), values, color=color, linewidth=0.7, alpha=0.45, marker="." if len(values) < 2 else None
        )
    if of_seeds:
        length = min(map(len, of_seeds))
        mean = np.mean([values[:length] for values in of_seeds], axis=0)
        panel.plot(range(1, length + 1), mean, color=color, linewidth=2, label=label)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def _legend(figure, panels) -> None:
    known: dict[str, object] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            known.setdefault(label, handle)
    figure.legend(known.values(), known.keys(), loc="outside right center", frameon=False)


def confusion(counts: np.ndarray, classes: Sequence[str]) -> str:
    """Draws a confusion matrix, in percent of the right class's images.

    Args:
        counts: `(classes, classes)`, right class by first guess.
        classes: their names.
    """
    size = 3.2 + 0.24 * len(classes)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with _svg(size + 0.8, size) as (_, axes, result):
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=max(shares.max(), 1), interpolation="nearest")
        _write_shares(axes, shares, image.norm)
        axes.set_xticks(range(len(classes)), classes, rotation=90)
        axes.set_yticks(range(len(classes)), classes)
        axes.set_xlabel("first guess")
        axes.set_ylabel("right class")
        for spine in axes.spines.values():
            spine.set_visible(False)
    return result[0]


def _write_shares(axes, shares: np.ndarray, norm: Callable) -> None:
    if len(shares) > 30:
        return
    for (row, column), share in np.ndenumerate(shares):
        if share >= 2:
            axes.text(
                column, row, f"{share:.0f}", ha="center", va="center", fontsize=6, color="white" if norm(share) > 0.5 else "#333333"
            )
