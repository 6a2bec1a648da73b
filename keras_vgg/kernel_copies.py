"""Copies of a net's kernels in its compute precision, made once for as long as the weights do not change.

Under a mixed policy Keras casts each weight whenever its layer is called, and its gradient back. Here all micro-batches of a
weight update, or all calls during inference, share one cast. Gradients are computed with respect to the copies and stay in their
precision until they are summed.
"""

import contextlib

import keras
import tensorflow as tf


class KernelCopies:
    """Copies of the kernels of layers whose compute dtype differs from their variable dtype; none for a net in float32.

    Args:
        model: the net.
        strategy: a strategy with separate copies on each replica; by default there is one copy, placed by TensorFlow.
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy | None = None):
        of_replicas = {
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
        }

        def copy_of(layer):
            values = tf.cast(layer.kernel.value, layer.compute_dtype)
            return tf.Variable(values, trainable=False, name=f"{layer.name}_kernel", **(of_replicas if strategy else {}))

        with strategy.scope() if strategy else contextlib.nullcontext():
            self._pairs = [(layer.kernel, copy_of(layer)) for layer in model.layers if _casts_its_kernel(layer)]

    def refresh(self) -> None:
        """Updates the copies from the kernels; call it on each replica."""
        for kernel, copy in self._pairs:
            copy.assign(tf.cast(kernel.value, copy.dtype))

    def scope(self) -> keras.StatelessScope:
        """Returns a scope in which the net computes with the copies and layers cannot change their variables."""
        return self.stand_in([])[0]

    def stand_in(self, variables: list[keras.Variable]) -> tuple[keras.StatelessScope, list]:
        """Like `scope`, for gradients; call it on each replica.

        Args:
            variables: variables to differentiate with respect to.

        Returns:
            `(scope, sources)`: the scope, and for each of `variables` its copy or, if it has none, its own value.
        """
        scope, values = keras.StatelessScope(), {}
        for kernel, copy in self._pairs:
            values[id(kernel)] = copy.read_value()
            scope.add_update((kernel, values[id(kernel)]))
        return scope, [values.get(id(variable), variable.value) for variable in variables]

    def variables(self, originals: list[keras.Variable]) -> list[tf.Variable]:
        """Returns for each variable its copy or, if it has none, the variable itself."""
        copies = {id(kernel): copy for kernel, copy in self._pairs}
        return [copies.get(id(original), original.value) for original in originals]


def _casts_its_kernel(layer: keras.layers.Layer) -> bool:
    if not isinstance(layer, keras.layers.Conv2D | keras.layers.Dense) or layer.dtype_policy.quantization_mode is not None:
        return False
    return layer.compute_dtype != layer.variable_dtype
