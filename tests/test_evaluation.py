"""From nets and images to tables: every image once, whatever the batch, the replicas and the kills; what metrics and files say."""

import dataclasses
import io
import json
import math
import os
import pathlib
import shutil
import time

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
import tensorflow as tf
from PIL import Image
from run_folders import without_flips, write_run
from small_images import CLASSES, ENCODED, LABELS, SHAPES, TRUNCATED, dataset, encode, write_images
from small_nets import WANTS, net

from keras_vgg import preprocessing
from keras_vgg.data import images as image_ops
from keras_vgg.data import split as splits
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.datasets import open_dataset
from keras_vgg.data.pipeline import View
from keras_vgg.errors import InputError
from keras_vgg.evaluation import heatmap, metrics, report, results, single
from keras_vgg.evaluation import run as evaluation_run
from keras_vgg.evaluation.measures import errors, precision
from keras_vgg.evaluation.prediction import Heatmap
from keras_vgg.evaluation.recipe import Row, read_evaluation
from keras_vgg.evaluation.report import table_line
from keras_vgg.evaluation.results import Posteriors, fuse, mean_over
from keras_vgg.inference import batches, class_labels, net_files, passes
from keras_vgg.inference import row_cache as store_module
from keras_vgg.inference.images import look_through
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.inference.network import Network
from keras_vgg.inference.passes import run_pass
from keras_vgg.inference.row_cache import BROKEN, DONE, PassStore
from keras_vgg.inference.views import Views

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "images_surveyed_once", "nets_loaded_once")

RECIPES = pathlib.Path(__file__).parents[1] / "recipes"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="module")
def other_run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "second", seed=5, jitter=None, scale=36)


@pytest.fixture(scope="module")
def networks(run):
    """The net on each of three devices."""
    return [open_net_file(run).load(device=f"CPU:{number}") for number in range(3)]


@pytest.fixture
def seen(monkeypatch):
    """How many images went through a net in each call."""
    numbers, original = [], Network.posteriors

    def counted(self, images, kind, *, flip):
        numbers.append(len(images))
        return original(self, images, kind, flip=flip)

    monkeypatch.setattr(Network, "posteriors", counted)
    return numbers


def images_of(split):
    images, unusable = look_through(split)
    return images, unusable.broken, unusable.refused


def posteriors_of(networks, views, encoded=ENCODED, **options):
    split = splits.in_memory(list(encoded), np.zeros(len(encoded), int), "test")
    store = PassStore.in_memory(len(encoded), 7)
    run_pass(networks, images_of(split)[0], views, store, **options)
    return store.posteriors


# --- A pass ---------------------------------------------------------------------------------------------------------------


def one_by_one(network, encoded, views):
    height, width = Image.open(io.BytesIO(encoded)).size[::-1]
    size = batches.rescaled_sizes(np.array([[height, width]]), views.scale)[0]
    image = image_ops.decode_whole(tf.constant(encoded), tf.constant(size))
    return network.posteriors(image[tf.newaxis], views.kind, flip=views.flip)[0]


@pytest.mark.parametrize("views", [Views("dense", 40), Views("multi-crop", 36, flip=False)], ids=str)
def test_grouped_images_are_what_they_are_one_by_one(networks, views, seen):
    grouped = posteriors_of(networks[:1], views)
    assert sum(seen) == len(ENCODED)
    assert len(seen) < len(ENCODED) - 3  # several went together
    expected = [one_by_one(networks[0], encoded, views) for encoded in ENCODED]
    assert np.std(expected, axis=0).max() > 0.02
    np.testing.assert_allclose(grouped, expected, atol=1e-6)


def test_center_is_the_view_that_fit_validates_on(networks, run):
    model = net()
    view = View(crop=32, scales=(40, 40))
    crops = np.stack([view(tf.constant(encoded), 0, 0)[0] for encoded in ENCODED])
    expected = model.predict(np.array(WANTS(crops)), verbose=0)
    np.testing.assert_allclose(posteriors_of(networks[:1], Views("center", 40, flip=False)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "others"), [("dense", [(1, 1), (2, 5), (3, 1)]), ("multi-crop", [(2, 1), (3, 40)]), ("center", [(3, 5)])]
)
def test_every_image_counts_once_whatever_the_batch_and_the_replicas(networks, kind, others, seen):
    views = Views(kind, 40)
    expected = posteriors_of(networks[:1], views)
    assert np.isfinite(expected).all()
    for replicas, batch in others:
        seen.clear()
        found = posteriors_of(networks[:replicas], views, batch=batch)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert sum(seen) == len(ENCODED)


def test_no_graph_is_made_again_for_another_shape(networks):
    posteriors_of(networks[:1], Views("dense", 40))
    posteriors_of(networks[:1], Views("dense", 57), batch=3)
    assert networks[0]._functions["dense", True].experimental_get_tracing_count() == 1


def test_replicas_compute_on_their_devices(networks):
    devices = {network._dense.weights[0].value.device[-5:] for network in networks}
    assert devices == {"CPU:0", "CPU:1", "CPU:2"}


def test_pixels_done_are_the_pixels_foreseen(networks):
    split = splits.in_memory(ENCODED, LABELS, "test")
    images, _, _ = images_of(split)
    for views in (Views("dense", 40), Views("multi-crop", 36)):
        store, done = PassStore.in_memory(len(ENCODED), 7), []
        foreseen = passes.pixels_of_pass(images, views, 32, store.pending)
        run_pass(networks[:1], images, views, store, on_done=done.append)
        assert sum(done) == foreseen > 0
        assert passes.pixels_of_pass(images, views, 32, store.pending) == 0


def test_what_ends_one_replica_ends_the_others(networks, monkeypatch):
    calls = []

    def posteriors(self, images, kind, *, flip):
        calls.append(self)
        if self is networks[0]:
            raise MemoryError("too large")
        time.sleep(0.1)
        return tf.zeros([len(images), 7])

    monkeypatch.setattr(Network, "posteriors", posteriors)
    with pytest.raises(MemoryError, match=r"too large"):
        posteriors_of(networks[:2], Views("dense", 40), batch=1)
    assert len(calls) < len(ENCODED)


def test_a_scale_below_the_nets_input(networks):
    with pytest.raises(InputError, match=r"`scales` must be at least the net's input, 32 pixels. Received: 31"):
        posteriors_of(networks[:1], Views("dense", 31))


# --- Broken and large images ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "center"])
def test_broken_images_cost_nothing_but_themselves(networks, tmp_path, kind):
    encoded = [*ENCODED[:4], TRUNCATED, b"some text", b"", *ENCODED[4:]]
    paths = [str(tmp_path / f"{number:02}.jpg") for number in range(len(encoded) + 1)]
    for path, content in zip(paths[:-1], encoded, strict=True):
        pathlib.Path(path).write_bytes(content)
    split = splits.files(paths, np.zeros(len(paths), int))  # the last is missing
    images, broken, _ = images_of(split)
    # Only decoding tells of the truncated one.
    assert images.survey.sizes[:8].min(axis=1).tolist() == [50, 50, 40, 33, 50, 0, 0, 40]
    store = PassStore.in_memory(len(paths), 7)
    run_pass(networks[:2], images, Views(kind, 40), store, batch=20)
    unread = np.array([4, 5, 6, len(paths) - 1])
    assert np.flatnonzero(store.state == BROKEN).tolist() == unread.tolist()
    assert np.isnan(store.posteriors[unread]).all()
    np.testing.assert_allclose(np.delete(store.posteriors, unread, axis=0), posteriors_of(networks[:1], Views(kind, 40)), atol=1e-6)
    reasons = dict(broken.rows())
    assert list(reasons) == [paths[number] for number in unread]
    assert reasons[paths[6]] == "empty file"
    assert "No such file" in reasons[paths[-1]]
    assert all(reasons.values())


def test_images_too_large_at_a_scale_are_refused(networks, monkeypatch):
    monkeypatch.setattr(passes, "MAX_PIXELS", 5000)
    split = splits.in_memory(ENCODED, LABELS, "test")
    images, broken, refused = images_of(split)
    store = PassStore.in_memory(len(ENCODED), 7)
    run_pass(networks[:1], images, Views("dense", 40), store)
    assert refused == {
        3: "40x182 pixels at Q=40, more than 5,000",
        4: "150x40 pixels at Q=40, more than 5,000",
    }
    assert np.flatnonzero(store.state == BROKEN).tolist() == [3, 4]
    assert (store.state == DONE).sum() == len(ENCODED) - 2
    assert len(broken) == 0
    run_pass(networks[:1], images, Views("center", 40), store := PassStore.in_memory(len(ENCODED), 7))
    assert (store.state == DONE).all()  # where nothing but the crop is decoded


# --- A whole evaluation ---------------------------------------------------------------------------------------------------


def evaluate(folder, runs, rows, data=None, **options):
    sources = {name: open_net_file(path, name=name) for name, path in runs.items()}
    settings = evaluation_run.EvaluationSettings(**options)
    return evaluation_run.evaluate(data or dataset(), sources, rows, folder, settings, say=lambda line: None)


def row(models="a", protocol="dense", scales=(40,), **options):
    models = tuple(models)
    return Row(models, protocol, (scales,) * len(models), **options)


@pytest.fixture(scope="module")
def evaluated(run, other_run, tmp_path_factory):
    rows = {
        **{f"{protocol} {scales}": row("a", protocol, scales) for protocol in ("dense", "multi-crop", "both")
           for scales in ((36,), (40,), (36, 40))},
        "itself": row("ac", "dense", (36, 40)),
        "fused": row("ab", "dense", (36, 40)),
        "second": row("b", "dense", (36, 40)),
        "default": row("a", "center", None, flip=False),
        "by net": Row(("a", "b"), "dense", (None, (36,)), paper={"top1_error": 29.6, "top5_error": 10.4}),
    }  # fmt: skip
    runs = {"a": run, "b": other_run, "c": run}
    return dict(zip(rows, evaluate(tmp_path_factory.mktemp("out"), runs, rows.values()), strict=True))


@pytest.mark.slow
def test_multi_scale_is_the_mean_over_scales(evaluated):
    for protocol in ("dense", "multi-crop", "both"):
        single = [evaluated[f"{protocol} {scales}"].values for scales in ((36,), (40,))]
        np.testing.assert_allclose(evaluated[f"{protocol} (36, 40)"].values, np.mean(single, axis=0), atol=1e-6)
        assert np.abs(single[0] - single[1]).max() > 1e-3


def test_one_scale_is_one_pass(evaluated, networks):
    np.testing.assert_allclose(evaluated["dense (40,)"].values, posteriors_of(networks[:1], Views("dense", 40)), atol=1e-6)


def test_both_is_the_mean_of_dense_and_multi_crop(evaluated):
    dense, crops, both = (evaluated[f"{protocol} (36, 40)"].values for protocol in ("dense", "multi-crop", "both"))
    np.testing.assert_allclose(both, (dense + crops) / 2, atol=1e-6)
    assert np.abs(dense - crops).max() > 1e-3


def test_fusing_a_net_with_itself_changes_nothing(evaluated):
    np.testing.assert_allclose(evaluated["itself"].values, evaluated["dense (36, 40)"].values, atol=1e-7)


def test_fusing_nets_is_the_mean(evaluated):
    first, second = evaluated["dense (36, 40)"].values, evaluated["second"].values
    np.testing.assert_allclose(evaluated["fused"].values, (first + second) / 2, atol=1e-6)
    assert np.abs(first - second).max() > 0.1


def test_facts_of_the_rows(evaluated):
    facts = evaluated["both (36, 40)"].facts
    assert (facts["net"], facts["S"], facts["Q"], facts["protocol"]) == ("a", "[36;44]", "36, 40", "both")
    assert facts["images/s"] > 0
    facts = evaluated["default"].facts
    assert (facts["Q"], facts["protocol"]) == ("40", "center, no flip")  # the middle of the jitter
    facts = evaluated["by net"].facts
    assert (facts["net"], facts["S"], facts["Q"]) == ("a + b", "[36;44] + 36", "40 + 36")
    assert (facts["paper top-1"], facts["paper top-5"]) == (29.6, 10.4)


def test_a_net_that_was_trained_without_flips_is_tested_without(tmp_path, run, seen):
    digits = without_flips(run, tmp_path / "digits")
    rows = [row("a"), row("b"), row("ab"), row("ab", flip=True)]
    found = evaluate(tmp_path / "out", {"a": run, "b": digits}, rows)
    assert [each.facts["protocol"] for each in found] == ["dense", "dense, no flip", "dense + dense, no flip", "dense"]
    (alone,) = evaluate(tmp_path / "alone", {"b": digits}, [row("b", flip=False)])
    np.testing.assert_array_equal(found[1].values, alone.values)
    np.testing.assert_allclose(found[2].values, (found[0].values + alone.values) / 2, atol=1e-6)


def test_results_name_images_labels_and_classes(evaluated):
    for result in evaluated.values():
        assert result.labels.tolist() == LABELS.tolist()
        assert result.images.tolist() == [f"test[{number}]" for number in range(len(ENCODED))]
        assert result.classes == CLASSES


def test_a_pass_that_rows_share_is_computed_once(tmp_path, run, seen):
    evaluate(tmp_path, {"a": run}, [row(scales=(36, 40)), row(protocol="both", scales=(40,)), row(scales=(40,))])
    assert sum(seen) == 3 * len(ENCODED)  # dense at 36 and 40, crops at 40


def test_averaging_scores_and_ceil_are_other_passes(tmp_path, run, seen):
    (plain,) = evaluate(tmp_path, {"a": run}, [row()])
    assert (plain.facts["settings"], plain.facts["data"]) == ("", "a test")
    for options, told in (({"average": "scores"}, "scores averaged"), ({"pooling": "ceil"}, "ceil pooling")):
        seen.clear()
        (found,) = evaluate(tmp_path, {"a": run}, [row()], **options)
        assert sum(seen) == len(ENCODED)
        assert np.abs(found.values - plain.values).max() > 1e-3
        assert found.facts["settings"] == told
    both = evaluation_run.EvaluationSettings("scores", "ceil")
    assert both.told_of(open_net_file(run, preprocessing="caffe")) == "scores averaged, ceil pooling, preprocessing caffe"


def test_what_could_not_be_tested_is_an_error_and_listed_at_every_start(tmp_path, run, monkeypatch):
    encoded = [*ENCODED, b"text", TRUNCATED]
    data = dataset(encoded, [*LABELS, 0, 1])
    monkeypatch.setattr(passes, "MAX_PIXELS", 7000)
    for _ in range(2):  # the second finds all passes done
        said = []
        sources = {"a": open_net_file(run)}
        (result,) = evaluation_run.evaluate(data, sources, [row()], tmp_path, say=said.append)
        listed = pd.read_csv(tmp_path / "broken_images.csv")
        assert listed.image.tolist() == ["test[12]", "test[13]", "test[3]"]
        assert listed.reason[2] == "40x182 pixels at Q=40, more than 7,000"
        assert listed.reason[:2].str.len().min() > 5
        assert "3 images could not be tested and count as errors" in said[-1]
        assert np.flatnonzero(np.isnan(result.values).any(1)).tolist() == [3, 12, 13]
    line = table_line(result)
    assert (line["images"], line["broken"]) == (14, 3)
    right = np.sum(np.nan_to_num(result.values, nan=-1).argmax(1)[np.isfinite(result.values[:, 0])] == np.delete(LABELS, 3))
    assert line["top-1 error"] == pytest.approx(100 * (14 - right) / 14)
    evaluate(tmp_path, {"a": run}, [row()], dataset(ENCODED[:3], LABELS[:3]))
    assert not (tmp_path / "broken_images.csv").exists()


def test_broken_images_are_errors_even_where_every_class_is_among_the_guesses(tmp_path, run):
    folder = write_run(tmp_path / "three", classes="abc")
    data = dataclasses.replace(dataset([*ENCODED[:3], b"text"], [0, 1, 2, 0]), classes=("a", "b", "c"))
    (result,) = evaluate(tmp_path, {"a": folder}, [row()], data)
    assert table_line(result)["top-5 error"] == 25


def test_fewer_classes_in_the_data_than_in_the_net(tmp_path, run):
    data = dataclasses.replace(dataset(ENCODED[:4], [0, 1, 1, 0]), classes=("f", "b"))
    (result,) = evaluate(tmp_path, {"a": run}, [row()], data)
    assert result.labels.tolist() == [5, 1, 1, 5]
    assert result.classes == CLASSES


def test_mistakes_are_found_before_anything_is_computed(tmp_path, run, other_run, seen):
    abc = write_run(tmp_path / "abc", classes="abc")
    with pytest.raises(
        InputError, match=r"Fused nets must predict the same classes. Received: a, b with 3 from a to c and 7 from a to g"
    ):
        evaluate(tmp_path, {"a": run, "b": abc}, [row("a"), row("ab")])
    with pytest.raises(InputError, match=r"has 3 classes; the dataset has 7, of which the net lacks d, e, f, …"):
        evaluate(tmp_path, {"a": abc}, [row()])
    with pytest.raises(InputError, match=r"`scales` must be at least the net's input, 32 pixels. Received: 30"):
        evaluate(tmp_path, {"a": run}, [row(scales=(40, 30))])
    assert not seen


# --- Going on after a kill ------------------------------------------------------------------------------------------------


def test_killed_and_started_again_no_image_is_computed_twice(tmp_path, run, seen, monkeypatch):
    rows = [row(scales=(36, 40))]
    (whole,) = evaluate(tmp_path / "whole", {"a": run}, rows, batch=2)
    calls, counted = len(seen), Network.posteriors
    total = sum(seen)
    assert total == 2 * len(ENCODED)
    done = 0
    for most in (3, calls // 2):  # in the first pass, and in the second
        seen.clear()

        def posteriors(*arguments, most=most, **options):
            if len(seen) == most:
                raise KeyboardInterrupt
            return counted(*arguments, **options)

        monkeypatch.setattr(Network, "posteriors", posteriors)
        with pytest.raises(KeyboardInterrupt):
            evaluate(tmp_path / "killed", {"a": run}, rows, batch=2)
        done += sum(seen)
    monkeypatch.setattr(Network, "posteriors", counted)
    seen.clear()
    (result,) = evaluate(tmp_path / "killed", {"a": run}, rows, batch=2)
    assert 0 < sum(seen) == total - done
    np.testing.assert_allclose(result.values, whole.values, atol=1e-6)
    seen.clear()
    (again,) = evaluate(tmp_path / "killed", {"a": run}, rows)
    assert not seen
    np.testing.assert_array_equal(again.values, result.values)


@pytest.mark.slow
def test_a_finished_evaluation_goes_on_with_what_is_new(tmp_path, run, other_run, seen):
    def computed(runs, rows, data=None):
        seen.clear()
        evaluate(tmp_path, runs, rows, data)
        return sum(seen)

    number = len(ENCODED)
    assert computed({"a": run}, [row()]) == number
    assert computed({"a": run}, [row()]) == 0
    assert computed({"another name": run}, [row(["another name"])]) == 0  # the same net
    assert computed({"a": run}, [row(scales=(36,))]) == number
    assert computed({"a": run}, [row(flip=False)]) == number
    assert computed({"a": other_run}, [row()]) == number
    assert computed({"a": run}, [row()], dataset(ENCODED[:5], LABELS[:5])) == 0  # fewer of the same images
    pixels = [encode(*shape, seed + 100) for seed, shape in enumerate(SHAPES)]
    assert computed({"a": run}, [row()], dataset(pixels)) == number  # other images of the same names and sizes
    assert computed({"a": run}, [row()]) == 0


def test_a_data_set_that_was_moved_is_the_same(tmp_path, run, seen):
    write_images(tmp_path / "here")
    (first,) = evaluate(tmp_path / "out", {"a": run}, [row()], open_dataset(f"folder:{tmp_path / 'here'}"))
    shutil.move(tmp_path / "here", tmp_path / "there")
    seen.clear()
    (second,) = evaluate(tmp_path / "out", {"a": run}, [row()], open_dataset(f"folder:{tmp_path / 'there'}"))
    assert not seen
    np.testing.assert_array_equal(first.values, second.values)


def test_progress_says_what_is_done_already(tmp_path, run, monkeypatch):
    stream = io.StringIO()
    sources = {"a": open_net_file(run)}
    original = Network.posteriors

    def once(*arguments, **options):
        monkeypatch.setattr(Network, "posteriors", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        return original(*arguments, **options)

    monkeypatch.setattr(Network, "posteriors", once)
    settings = evaluation_run.EvaluationSettings(batch=1)
    with pytest.raises(KeyboardInterrupt):
        evaluation_run.evaluate(dataset(), sources, [row()], tmp_path, settings, say=lambda line: None, stream=stream)
    monkeypatch.setattr(Network, "posteriors", original)
    evaluation_run.evaluate(dataset(), sources, [row()], tmp_path, settings, say=lambda line: None, stream=stream)
    assert stream.getvalue() == "net a, dense at 40: 1 image already done\n"


# --- Stored passes --------------------------------------------------------------------------------------------------------


def test_a_store_keeps_what_was_put(tmp_path):
    images = np.arange(1, 6)
    store = PassStore(tmp_path / "passes", ["net"], images, 3, {"net": "a"})
    assert store.pending.all()
    store.put(np.array([3, 1]), np.array([[1, 0, 0], [0, 1, 0]]), 2.0)
    store.put_broken(np.array([4]))
    assert store.pending.tolist() == [True, False, True, False, False]
    again = PassStore(tmp_path / "passes", ["net"], images, 3, {"net": "a"})
    assert again.pending.tolist() == [True, False, True, False, True]  # broken ones are tried again
    np.testing.assert_array_equal(again.posteriors[[1, 3]], [[0, 1, 0], [1, 0, 0]])
    assert np.isnan(again.posteriors[[0, 2, 4]]).all()
    again.put(np.array([0]), np.zeros((1, 3)), 1.5)
    assert again.seconds == store.seconds == 3.5
    assert PassStore(tmp_path / "passes", ["other net"], images, 3, {}).pending.all()


def test_rows_that_a_power_failure_lost_are_computed_again(tmp_path):
    """Pages of both files reach the disk in any order: here the marks, and not the last row."""
    images = np.arange(1, 6)
    store = PassStore(tmp_path, ["net"], images, 3, {})
    store.put(np.arange(5), np.full((5, 3), 0.25, np.float32), 1.0)
    store.rows[4, 1:] = np.nan
    again = PassStore(tmp_path, ["net"], images, 3, {})
    assert again.pending.tolist() == [False] * 4 + [True]


def test_what_is_not_finite_is_no_posterior(tmp_path):
    for store, told in (
        (PassStore(tmp_path, ["net"], np.arange(1, 4), 2, {"net": "runs/a"}), "runs/a"),
        (PassStore.in_memory(3, 2), "one"),
    ):
        for bad in (np.nan, np.inf):
            with pytest.raises(
                InputError, match=rf"finite posteriors. Received: {told}, which predicts NaN .*; its weights are corrupt"
            ):
                store.put(np.array([0, 1]), np.array([[0.5, 0.5], [bad, 0]]), 1.0)
        assert store.pending.all()


def test_a_net_whose_weights_are_spoilt_is_told(tmp_path):
    spoilt = net()
    spoilt.get_layer("fc1").bias.assign(np.full(spoilt.get_layer("fc1").bias.shape, np.nan))
    images, _, _ = images_of(splits.in_memory([ENCODED[0], b"no image"], np.zeros(2, int), "test"))
    with pytest.raises(InputError, match=r"Expected a net with finite posteriors"):
        run_pass([Network(spoilt)], images, Views("center", 40), PassStore.in_memory(2, 7))


def test_a_store_takes_over_what_another_has_of_its_images(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "_BYTES", 2 * 3 * 4)  # two rows at a time
    earlier = PassStore(tmp_path, ["net"], np.array([11, 0, 13, 14, 15]), 3, {})  # the second could not be read
    earlier.put(np.array([0, 2, 4]), np.array([[1.0] * 3, [3.0] * 3, [5.0] * 3]), 6.0)
    later = PassStore(tmp_path, ["net"], np.array([13, 12, 14, 0, 11, 13, 15]), 3, {})
    assert later.pending.tolist() == [False, True, True, True, False, False, False]
    np.testing.assert_array_equal(later.posteriors[:, 0], [3, np.nan, np.nan, np.nan, 1, 3, 5])
    assert later.seconds == pytest.approx(6.0 * 4 / 3)  # what its rows took
    assert PassStore(tmp_path, ["other net"], np.array([11, 13]), 3, {}).pending.all()


@pytest.mark.parametrize("name", ["posteriors", "state", "seconds"])
@pytest.mark.parametrize("damage", ["missing", "empty", "short"])
def test_a_store_that_is_damaged_begins_anew(tmp_path, name, damage):
    images = np.arange(1, 6)
    store = PassStore(tmp_path, ["net"], images, 3, {})
    store.put(images - 1, np.ones((5, 3)), 1.0)
    path = tmp_path / f"{store.key}.{name}.npy"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: 0 if damage == "empty" else len(content) - 1])
    again = PassStore(tmp_path, ["net"], images, 3, {})
    assert again.pending.all()
    assert np.isnan(again.posteriors).all()
    again.put(np.array([2]), np.ones((1, 3)), 1.0)
    assert PassStore(tmp_path, ["net"], images, 3, {}).pending.tolist() == [True, True, False, True, True]


# --- Metrics --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 5, 30])
@pytest.mark.parametrize("ties", [False, True])
def test_errors_agree_with_scikit_learn(classes, ties):
    random = np.random.default_rng(classes)
    posteriors = random.dirichlet(np.ones(classes), 400)
    if ties:
        posteriors = np.round(posteriors, 1)
    labels = random.integers(0, classes, 400)
    for k in range(1, classes):
        if classes == 2:
            expected = sklearn.metrics.accuracy_score(labels, posteriors.argmax(1))
        else:  # of equal ones scikit-learn takes the larger label, we the smaller, as argmax does: so turned round
            turned = posteriors[:, ::-1], range(classes)
            expected = sklearn.metrics.top_k_accuracy_score(classes - 1 - labels, turned[0], k=k, labels=turned[1])
        assert metrics.top_k_error(posteriors, labels, k) == pytest.approx(1 - expected, abs=1e-12), k
    assert metrics.top_k_error(posteriors, labels, classes) == 0


def test_ranks_by_hand():
    posteriors = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2], [0.4, 0.4, 0.2], [np.nan] * 3])
    labels = np.array([0, 0, 0, 1, 0])
    assert metrics.ranks(posteriors, labels)[:4].tolist() == [0, 2, 0, 1]
    assert metrics.top_k_error(posteriors, labels, 1) == 3 / 5
    assert metrics.top_k_error(posteriors, labels, 3) == metrics.top_k_error(posteriors, labels, 9) == 1 / 5


@pytest.mark.parametrize(
    ("errors", "count", "interval"),
    [  # Wilson's, worked out by hand: 0/10 gives z² / (10 + z²)
        (0, 10, (0, 0.2775)),
        (5, 10, (0.2366, 0.7634)),
        (10, 10, (0.7225, 1)),
        (1, 1, (0.2065, 1)),
        (12_400, 50_000, (0.2442, 0.2518)),
    ],
)
def test_intervals_by_hand(errors, count, interval):
    found = metrics.wilson_interval(errors / count, count)
    assert found == pytest.approx(interval, abs=5e-5)
    z, share = 1.959963984540054, errors / count  # Wilson's formula
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    assert found == pytest.approx((middle - half, middle + half), abs=1e-12)


def test_confusion_by_hand():
    guesses = np.array([0, 1, 1, 2, 0, 2, 1])
    labels = np.array([0, 0, 0, 2, 2, 2, 1])
    posteriors = np.eye(3)[guesses]
    posteriors[6] = np.nan
    counts = metrics.confusion(posteriors, labels)
    assert counts.tolist() == [[1, 2, 0], [0, 0, 0], [1, 0, 2]]
    assert metrics.most_confused(counts, 5) == [(0, 1, 2), (2, 0, 1)]
    assert metrics.most_confused(counts, 1) == [(0, 1, 2)]
    assert metrics.most_confused(np.diag([3, 4]), 5) == []


def three_classes():
    """Six images of three classes, of which the last shows none, in a net of four; one could not be read."""
    values = np.array(
        [
            [0.7, 0.2, 0.1, 0],
            [0.1, 0.6, 0.2, 0.1],
            [0.3, 0.4, 0.2, 0.1],
            [0.5, 0.3, 0.1, 0.1],
            [0.05, 0.9, 0.03, 0.02],
            [np.nan] * 4,
        ]
    )
    labels = np.array([0, 0, 1, 1, 2, 2])
    facts = {"net": "D", "Q": "256", "protocol": "dense", "nets sha256": "aa", "images sha256": "bb", "code sha256": "cc"}
    names = np.array([f"{n}.jpg" for n in range(6)])
    return Posteriors(values.astype(np.float32), labels, names, ("cat", "dog", "fox", "owl"), facts)


def test_figures_of_classes_by_hand():
    """An image that could not be read is one of its class that is taken for none."""
    table = errors.of_classes(three_classes()).set_index("class")
    assert table.images.tolist() == [2, 2, 2, 0]
    assert table.precision.tolist() == pytest.approx([50, 100 / 3, np.nan, np.nan], nan_ok=True)
    assert table.recall.tolist() == pytest.approx([50, 50, 0, np.nan], nan_ok=True)
    assert table.F1.tolist() == pytest.approx([50, 40, 0, np.nan], nan_ok=True)
    assert table["top-1 error"].tolist() == pytest.approx([50, 50, 100, np.nan], nan_ok=True)
    assert table["top-5 error"].tolist() == pytest.approx([0, 0, 50, np.nan], nan_ok=True)


def test_an_image_whose_label_could_not_be_read_is_no_class_s(tmp_path):
    result = three_classes()
    unread = dataclasses.replace(result, labels=np.array([0, 0, 1, 1, 2, -1]))
    table = errors.of_classes(unread).set_index("class")
    assert table.images.tolist() == [2, 2, 1, 0]
    assert table["top-5 error"].tolist() == pytest.approx([0, 0, 0, np.nan], nan_ok=True)
    single.write_tables(tmp_path, "01", unread)
    last = pd.read_csv(tmp_path / "01-predictions.csv").iloc[-1]
    assert last.image == "5.jpg"
    assert last[["true class", "predicted class", "posterior of true class", "rank of true class"]].isna().all()


def test_figures_of_classes_are_those_of_scikit_learn_and_of_the_whole():
    result = some_posteriors(400, tuple("abcdefg"), seed=3)
    result = dataclasses.replace(result, labels=np.random.default_rng(4).integers(0, 7, 400))
    table = errors.of_classes(result)
    told = sklearn.metrics.classification_report(
        result.labels, result.values.argmax(1), output_dict=True, target_names=list("abcdefg")
    )
    for _, row in table.iterrows():
        expected = told[row["class"]]
        assert (row.precision, row.recall, row.F1, row.images) == pytest.approx(
            (100 * expected["precision"], 100 * expected["recall"], 100 * expected["f1-score"], expected["support"])
        )
    for k in (1, 5):
        mean = np.average(table[f"top-{k} error"], weights=table.images)
        assert mean == pytest.approx(errors.figures(result)[f"top-{k} error"])


def test_predictions_of_images_by_hand(tmp_path):
    single.write_tables(tmp_path, "01", three_classes())
    table = pd.read_csv(tmp_path / "01-predictions.csv")
    assert table["true class"].tolist() == ["cat", "cat", "dog", "dog", "fox", "fox"]
    assert table["predicted class"].fillna("").tolist() == ["cat", "dog", "dog", "cat", "dog", ""]
    assert table["rank of true class"].tolist() == pytest.approx([1, 3, 1, 2, 3, np.nan], nan_ok=True)
    right = [0.7, 0.1, 0.4, 0.3, 0.03, np.nan]
    assert table["posterior of true class"].tolist() == pytest.approx(right, nan_ok=True)
    assert table["posterior of predicted class"].tolist() == pytest.approx([0.7, 0.6, 0.4, 0.5, 0.9, np.nan], nan_ok=True)
    for name in ("classes", "predictions"):
        told = pd.read_csv(tmp_path / f"01-{name}.csv")
        assert [set(told[digest]) for digest in ("nets sha256", "images sha256", "code sha256")] == [{"aa"}, {"bb"}, {"cc"}]


def test_the_worst_images_by_hand():
    found = errors.worst(three_classes(), 9)
    assert [place for place, _ in found] == [4, 1, 3]
    assert found[0][1] == "fox\ndog, 90.0%"
    assert [place for place, _ in errors.worst(three_classes(), 2)] == [4, 1]


def test_what_is_told_of_images_of_several_classes(tmp_path):
    values = np.array([[0.9, 0.8, 0.1, 0.5], [0.2, 0.6, 0.4, 0.3], [np.nan] * 4], np.float32)
    labels = np.array([[1, 0, 0, -1], [1, 1, 0, 0], [1, 0, 0, 0]], np.int8)
    result = dataclasses.replace(three_classes(), values=values, labels=labels, images=np.array(["a", "b", "c"]))
    single.write_tables(tmp_path, "01", result)
    table = pd.read_csv(tmp_path / "01-predictions.csv").fillna("")
    assert table.shown.tolist() == ["cat", "cat; dog", "cat"]
    assert table.told.tolist() == ["cat; dog", "dog", ""]
    assert pd.read_csv(tmp_path / "01-classes.csv")["class"].tolist() == ["cat", "dog"]
    losses = [-np.log([0.9, 0.2, 0.9]).mean(), -np.log([0.2, 0.6, 0.6, 0.7]).mean()]  # what is not told does not count
    assert losses == pytest.approx(
        [sklearn.metrics.log_loss([1, 0, 0], values[0, :3]), sklearn.metrics.log_loss([1, 1, 0, 0], values[1])]
    )
    expected = [(0, f"cat\ncat, dog\nloss {losses[0]:.2f}"), (1, f"cat, dog\ndog\nloss {losses[1]:.2f}")]
    assert sorted(precision.worst(result, 9)) == expected
    assert precision.worst(result, 1) == [expected[int(np.argmax(losses))]]


def test_a_sheet_of_the_worst_images(tmp_path):
    split = splits.in_memory([*ENCODED[:4], b"text", ENCODED[5]], three_classes().labels, "test")  # the worst is not there any more
    single.draw_worst(tmp_path, "01", three_classes(), split)
    with Image.open(tmp_path / "01-worst.png") as picture:
        assert picture.text["nets sha256"] == "aa"
        assert picture.width > picture.height  # two in a row
    right = dataclasses.replace(three_classes(), labels=np.array([0, 1, 1, 0, 1, 1]))
    single.draw_worst(tmp_path, "01", right, split)
    assert not (tmp_path / "01-worst.png").exists()


# --- Posteriors in files, fused, in the table -----------------------------------------------------------------------------


def some_posteriors(number=6, classes=CLASSES, seed=0, **facts):
    random = np.random.default_rng(seed)
    values = random.dirichlet(np.ones(len(classes)), number).astype(np.float32)
    labels = np.arange(number) % len(classes)
    facts = {"net": "D", "S": "[256;512]", "Q": "256, 384", "protocol": "dense", "images/s": 2.0} | facts
    return Posteriors(values, labels, np.array([f"{n}.jpg" for n in range(number)]), tuple(classes), facts)


def test_saved_and_read(tmp_path):
    result = some_posteriors(**{"paper top-1": 24.8})
    result.values[2] = np.nan
    result.save(tmp_path / "a.npz")
    read = Posteriors.read(tmp_path / "a.npz")
    np.testing.assert_array_equal(read.values, result.values)
    np.testing.assert_array_equal(read.labels, result.labels)
    assert read.images.tolist() == result.images.tolist()
    assert (read.classes, read.facts) == (result.classes, result.facts)
    assert table_line(read) == table_line(result)


def damaged(path):
    some_posteriors(400).save(path)
    content = bytearray(path.read_bytes())
    content[1000:1400] = bytes(400)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: None,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("text"),
        lambda path: np.savez(path, a=np.zeros(3)),
        lambda path: np.savez(path, posteriors=np.array([{}], dtype=object)),
        lambda path: path.write_bytes(ENCODED[0]),
        lambda path: (some_posteriors().save(path), os.truncate(path, 500)),
        damaged,
    ],
    ids=["missing", "empty", "text", "other arrays", "objects", "an image", "truncated", "damaged"],
)
def test_files_that_hold_no_posteriors(tmp_path, write):
    path = tmp_path / "a.npz"
    write(path)
    with pytest.raises(InputError, match=r"Expected posteriors .*a\.npz"):
        Posteriors.read(path)


def test_an_npy_file_holds_no_posteriors(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 3)))
    with pytest.raises(InputError, match=r"Expected posteriors"):
        Posteriors.read(tmp_path / "a.npy")


def test_means_over_many_rows():
    arrays = [np.random.default_rng(seed).random((results._ROWS + 7, 3), np.float32) for seed in range(3)]
    arrays[1][5] = np.nan
    mean = mean_over(arrays)
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, np.mean(arrays, axis=0), rtol=1e-6)
    assert np.isnan(mean[5]).all()


def test_fused_by_hand():
    first, second = some_posteriors(), some_posteriors(seed=1, net="E", Q="384", **{"images/s": 6.0, "paper top-1": 1.0})
    fused = fuse([first, second])
    np.testing.assert_allclose(fused.values, (first.values + second.values) / 2, rtol=1e-6)
    assert fused.facts == {
        **{"net": "D + E", "S": "[256;512]", "Q": "256, 384 + 384", "protocol": "dense", "data": "", "settings": ""},
        "images/s": pytest.approx(1.5),  # 1/2 s and 1/6 s an image
    }
    np.testing.assert_array_equal(fuse([first, first]).values, first.values)
    scores = some_posteriors(settings="scores averaged")
    assert fuse([first, scores]).facts["settings"] == "defaults + scores averaged"
    assert fuse([scores, scores]).facts["settings"] == "scores averaged"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": tuple("abcdefh")}, "same images and classes. Received: D, 6 images in 7 classes and D, 6 images in 7"),
        ({"labels": np.array([0, 1, 2, 3, 4, 6])}, "same images and classes"),
        ({"images": np.array([f"{n}.png" for n in range(6)])}, "images in the same order. Received: images of other names"),
    ],
)
def test_posteriors_of_other_images_or_classes_are_not_fused(change, message):
    with pytest.raises(InputError, match=message):
        fuse([some_posteriors(), dataclasses.replace(some_posteriors(), **change)])
    with pytest.raises(InputError, match=r"6 images in 7 classes and D, 5 images in 7 classes"):
        fuse([some_posteriors(), some_posteriors(5)])


def test_line_of_the_table_by_hand():
    values = np.array([[0.4, 0.3, 0.1, 0.08, 0.07, 0.05]] * 9 + [[np.nan] * 6], np.float32)
    labels = np.array([0, 0, 0, 0, 1, 1, 5, 5, 5, 0])  # wrong: the ones, the fives and what is broken
    line = table_line(Posteriors(values, labels, np.arange(10), tuple("abcdef"), {"net": "D", "paper top-5": 7.5}))
    assert (line["top-1 error"], line["top-5 error"]) == (60, 40)
    assert [line["top-1 low"], line["top-1 high"]] == pytest.approx([31.27, 83.18], abs=0.01)
    assert (line["images"], line["broken"], line["paper top-5"]) == (10, 1, 7.5)
    assert "paper top-1" not in line
    assert (line["Q"], line["images/s"]) == ("", "")


def test_table_for_people():
    paper = {"paper top-1": 24.8, "paper top-5": 7.5}
    lines = [table_line(some_posteriors(**paper)), table_line(some_posteriors(net="E"))]
    head, first, second = report.format_table(lines, errors.shown).splitlines()
    for column in ("net", "S", "Q", "protocol", "top-1 error (95%)", "top-5 error (95%)", "paper", "images/s"):
        assert column in head
    low, high = lines[0]["top-1 low"], lines[0]["top-1 high"]
    assert f"{lines[0]['top-1 error']:.1f} ({low:.1f}–{high:.1f})" in first
    assert "24.8 / 7.5" in first
    assert "24.8" not in second


def test_figures_of_many_labels_by_hand():
    values = np.array([[0.9, 0.2, 0.3], [0.8, 0.7, 0.3], [0.6, 0.9, 0.3], [np.nan] * 3], np.float32)
    labels = np.array([[1, 0, 0], [0, 1, -1], [1, -1, 0], [0, 1, 0]], np.int8)
    result = Posteriors(values, labels, np.arange(4), tuple("abc"), {"net": "D"})
    found = precision.of_classes(result)
    assert found["class"].tolist() == ["a", "b"]  # no image shows c
    assert found["images"].tolist() == [2, 2]
    # a: right, wrong, right; b: right, wrong, and then the image that could not be read, behind all others
    assert found["AP"].tolist() == pytest.approx([100 * (1 + 2 / 3) / 2] * 2)
    assert found["AP (11 points)"].tolist() == pytest.approx([100 * (6 + 5 * 2 / 3) / 11] * 2)
    line = table_line(result)
    assert line["mean AP"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert line["label error"] == pytest.approx(100 * 4 / 10)  # a of the second image, and all of the one that was not read
    assert (line["images"], line["broken"], line["classes"]) == (4, 1, 2)
    assert precision.shown(line) == {"mean AP (%)": "83.3", "mean AP (11 points) (%)": "84.8", "label error (%)": "40.0"}
    with pytest.raises(InputError, match="none among 4"):
        table_line(dataclasses.replace(result, labels=np.zeros_like(labels)))


def test_labels_of_many_classes_go_by_the_numbers_of_the_net(tmp_path):
    """A net that knows more classes than the data, in another order; of the others nothing is told."""
    folder = write_run(tmp_path / "three", classes="abc")
    labels = np.array([[1, 0], [-1, 1], [0, 1]], np.int8)
    split = splits.in_memory(list(ENCODED[:3]), np.zeros(3), "test").with_targets(labels)
    (result,) = evaluate(tmp_path, {"a": folder}, [row()], Dataset({"validation": split}, ("c", "a"), "a test"))
    assert result.labels.tolist() == [[0, -1, 1], [1, -1, -1], [1, -1, 0]]


def write_rows(folder, *facts):
    lines = [table_line(some_posteriors(**each)) for each in facts]
    names = report.file_names(folder, lines, [line["net"] for line in lines])
    report.write_tables(folder, [line | {"posteriors": name} for line, name in zip(lines, names, strict=True)])
    table = pd.read_csv(folder / "table.csv", keep_default_na=False)
    assert json.loads((folder / "table.json").read_text())[-1]["posteriors"] == table.posteriors.iloc[-1]
    return dict(zip(table.posteriors, table["images/s"], strict=True))


def test_rows_of_other_evaluations_into_the_folder_stay(tmp_path):
    of_d, of_e, scores = {"net": "D"}, {"net": "E"}, {"net": "D", "settings": "scores averaged"}
    assert write_rows(tmp_path, of_d, of_e) == {"01-D.npz": 2, "02-E.npz": 2}
    assert write_rows(tmp_path, scores) == {"01-D.npz": 2, "02-E.npz": 2, "03-D.npz": 2}
    assert write_rows(tmp_path, of_e | {"images/s": 3.0}) == {"01-D.npz": 2, "02-E.npz": 3, "03-D.npz": 2}  # the same row
    assert list(write_rows(tmp_path, of_e | {"Q": "512"}, of_e | {"data": "other"}))[3:] == ["04-E.npz", "05-E.npz"]


def test_a_row_that_came_into_no_table_has_its_file_again(tmp_path):
    digests = {"nets sha256": "ab", "images sha256": "cd"}
    result, other = some_posteriors(**digests), some_posteriors(**digests | {"nets sha256": "ef"})
    for _ in range(2):  # the second time with the file of the first, as where the disk was full at the table
        assert report.file_names(tmp_path, [table_line(result)], ["D"]) == ["01-D.npz"]
        result.save(tmp_path / "01-D.npz")
    assert report.file_names(tmp_path, [table_line(other)], ["D"]) == ["02-D.npz"]
    (tmp_path / "01-D.npz").write_bytes(b"damaged")
    assert report.file_names(tmp_path, [table_line(result)], ["D"]) == ["02-D.npz"]


def test_a_pass_that_was_begun_without_its_list_of_images_gets_it(tmp_path):
    fingerprints, wanted = np.arange(5), ["net", "protocol"]
    for damage in (pathlib.Path.unlink, lambda path: path.write_bytes(b"damaged")):
        store = PassStore(tmp_path, wanted, fingerprints, 3, {})
        (images,) = tmp_path.glob("*.images.npy")
        damage(images)
        store = PassStore(tmp_path, wanted, fingerprints, 3, {})
        np.testing.assert_array_equal(np.load(images), fingerprints)
        assert store.pending.all()


def test_two_nets_of_one_name_have_two_rows(tmp_path):
    for _ in range(2):
        assert list(write_rows(tmp_path, {"net": "D"}, {"net": "D"})) == ["01-D.npz", "02-D.npz"]


def test_tables_of_other_versions_and_damaged_ones(tmp_path):
    (tmp_path / "table.json").write_text('[{"net": "D", "posteriors": "07-D.npz"}]')
    assert report.read_tables(tmp_path) == []
    (tmp_path / "table.json").write_text("[")
    with pytest.raises(InputError, match=r"table of earlier evaluations. Received: .*table\.json .*; fix or delete it"):
        report.read_tables(tmp_path)


@pytest.mark.filterwarnings("error")
def test_pictures_of_whatever_name(tmp_path):
    classes = ("$5_bill", "a$^{b", "花", "d", "e", "f", "g")
    result = some_posteriors(40, classes, net="$x_", settings="scores averaged")
    errors.write(tmp_path, "01", result)
    Image.open(tmp_path / "01-confusion.png").verify()
    labels = np.random.default_rng(1).integers(-1, 2, (40, 7))
    precision.write(tmp_path, "02", dataclasses.replace(result, labels=labels))
    Image.open(tmp_path / "02-classes.png").verify()
    seen = Heatmap(np.zeros((40, 50, 3), np.uint8), np.random.default_rng(0).random((2, 3)), ((16, 32), (16, 32)), "00")
    heatmap.draw(tmp_path / "map.png", seen, classes[1], title="$^.jpg, 花", facts={"image": "$^.jpg, 花"})
    Image.open(tmp_path / "map.png").verify()


# --- Recipes --------------------------------------------------------------------------------------------------------------

SINGLE = {"256": "256", "384": "384", "jitter": "384"}
MULTI = {"256": "224,256,288", "384": "352,384,416", "jitter": "256,384,512"}
TABLES = {  # typed from the paper: nets, protocol, scales, top-1 and top-5 error
    3: [
        *("A/256 29.6 10.4", "A-LRN/256 29.7 10.5", "B/256 28.7 9.9", "C/256 28.1 9.4", "C/384 28.1 9.3", "C/jitter 27.3 8.8"),
        *("D/256 27.0 8.8", "D/384 26.8 8.7", "D/jitter 25.6 8.1", "E/256 27.3 9.0", "E/384 26.9 8.7", "E/jitter 25.5 8.0"),
    ],
    4: [
        *("B/256 28.2 9.6", "C/256 27.7 9.2", "C/384 27.8 9.2", "C/jitter 26.3 8.2"),
        *("D/256 26.6 8.6", "D/384 26.5 8.6", "D/jitter 24.8 7.5", "E/256 26.9 8.7", "E/384 26.7 8.6", "E/jitter 24.8 7.5"),
    ],
    5: [
        *("D/jitter dense 24.8 7.5", "D/jitter multi-crop 24.6 7.5", "D/jitter both 24.4 7.2"),
        *("E/jitter dense 24.8 7.5", "E/jitter multi-crop 24.6 7.4", "E/jitter both 24.4 7.1"),
    ],
    6: [
        "D/256+D/384+D/jitter+C/256+C/384+E/256+E/384 dense 24.7 7.5",
        *("D/jitter+E/jitter dense 24.0 7.1", "D/jitter+E/jitter multi-crop 23.9 7.2", "D/jitter+E/jitter both 23.7 6.8"),
    ],
}


@pytest.mark.parametrize("number", TABLES)
def test_rows_of_the_papers_tables(number):
    recipe = read_evaluation(RECIPES / f"table{number}.toml")
    assert recipe.dataset == "tfds:imagenet2012"
    found = []
    for row in recipe.rows:
        scales = {net: ",".join(map(str, each)) for net, each in zip(row.models, row.scales, strict=True)}
        assert scales == {net: (SINGLE if number == 3 else MULTI)[net.split("/")[1]] for net in row.models}
        assert row.flip is None  # nets of the paper are trained with flips
        protocol = [row.protocol] if number > 4 else []
        assert number > 4 or row.protocol == "dense"
        found.append(" ".join(["+".join(row.models), *protocol, str(row.paper["top1_error"]), str(row.paper["top5_error"])]))
    assert found == TABLES[number]
    assert set(recipe.models) == {net for row in recipe.rows for net in row.models}
    for name, path in recipe.models.items():  # trained by the recipe of that name
        assert path == "runs/" + name.lower().replace("/", "-")
        trained = RECIPES / f"{pathlib.Path(path).name}.toml"
        assert f'arch = "{name.split("/")[0]}"' in trained.read_text()


@pytest.mark.parametrize("path", sorted(RECIPES.glob("evaluate*.toml")), ids=lambda path: path.stem)
def test_recipes_for_small_machines(path):
    recipe = read_evaluation(path)
    for name, run in recipe.models.items():
        training = RECIPES / f"{pathlib.Path(run).name}.toml"
        assert training.exists(), name
    assert {row.protocol for row in recipe.rows} == {"center", "dense", "multi-crop", "both"}
    assert any(len(scales) > 1 for row in recipe.rows for scales in row.scales)


GOOD = 'dataset = "digits"\n[models]\na = "runs/a"\nb = "runs/b"\n'


def write_recipe(tmp_path, text):
    path = tmp_path / "test.toml"
    path.write_text(text)
    return path


def test_defaults_of_a_row(tmp_path):
    recipe = read_evaluation(write_recipe(tmp_path, f'flip = false\n{GOOD}[[rows]]\nprotocol = "both"\n'))
    assert recipe.rows == (Row(("a", "b"), "both", (None, None), flip=False),)
    assert recipe.models == {"a": "runs/a", "b": "runs/b"}
    assert recipe.rows[0].passes_of("b", 256) == (Views("dense", 256, False), Views("multi-crop", 256, False))
    (row,) = read_evaluation(write_recipe(tmp_path, f'{GOOD}[[rows]]\nprotocol = "dense"\n')).rows
    assert row.flip is None
    for flip in (True, False):  # as the net was trained
        assert row.passes_of("b", 256, flip) == (Views("dense", 256, flip),)


def test_scales_by_model(tmp_path):
    text = f'{GOOD}[[rows]]\nprotocol = "dense"\nscales = {{ b = [224, 256], a = [384] }}\n'
    (row,) = read_evaluation(write_recipe(tmp_path, text)).rows
    assert row.scales == ((384,), (224, 256))
    assert [views.scale for views in row.passes_of("b", 1)] == [224, 256]


DENSE_ROW = '[[rows]]\nprotocol = "dense"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset = digits", r"test\.toml is not TOML"),
        (f"scales = [256]\n{GOOD}{DENSE_ROW}", "unknown keys: scales. Known: dataset, flip, models, precision, rows"),
        (GOOD, "`rows` must be a list of tables"),
        (f"rows = [1]\n{GOOD}", "row 1 must be a table"),
        (f"rows = 5\n{GOOD}", "`rows` must be a list of tables"),
        (DENSE_ROW, "`models` must be a table of run folders"),
        (f"[models]\na = 5\n{DENSE_ROW}", "`models` must be a table of run folders"),
        (f"models = ['a']\n{DENSE_ROW}", "`models` must be a table of run folders"),
        (f'flip = "no"\n{GOOD}{DENSE_ROW}', "`flip` must be true or false"),
        (f"dataset = 5\n[models]\na = 'a'\n{DENSE_ROW}", "`dataset` text. Received: None and 5"),
        (f"{GOOD}[[rows]]\nscales = [256]\n", "row 1: `protocol` must be one of dense, .* Received: None"),
        (f"{GOOD}[[rows]]\nprotocol = ['dense']\n", "`protocol` must be one of"),
        (f"{GOOD}{DENSE_ROW}scale = 256\n", "row 1 has unknown keys: scale. Known: claim, models, paper, protocol, scales"),
        (f"{GOOD}{DENSE_ROW}{DENSE_ROW}scales = 256\n", "row 2: `scales` must be whole numbers .* Received: 256"),
        (f"{GOOD}{DENSE_ROW}scales = []\n", "`scales` must be whole numbers"),
        (f"{GOOD}{DENSE_ROW}scales = [256.5]\n", "`scales` must be whole numbers"),
        (f"{GOOD}{DENSE_ROW}scales = [0]\n", "`scales` must be whole numbers"),
        (f"{GOOD}{DENSE_ROW}scales = [true]\n", "`scales` must be whole numbers"),
        (f"{GOOD}{DENSE_ROW}scales = {{ a = [256], c = [256] }}\n", "`scales` names nets that are not in the row: c"),
        (f"{GOOD}{DENSE_ROW}models = ['c']\n", "`models` must be a list of names among a, b. Received: \\['c'\\]"),
        (f"{GOOD}{DENSE_ROW}models = 'a'\n", "`models` must be a list of names among a, b"),
        (f"{GOOD}{DENSE_ROW}models = []\n", "`models` must be a list of names among a, b"),
        (f"{GOOD}{DENSE_ROW}models = [['a']]\n", "`models` must be a list of names among a, b"),
        (f"{GOOD}{DENSE_ROW}paper = 24.8\n", "`paper` must be a table of top1_error and top5_error"),
        (f"{GOOD}{DENSE_ROW}paper = {{ top1 = 24.8 }}\n", "`paper` must be a table of top1_error and top5_error"),
        (f"{GOOD}{DENSE_ROW}paper = {{ top1_error = '24.8' }}\n", "`paper` must be a table of top1_error and top5_error"),
    ],
)
def test_mistakes_in_a_recipe_are_one_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        read_evaluation(write_recipe(tmp_path, text))
    assert "\n" not in str(error.value).strip()
    assert "test.toml" in str(error.value)


def test_a_recipe_that_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"no\.toml \(No such file"):
        read_evaluation(tmp_path / "no.toml")


# --- Nets before they are loaded ------------------------------------------------------------------------------------------


def test_what_a_run_folder_tells(run, other_run, tmp_path):
    jitter, fixed = open_net_file(run), open_net_file(other_run, name="mine")
    assert (jitter.name, jitter.arch, jitter.classes, jitter.training_scales) == ("A", "A", CLASSES, (36, 44))
    assert (jitter.default_scale, jitter.training_text) == (40, "[36;44]")
    assert (fixed.name, fixed.default_scale, fixed.training_text) == ("mine", 36, "36")
    assert (jitter.num_classes, fixed.num_classes) == (7, 7)
    assert open_net_file(run / "best.keras").classes == CLASSES
    assert jitter.flip
    assert not open_net_file(without_flips(run, tmp_path / "unflipped")).flip


def test_a_file_alone_tells_less(run, tmp_path):
    shutil.copy(run / "best.keras", tmp_path)
    found = open_net_file(tmp_path / "best.keras")
    assert (found.classes, found.training_scales, found.training_text, found.default_scale) == (None, None, "", 256)
    assert found.flip
    assert dataclasses.replace(found, smallest_input=288).default_scale == 288  # a scale that nobody gave is not refused
    assert class_labels.class_names(found.classes, 3) == ("class 0", "class 1", "class 2")


def test_labels_by_name_and_by_position(run, tmp_path):
    named = open_net_file(run)
    assert named.labels_of(("c", "a"), 7).tolist() == [2, 0]
    assert named.labels_of(CLASSES, 7).tolist() == list(range(7))
    assert named.labels_of(CLASSES[::-1], 7).tolist() == list(range(7))[::-1]
    shutil.copy(run / "best.keras", tmp_path)
    unnamed, said = open_net_file(tmp_path), []
    assert unnamed.labels_of(("x", "y", "z"), 3, say=said.append).tolist() == [0, 1, 2]
    assert said.pop().endswith("assigned to the dataset's sorted class names by position: x is 0, z is 2")
    with pytest.raises(InputError, match=r"has 7 classes; the dataset has 2, of which the net lacks a, c"):
        unnamed.labels_of(("c", "a"), 7)
    with pytest.raises(InputError, match=r"the dataset has 7, of which the net lacks t, u, v, …"):
        named.labels_of(tuple("tuvwxyz"), 7)  # as many, but others
    with pytest.raises(InputError, match=r"the dataset has 2, of which the net lacks x"):
        named.labels_of(("a", "x"), 7)


def test_labels_are_known_however_names_are_stored(run):
    """A net trained where é was stored as e and an accent, and the blank behind a name was part of it."""
    trained = dataclasses.replace(open_net_file(run), classes=("tea ", "cafe\u0301"))
    assert trained.labels_of(("caf\u00e9", "tea"), 2, say=None).tolist() == [1, 0]


def test_the_data_line_says_what_is_tested_and_what_is_not(run, tmp_path):
    data = dataset(ENCODED[:2], LABELS[:2])
    three = splits.in_memory([b"no image"] * 3, np.zeros(3), "x")
    data, said = dataclasses.replace(data, sets={**data.sets, "test": three}, notes=("A note.",)), []
    evaluation_run.evaluate(data, {"a": open_net_file(run, name="a")}, [row()], tmp_path, say=said.append)
    assert said[:2] == ["data: a test, 2 images for validation, 7 classes; the test set of 3 images is not used", "A note."]


def test_a_net_is_told_that_it_learnt_from_what_is_tested(run, tmp_path):
    """Plain classes: whoever learnt from them is tested on the tenth held out, and warned of any other choice."""
    data = Dataset({"train": splits.in_memory(list(ENCODED[:4]), LABELS[:4], "test")}, CLASSES, "a test")
    source = open_net_file(run, name="a")
    knows = {
        "its own": dataclasses.replace(source, training_digest=data.training_digest),
        "others": dataclasses.replace(source, training_digest="0" * 64),
        "nobody knows": dataclasses.replace(source, training_digest=""),  # of an earlier version
    }
    told = {}
    for name, each in knows.items():
        for which in (None, "all"):
            evaluation_run.evaluate(
                data, {"a": each}, [row()], tmp_path, split=which, say=told.setdefault((name, which), []).append
            )
    tested = {key: lines[0].removeprefix("data: a test, ") for key, lines in told.items()}
    held_out, whole = "1 image held out of training, 7 classes", "4 images, 7 classes"
    assert [tested[name, None] for name in knows] == [held_out, whole, held_out]
    assert [tested[name, "all"] for name in knows] == [whole] * 3
    assert [key for key, lines in told.items() if any("trained on images that are tested" in line for line in lines)] == [
        ("its own", "all")
    ]


def test_labels_that_are_numbers(run, tmp_path):
    shutil.copy(run / "best.keras", tmp_path)
    unnamed, said = open_net_file(tmp_path), []
    for names, number in ((("0", "1", "10", "100", "2"), 1000), (tuple(sorted(map(str, range(12)))), 12), (("007", "5"), 8)):
        assert unnamed.labels_of(names, number, say=said.append).tolist() == list(map(int, names))
        assert said.pop().endswith("has no class names: the dataset's numeric class names are used as its labels")
    for names in (("1", "2", "3"), ("0", "1", "a"), ("0", "00", "1")):  # no such label; no number; the same twice
        assert unnamed.labels_of(names, 3, say=said.append).tolist() == [0, 1, 2]
        assert "by position" in said.pop()
    from_one = tuple(sorted(str(number) for number in range(1, 12)))
    assert unnamed.labels_of(from_one, 11, say=said.append).tolist() == [int(name) - 1 for name in from_one]
    assert said.pop().endswith("assigned to the dataset's sorted class names by position: 1 is 0, 11 is 10")
    assert unnamed.labels_of(("9" * 30, "a"), 2, say=said.append).tolist() == [0, 1]
    assert open_net_file(run).labels_of(("c", "a"), 7, say=None).tolist() == [2, 0]  # by name, without a word


def test_class_names_are_counted(tmp_path):
    folder = write_run(tmp_path / "run")
    assert open_net_file(folder).class_names(7) == CLASSES
    with pytest.raises(InputError, match=r"run/classes\.txt must list the net's 5 classes. Received: 7; fix or delete it"):
        open_net_file(folder).class_names(5)
    (folder / "classes.txt").write_text("")
    with pytest.raises(InputError, match=r"must list the net's 7 classes. Received: 0; fix or delete it"):
        evaluate(tmp_path / "out", {"a": folder}, [row()])


def test_labels_of_imagenet_by_wordnet_id(run, tmp_path, monkeypatch):
    ids = tuple((f"n{label:08}", f"name {label}") for label in range(1000))
    monkeypatch.setattr(class_labels, "imagenet_classes", lambda: ids)
    shutil.copy(run / "best.keras", tmp_path)
    unnamed = open_net_file(tmp_path)
    assert unnamed.labels_of(("n00000005", "n00000002"), 1000).tolist() == [5, 2]
    assert class_labels.class_names(unnamed.classes, 1000)[7] == "name 7"
    with pytest.raises(InputError, match=r"of which the net lacks n5"):
        unnamed.labels_of(("n5", "n00000002"), 1000)


def test_classes_are_asked_once(run, tmp_path, monkeypatch):
    """Their list may come from the network: asked twice, it might answer otherwise."""
    asked = []

    def answer(known, num_classes):
        asked.append(num_classes)
        return CLASSES

    monkeypatch.setattr(net_files, "class_names", answer)
    rows = [row(), dataclasses.replace(row(), protocol="center")]
    found = evaluation_run.evaluate(dataset(ENCODED[:2], LABELS[:2]), {"a": open_net_file(run, name="a")}, rows, tmp_path)
    assert [each.classes for each in found] == [CLASSES] * 2
    assert asked == [7]


def test_without_imagenets_names_there_are_numbers(run, tmp_path, monkeypatch):
    def offline():
        raise InputError("no network")

    monkeypatch.setattr(class_labels, "imagenet_classes", offline)
    shutil.copy(run / "best.keras", tmp_path)
    assert class_labels.class_names(open_net_file(tmp_path).classes, 1000)[999] == "class 999"


def test_preprocessing_that_is_not_known_must_be_told(tmp_path):
    net().save(tmp_path / "best.keras")
    with pytest.raises(InputError, match=r"does not record its input preprocessing; pass --preprocessing caffe or torch"):
        open_net_file(tmp_path).load()
    network = open_net_file(tmp_path, preprocessing="torch").load()
    assert network._preprocess is preprocessing.TORCH
    assert open_net_file(tmp_path, preprocessing="torch").load(device="CPU:1").crop == 32


def test_a_net_without_its_top_and_no_net(tmp_path):
    net(include_top=False).save(tmp_path / "top.keras")
    with pytest.raises(InputError, match=r"net with its top. Received: .*top\.keras, which has none"):
        open_net_file(tmp_path / "top.keras")
    with pytest.raises(InputError, match=r"no_run"):
        open_net_file(tmp_path / "no_run")


def test_devices():
    assert evaluation_run.devices_for(None) == (None,)
    assert evaluation_run.devices_for(3) == ("CPU:0", "CPU:1", "CPU:2")
    for replicas in (0, 5):
        with pytest.raises(InputError, match=f"`replicas` must be between 1 .* Received: {replicas} for CPU:0, CPU:1"):
            evaluation_run.devices_for(replicas)
