"""Pictures, whatever names stand in them."""

import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from keras_vgg import picture
from keras_vgg.training import report

HISTORY = [dict.fromkeys(report.COLUMNS, 0.5) | {"epoch": epoch, "learning_rate": 0.005 / epoch**2} for epoch in (1, 2, 3)]


def size_of(path):
    with Image.open(path) as image:
        return image.size


@pytest.mark.filterwarnings("error:Glyph")
@pytest.mark.parametrize("name", ["price $5^_$6", "向日葵", "plain"])
def test_names_are_text(tmp_path, name):
    with picture.drawing(tmp_path / "a.png", (3, 2), dpi=50) as figure:
        figure.subplots().set_title(name)
    assert size_of(tmp_path / "a.png") == (150, 100)
    report.draw_curves(tmp_path / "curves.png", HISTORY, name)
    assert size_of(tmp_path / "curves.png") == (1320, 396)


def test_numbers_at_the_axes_are_no_formulas():
    """Which would be drawn as they are written, since names are not to be taken for formulas."""
    figure = Figure()
    report._draw_curves(figure, pd.DataFrame(HISTORY))
    figure.canvas.draw()
    labels = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels(which="both")]
    assert "1e−03" in labels
    assert not [label for label in labels if "$" in label]
