"""Tasks: losses and figures by hand and by scikit-learn, targets under crops and flips, multi-label training end to end."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.metrics import average_precision_score
from voc_tree import write_voc

from keras_vgg import evaluate, fit, predict, tasks
from keras_vgg.data import images, order, pipeline
from keras_vgg.data.split import Split
from keras_vgg.errors import InputError
from keras_vgg.tasks.classification import Classification
from keras_vgg.tasks.multi_label import MultiLabel
from keras_vgg.training.report import log_columns

pytestmark = pytest.mark.usefixtures("graphs_as_traced")

RNG = np.random.default_rng(0)


def posteriors(examples, classes):
    values = RNG.uniform(0.05, 1, (examples, classes)).astype(np.float32)
    return values / values.sum(axis=1, keepdims=True)


# --- Every task -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tasks.TASKS)
def test_what_a_task_says_fits_together(name):
    task = tasks.get_task(name)(("a", "b", "c"))
    outputs = tf.constant(posteriors(4, task.units))
    targets = {
        "classification": tf.constant([0, 1, 2, 1]),
        "multi-label": tf.constant(RNG.integers(-1, 2, (4, 3)), tf.int8),
        "localisation": tf.constant([[[1, 1, 0, 0], [0, 0, 1, 1], [0.1, 0.1, 0.8, 0.9]]] * 4),
    }[name]
    losses, measures = task.losses(outputs, targets, training=False), task.measures(outputs, targets)
    assert [each.shape for each in (losses, *measures)] == [(4,)] * len(task.sums)
    figures = task.figures({name: 8.0 for name in task.sums}, 4.0)
    columns = task.to_columns(figures)
    assert set(columns) == set(task.columns)
    if task.row_length:
        rows = task.rows(outputs, targets)
        assert rows.shape == (4, task.row_length)
        figures |= task.row_figures(rows.numpy())
    assert task.monitor in figures
    assert set(task.to_columns(figures)) == set(task.val_columns)
    row = {column: 0.5 for column in log_columns(task)}
    assert "50.00%" in task.epoch_line.format(**row)
    assert task.update_line.format(**figures)
    drawn = [column for panel in task.panels for column in panel.columns]
    assert set(drawn) == {*task.columns, *task.val_columns}


def test_a_task_that_there_is_not_is_told():
    with pytest.raises(InputError, match=r"`task` must be one of classification, multi-label, localisation. Received: 'detection'"):
        tasks.get_task("detection")


# --- Classification -------------------------------------------------------------------------------------------------------


def test_label_smoothing_is_the_cross_entropy_with_a_softer_target():
    outputs, labels = posteriors(5, 4), np.array([0, 1, 2, 3, 0])
    task = Classification(tuple("abcd"), label_smoothing=0.1)
    target = 0.9 * np.eye(4)[labels] + 0.1 / 4
    np.testing.assert_allclose(
        task.losses(tf.constant(outputs), tf.constant(labels), training=True), -(target * np.log(outputs)).sum(1), rtol=1e-5
    )
    np.testing.assert_allclose(
        task.losses(tf.constant(outputs), tf.constant(labels), training=False), -np.log(outputs[range(5), labels]), rtol=1e-5
    )


def test_of_equal_probabilities_the_smaller_label_is_first():
    outputs = tf.constant([[0.25, 0.25, 0.25, 0.25, 0.0, 0.0, 0.0]] * 7)
    top1, top5 = Classification(tuple("abcdefg")).measures(outputs, tf.range(7))
    assert top1.numpy().tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert top5.numpy().tolist() == [1, 1, 1, 1, 1, 0, 0]


# --- Multi-label ----------------------------------------------------------------------------------------------------------


def test_the_loss_of_many_labels_by_hand():
    outputs, targets = np.array([[0.9, 0.2, 0.6]], np.float32), np.array([[1, 0, -1]], np.int8)
    told = -(np.log(0.9) + np.log(0.8)) / 3  # the difficult one counts for nothing
    task = MultiLabel(("a", "b", "c"), label_smoothing=0.2)
    np.testing.assert_allclose(task.losses(tf.constant(outputs), tf.constant(targets), training=False), [told], rtol=1e-5)
    smoothed = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1) + 0.9 * np.log(0.8) + 0.1 * np.log(0.2)) / 3
    np.testing.assert_allclose(task.losses(tf.constant(outputs), tf.constant(targets), training=True), [smoothed], rtol=1e-5)
    assert task.measures(tf.constant([[0.9, 0.7, 0.6]]), tf.constant(targets))[0].numpy().tolist() == [0.5]


def test_mean_average_precision_of_rows_is_the_area_under_precision():
    labels, scores = (RNG.uniform(size=(40, 3)) < [0.3, 0.5, 0.0]).astype(np.int8), RNG.uniform(size=(40, 3)).astype(np.float32)
    task = MultiLabel(("a", "b", "c"))
    rows = task.rows(tf.constant(scores), tf.constant(labels)).numpy()
    found = task.row_figures(rows)["mean_ap"]
    assert task.row_figures(RNG.permutation(rows))["mean_ap"] == found
    plain = np.mean([average_precision_score(labels[:, each], scores[:, each]) for each in (0, 1)])  # nothing shows c
    assert plain <= found <= plain + 0.1  # made monotone, it is no less


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    """Images of noise, dark in red where they show an ant, and in green where they show a bee."""
    root = tmp_path_factory.mktemp("voc") / "VOC2007"
    shown = {
        name: {
            f"{number:06}": [(animal, 0) for bit, animal in enumerate(("ant", "bee")) if number % 4 >> bit & 1]
            for number in range(start, start + 48)
        }
        for name, start in (("train", 0), ("val", 48))
    }
    shown["train"]["000000"] = [("ant", 1)]  # difficult
    write_voc(root, shown)
    for of_set in shown.values():
        for image, objects in of_set.items():
            names = [name for name, _ in objects]
            tint = np.array([0.2 if "ant" in names else 1, 0.2 if "bee" in names else 1, 1])
            pixels = np.random.default_rng(int(image)).uniform(100, 255, (40, 44, 3)) * tint
            Image.fromarray(pixels.astype(np.uint8)).save(root / "JPEGImages" / f"{image}.jpg", quality=95)
    return root


MULTI_LABEL = [
    *("--task", "multi-label", "--width", "0.1", "--crop", "32", "--scale", "32", "--no-jit", "--batch-size", "16"),
    *("--schedule", "constant", "--learning-rate", "0.002", "--dropout", "0"),
]


def test_multi_label_trains_tests_and_predicts(voc, tmp_path, capsys):
    out = tmp_path / "run"
    arguments = [*MULTI_LABEL, "--dataset", f"voc:{voc}", "--workdir", str(out), "--replicas", "2"]
    assert fit.main([*arguments, "--epochs", "10"]) is None
    said = capsys.readouterr().out
    log = pd.read_csv(out / "log.csv")
    assert list(log.columns) == list(log_columns(MultiLabel))
    assert log.val_mean_ap.iloc[-1] > 0.95
    assert f"best validation mean AP {log.val_mean_ap.max():.2%}" in said
    assert json.loads((out / "summary.json").read_text())["best_val_mean_ap"] == log.val_mean_ap.max()
    assert (out / "classes.txt").read_text().split() == ["ant", "bee"]
    # What was logged is what the model in the file says of the images.
    model = keras.saving.load_model(out / "best.keras")
    assert model.layers[-1].activation is keras.activations.sigmoid
    both, neither = (str(voc / "JPEGImages" / f"{number:06}.jpg") for number in (51, 48))
    assert predict.main([both, neither, "--model", str(out / "last.keras"), "--json", "--scales", "32"]) is None
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [min(each["posterior"] for each in image["top"]) > 0.5 for image in found] == [True, False]
    # And a test finds the same: `best.keras` is that of the log's best line.
    tested = tmp_path / "tested"
    evaluate.main([*("--model", str(out), "--dataset", f"voc:{voc}", "--protocol", "center", "--no-flip"), "--out", str(tested)])
    (line,) = json.loads((tested / "table.json").read_text())
    assert line["mean AP"] == pytest.approx(100 * log.val_mean_ap.max(), abs=1e-4)
    said = capsys.readouterr().out
    assert "48 images for validation, 2 classes" in said
    assert "mean AP (%)" in said
    name = line["posteriors"].removesuffix(".npz")
    of_classes = pd.read_csv(tested / f"{name}-classes.csv")
    assert sorted(of_classes["class"]) == ["ant", "bee"]
    assert of_classes.AP.mean() == pytest.approx(line["mean AP"])
    assert (of_classes["nets sha256"] == line["nets sha256"]).all()
    Image.open(tested / f"{name}-classes.png").verify()


def test_data_of_another_task_are_told(voc, tmp_path):
    with pytest.raises(
        InputError, match=r"must be voc:PATH .* for the task multi-label. Received: digits, with one class per image"
    ):
        fit.main([*MULTI_LABEL, "--workdir", str(tmp_path / "run")])
    with pytest.raises(
        InputError, match=r"must have one class per image. Received: voc:.*, which has several; pass --task multi-label"
    ):
        fit.main(["--dataset", f"voc:{voc}", "--workdir", str(tmp_path / "run")])


# --- Targets in a view ----------------------------------------------------------------------------------------------------


def marked(y, x, size=(60, 80)):
    """A PNG that is black but for a white square of 8 pixels around a point."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[y - 4 : y + 4, x - 4 : x + 4] = 255
    return tf.io.encode_png(pixels)


def test_a_point_goes_where_its_pixels_go():
    """Through random scales, crops and flips, as training draws them: the middle of the white square is the point."""
    points = [(20, 25), (30, 40), (40, 55), (33, 61)] * 8
    encoded = tf.stack([marked(*point) for point in points])
    targets = tf.constant(points, tf.float32)
    split = Split(len(points), lambda i: (tf.gather(encoded, i), tf.gather(targets, i)), str, tf.TensorSpec([2], tf.float32))
    view = pipeline.View(48, (48, 64), flip=True, random=True, place=lambda point, geometry: geometry.points_in_view(point))
    rows = lambda: order.validation_rows(len(points), order.Layout(32, 32, 1), my_replicas=range(1))  # noqa: E731
    batch = next(iter(pipeline.micro_batches(split, rows, 32, view, lambda indices: None)))
    seen = 0
    for pixels, (y, x) in zip(batch.images.numpy().astype(float), batch.targets.numpy(), strict=True):
        if 8 <= y <= 40 and 8 <= x <= 40:  # the whole square is in the view
            weights = pixels[..., 0] / pixels[..., 0].sum()
            middle = (weights.sum(1) @ (np.arange(48) + 0.5), weights.sum(0) @ (np.arange(48) + 0.5))
            np.testing.assert_allclose((y, x), middle, atol=0.6)
            seen += 1
    assert seen > 12


def test_the_geometry_of_a_view_is_that_of_its_window():
    encoded = tf.io.encode_jpeg(np.zeros((100, 200, 3), np.uint8))
    _, geometry = images.decode_view_placed(encoded, 64, 0.0, 0.999, tf.constant(True), 32)
    assert geometry.size.numpy().tolist() == [100, 200]
    assert geometry.window.numpy().tolist() == [0, 150, 50, 50]  # 32 of 64 pixels, at the right end
    assert geometry.points_in_view(tf.constant([0.0, 200.0])).numpy().tolist() == [0, 0]  # mirrored, the right edge is at 0
