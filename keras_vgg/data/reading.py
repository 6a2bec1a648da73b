"""Reading what may be broken, in a graph: an example that raises is left out, or gives what stands for it."""

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
