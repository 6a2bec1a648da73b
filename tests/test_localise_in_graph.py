"""Merging and rating in a graph say what they say in NumPy, whatever ties there are."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_vgg.localisation.guessing import Merging, guess
from keras_vgg.localisation.in_graph import trace_guess, trace_merge
from keras_vgg.localisation.merging import merge


def random_boxes(random, number, kind):
    if kind == "around one":
        return np.clip(random.normal([0.3, 0.3, 0.7, 0.7], 0.1, (number, 4)), 0, 1)  # some reversed, some at the rim
    if kind == "on a grid":
        return random.integers(0, 6, (number, 4)) / 5  # equal ones, ties, boxes without area
    return np.round(random.random((number, 4)) * 16) / 16


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.3])
def test_boxes_are_merged_as_in_numpy(threshold):
    boxes = tf.TensorSpec([None, 4], tf.float64)
    merge_in_graph = tf.function(functools.partial(trace_merge, threshold=threshold), input_signature=[boxes], autograph=False)
    random = np.random.default_rng(0)
    for number in range(30):
        kind = ("around one", "on a grid", "anywhere")[number % 3]
        given = random_boxes(random, int(random.integers(1, 130)), kind).astype(np.float32).astype(np.float64)
        expected = merge(given, threshold=threshold)
        found, weights = merge_in_graph(given)
        np.testing.assert_array_equal(weights, expected.weights, err_msg=f"{number}, {kind}")
        np.testing.assert_allclose(found, expected.boxes, atol=1e-12, err_msg=f"{number}, {kind}")


@pytest.mark.parametrize("columns", [3, 1])
@pytest.mark.parametrize("classes", [2, 5])
def test_guesses_are_rated_as_in_numpy(columns, classes):
    merging, random = Merging(0.4, classes), np.random.default_rng(1)
    specs = [*[tf.TensorSpec([None, columns, 4])] * 2, tf.TensorSpec([3], tf.int32), tf.TensorSpec([3])]

    @functools.partial(tf.function, input_signature=specs, autograph=False)
    def guess_in_graph(first, second, labels, scores):
        return trace_guess([first, second], labels, scores, merging)

    counts = set()
    for places in (1, 2, 9, 40):
        sources = [random_boxes(random, places * columns, "around one").reshape(places, columns, 4) for _ in range(2)]
        sources = [np.sort(each.reshape(-1, 2, 2), axis=1).reshape(each.shape).astype(np.float32) for each in sources]
        sources = sources if places > 1 else sources[:1] * 2  # equal boxes, of which one is left
        labels, scores = np.array([6, 0, 2], np.int32), np.array([0.5, 0.3, 0.3], np.float32)
        expected = guess(sources, labels, scores.astype(np.float64), merging)
        found = [each.numpy() for each in guess_in_graph(*sources, labels, scores)]
        number = len(expected.labels)
        counts.add(number)
        for told, wanted in zip(found, (expected.labels, expected.ratings, expected.boxes), strict=True):
            assert len(told) == 5
            np.testing.assert_allclose(told[:number], wanted, atol=1e-6)
        assert found[0][number:].tolist() == [-1] * (5 - number)
        assert not found[1][number:].any()
        assert not found[2][number:].any()
    assert min(counts) < 5


def test_boxes_that_are_no_numbers_come_to_an_end():
    found, _ = trace_merge(tf.constant([[0, 0, 1, 1], [np.nan, 0, 1, 1], [0, 0, 1, 0.9]], tf.float64), 0.5)
    assert np.isnan(found).any()
