"""What the layers of a net compute in. It is the net's own, layer by layer: Keras' policy for all is left alone.

In a mixed precision convolutions and products are computed in half precision, with variables of float32. What a net puts out of
them is float32: means over places, lengths, the last Dense layer and all that follows it.
"""

import math

import keras

from keras_vgg import class_names, preprocessing
from keras_vgg.heads import GLOBAL_POOLINGS
from keras_vgg.precision import FLOAT32, checked

_IN_FLOAT32 = (*GLOBAL_POOLINGS, keras.layers.UnitNormalization, keras.layers.Normalization)


def set_precision(model: keras.Model, precision: str) -> None:
    """Lets a net compute in a precision from now on; functions that were traced of it before go on as they were.

    Args:
        model: a chain of layers, with a top or without; quantised ones stay what they are.
        precision: one of `precision.PRECISIONS`.

    Raises:
        InputError: for another precision.
    """
    for layer, policy in _policies(model, precision).items():
        layer.dtype_policy = policy


def in_precision(model: keras.Model, precision: str | None) -> keras.Model:
    """Returns a net that computes in a precision: `model` itself where it does, or `None` is given; else a copy.

    Raises:
        InputError: for another precision.
    """
    if precision is None or all(layer.dtype_policy.name == policy for layer, policy in _policies(model, precision).items()):
        return model
    copy = keras.models.clone_model(model)
    set_precision(copy, precision)
    copy.set_weights(model.get_weights())
    if preprocessing.is_known(model):
        preprocessing.remember(copy, preprocessing.of_weights(model), preprocessing.origin_of(model))
    class_names.adopt(copy, class_names.known(model))
    return copy


def precision_of(model: keras.Model) -> str:
    """Returns what the convolutions of a net compute in, by the name of their policy."""
    return next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)).dtype_policy.name


def multiply_adds(model: keras.Model) -> float:
    """Returns how many multiply-accumulate operations the convolutions of a net take for each pixel of an image."""
    total, places = 0.0, 1.0  # of the map, for each pixel
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.MaxPooling2D)):
            places /= layer.strides[0] * layer.strides[1]
        if isinstance(layer, keras.layers.Conv2D):
            total += math.prod(layer.kernel.shape) * places
    return total


def _policies(model: keras.Model, precision: str) -> dict[keras.layers.Layer, str]:
    """Returns the name of the policy of each layer that computes."""
    checked(precision)
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    dense = [place for place, layer in enumerate(layers) if isinstance(layer, keras.layers.Dense)]
    last = dense[-1] if dense else len(layers)
    return {
        layer: FLOAT32 if place >= last or isinstance(layer, _IN_FLOAT32) else precision
        for place, layer in enumerate(layers)
        if layer.dtype_policy.quantization_mode is None
    }
