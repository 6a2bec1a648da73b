"""The paper's SGD: momentum with the L2 term in the gradient (Sec. 3.1)."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("keras_vgg")
class SGD(keras.optimizers.SGD):
    """SGD with momentum and L2 as Caffe and the paper have it: `v ← μv − η(g + λw)`, `w ← w + v`.

    Neither `keras.optimizers.SGD(weight_decay=λ)` (decays outside the velocity: about ten times weaker at momentum 0.9) nor
    `keras.regularizers.L2(λ)` (its gradient is 2λw, and it is part of the reported loss) is this rule. As in the formula,
    all weights decay, biases included.

    Args:
        learning_rate: η, a number or schedule.
        momentum: μ.
        l2: λ, 5e-4 in the paper.
        **kwargs: further arguments of `keras.optimizers.SGD`.
    """

    def __init__(self, learning_rate=0.01, momentum=0.9, l2: float = 5e-4, **kwargs):
        super().__init__(learning_rate=learning_rate, momentum=momentum, **kwargs)
        self.l2 = l2

    def update_step(self, gradient, variable, learning_rate):
        """One update of `variable`, a `tf.Variable`; called by Keras."""
        gradient = keras.ops.cast(gradient, variable.dtype) + self.l2 * keras.ops.convert_to_tensor(variable)
        if not self.momentum:
            super().update_step(gradient, variable, learning_rate)
            return
        # Keras' own rule in one kernel: each operation of its own would read and write all weights once more.
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=gradient,
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )

    def get_config(self):
        """The constants, for saving."""
        return super().get_config() | {"l2": self.l2}
