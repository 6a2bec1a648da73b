"""Reading of possibly broken examples in a graph: an example that raises is skipped or replaced."""

from collections.abc import Callable

import tensorflow as tf


def what_can_be_read(examples: Callable[[], tf.data.Dataset], length: int | tf.Tensor, nothing) -> tf.data.Dataset:
    """Returns a dataset of one element: the readable examples, as a batch.

    Args:
        examples: creates the dataset of the row's examples; called for each way of reading them, since tf.data fuses map and
            batch, which must not affect the other way.
        length: their number, or more.
        nothing: the element if none can be read.
    """
    length = tf.cast(length, tf.int64)
    none, at_once = tf.data.Dataset.from_tensors(nothing), tf.maximum(length, 1)
    # The row as a whole, which is fast; failing that, one by one, without those that raise; failing all, nothing. An empty row
    # uses neither way: the first use of each takes a second.
    whole, some = examples().batch(at_once).ignore_errors(), examples().ignore_errors().batch(at_once)
    return none.take(tf.cast(length == 0, tf.int64)).concatenate(whole).concatenate(some).concatenate(none).take(1)


def attempt(function: Callable, argument, otherwise):
    """Returns `function(argument)`, or `otherwise` if it raises.

    A dataset can ignore errors, in a graph and in an exported one. A single element costs a tenth of a millisecond; with
    `Dataset.reduce` it would be twenty.

    Args:
        function: maps a tensor to tensors.
        argument: the tensor.
        otherwise: tensors of the same types.
    """
    found = tf.data.Dataset.from_tensors(argument).map(function).ignore_errors()
    return found.concatenate(tf.data.Dataset.from_tensors(otherwise)).take(1).get_single_element()
