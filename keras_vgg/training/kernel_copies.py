"""Copies of a net's kernels in the precision that it computes in, made once for each batch.

Under a mixed policy Keras casts each weight whenever its layer is called, and its gradient back. Between weight updates weights
stand still: all micro-batches of a batch can share one cast. Gradients are taken with respect to the copies and stay in their
precision until they are added up.
"""

import keras
import tensorflow as tf


class KernelCopies:
    """Copies of the kernels of layers that compute in another dtype than they keep them in; of a net in float32 there are none.

    Args:
        model: the net.
        strategy: on whose replicas it runs; each has copies of its own.
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy):
        def copy_of(layer):
            return tf.Variable(
                tf.zeros(layer.kernel.shape, layer.compute_dtype),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )

        layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]
        with strategy.scope():
            self._pairs = [(layer.kernel, copy_of(layer)) for layer in layers if layer.compute_dtype != layer.variable_dtype]

    def refresh(self) -> None:
        """Copies the kernels as they are now; called on each replica."""
        for kernel, copy in self._pairs:
            copy.assign(tf.cast(kernel.value, copy.dtype))

    def stand_in(self, variables: list[keras.Variable]) -> tuple[keras.StatelessScope, list]:
        """Lets a net compute with the copies; called on each replica.

        Args:
            variables: with respect to which gradients are to be taken.

        Returns:
            `(scope, sources)`: within the scope the net computes with copies where there are some; of each of `variables` its copy,
            or where it has none the variable itself.
        """
        scope, values = keras.StatelessScope(), {}
        for kernel, copy in self._pairs:
            values[id(kernel)] = copy.read_value()
            scope.add_update((kernel, values[id(kernel)]))
        return scope, [values.get(id(variable), variable.value) for variable in variables]
