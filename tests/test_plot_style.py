"""All plots: one style, color blindness, and texts that neither overlap nor leave the figure, whatever is drawn."""

import dataclasses
import itertools
import pathlib
import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

import keras_vgg
from keras_vgg import configs, diagram
from keras_vgg.evaluation import heatmap
from keras_vgg.evaluation.measures import errors, precision
from keras_vgg.evaluation.prediction import SCORES, Heatmap
from keras_vgg.evaluation.results import Posteriors
from keras_vgg.reproduction import figures
from keras_vgg.reproduction.statistics import FAILS, HOLDS, OPEN
from keras_vgg.support import picture, plot_style, sheet
from keras_vgg.tasks.classification import Classification
from keras_vgg.tasks.localisation import Localisation
from keras_vgg.training import report

PACKAGE = pathlib.Path(keras_vgg.__file__).parent
LONG = "African hunting dog, hyena dog, Cape hunting dog, Lycaon pictus"


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved."""
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *given, **more: saved.append(self) or save(self, *given, **more))
    return saved


def texts_of(figure):
    """All texts that are drawn, with their extents."""
    axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) if axes.axison]
    ticks = {label for axis in axes for label in (*axis.get_ticklabels(which="both"), axis.offsetText)}
    texts = [each for each in figure.findobj(Text) if each.get_visible() and each.get_text()]
    hidden = {each for axes in figure.axes if not axes.axison for axis in (axes.xaxis, axes.yaxis) for each in axis.findobj(Text)}
    of_axes = {each for axis in axes for each in axis.findobj(Text)}
    for each in texts:
        if each in hidden or (each in of_axes and each not in ticks and each not in {axis.label for axis in axes}):
            continue  # a tick's second label
        if each in ticks and not _is_in_view(each, axes):
            continue
        yield each.get_text(), each.get_window_extent()


def _is_in_view(label, axes):
    for axis in axes:
        if label in axis.get_ticklabels(which="both"):
            place = label.get_position()[0 if axis.axis_name == "x" else 1]
            low, high = sorted(axis.get_view_interval())
            return low - 1e-9 <= place <= high + 1e-9
    return True


def check(figure):
    """No two texts overlap, and all lie within the figure."""
    with picture.styled():
        figure.canvas.draw()
        found, whole = list(texts_of(figure)), figure.bbox
        assert found
        for text, box in found:
            assert box.x0 >= whole.x0 - 1 and box.x1 <= whole.x1 + 1, f"{text!r} leaves the figure sideways"  # noqa: PT018
            assert box.y0 >= whole.y0 - 1 and box.y1 <= whole.y1 + 1, f"{text!r} leaves the figure above or below"  # noqa: PT018
        for (text, box), (other, beside) in itertools.combinations(found, 2):
            across, down = min(box.x1, beside.x1) - max(box.x0, beside.x0), min(box.y1, beside.y1) - max(box.y0, beside.y0)
            assert across <= 1 or down <= 1, f"{text!r} overlaps {other!r}"


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")
def test_the_check_itself(drawn, tmp_path):
    with picture.drawing(tmp_path / "a.png", (3, 2), facts={}) as figure:
        figure.subplots().set_xticks(range(6), [LONG] * 6)
    with pytest.raises(AssertionError, match=r"overlaps|leaves"):
        check(drawn[0])


# --- One style ------------------------------------------------------------------------------------------------------------


def test_colors_are_chosen_in_one_place():
    for path in PACKAGE.rglob("*.py"):
        if path.stem != "plot_style":
            text = path.read_text(encoding="utf-8")
            assert not re.findall(r"""["']#[0-9a-fA-F]{3,8}\b|tab:|["']C\d["']|rcParams\[""", text), f"{path} chooses a color"


DEFICIENCIES = {  # Machado et al. 2009, complete
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize(
    "colors",
    [
        plot_style.NETS.values(),
        plot_style.CYCLE,
        (plot_style.TRAINING, plot_style.VALIDATION),
        (plot_style.HOLDS, plot_style.FAILS, plot_style.OPEN),
        (plot_style.TRUE_BOX, plot_style.BEST_BOX, plot_style.OTHER_BOXES),
        (plot_style.FC, plot_style.POOLING, plot_style.LRN, plot_style.BLOCKS[2]),
    ],
    ids=("nets", "cycle", "curves", "verdicts", "boxes", "layers"),
)
def test_colors_differ_for_the_color_blind(colors, deficiency):
    """By their distance in sRGB, as seen with the deficiency."""

    def linear(color):
        values = np.array(to_rgb(color))
        return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)

    seen = [np.clip(np.array(DEFICIENCIES[deficiency]) @ linear(color), 0, 1) ** (1 / 2.4) for color in colors]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 0.1


def test_each_net_has_its_own_line():
    names = [*configs.CONFIGS, "another", "B", *map(str, range(15))]
    lines = plot_style.lines_of(names)
    assert set(lines) == set(names)
    assert len({(each["color"], each["linestyle"]) for each in lines.values()}) == len(lines)
    assert set(configs.CONFIGS) <= set(plot_style.NETS)


def test_the_style_does_not_depend_on_the_users_settings(tmp_path):
    import matplotlib

    def draw(name):
        report.draw_curves(tmp_path / name, history(CLASSES, 3), CLASSES, "a net")
        return (tmp_path / name).read_bytes()

    plain = draw("a.png")
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 20, "axes.grid": True, "lines.linewidth": 9}):
        assert draw("b.png") == plain


# --- Texts ----------------------------------------------------------------------------------------------------------------


def test_long_names_keep_both_ends():
    assert [picture.shortened("abcdef", letters) for letters in range(1, 7)] == ["…", "a…", "ab…", "ab…f", "abc…f", "abcdef"]
    assert len(picture.shortened(LONG)) == plot_style.NAME_LETTERS
    assert picture.fitted(LONG, lambda text: len(text) <= 9) == picture.shortened(LONG, 9)
    assert picture.fitted("abc", lambda text: False) == "…"


def test_titles_are_wrapped_where_they_must_be():
    assert picture.wrapped("", 3) == []
    assert picture.wrapped("short", 3) == ["short"]
    lines = picture.wrapped(f"{LONG} {'W' * 200}", 3)
    assert "".join(lines).replace(" ", "") == f"{LONG}{'W' * 200}".replace(" ", "")
    assert len(lines) > 8


CLASSES, BOXES = Classification(("a", "b")), Localisation(("a",))


def history(task, epochs, rate=lambda epoch: 0.005):
    random = np.random.default_rng(0)
    columns = report.log_columns(task)
    return [
        dict(zip(columns, random.random(len(columns)), strict=True)) | {"epoch": epoch, "learning_rate": rate(epoch)}
        for epoch in range(1, epochs + 1)
    ]


@pytest.mark.parametrize("task", [CLASSES, BOXES], ids=("classes", "boxes"))
@pytest.mark.parametrize("epochs", [1, 2, 100])
def test_curves(drawn, tmp_path, task, epochs):
    for rate in (lambda epoch: 0.005, lambda epoch: 10 ** -(2 + epoch // 30), lambda epoch: 0.01 / epoch):
        report.draw_curves(tmp_path / "a.png", history(task, epochs, rate), task, f"net D, folder {LONG * 3}")
        check(drawn.pop())


def test_each_learning_rate_of_a_falling_one_is_at_the_axis(drawn, tmp_path):
    report.draw_curves(tmp_path / "a.png", history(CLASSES, 9, lambda epoch: 0.03 / 10 ** (epoch // 4)), CLASSES, "a net")
    assert [label.get_text() for label in drawn[0].axes[-1].get_yticklabels()] == ["0.0003", "0.003", "0.03"]
    report.draw_curves(tmp_path / "a.png", history(CLASSES, 9), CLASSES, "a net")
    assert [label.get_text() for label in drawn[1].axes[-1].get_yticklabels()] == ["0.005"]


def test_training_and_validation_have_one_color_in_all_panels_and_are_seen_after_one_epoch(drawn, tmp_path):
    report.draw_curves(tmp_path / "a.png", history(CLASSES, 1), CLASSES, "a net")
    lines = [line for axes in drawn[0].axes[:-1] for line in axes.get_lines()]
    assert len(lines) == 6
    for line in lines:
        is_training = "training" in line.get_label()
        assert line.get_color() == (plot_style.TRAINING if is_training else plot_style.VALIDATION)
        assert line.get_marker() not in ("None", None)
    assert len({(line.get_color(), line.get_marker()) for line in drawn[0].axes[1].get_lines()}) == 4


def posteriors(count, names):
    random = np.random.default_rng(0)
    values = random.dirichlet(np.ones(count), 5 * count).astype(np.float32)
    facts = {"net": f"net of {LONG}", "S": "256", "Q": "256, 384", "protocol": "dense", "settings": "scores averaged"}
    images = np.array([f"{number}.jpg" for number in range(5 * count)])
    return Posteriors(values, np.arange(5 * count) % count, images, tuple(names), facts)


@pytest.mark.parametrize("count", [2, 17, 40, 120])
def test_confusion_matrix(drawn, tmp_path, count):
    for names in ([str(number) for number in range(count)], [f"{number} W {LONG} {number}" for number in range(count)]):
        errors.write(tmp_path, "01", posteriors(count, names))
        (figure,) = drawn
        check(drawn.pop())
        axes = figure.axes[0]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
        if count <= 40:
            assert len({label.get_text() for label in axes.get_xticklabels()}) == count


@pytest.mark.parametrize("count", [1, 20, 100, 101])
def test_average_precision(drawn, tmp_path, count):
    found = posteriors(count, [f"{number} W {LONG} {number}" for number in range(count)])
    labels = np.random.default_rng(1).integers(-1, 2, found.values.shape)
    labels[0] = 1
    precision.write(tmp_path, "01", dataclasses.replace(found, labels=labels))
    check(drawn.pop())


@pytest.mark.parametrize("size", [(300, 400), (900, 60), (60, 900)])
def test_heatmap(drawn, tmp_path, size):
    seen = Heatmap(np.zeros((*size, 3), np.uint8), np.eye(3), ((16, 32), (16, 32)), SCORES)
    for name in ("cat", "W" * 90, LONG * 3):
        heatmap.draw(tmp_path / "a.png", seen, name, title=f"{LONG}.jpg, net D", facts={})
        check(drawn.pop())


@pytest.mark.parametrize(("columns", "side"), [(6, 1.6), (8, 0.5)])
def test_sheet(drawn, tmp_path, columns, side):
    pictures = [np.zeros((8, 8, 3))] * 9
    captions = ["W" * 60, f"{LONG}\n{LONG}, 12%", "", *["short\nand short"] * 6]
    sheet.draw(tmp_path / "a.png", pictures, captions, title=LONG * 4, facts={}, columns=columns, side=side)
    check(drawn.pop())


def test_diagrams(drawn, tmp_path):
    diagram.draw_nets(tmp_path / "a.png", [*configs.CONFIGS.values()])
    check(drawn.pop())
    diagram.draw_nets(tmp_path / "a.png", [configs.CONFIGS["A-LRN"]], size=64, classes=21841, width=0.01)
    check(drawn.pop())


def curves(epochs):
    values = [0.9 / epoch for epoch in range(1, epochs + 1)]
    return [{"val_top1_error": values, "loss": values}] * 2


@pytest.mark.parametrize("epochs", [1, 100])
@pytest.mark.parametrize("nets", [["A"], [*configs.CONFIGS], [f"a net with a long name, number {number}" for number in range(30)]])
def test_charts_of_trainings(drawn, epochs, nets):
    svg = figures.trainings([{"net": net, "S": scale, "curves": curves(epochs)} for net in nets for scale in ("256", "[256;512]")])
    check(drawn.pop())
    figures.starts([{"net": net, "start": start, "curves": curves(epochs)} for net in "BC" for start in nets], 2.3)
    check(drawn.pop())
    assert "currentColor" in svg
    assert plot_style.PAGE_INK not in svg


@pytest.mark.parametrize("count", [1, 12])
def test_charts_of_claims(drawn, count):
    interval = {"difference": 0.01, "interval": (-0.01, 0.03), "paper_difference": 0.4}
    verdicts = [(HOLDS, FAILS, OPEN, None)[place % 4] for place in range(count)]
    claims = [interval | {"label": f"{LONG * 2} {place}", "verdict": verdict} for place, verdict in enumerate(verdicts)]
    figures.differences(claims)
    check(drawn.pop())
    figures.confusion(np.ones((17, 17)), [f"{number} {LONG}" for number in range(17)])
    check(drawn.pop())


def test_labels_of_boxes_keep_their_score(drawn, tmp_path):
    from keras_vgg.localisation import drawing
    from keras_vgg.localisation.single import Located

    guess = Located(LONG * 5, 0.42, (0.0, 0.0, 30.0, 20.0))
    drawing.draw(tmp_path / "a.png", np.zeros((48, 64, 3), np.uint8), [guess], title=LONG * 2, facts={})
    assert any(text.get_text().endswith("… 42%") or text.get_text().endswith(" 42%") for text in drawn[0].findobj(Text))
    check(drawn.pop())
