"""Reading what may be broken, in a graph: an example that raises is left out, or gives what stands for it."""

from collections.abc import Callable

import tensorflow as tf


def what_can_be_read(examples: Callable[[], tf.data.Dataset], length: int | tf.Tensor, nothing) -> tf.data.Dataset:
    """Returns a data set of one element: the examples that can be read, as a batch.

    Args:
        examples: makes the data set of the row's examples; called for each way of reading them, since tf.data fuses map and
            batch, which must not concern the other way.
        length: how many they are, or more.
        nothing: the element where none can be read.
    """
    length = tf.cast(length, tf.int64)
    none, at_once = tf.data.Dataset.from_tensors(nothing), tf.maximum(length, 1)
    # The row as a whole, which is fast; failing that, one by one, without those that raise; failing all, nothing. A row of no
    # examples takes neither way: each is made ready when it is first taken, which lasts a second.
    whole, some = examples().batch(at_once).ignore_errors(), examples().ignore_errors().batch(at_once)
    return none.take(tf.cast(length == 0, tf.int64)).concatenate(whole).concatenate(some).concatenate(none).take(1)


def attempt(function: Callable, argument, otherwise):
    """Returns what `function` gives for `argument`, or `otherwise` where it raises.

    A data set can leave out what raises, in a graph and in an exported one. Its cost is a tenth of a millisecond, as a single
    element; by `Dataset.reduce` it would be twenty.

    Args:
        function: of a tensor, to tensors.
        argument: the tensor.
        otherwise: tensors of the same types.
    """
    found = tf.data.Dataset.from_tensors(argument).map(function).ignore_errors()
    return found.concatenate(tf.data.Dataset.from_tensors(otherwise)).take(1).get_single_element()
