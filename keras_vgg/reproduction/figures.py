"""Charts of the report, as SVG embedded in the page: text has the page's color, so that light and dark pages work."""

import contextlib
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from keras_vgg.evaluation import confusion_matrix
from keras_vgg.reproduction.statistics import FAILS, HOLDS, OPEN
from keras_vgg.support import picture, plot_style
from keras_vgg.support.plot_style import PAGE_INK

_VERDICTS = {HOLDS: plot_style.HOLDS, FAILS: plot_style.FAILS, OPEN: plot_style.OPEN}
_INCH_A_ROW, _LETTERS = 0.3, 60  # of a claim, which has at most so many letters
_LETTER = 0.085  # inches


@contextlib.contextmanager
def _svg(width: float, height: float, **grid) -> Iterator:
    """Yields `(figure, axes, result)`; afterwards `result` contains the SVG text."""
    ink = dict.fromkeys(("text__color", "axes__labelcolor", "axes__edgecolor", "xtick__color", "ytick__color"), PAGE_INK)
    with picture.styled("paper", **ink, svg__fonttype="none", svg__hashsalt="keras_vgg", font__family="sans-serif"):
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        result: list[str] = []
        yield figure, figure.subplots(**grid), result
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        result.append(_for_page(text.getvalue()))


def _for_page(svg: str) -> str:
    """Returns an SVG for embedding in a page: text in the page's color, height following from width."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL).replace(PAGE_INK, "currentColor")
    return re.sub(r' height="[^"]*pt"', "", svg, count=1)


def differences(claims: Sequence[Mapping]) -> str:
    """Draws each claim's difference in points with its interval, colored by verdict, and the paper's as a cross.

    Args:
        claims: each with `label`, `difference`, `interval`, `paper_difference` and `verdict`, shares and points as in a table.
    """
    labels = [picture.shortened(claim["label"], _LETTERS) for claim in claims]
    width = max(8.5, 4.5 + _LETTER * max(map(len, labels)))
    with _svg(width, 1.3 + _INCH_A_ROW * len(claims)) as (_, axes, result):
        for place, claim in enumerate(claims):
            low, high = claim["interval"]
            color = _VERDICTS[claim["verdict"] or OPEN]
            if low is not None:
                axes.plot((100 * low, 100 * high), (place, place), color=color, linewidth=2.5, solid_capstyle="round")
            axes.plot(100 * claim["difference"], place, "o", color=color, markersize=6)
            if claim["paper_difference"] is not None:
                axes.plot(claim["paper_difference"], place, "x", color=PAGE_INK, markersize=6, alpha=0.7)
        axes.axvline(0, color=PAGE_INK, linewidth=0.8, alpha=0.5)
        axes.set_yticks(range(len(claims)), labels)
        axes.set_ylim(len(claims) - 0.4, -0.6)
        axes.set_xlabel("difference of top-1 error, points\n(left: fewer errors; cross: the paper's)")
        axes.grid(axis="x")
    return result[0]


def trainings(found: Sequence[Mapping]) -> str:
    """Draws the validation error of all nets by epoch, with a panel per scale S and a line per seed."""
    scales = [*dict.fromkeys(each["S"] for each in found)]
    styles = plot_style.lines_of([each["net"] for each in found])
    width, height = _of_legend(styles)
    grid = {"nrows": 1, "ncols": len(scales), "sharey": True, "squeeze": False}
    with _svg(3.2 * len(scales) + width, max(3.2, height), **grid) as (figure, axes, result):
        for panel, scale in zip(axes[0], scales, strict=True):
            for each in (each for each in found if each["S"] == scale):
                _lines(panel, each["curves"], "val_top1_error", 100, label=each["net"], style=styles[each["net"]])
            panel.set_title(picture.shortened(f"S = {scale}"))
            panel.set_xlabel("epoch")
            panel.grid(visible=True)
        axes[0][0].set_ylabel("validation top-1 error, %")
        _legend(figure, axes[0])
    return result[0]


def starts(found: Sequence[Mapping], chance_loss: float) -> str:
    """Draws the training loss of each net from each start, with a panel per net and a line per seed."""
    nets = [*dict.fromkeys(each["net"] for each in found)]
    styles = plot_style.lines_of([each["start"] for each in found])
    width, height = _of_legend(styles)
    grid = {"nrows": 1, "ncols": len(nets), "sharey": True, "squeeze": False}
    with _svg(2.4 * len(nets) + width, max(3.0, height), **grid) as (figure, axes, result):
        for panel, net in zip(axes[0], nets, strict=True):
            for each in (each for each in found if each["net"] == net):
                _lines(panel, each["curves"], "loss", 1, label=each["start"], style=styles[each["start"]])
            panel.axhline(chance_loss, color=PAGE_INK, linewidth=0.8, linestyle=":", alpha=0.6)
            panel.set_title(picture.shortened(f"net {net}"))
            panel.set_xlabel("epoch")
            panel.grid(visible=True)
        axes[0][0].set_ylabel("training loss (dotted: guessing)")
        axes[0][0].set_ylim(top=1.15 * chance_loss)
        _legend(figure, axes[0])
    return result[0]


def _lines(panel, curves: Sequence[Mapping], name: str, factor: float, *, label: str, style: Mapping) -> None:
    """Draws a thin line for each seed and a bold one for their mean, up to the shortest run."""
    from matplotlib.ticker import MaxNLocator

    of_seeds = [factor * np.asarray(curve[name]) for curve in curves if curve[name]]
    for values in of_seeds:
        marker = "." if len(values) < 2 else None
        panel.plot(range(1, len(values) + 1), values, color=style["color"], linewidth=0.7, alpha=0.45, marker=marker)
    if of_seeds:
        length = min(map(len, of_seeds))
        mean = np.mean([values[:length] for values in of_seeds], axis=0)
        panel.plot(range(1, length + 1), mean, **style, linewidth=2, label=label, marker="o" if length < 2 else None)
        panel.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def _of_legend(names: Collection[str]) -> tuple[float, float]:
    """Returns width and height of a legend with these names, in inches."""
    return 0.6 + _LETTER * max(len(picture.shortened(name)) for name in names), 0.4 + 0.18 * len(names)


def _legend(figure, panels) -> None:
    known: dict[str, object] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            known.setdefault(label, handle)
    figure.legend(known.values(), map(picture.shortened, known), loc="outside right center")


def confusion(counts: np.ndarray, classes: Sequence[str]) -> str:
    """Draws a confusion matrix, in percent of the true class's images.

    Args:
        counts: `(classes, classes)`, true class by predicted class.
        classes: their names.
    """
    with _svg(*confusion_matrix.size_of(classes)) as (figure, axes, result):
        confusion_matrix.draw(figure, axes, counts, classes)
    return result[0]
