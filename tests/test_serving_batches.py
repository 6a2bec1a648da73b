"""Images of a request that come to like shapes go through the net together, within a budget of pixels, to what each is alone."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf
from bad_images import BAD, encoded_as
from small_images import CLASSES, ENCODED
from small_nets import net

from keras_vgg.inference.network import Network
from keras_vgg.serving.batching import cut, fold
from keras_vgg.serving.plan import plan_export
from keras_vgg.serving.signatures import Served

pytestmark = pytest.mark.usefixtures("graphs_as_traced")

MIXED = [
    BAD["a JPEG cut off"][0],  # found out only when it is decoded
    *ENCODED,
    BAD["text"][0],
    encoded_as("GIF", "P"),
    encoded_as("PNG", "RGB"),
    BAD["a PNG cut off"][0],
    encoded_as("JPEG", "RGB"),
    encoded_as("WEBP", "RGB"),
    BAD["a bomb"][0],
]
SHAPES = [(40, 56), (56, 40), (40, 56), (40, 182), (40, 56), (56, 40), (40, 56)]


def served(tmp_path, *, pixels_at_once=None, **options):
    plan = plan_export(net(), labels=CLASSES, **options)
    protocol = dataclasses.replace(plan.protocol, **({"pixels_at_once": pixels_at_once} if pixels_at_once else {}))
    (tmp_path / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    variables = [variable.value for variable in plan.network.model.variables]
    return Served(plan.network, variables, str(tmp_path / "labels.txt"), protocol, "digest")


def classify(tmp_path, encoded, **options):
    return tf.function(served(tmp_path, **options)._classify, autograph=False)(tf.constant(encoded))


def ask(signature, encoded):
    return {name: value.numpy() for name, value in signature(images=tf.constant(list(encoded), tf.string)).items()}


@pytest.fixture
def seen(monkeypatch):
    """Shapes of what goes through the net."""
    shapes, see = [], Network.trace_posteriors

    def note(shape):
        shapes.append(tuple(shape.tolist()))
        return np.int32(0)

    def noted(self, images, kind, flip):
        with tf.control_dependencies([tf.numpy_function(note, [tf.shape(images)], tf.int32)]):
            return see(self, tf.identity(images), kind, flip)

    monkeypatch.setattr(Network, "trace_posteriors", noted)
    return shapes


def chunks_of(shapes, budget):
    order, limits = (each.numpy() for each in cut(tf.constant(shapes, tf.int32, [len(shapes), 2]), budget))
    return [order[start:stop].tolist() for start, stop in itertools.pairwise(limits)]


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (40 * 182, [[0, 2, 4], [6], [3], [1, 5]]),  # three of 40x56 fit
        (40 * 56 * 2, [[0, 2], [4, 6], [3], [1, 5]]),
        (40 * 56 * 2 - 1, [[0], [2], [4], [6], [3], [1], [5]]),
        (1, [[0], [2], [4], [6], [3], [1], [5]]),
        (10**9, [[0, 2, 4, 6], [3], [1, 5]]),
    ],
)
def test_views_of_like_shape_are_cut_by_the_budget(budget, expected):
    assert chunks_of(SHAPES, budget) == expected


def test_no_views_are_no_chunks():
    assert chunks_of([], 100) == []


def test_what_is_broken_is_left_out_and_named():
    """A chunk of which nothing is left is not looked at."""
    reasons, looked = {1: "torn", 2: "cut", 5: "torn"}, []

    @tf.autograph.experimental.do_not_convert
    def decode(view):
        view = int(view)
        return tf.fill([*SHAPES[view], 3], tf.constant(view, tf.uint8)), tf.constant(reasons.get(view, ""))

    def see(state, views, pixels):
        looked.append(views.numpy().tolist())
        return (tf.tensor_scatter_nd_add(*state, views[:, tf.newaxis], tf.cast(pixels[:, 0, 0], tf.float32)),)

    (state,), told = fold(tf.constant(SHAPES), 40 * 56 * 2, decode, see, (tf.zeros([len(SHAPES), 3]),))
    assert looked == [[0], [4, 6], [3]]
    assert state[:, 0].numpy().tolist() == [0, 0, 0, 3, 4, 0, 6]
    assert told.numpy().tolist() == [reasons.get(view, "").encode() for view in range(len(SHAPES))]


@pytest.mark.parametrize("options", [{"scales": (36, 44), "flip": True}, {"scales": (36, 44), "flip": False, "dense": False}])
def test_together_is_what_each_is_alone(tmp_path, options):
    for name, signature in served(tmp_path, **options).signatures().items():
        if not name.startswith("serving_"):
            together, alone = ask(signature, MIXED), [ask(signature, [encoded]) for encoded in MIXED]
            assert sum(each["error"][0] == b"" for each in alone) == len(MIXED) - 4
            for key, values in together.items():
                for value, single in zip(values, alone, strict=True):
                    _assert_alike(value, single[key][0], f"{name}, {key}")


def _assert_alike(value, single, told):
    value, single = np.asarray(value), np.asarray(single)
    if value.dtype.kind != "f":
        np.testing.assert_array_equal(value, single, err_msg=told)
        return
    if value.ndim == 3:  # of a score map, which is filled up for the largest
        rows, columns = single.shape[:2]
        assert np.isnan(value[rows:]).all()
        assert np.isnan(value[:, columns:]).all()
        value = value[:rows, :columns]
    np.testing.assert_allclose(value, single, atol=1e-6, err_msg=told)


def test_the_budget_splits_groups_and_changes_no_result(tmp_path, seen):
    options = {"scales": (36, 44), "flip": True}
    whole = classify(tmp_path, MIXED, **options)
    at_once, most = collections.Counter(seen), max(shape[0] for shape in seen)
    assert most == 5  # those of 50x70 pixels and of 25x35, which come to the same
    assert len(seen) == len({shape[1:3] for shape in seen})
    pixels = sum(np.prod(shape[:3]) for shape in seen)
    for budget in (2 * 2 * 44 * 62, 1):  # two of these images with their mirror images; one image at a time
        seen.clear()
        split = classify(tmp_path, MIXED, pixels_at_once=budget, **options)
        assert sum(np.prod(shape[:3]) for shape in seen) == pixels
        assert all(shape[0] == 1 or 2 * np.prod(shape[:3]) <= budget for shape in seen)
        assert collections.Counter(seen) != at_once
        for name, values in whole.items():
            if values.dtype.is_floating:
                np.testing.assert_allclose(split[name], values, atol=1e-6, err_msg=name)
            else:
                np.testing.assert_array_equal(split[name], values, err_msg=name)
    assert {shape[0] for shape in seen} == {1}


def test_centre_crops_go_through_together_whatever_their_images_are(tmp_path, seen):
    classify(tmp_path, MIXED[1:], scales=(36, 44), flip=False, dense=False)
    assert seen == [(2 * (len(MIXED[1:]) - 3), 32, 32, 3)]


def test_the_budget_is_on_the_card():
    card = plan_export(net(), scales=(40,), labels=CLASSES).card
    assert card["protocol"]["pixels_at_once"] == 32 * 224 * 224
