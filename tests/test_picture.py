"""Pictures, whatever names stand in them."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from keras_vgg.support import picture
from keras_vgg.tasks.classification import Classification
from keras_vgg.training import report

TASK = Classification(("a", "b"))
HISTORY = [
    dict.fromkeys(report.log_columns(TASK), 0.5) | {"epoch": epoch, "learning_rate": 0.005 / epoch**2} for epoch in (1, 2, 3)
]


def size_of(path):
    with Image.open(path) as image:
        return image.size


@pytest.mark.filterwarnings("error:Glyph")
@pytest.mark.parametrize("name", ["price $5^_$6", "向日葵", "plain"])
def test_names_are_text(tmp_path, name):
    with picture.drawing(tmp_path / "a.png", (3, 2), dpi=50, facts={"class": name}) as figure:
        figure.subplots().set_title(name)
    assert size_of(tmp_path / "a.png") == (150, 100)
    with Image.open(tmp_path / "a.png") as image:
        assert image.text["class"] == name
    report.draw_curves(tmp_path / "curves.png", HISTORY, TASK, name)
    assert size_of(tmp_path / "curves.png") == (1320, 396)


def test_curves_say_which_net_they_end_with(tmp_path):
    history = [row | {"net sha256": f"{row['epoch']}" * 64} for row in HISTORY]
    report.draw_curves(tmp_path / "curves.png", history, TASK, "a")
    with Image.open(tmp_path / "curves.png") as image:
        assert (image.text["net sha256"], image.text["epochs"]) == ("3" * 64, "3")


def test_a_png_tells_texts_and_values_but_not_what_is_not_known(tmp_path):
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    picture.write_png(tmp_path / "a.png", pixels, {"text": "向日葵", "value": {"scales": [1, 2]}, "none": None, "empty": ""})
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)
        assert image.text == {"text": "向日葵", "value": '{"scales": [1, 2]}'}


def test_numbers_at_the_axes_are_no_formulas():
    """Which would be drawn as they are written, since names are not to be taken for formulas."""
    figure = Figure()
    report._draw_rate(figure.subplots(), pd.DataFrame(HISTORY))
    figure.canvas.draw()
    labels = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels(which="both")]
    assert "1e−03" in labels
    assert not [label for label in labels if "$" in label]
