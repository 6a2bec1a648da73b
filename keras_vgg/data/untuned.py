"""Pipelines of tf.data without the thread that tunes them."""

from collections.abc import Iterator

import tensorflow as tf


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a dataset whose iterators start no thread that tunes them.

    Otherwise each has one, even if there is nothing to tune. It looks at the pipeline after pauses of twice the length of the last,
    up to a minute, and an iterator that is deleted while it pauses often waits until it looks again: the signal to end is given
    before the thread can see that it must.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def arrays(dataset: tf.data.Dataset) -> Iterator:
    """Yields the elements of a dataset as NumPy arrays, `untuned`."""
    return untuned(dataset).as_numpy_iterator()
