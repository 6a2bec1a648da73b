"""The paper's SGD, with the L2 term in the gradient (Sec. 3.1), and Keras' optimizers by name; a rate for each layer."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_vgg import optimizers
from keras_vgg.recipe import Recipe


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
        self._divisor = None

    def apply_sums(self, sums, variables, divisor) -> None:
        """Applies the gradients `sums / divisor`, which are never written by themselves."""
        self._divisor = divisor
        self.apply(sums, variables)
        self._divisor = None

    def update_step(self, gradient, variable, learning_rate):
        """One update of `variable`, a `tf.Variable`; called by Keras."""
        constants = (learning_rate, 1.0 if self._divisor is None else self._divisor, self.l2, self.momentum)
        numbers = [tf.cast(constant, variable.dtype) for constant in constants]
        # By their handles, which under a strategy are those of the replica whose variables Keras updates now.
        velocity = self.momentums[self._get_variable_index(variable)].value.handle if self.momentum else None
        descend = _descend_compiled if variable.shape.num_elements() >= _LARGE else _descend
        descend(variable.handle, velocity, tf.cast(gradient, variable.dtype), *numbers, nesterov=self.nesterov)

    def get_config(self):
        """The constants, for saving."""
        return super().get_config() | {"l2": self.l2}


def _descend(weight, velocity, gradient, rate, divisor, l2, momentum, *, nesterov: bool):
    """One update of a variable by its handle and that of its velocity, which is `None` without momentum."""
    before = tf.raw_ops.ReadVariableOp(resource=weight, dtype=gradient.dtype)
    gradient = gradient / divisor + l2 * before
    if velocity is None:
        tf.raw_ops.ResourceApplyGradientDescent(var=weight, alpha=rate, delta=gradient)
    else:
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=weight, accum=velocity, lr=rate, grad=gradient, momentum=momentum, use_nesterov=nesterov
        )


_descend_compiled = tf.function(_descend, jit_compile=True, autograph=False)
"""Writes no gradient in between: of millions of weights that takes longer than computing it."""

_LARGE = 2**20
"""Weights from which compiling, which takes a thirtieth of a second for each variable, is worth it."""


def apply_sums(optimizer: keras.optimizers.Optimizer, sums: list, variables: list, divisor) -> None:
    """Applies the gradients `sums / divisor`.

    Args:
        optimizer: of `make_optimizer`.
        sums: of the gradients of examples, one like each of `variables`.
        variables: the weights.
        divisor: float32 number.
    """
    if isinstance(optimizer, SGD):
        optimizer.apply_sums(sums, variables, divisor)
    else:
        optimizer.apply([each / divisor for each in sums], variables)


def make_optimizer(recipe: Recipe, model: keras.Model, factors: Mapping[str, float]) -> keras.optimizers.Optimizer:
    """Returns the optimizer that `recipe` names, to be called in the strategy's scope.

    Args:
        recipe: the run.
        model: what will be trained, its frozen layers made so before.
        factors: what each layer's rate is multiplied by, see `layer_rates`; 1 for those that are not among them.
    """
    of_weights = tuple(_factors(model, factors))
    if recipe.optimizer == optimizers.SGD:
        kind = _with_layer_rates(SGD, of_weights) if set(of_weights) != {1.0} else SGD
        return kind(recipe.learning_rate, momentum=recipe.momentum, l2=recipe.weight_decay)
    # An adaptive optimizer would make whole steps of the rounding that is all there is of some gradients.
    moving = tuple(0.0 if is_idle else factor for factor, is_idle in zip(of_weights, _idle(model), strict=True))
    kinds = {name.lower(): kind for name, kind in vars(keras.optimizers).items() if isinstance(kind, type)}
    return _with_layer_rates(kinds[recipe.optimizer], moving, recipe.weight_decay)(recipe.learning_rate)


def _factors(model: keras.Model, factors: Mapping[str, float]) -> Iterator[float]:
    return (factors.get(layer.name, 1.0) for layer in model.layers for _ in layer.trainable_variables)


def _idle(model: keras.Model) -> Iterator[bool]:
    """Yields of each trained variable whether nothing depends on it in training: a bias whose sum batch norm takes the mean off."""
    for layer, following in zip(model.layers, [*model.layers[1:], None], strict=True):
        is_normalized = isinstance(following, keras.layers.BatchNormalization) and following.trainable
        yield from (is_normalized and variable is getattr(layer, "bias", None) for variable in layer.trainable_variables)


def _with_layer_rates(kind: Any, factors: tuple[float, ...], decay: float = 0.0) -> Any:
    """Returns a class like the optimizer `kind`, whose every weight has a rate of its own, by which it also decays."""

    class WithLayerRates(kind):
        def __init__(self, learning_rate, **kwargs):
            super().__init__(learning_rate, **kwargs)
            self.weight_decay = None  # Keras would let all weights decay at the same rate

        def update_step(self, gradient, variable, learning_rate):
            rate = tf.cast(learning_rate, variable.dtype) * factors[self._get_variable_index(variable)]
            if decay:
                variable.assign_sub(rate * decay * variable)
            super().update_step(gradient, variable, rate)

    return WithLayerRates
