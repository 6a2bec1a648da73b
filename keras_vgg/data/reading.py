"""Examples of a row read together, without those that cannot be read."""

from collections.abc import Callable

import tensorflow as tf


def what_can_be_read(examples: Callable[[], tf.data.Dataset], length: int | tf.Tensor, nothing) -> tf.data.Dataset:
    """Returns a data set of one element: the examples that can be read, as a batch.

    Args:
        examples: makes the data set of the row's examples; called for each way of reading them, since tf.data fuses map and
            batch, which must not concern the other way.
        length: how many they are.
        nothing: the element where none can be read.
    """
    # The row as a whole, which is fast; failing that, one by one, without those that raise; failing all, nothing.
    whole, some = examples().batch(length).ignore_errors(), examples().ignore_errors().batch(length)
    return whole.concatenate(some).concatenate(tf.data.Dataset.from_tensors(nothing)).take(1)
