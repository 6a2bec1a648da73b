"""Pictures on matplotlib, whatever names stand in them."""

import contextlib
import pathlib
import warnings
from collections.abc import Iterator

from keras_vgg import files


@contextlib.contextmanager
def drawing(path: pathlib.Path, size: tuple[float, float], *, dpi: int) -> Iterator:
    """Gives a figure to draw on; afterwards it is written as a PNG.

    Args:
        path: where to.
        size: width and height in inches.
        dpi: dots an inch.
    """
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
            figure.savefig(beside, dpi=dpi, format="png")
