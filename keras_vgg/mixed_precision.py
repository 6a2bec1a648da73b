"""Compute precision of a net, set layer by layer; Keras' global policy is not changed.

A mixed precision computes convolutions and matrix products in half precision, with float32 variables. Outputs are float32: global
pooling, normalization, the last Dense layer and everything after it.
"""

import math

import keras

from keras_vgg import class_names, preprocessing
from keras_vgg.heads import GLOBAL_POOLINGS
from keras_vgg.precision import FLOAT32, checked

_IN_FLOAT32 = (*GLOBAL_POOLINGS, keras.layers.UnitNormalization, keras.layers.Normalization)


def set_precision(model: keras.Model, precision: str) -> None:
    """Sets the compute precision of a net; functions traced before keep the old one.

    Args:
        model: a chain of layers, with or without a top; quantized layers are not changed.
        precision: one of `precision.PRECISIONS`.

    Raises:
        InputError: for an unknown precision.
    """
    for layer, policy in _policies(model, precision).items():
        layer.dtype_policy = policy


def in_precision(model: keras.Model, precision: str | None) -> keras.Model:
    """Returns `model` itself if it computes in the precision or that is `None`, otherwise a copy in the precision.

    Raises:
        InputError: for an unknown precision.
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
    """Returns the name of the dtype policy of a net's convolutions."""
    return next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)).dtype_policy.name


def multiply_adds(model: keras.Model) -> float:
    """Returns the multiply-accumulate operations of a net's convolutions per pixel of an image."""
    total, places = 0.0, 1.0  # positions of the map per pixel
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.MaxPooling2D)):
            places /= layer.strides[0] * layer.strides[1]
        if isinstance(layer, keras.layers.Conv2D):
            total += math.prod(layer.kernel.shape) * places
    return total


def _policies(model: keras.Model, precision: str) -> dict[keras.layers.Layer, str]:
    """Returns the name of the dtype policy of each layer except the input."""
    checked(precision)
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    dense = [place for place, layer in enumerate(layers) if isinstance(layer, keras.layers.Dense)]
    last = dense[-1] if dense else len(layers)
    return {
        layer: FLOAT32 if place >= last or isinstance(layer, _IN_FLOAT32) else precision
        for place, layer in enumerate(layers)
        if layer.dtype_policy.quantization_mode is None
    }
