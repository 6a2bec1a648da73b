"""The task localisation: boxes in views, which one is learnt, the loss and the error by hand, and training end to end."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from boxed_images import CLASSES, write_boxed, write_listing
from run_folders import outcome

from keras_vgg import fit, models, preprocessing, transfer
from keras_vgg.data import images
from keras_vgg.data.boxes.annotation import Annotation
from keras_vgg.data.boxes.targets import annotated
from keras_vgg.data.images import Geometry
from keras_vgg.data.split import in_memory
from keras_vgg.errors import InputError
from keras_vgg.localisation.boxes import overlap
from keras_vgg.recipe import Recipe
from keras_vgg.support.progress import Progress
from keras_vgg.tasks.localisation import Localisation
from keras_vgg.weights import weight_file

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "colors_measured_once")

RNG = np.random.default_rng(0)


# --- Geometry -------------------------------------------------------------------------------------------------------------


def test_a_box_goes_where_its_pixels_go_and_comes_back():
    """Through random sizes, scales, crops and flips: the bright pixels of the view are the box, which comes back as it was."""
    checked = 0
    for _ in range(40):
        height, width = RNG.integers(40, 200, 2)
        top, left = RNG.integers(0, height - 20), RNG.integers(0, width - 20)
        bottom, right = RNG.integers(top + 12, height), RNG.integers(left + 12, width)
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[top:bottom, left:right] = 255
        crop = int(RNG.integers(32, 64))
        scale, mirrored = int(RNG.integers(crop, 2 * crop)), bool(RNG.integers(2))
        fractions = RNG.uniform(0, 1, 2).astype(np.float32)
        view, geometry = images.decode_view_placed(tf.io.encode_png(pixels), scale, *fractions, tf.constant(mirrored), crop)
        box = np.array([left, top, right, bottom], np.float32)
        placed = geometry.boxes_in_view(tf.constant(box)).numpy()
        np.testing.assert_allclose(geometry.boxes_in_image(tf.constant(placed)), box, atol=1e-3)
        shown = np.clip(placed, 0, crop)
        if (shown[2:] - shown[:2]).min() > 4:
            rows, columns = (np.flatnonzero((view.numpy()[..., 0] > 127).any(axis)) for axis in (1, 0))
            np.testing.assert_allclose([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], shown, atol=1)
            checked += 1
    assert checked > 20


def test_a_box_in_a_small_image_goes_where_its_pixels_go():
    """Below the pixel of the image: the edges of the bright square lie where the view is half as bright."""
    pixels = np.zeros((12, 12, 3), np.uint8)
    pixels[4:8, 3:9] = 255
    seen = set()
    for top, left in RNG.uniform(0, 1, (12, 2)).astype(np.float32):
        view, geometry = images.decode_view_placed(tf.io.encode_png(pixels), 56, top, left, tf.constant(False), 48)
        box = geometry.boxes_in_view(tf.constant([3.0, 4.0, 9.0, 8.0])).numpy()
        brightness = view.numpy()[..., 0] / 255.0
        middle = brightness[24], brightness[:, 24]  # through the square
        for edges, line in zip((box[[0, 2]], box[[1, 3]]), middle, strict=True):
            first = np.interp(0.5, line[:24], np.arange(24) + 0.5)
            last = 48 - np.interp(0.5, line[::-1][:24], np.arange(24) + 0.5)
            np.testing.assert_allclose(edges, [first, last], atol=0.02)
        np.testing.assert_allclose(geometry.boxes_in_image(tf.constant(box)), [3, 4, 9, 8], atol=1e-4)
        seen.add(tuple(geometry.window.numpy()[:2]))
    assert len(seen) > 9


def test_boxes_of_several_views_come_back_each_by_its_own_window():
    windows = tf.constant([[0, 0, 64, 64], [32, 96, 64, 64]])
    geometry = Geometry(tf.constant([96, 160]), windows, tf.constant(False), 64)
    found = geometry.boxes_in_image(tf.constant([[0.0, 0, 64, 64], [16, 0, 64, 32]]))
    assert found.numpy().tolist() == [[0, 0, 64, 64], [112, 32, 160, 64]]


# --- Which box is learnt --------------------------------------------------------------------------------------------------


def placed(boxes, size=(100, 100), annotation_size=None, window=(0, 0, 100, 100), mirrored=False, label=1):
    """Returns the target of a view of 50 pixels from boxes in an image of `size`, `(height, width)`."""
    annotation = Annotation(np.array(boxes, np.float64).reshape(-1, 4), annotation_size)
    split = annotated(in_memory([b""], np.array([0]), "image"), np.array([label]), [annotation])
    _, target = split.read(tf.constant(0, tf.int64))
    geometry = Geometry(tf.constant(size), tf.constant(window), tf.constant(mirrored), 50)
    return Localisation(CLASSES).place(target, geometry).numpy()


def test_targets_are_in_sides_of_the_crop():
    target = placed([[10, 20, 60, 80]])
    assert target[0].tolist() == [1, 1, 0, 0]
    assert target[1].tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(target[2], [0.1, 0.2, 0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(placed([[10, 20, 60, 80]], mirrored=True)[2], [0.4, 0.2, 0.9, 0.8], rtol=1e-6)
    # Coordinates refer to the size that stands beside them, and overhanging boxes end with the image.
    np.testing.assert_allclose(placed([[20, 10, 240, 40]], annotation_size=(200, 50))[2], [0.1, 0.2, 1, 0.8], rtol=1e-6)
    # A part of the image is the view: the box is learnt whole, and the image goes beyond the view, too.
    target = placed([[10, 20, 60, 80]], window=(20, 20, 40, 40))
    np.testing.assert_allclose(target[2], [-0.25, 0, 1, 1.5], atol=1e-6)
    np.testing.assert_allclose(target[1], [-0.5, -0.5, 2, 2], atol=1e-6)


def test_of_several_boxes_that_is_learnt_of_which_the_view_shows_most():
    small, large = [0, 0, 20, 20], [30, 30, 90, 90]
    assert placed([small, large])[2:].tolist() == pytest.approx(np.array([large, small]) / 100)
    at_small = placed([small, large], window=(0, 0, 40, 40))
    np.testing.assert_allclose(at_small[2], [0, 0, 0.5, 0.5], atol=1e-6)
    assert at_small[0, 1] == 1


@pytest.mark.parametrize(
    ("box", "teaches"),
    [
        ([0, 0, 100, 100], True),  # it fills the view
        ([0, 0, 60, 100], True),
        ([45, 0, 65, 100], False),  # a quarter of it is shown, and fills an eighth of the view
        ([30, 0, 70, 50], True),  # just half of it
        ([60, 0, 90, 90], False),  # none of it
    ],
)
def test_a_view_that_cuts_most_of_the_object_off_teaches_nothing(box, teaches):
    target = placed([box], window=(0, 0, 50, 50))
    assert bool(target[0, 1]) == teaches
    loss = Localisation(CLASSES, "scr").losses(tf.zeros([1, 4]), tf.constant(target[None]), training=True)
    assert (loss.numpy() > 0) == teaches


# --- Loss and error -------------------------------------------------------------------------------------------------------


def test_loss_and_error_by_hand():
    targets = tf.constant(np.stack([placed([[10, 20, 60, 80]], label=0), placed([[0, 0, 50, 50]], label=1)]))
    right = np.array([[0.35, 0.5, 0.5, 0.6], [0.25, 0.25, 0.5, 0.5]], np.float32)
    off = right + np.array([0.1, 0, 0, 0.2], np.float32)
    scr, pcr = Localisation(CLASSES, "scr"), Localisation(CLASSES, "pcr")
    np.testing.assert_allclose(scr.losses(tf.constant(right), targets, training=True), 0, atol=1e-12)
    np.testing.assert_allclose(scr.losses(tf.constant(off), targets, training=True), (0.1**2 + 0.2**2) / 2, rtol=1e-5)
    # Of each class' box that of the image's class counts, and its outputs alone have a gradient.
    outputs = np.full((2, 8), 7, np.float32)
    outputs[0, :4], outputs[1, 4:] = off[0], right[1]
    outputs = tf.Variable(outputs)
    with tf.GradientTape() as tape:
        losses = pcr.losses(outputs, targets, training=True)
    np.testing.assert_allclose(losses, [0.025, 0], atol=1e-6)
    assert (tape.gradient(losses, outputs).numpy()[0] != 0).tolist() == [True, False, False, True, *[False] * 4]
    correct, iou = pcr.measures(outputs, targets)
    # The first box is lower by a tenth than the image: what leaves it does not count.
    expected = overlap(np.array([0.2, 0.1, 0.7, 0.9]), np.array([0.1, 0.2, 0.6, 0.8]))
    np.testing.assert_allclose(iou, [expected, 1], rtol=1e-5)
    assert correct.numpy().tolist() == [1, 1]
    beyond = tf.constant([[-1.0, 0.5, 4, 2], [0.25, 0.25, 0.5, 0.5]])
    np.testing.assert_allclose(scr.measures(beyond, targets)[1], [0.3, 1], rtol=1e-5)


def test_boxes_begin_in_the_middle_with_little_that_is_random():
    random = [RNG.normal(size=(100, 8)).astype(np.float32), np.zeros(8, np.float32)]
    kernel, bias = Localisation(CLASSES, "pcr").start(random, 3)
    assert bias.tolist() == pytest.approx([0.5, 0.5, 0.6, 0.6] * 2)
    assert kernel.std() == pytest.approx(1e-3, rel=0.1)
    np.testing.assert_array_equal(kernel, Localisation(CLASSES, "pcr").start(random, 3)[0])
    assert not np.array_equal(kernel, Localisation(CLASSES, "pcr").start(random, 4)[0])


def test_a_guess_is_right_with_any_box_of_the_image_and_from_one_half_on():
    targets = tf.constant(placed([[0, 0, 80, 80], [0, 90, 10, 100]])[None])
    scr = Localisation(CLASSES, "scr")
    assert scr.measures(tf.constant([[0.05, 0.95, 0.1, 0.1]]), targets)[0].numpy() == 1
    half = tf.constant(placed([[0, 0, 100, 50]])[None])
    assert [scr.measures(tf.constant([[0.5, 0.5, 1, height]]), half)[0].numpy()[0] for height in (1.0, 0.02)] == [1, 0]


# --- Training -------------------------------------------------------------------------------------------------------------

SMALL = [
    *("--task", "localisation", "--width", "0.05", "--crop", "32", "--scale", "36", "--no-jit", "--batch-size", "8"),
    *("--epochs", "2", "--learning-rate", "0.002"),
]


@pytest.fixture(scope="module")
def listing(tmp_path_factory):
    return f"csv:{write_boxed(tmp_path_factory.mktemp('boxed'))}"


@pytest.fixture(scope="module")
def classifier(listing, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier") / "run"
    fit.main([*SMALL[2:], "--dataset", listing, "--workdir", str(folder), "--epochs", "1"])
    return folder


def arguments(listing, classifier, regression, tune):
    return [*SMALL, "--dataset", listing, "--init-from", str(classifier), "--regression", regression, "--tune", tune]


@pytest.mark.parametrize(("regression", "tune", "units"), [("scr", "fc", 4), ("pcr", "all", 8)])
def test_a_classifier_becomes_a_localiser(listing, classifier, tmp_path, capsys, regression, tune, units):
    folder = tmp_path / "run"
    assert fit.main([*arguments(listing, classifier, regression, tune), "--workdir", str(folder)]) is None
    said = capsys.readouterr().out
    assert f"left as initialized: predictions (needs shape (205, {units}), the source has (205, 2))" in said
    log = pd.read_csv(folder / "log.csv")
    assert [name for name in log if name.startswith("val_")] == ["val_loss", "val_localisation_error", "val_mean_iou"]
    model, before = transfer.load_model(folder / "last.keras"), transfer.load_model(classifier)
    assert model.output_shape == (None, units)
    same = np.array_equal(model.get_layer("block5_conv1").get_weights()[0], before.get_layer("block5_conv1").get_weights()[0])
    assert same == (tune == "fc")
    assert not np.array_equal(model.get_layer("fc2").get_weights()[0], before.get_layer("fc2").get_weights()[0])
    # Wherever the file is taken, it says what it is.
    file = (folder / "last.keras").rename(tmp_path / "elsewhere.keras")
    opened = weight_file.open_weights(file)
    assert (opened.regression, opened.classes, opened.num_classes) == (regression, CLASSES, 2)
    assert (folder / "tensorboard" / "validation").is_dir()
    assert json.loads((folder / "summary.json").read_text())["best_val_localisation_error"] == log.val_localisation_error.min()


class KilledError(Exception):
    pass


def killed(*arguments):
    raise KilledError


@pytest.fixture(scope="module")
def uninterrupted(listing, classifier, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    fit.main([*arguments(listing, classifier, "pcr", "all"), "--workdir", str(folder)])
    return folder


def test_a_localiser_goes_on_after_a_kill_bit_for_bit(listing, classifier, uninterrupted, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    given = arguments(listing, classifier, "pcr", "all")
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "say", killed)  # after the first epoch
        with pytest.raises(KilledError):
            fit.main([*given, "--workdir", str(folder), "--checkpoint-minutes", "1e-9"])
    with pytest.raises(InputError, match="regression 'pcr' there, 'scr' here"):
        fit.main([*arguments(listing, classifier, "scr", "all"), "--workdir", str(folder)])
    fit.main([*given, "--workdir", str(folder)])
    assert outcome(folder) == outcome(uninterrupted)


def test_replicas_and_micro_batches_do_not_change_a_localiser(listing, classifier, uninterrupted, tmp_path):
    given = [*arguments(listing, classifier, "pcr", "all"), "--replicas", "2", "--micro-batch", "3"]
    fit.main([*given, "--workdir", str(tmp_path / "more")])
    folders = (tmp_path / "more", uninterrupted)
    ours, theirs = (keras.saving.load_model(folder / "last.keras").get_weights() for folder in folders)
    for mine, other in zip(ours, theirs, strict=True):
        assert np.linalg.norm(mine - other) <= 1e-5 * np.linalg.norm(other)
    logs = [pd.read_csv(folder / "log.csv").drop(columns="net sha256") for folder in folders]
    pd.testing.assert_frame_equal(*logs, rtol=1e-4)


def test_a_localiser_begins_from_one_of_its_kind_with_its_last_layer(listing, tmp_path, capsys):
    model = models.build_vgg("A", input_shape=(32, 32, 3), width=0.05, classes=8, classifier_activation="linear")
    preprocessing.remember(model, preprocessing.TORCH)
    path = tmp_path / "pcr.keras"
    model.save(path)
    preprocessing.attach(path, preprocessing.TORCH, {"regression": "pcr", "classes": ["bee", "ant"]})
    given = [*SMALL, "--dataset", listing, "--regression", "pcr", "--epochs", "1"]
    fit.main([*given, "--init-from", str(path), "--workdir", str(tmp_path / "run")])
    assert "classes reordered by name to match this dataset" in capsys.readouterr().out


def test_rows_without_a_usable_box_are_counted_and_listed(tmp_path, classifier):
    path = write_boxed(tmp_path / "boxed")
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    rows[3][3:], rows[4][3:], rows[5][3:] = ["5", "5", "5", "9"], ["", "", "", ""], ["a", "1", "2", "3"]
    write_listing(path, rows)
    folder = tmp_path / "run"
    fit.main([*arguments(f"csv:{path}", classifier, "scr", "fc"), "--workdir", str(folder), "--max-bad-fraction", "0.2"])
    reasons = pd.read_csv(folder / "broken_images.csv").reason.tolist()
    assert reasons == [
        "a box without area: x from 5 to 5, y from 5 to 9",
        "no box",
        "line 7: expected four numbers for a box, got 'a', '1', '2', '3'",
    ]
    assert pd.read_csv(folder / "log.csv").broken_images.tolist() == [3, 3]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"head": "pool"}, "`head` must be fc for the task localisation, since global average pooling discards positions"),
        ({"mixup": 0.2}, "`mixup` must be zero or positive, and 0 for the task localisation"),
        ({"rand_augment": (1, 5)}, "unset for the task localisation, since it moves objects"),
        ({"label_smoothing": 0.1}, "and 0 for the task localisation"),
        ({"tune": "fc"}, "`tune` must be given together with `init_from`"),
        ({"tune": "fc", "init_from": "run", "freeze": "block1"}, "without `freeze`"),
        ({"task": "classification", "regression": "scr"}, "`regression` must be used only with the task localisation"),
    ],
)
def test_what_does_not_go_with_boxes_is_told(fields, told):
    with pytest.raises(InputError, match=told):
        Recipe(**{"task": "localisation", "dataset": "csv:boxes.csv"} | fields)
    assert Recipe(task="localisation").learning_rate == 1e-3


def test_data_without_boxes_are_told(tmp_path):
    (tmp_path / "plain.csv").write_text("path,label\na.png,cat\n")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"must have columns xmin, ymin, xmax, ymax for boxes, beside path and label"):
        fit.main([*SMALL, "--dataset", f"csv:{tmp_path / 'plain.csv'}", "--workdir", str(tmp_path / "run")])
    with pytest.raises(InputError, match=r"A dataset with boxes must be .* Received: 'digits'"):
        fit.main([*SMALL, "--workdir", str(tmp_path / "run")])
