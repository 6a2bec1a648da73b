"""The paper's SGD, with the L2 term in the gradient (Sec. 3.1), and Keras' optimizers by name; per-layer learning rates."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_vgg import optimizers
from keras_vgg.recipe import Recipe


class _TakesSums:
    """Mixin of an optimizer that can apply gradients which are already summed over replicas."""

    _are_summed = False

    def apply_sums(self, sums: list, variables: list, divisor) -> None:
        """Applies the gradients `sums / divisor`.

        Args:
            sums: gradients summed over examples and replicas, one for each of `variables`.
            variables: the weights.
            divisor: float32 number.
        """
        self._are_summed = True
        self._apply_quotients(sums, variables, divisor)
        self._are_summed = False

    def _apply_quotients(self, sums, variables, divisor):
        self.apply([each / divisor for each in sums], variables)  # type: ignore[attr-defined]

    def _all_reduce_sum_gradients(self, grads_and_vars):  # of Keras' optimizers on TensorFlow
        if self._are_summed:
            return grads_and_vars
        return super()._all_reduce_sum_gradients(grads_and_vars)  # type: ignore[misc]


@keras.saving.register_keras_serializable("keras_vgg")
class SGD(_TakesSums, keras.optimizers.SGD):
    """SGD with momentum and L2 as in Caffe and the paper: `v ← μv − η(g + λw)`, `w ← w + v`.

    Neither `keras.optimizers.SGD(weight_decay=λ)` (decays outside the velocity: about ten times weaker at momentum 0.9) nor
    `keras.regularizers.L2(λ)` (its gradient is 2λw, and it is part of the reported loss) implements this rule. All weights decay,
    including biases.

    Args:
        learning_rate: η, a number or schedule.
        momentum: μ.
        l2: λ, 5e-4 in the paper.
        **kwargs: further arguments of `keras.optimizers.SGD`.
    """

    def __init__(self, learning_rate=0.01, momentum=0.9, l2: float = 5e-4, **kwargs):
        super().__init__(learning_rate=learning_rate, momentum=momentum, **kwargs)
        self.l2 = l2
        self._divisor = None

    def _apply_quotients(self, sums, variables, divisor):  # without materializing them
        self._divisor = divisor
        self.apply(sums, variables)
        self._divisor = None

    def update_step(self, gradient, variable, learning_rate):
        """Updates `variable`, a `tf.Variable`; called by Keras."""
        constants = (learning_rate, 1.0 if self._divisor is None else self._divisor, self.l2, self.momentum)
        numbers = [tf.cast(constant, variable.dtype) for constant in constants]
        # Under a strategy, the handles are those of the replica that Keras is updating.
        velocity = self.momentums[self._get_variable_index(variable)].value.handle if self.momentum else None
        descend = _descend_compiled if variable.shape.num_elements() >= _LARGE else _descend
        descend(variable.handle, velocity, tf.cast(gradient, variable.dtype), *numbers, nesterov=self.nesterov)

    def get_config(self):
        """Returns the configuration, for saving."""
        return super().get_config() | {"l2": self.l2}


def _descend(weight, velocity, gradient, rate, divisor, l2, momentum, *, nesterov: bool):
    """Updates a variable, given its handle and that of its velocity, which is `None` without momentum."""
    before = tf.raw_ops.ReadVariableOp(resource=weight, dtype=gradient.dtype)
    gradient = gradient / divisor + l2 * before
    if velocity is None:
        tf.raw_ops.ResourceApplyGradientDescent(var=weight, alpha=rate, delta=gradient)
    else:
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=weight, accum=velocity, lr=rate, grad=gradient, momentum=momentum, use_nesterov=nesterov
        )


_descend_compiled = tf.function(_descend, jit_compile=True, autograph=False)
"""Avoids writing the gradient, which for millions of weights takes longer than computing it."""

_LARGE = 2**20
"""Number of weights from which compiling, a thirtieth of a second per variable, is worth it."""


def make_optimizer(recipe: Recipe, model: keras.Model, factors: Mapping[str, float]) -> keras.optimizers.Optimizer:
    """Returns the optimizer of `recipe`; call it in the strategy's scope.

    Args:
        recipe: the run.
        model: the model to train, with layers already frozen.
        factors: learning rate multiplier of each layer, see `layer_rates`; 1 for layers not included.
    """
    of_weights = tuple(_factors(model, factors))
    if recipe.optimizer == optimizers.SGD:
        kind = _with_layer_rates(SGD, of_weights) if set(of_weights) != {1.0} else SGD
        return kind(recipe.learning_rate, momentum=recipe.momentum, l2=recipe.weight_decay)
    # An adaptive optimizer would take full steps along gradients that are only rounding noise.
    moving = tuple(0.0 if is_idle else factor for factor, is_idle in zip(of_weights, _idle(model), strict=True))
    kinds = {name.lower(): kind for name, kind in vars(keras.optimizers).items() if isinstance(kind, type)}
    return _with_layer_rates(kinds[recipe.optimizer], moving, recipe.weight_decay)(recipe.learning_rate)


def _factors(model: keras.Model, factors: Mapping[str, float]) -> Iterator[float]:
    return (factors.get(layer.name, 1.0) for layer in model.layers for _ in layer.trainable_variables)


def _idle(model: keras.Model) -> Iterator[bool]:
    """Yields whether each trained variable has no effect in training: a bias whose contribution batch norm subtracts."""
    for layer, following in zip(model.layers, [*model.layers[1:], None], strict=True):
        is_normalized = isinstance(following, keras.layers.BatchNormalization) and following.trainable
        yield from (is_normalized and variable is getattr(layer, "bias", None) for variable in layer.trainable_variables)


def _with_layer_rates(kind: Any, factors: tuple[float, ...], decay: float = 0.0) -> Any:
    """Returns a subclass of the optimizer `kind` in which each weight has its own learning rate, which also scales its decay."""

    bases = (kind,) if issubclass(kind, _TakesSums) else (_TakesSums, kind)

    class WithLayerRates(*bases):  # type: ignore[misc]
        def __init__(self, learning_rate, **kwargs):
            super().__init__(learning_rate, **kwargs)
            self.weight_decay = None  # Keras would decay all weights at the same rate

        def update_step(self, gradient, variable, learning_rate):
            rate = tf.cast(learning_rate, variable.dtype) * factors[self._get_variable_index(variable)]
            if decay:
                variable.assign_sub(rate * decay * variable)
            super().update_step(gradient, variable, rate)

    return WithLayerRates
