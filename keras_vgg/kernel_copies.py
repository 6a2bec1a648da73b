"""Copies of a net's kernels in the precision that it computes in, made once for as long as the weights stand still.

Under a mixed policy Keras casts each weight whenever its layer is called, and its gradient back. Here the micro-batches of a weight
update, or all that a net is asked without training, share one cast. Gradients are taken with respect to the copies and stay in
their precision until they are added up.
"""

import contextlib

import keras
import tensorflow as tf


class KernelCopies:
    """Copies of the kernels of layers that compute in another dtype than they keep them in; of a net in float32 there are none.

    Args:
        model: the net.
        strategy: on whose replicas it runs, each with copies of its own; by default there is one of each, where TensorFlow puts
            variables.
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
        """Copies the kernels as they are now; called on each replica."""
        for kernel, copy in self._pairs:
            copy.assign(tf.cast(kernel.value, copy.dtype))

    def scope(self) -> keras.StatelessScope:
        """Returns a scope within which the net computes with the copies, and no layer may change its variables."""
        return self.stand_in([])[0]

    def stand_in(self, variables: list[keras.Variable]) -> tuple[keras.StatelessScope, list]:
        """As `scope`, for gradients; called on each replica.

        Args:
            variables: with respect to which gradients are to be taken.

        Returns:
            `(scope, sources)`: of each of `variables` what the net computes with, its copy, or where it has none itself.
        """
        scope, values = keras.StatelessScope(), {}
        for kernel, copy in self._pairs:
            values[id(kernel)] = copy.read_value()
            scope.add_update((kernel, values[id(kernel)]))
        return scope, [values.get(id(variable), variable.value) for variable in variables]

    def variables(self, originals: list[keras.Variable]) -> list[tf.Variable]:
        """Returns of each variable that which the net computes with: its copy, or where it has none itself."""
        copies = {id(kernel): copy for kernel, copy in self._pairs}
        return [copies.get(id(original), original.value) for original in originals]


def _casts_its_kernel(layer: keras.layers.Layer) -> bool:
    if not isinstance(layer, keras.layers.Conv2D | keras.layers.Dense) or layer.dtype_policy.quantization_mode is not None:
        return False
    return layer.compute_dtype != layer.variable_dtype
