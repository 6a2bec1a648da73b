"""Nets that take images of any size and output a map of class scores (Sec. 3.2): FC layers as convolutions.

`fc1` becomes a convolution over the whole feature map of training (7x7 at 224x224), `fc2` and `predictions` become 1x1. At the
training size the map has one position, equal to the net's output; the next position to the right or down is the net's output for
a window shifted by 32 pixels, except that it sees pixels beyond the window's edges, where the net sees zeros.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_vgg import class_names, layers, preprocessing
from keras_vgg.errors import InputError
from keras_vgg.heads import ENDINGS, GLOBAL_POOLINGS, has_score_map

KEEP = "keep"
ROUNDINGS = {"floor": "valid", "ceil": "same"}
"""Treatment of the last row or column of an odd size: Keras drops it, Caffe pools it alone."""


def to_fully_convolutional(
    model: keras.Model,
    *,
    activation: str | Callable[..., Any] | None = KEEP,
    pooling: str = "floor",
    share_weights: bool = False,
    name: str | None = None,
) -> keras.Model:
    """Rewrites the Dense layers of a VGG net as convolutions.

    Args:
        model: a net of `build_vgg` or `keras_vgg.applications`, VGG16 or VGG19 of `keras.applications`, or a fitted one, of any
            width and input size, with its top.
        activation: activation of the score map: a Keras activation, or `None` for scores; by default (`KEEP`) the classifier's
            own, at every position.
        pooling: `"floor"` as in Keras or `"ceil"` as in Caffe, for sizes that are not multiples of 32.
        share_weights: whether the new model shares the variables of `model`, which takes no memory and follows their changes,
            but cannot be saved. By default it has copies.
        name: name of the new model.

    Returns:
        A functional model from `(B, height, width, channels)`, each side at least the training size, to `(B, rows, columns,
        classes)`. For a net with global pooling, its scores before any softmax are the mean of those over the map; if more than
        one Dense layer follows the pooling, the outputs are for the whole map, `(B, 1, 1, classes)`.

    Raises:
        InputError: if `model` has no top or several outputs, is not a chain of the layers of a VGG net, or has a layer between
            `Flatten` and its first Dense layer that does not work position by position.

    Example:
        >>> import numpy as np
        >>> import keras_vgg
        >>> model = keras_vgg.applications.VGG16(weights=None)
        >>> dense = keras_vgg.fully_convolutional.to_fully_convolutional(model)
        >>> dense(np.zeros((1, 384, 512, 3), np.float32)).shape
        TensorShape([1, 6, 10, 1000])
    """
    if pooling not in ROUNDINGS:
        raise InputError(f"`pooling` must be 'floor' or 'ceil'. Received: pooling={pooling!r}.")
    classifier = _classifier_of(model)
    inputs = keras.Input(_any_size(model.input_shape[1:]), dtype=model.inputs[0].dtype, name="images")
    outputs, pairs = _applied(model, inputs, classifier, activation, ROUNDINGS[pooling], share_weights)
    for layer, new in () if share_weights else pairs:
        for source, target in zip(layer.weights, new.weights, strict=True):
            target.assign(keras.ops.reshape(source, target.shape))
    result = keras.Model(inputs, outputs, name=name or f"{model.name}_fully_convolutional")
    if preprocessing.is_known(model):
        preprocessing.remember(result, preprocessing.of_weights(model), preprocessing.origin_of(model))
    class_names.adopt(result, class_names.known(model))
    return result


def _classifier_of(model: keras.Model) -> keras.layers.Dense:
    """Returns the last Dense layer of a net, of which it checks the head."""
    if len(model.outputs) > 1:
        raise InputError(f"Expected a net with one output. Received: {model.name!r} with {len(model.outputs)}.")
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    if not dense or not any(isinstance(layer, (keras.layers.Flatten, *GLOBAL_POOLINGS)) for layer in model.layers):
        raise InputError(f"Expected a net with its top (Flatten and Dense layers). Received: {model.name!r} without it.")
    head = model.layers[model.layers.index(dense[-1]) + 1 :]
    if strange := next((layer for layer in head if not isinstance(layer, ENDINGS)), None):
        raise InputError(f"Expected only an activation after the last Dense layer. Received: {_name_of(strange)}.")
    return dense[-1]


def _applied(model: keras.Model, inputs, classifier: keras.layers.Dense, activation, padding: str, share: bool):
    """Applies the rewritten layers of a net to `inputs`; returns their outputs, and pairs of each layer and the new one for it."""
    pools_scores = has_score_map(model.layers)
    outputs, pairs, field, is_map = inputs, [], (1, 1), True
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if isinstance(layer, keras.layers.Flatten):
            field, is_map = _sides(layer.input.shape[1:]) if is_map else field, False
            continue
        if isinstance(layer, GLOBAL_POOLINGS):
            is_map = False
            if not pools_scores:
                outputs = type(layer)(keepdims=True, dtype=layer.dtype_policy, name=layer.name)(outputs)
            continue  # otherwise scores of the mean equal the mean of the scores at each position
        if is_map or isinstance(layer, _AT_EVERY_PLACE):
            new = _rewritten(layer, field, activation if layer is classifier else KEEP, padding, share)
        else:
            new = _at_every_place(layer, field, share)
        if softmax := layer is classifier and _is_softmax_along_rows(new):
            new.activation = keras.activations.linear
        outputs = new(outputs)
        if softmax:
            outputs = keras.layers.Softmax(axis=1, dtype=layer.dtype_policy, name=f"{layer.name}_softmax")(outputs)
        if isinstance(layer, keras.layers.Dense):
            field = (1, 1)
        if new is not layer:
            pairs.append((layer, new))
        if layer is classifier and not _keeps(activation):
            break  # only the replaced activation follows
    return outputs, pairs


def stride_of(model: keras.Model) -> int:
    """Returns the distance in pixels between adjacent positions of the map that a net's convolutions and poolings output."""
    return math.prod(layer.strides[0] for layer in _strided(model))


def smallest_side(model: keras.Model) -> int:
    """Returns the side in pixels of the smallest image for which a net's convolutions and poolings output a position."""
    side = 1
    for layer in reversed(_strided(model)):
        window = layer.pool_size if isinstance(layer, keras.layers.MaxPooling2D) else layer.strides  # convolutions pad
        side = (side - 1) * layer.strides[0] + window[0]
    return side


def _strided(model):
    return [layer for layer in model.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.MaxPooling2D))]


def _keeps(activation) -> bool:
    return isinstance(activation, str) and activation == KEEP


def _is_softmax_along_rows(layer) -> bool:
    # Keras' softmax works along the last axis, which is the class axis only with channels_last.
    return layer.activation is keras.activations.softmax and keras.config.image_data_format() == "channels_first"


def _any_size(shape):
    return (None, None, shape[-1]) if keras.config.image_data_format() == "channels_last" else (shape[0], None, None)


def _sides(shape):
    return shape[:2] if keras.config.image_data_format() == "channels_last" else shape[1:]


_KEPT = (
    keras.layers.Conv2D,
    keras.layers.BatchNormalization,
    keras.layers.ReLU,
    keras.layers.Activation,
    keras.layers.Dropout,
    layers.LocalResponseNormalization,
)


_AT_EVERY_PLACE = (keras.layers.Dense, keras.layers.ReLU, keras.layers.Activation, keras.layers.Dropout, keras.layers.Softmax)
"""Layers that work position by position, directly or once rewritten."""


def _name_of(layer: keras.layers.Layer) -> str:
    return f"{layer.name!r} ({type(layer).__name__})"


def _rewritten(layer: keras.layers.Layer, field: tuple[int, int], activation, padding: str, share: bool) -> keras.layers.Layer:
    if isinstance(layer, keras.layers.Dense):
        activation = layer.activation if _keeps(activation) else activation
        if share:
            return DenseAsConvolution(layer, field, activation, name=layer.name)
        return keras.layers.Conv2D(
            layer.units, field, activation=activation, use_bias=layer.use_bias, dtype=layer.dtype_policy, name=layer.name
        )
    if isinstance(layer, keras.layers.MaxPooling2D):
        if padding == "same" and layer.pool_size != layer.strides:  # Keras would pad both sides, Caffe the end
            raise InputError(f"pooling='ceil' requires windows that do not overlap. Received: {layer.name!r}, whose windows do.")
        return type(layer).from_config(layer.get_config() | {"padding": padding})
    if isinstance(layer, keras.layers.Softmax):
        axis = -1 if keras.config.image_data_format() == "channels_last" else 1  # the class axis
        return type(layer).from_config(layer.get_config() | {"axis": axis})
    if isinstance(layer, _KEPT):
        return layer if share else type(layer).from_config(layer.get_config())
    raise InputError(f"Expected a chain of the layers of a VGG net. Received: {layer.name!r} ({type(layer).__name__}).")


def _at_every_place(layer: keras.layers.Layer, field: tuple[int, int], share: bool) -> keras.layers.Layer:
    """Returns a layer for vectors, after the first Dense layer, as one for maps."""
    if field != (1, 1):
        raise InputError(f"Expected a Dense layer after Flatten. Received: {_name_of(layer)}, which sees all positions at once.")
    return AtEveryPlace(layer if share else type(layer).from_config(layer.get_config()), name=layer.name)


class DenseAsConvolution(keras.layers.Layer):
    """Applies a Dense layer at every position of a feature map, sharing that layer's variables.

    It uses a matrix product, since fc1 as a 7x7 convolution has a kernel of 411 MB that oneDNN reorders at every call.

    Args:
        dense: the layer, whose input was a flattened map of size `field`.
        field: height and width of that map.
        activation: a Keras activation, or `None`.
    """

    def __init__(self, dense: keras.layers.Dense, field: tuple[int, int], activation, **kwargs):
        super().__init__(dtype=dense.dtype_policy, **kwargs)
        self.dense, self.field, self.activation = dense, tuple(field), keras.activations.get(activation)

    def call(self, inputs):
        """Maps `(B, height, width, channels)` to `(B, height - field + 1, width - field + 1, units)`."""
        channels_first = keras.config.image_data_format() == "channels_first"
        places = tf.transpose(inputs, (0, 2, 3, 1)) if channels_first else inputs
        if self.field != (1, 1):  # windows, flattened as H x W x C like the map in training
            sizes, ones = [1, *self.field, 1], [1, 1, 1, 1]
            places = tf.image.extract_patches(places, sizes, strides=ones, rates=ones, padding="VALID")
        outputs = keras.ops.matmul(places, self.dense.kernel)
        if self.dense.use_bias:
            outputs = outputs + self.dense.bias
        return self.activation(tf.transpose(outputs, (0, 3, 1, 2)) if channels_first else outputs)

    def get_config(self):
        """Raises `InputError`: a saved model must have its own variables."""
        raise InputError("A fully convolutional net with shared weights cannot be saved; create it with share_weights=False.")


@keras.saving.register_keras_serializable("keras_vgg")
class AtEveryPlace(keras.layers.Layer):
    """Applies a layer for vectors, such as batch norm after a Dense layer, at every position of a map with channels last.

    Args:
        layer: the layer.
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs):
        super().__init__(**{"dtype": layer.dtype_policy} | kwargs)
        self.layer = layer

    def build(self, input_shape):
        """Builds the layer for vectors with the input's channels."""
        if not self.layer.built:
            self.layer.build((None, input_shape[-1]))

    def call(self, inputs):
        """Maps `(B, height, width, channels)` to outputs at the same positions."""
        shape = keras.ops.shape(inputs)
        outputs = self.layer(keras.ops.reshape(inputs, (-1, inputs.shape[-1])))
        return keras.ops.reshape(outputs, (*shape[:-1], outputs.shape[-1]))

    def compute_output_shape(self, input_shape):
        """Returns the output shape for an input shape."""
        return (*input_shape[:-1], self.layer.compute_output_shape((None, input_shape[-1]))[-1])

    def get_config(self):
        """Returns the configuration of the layer."""
        return super().get_config() | {"layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config):
        """Creates a layer from the result of `get_config`."""
        return cls(keras.saving.deserialize_keras_object(config.pop("layer")), **config)
