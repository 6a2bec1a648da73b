"""Merging and rating in a TensorFlow graph, equivalent to `merging.merge` and `guessing.guess`, for served nets.

Steps are those of `compiled_merging.merge_in_place`: each box keeps its lowest score with a later one, and only entries affected
by a step are recomputed. In float64 and with the same operations, so that results differ from NumPy's by rounding at most.
"""

import functools
from collections.abc import Sequence

import tensorflow as tf

from keras_vgg.localisation.merging_settings import Merging
from keras_vgg.localisation.scoring import MOST_GUESSES

_ROWS = 64  # boxes compared with all others at a time, to bound memory


def trace_guess(boxes: Sequence[tf.Tensor], labels, scores, merging: Merging, most: int = MOST_GUESSES):
    """Returns the guesses of `guessing.guess`, padded to `most`, to be called while tracing a larger graph.

    Args:
        boxes: for each source `(places, k, 4)`, or `(places, 1, 4)`, edges in fractions of the image; the first dimension may
            vary.
        labels: `(k,)` int32 classes, the most probable first; k is static.
        scores: `(k,)` their scores.
        merging: the settings of merging, for at most `merging.classes` classes.
        most: maximum number of guesses.

    Returns:
        Labels `(most,)` int32, ratings `(most,)` float32 and boxes `(most, 4)` float32, the best first; padded with -1 and 0.
    """
    looked_at = min(labels.shape[0], merging.classes)
    merge = tf.function(
        functools.partial(trace_merge, threshold=merging.threshold),
        input_signature=[tf.TensorSpec([None, 4], tf.float64)],
        autograph=False,
    )
    merged_of: dict[tuple[int, ...], tuple] = {}
    found = []
    for place in range(looked_at):
        columns = tuple(min(place, each.shape[1] - 1) for each in boxes)
        if columns not in merged_of:  # with single-class regression all classes have the same boxes
            united = tf.concat([each[:, column] for each, column in zip(boxes, columns, strict=True)], axis=0)
            merged_of[columns] = merge(tf.cast(united, tf.float64))
        edges, counts = merged_of[columns]
        ratings = tf.cast(scores[place], tf.float64) * (counts / tf.reduce_sum(counts))
        found.append((ratings, tf.fill(tf.shape(counts), labels[place]), edges))
    ratings, chosen, edges = (tf.concat(each, axis=0) for each in zip(*found, strict=True))
    ratings = tf.concat([ratings, tf.fill([most], -_infinite())], axis=0)
    chosen, edges = tf.pad(chosen, [[0, most]], constant_values=-1), tf.pad(edges, [[0, most], [0, 0]])
    ratings, order = tf.math.top_k(ratings, most)  # stable: of equal values, the first comes first
    chosen = tf.gather(chosen, order)
    ratings = tf.where(chosen < 0, tf.zeros([], tf.float64), ratings)
    return chosen, tf.cast(ratings, tf.float32), tf.cast(tf.gather(edges, order), tf.float32)


def trace_merge(boxes, threshold: float):
    """Merges boxes of equal weight like `merging.merge`: merged boxes `(m, 4)` and their numbers of boxes `(m,)`, float64.

    Args:
        boxes: `(n, 4)` float64 edges, n at least 1.
        threshold: see `merging.merge`.
    """
    boxes = tf.concat([tf.minimum(boxes[:, :2], boxes[:, 2:]), tf.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    boxes = tf.where(boxes == 0, tf.zeros_like(boxes), boxes)  # -0 equals 0
    unique = tf.raw_ops.UniqueWithCountsV2(x=boxes, axis=[0])  # in the order of first occurrence
    boxes, weights = tf.ensure_shape(unique.y, [None, 4]), tf.cast(unique.count, tf.float64)
    count = tf.shape(boxes)[0]
    index = tf.range(count)

    def later(start):
        rows = start + tf.range(_ROWS)
        own = tf.gather(boxes, tf.minimum(rows, count - 1))
        scores = _scores(own[:, tf.newaxis], boxes[tf.newaxis])
        return _least(tf.where(index[tf.newaxis] > rows[:, tf.newaxis], scores, _infinite()))

    starts = tf.range(0, count, _ROWS)
    specs = (tf.TensorSpec([_ROWS], tf.float64), tf.TensorSpec([_ROWS], tf.int32))
    least, mate = tf.map_fn(later, starts, fn_output_signature=specs, parallel_iterations=1)
    least, mate = tf.reshape(least, [-1])[:count], tf.reshape(mate, [-1])[:count]

    def step(boxes, weights, gone, least, mate):
        _, first = _least(least)
        merges = mate[first] >= 0  # else its mate is unknown: this step only searches for it
        second = tf.maximum(mate[first], 0)
        weight = weights[first] + weights[second]
        mean = boxes[first] + (boxes[second] - boxes[first]) * (weights[second] / weight)
        new, weight = tf.where(merges, mean, boxes[first]), tf.where(merges, weight, weights[first])
        is_first, is_second = index == first, tf.logical_and(merges, index == second)
        gone = tf.logical_or(gone, is_second)
        boxes, weights = tf.where(is_first[:, tf.newaxis], new, boxes), tf.where(is_first, weight, weights)
        mate = tf.where(tf.logical_and(merges, tf.logical_or(mate == first, mate == second)), -1, mate)
        scores = tf.where(gone, _infinite(), _scores(new, boxes))
        is_nearer = tf.logical_or(scores < least, tf.logical_and(scores == least, mate > first))
        is_nearer &= tf.logical_and(merges, tf.logical_and(index < first, tf.logical_not(gone)))
        after, following = _least(tf.where(index > first, scores, _infinite()))
        least = tf.where(is_nearer, scores, tf.where(is_second, _infinite(), tf.where(is_first, after, least)))
        mate = tf.where(is_nearer, first, tf.where(is_first, following, mate))
        return boxes, weights, gone, least, mate

    def is_alike(boxes, weights, gone, least, mate):
        return tf.reduce_min(least) <= threshold

    start = boxes, weights, tf.zeros([count], tf.bool), least, mate
    shapes = tf.TensorShape([None, 4]), *[tf.TensorShape([None])] * 4
    boxes, weights, gone, *_ = tf.while_loop(is_alike, step, start, shape_invariants=shapes, parallel_iterations=1)
    kept = tf.logical_not(gone)
    boxes, weights = tf.boolean_mask(boxes, kept), tf.boolean_mask(weights, kept)
    weights, order = tf.math.top_k(weights, tf.shape(weights)[0])  # stable: of equal values, the first comes first
    return tf.gather(boxes, order), weights


def _infinite():
    return tf.constant(float("inf"), tf.float64)


def _least(values):
    """Returns the minimum along the last axis and the index of its first occurrence."""
    least = tf.reduce_min(values, axis=-1)
    places = tf.range(tf.shape(values)[-1])
    return least, tf.reduce_min(tf.where(values == least[..., tf.newaxis], places, tf.int32.max), axis=-1)


def _scores(a, b):
    """Match scores of boxes `(…, 4)`, see `merging.match_score`."""
    left, top, right, bottom = tf.unstack(a, axis=-1)
    other_left, other_top, other_right, other_bottom = tf.unstack(b, axis=-1)
    width = tf.minimum(right, other_right) - tf.maximum(left, other_left)
    height = tf.minimum(bottom, other_bottom) - tf.maximum(top, other_top)
    shared = tf.maximum(width, 0) * tf.maximum(height, 0)
    union = (right - left) * (bottom - top) + (other_right - other_left) * (other_bottom - other_top) - shared
    across = tf.maximum(right, other_right) - tf.minimum(left, other_left)
    down = tf.maximum(bottom, other_bottom) - tf.minimum(top, other_top)
    x, y = (left + right) - (other_left + other_right), (top + bottom) - (other_top + other_bottom)
    diagonal = 4.0 * (across * across + down * down)
    one = tf.ones([], a.dtype)
    overlap = shared / tf.where(union > 0, union, one)
    return one - overlap + (x * x + y * y) / tf.where(diagonal > 0, diagonal, one)
