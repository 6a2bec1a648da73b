"""The forward pass of training, with dropout keyed by example and batch normalization within groups."""

import keras
import tensorflow as tf

from keras_vgg.layers import keyed_dropout
from keras_vgg.training.batch_norm import normalize


def training_forward(model: keras.Model, images, keys, weights, *, seed: int, norm_group: int):
    """Runs a net of `build_vgg` in training mode.

    The models contain ordinary `Dropout` and `BatchNormalization` layers, so they load and train anywhere; here, dropout is keyed
    by example and batches are normalized in groups. The nets are chains, so a loop over the layers is the forward pass.

    If pooling follows a ReLU, the ReLU mask is applied to the gradient after the pooling, where the map is a quarter as large.
    The result is bitwise the same, since only the maximum of a window, the pooled value, has a gradient.

    Args:
        model: a net whose layers form a chain.
        images: `(m, height, width, C)` float, preprocessed.
        keys: `(m,)` int64 example keys.
        weights: `(m,)` float32: 1 for an image, 0 for an empty place.
        seed: the run's seed.
        norm_group: examples that are normalized together, see `batch_norm`.

    Returns:
        `(outputs, moments)`: the outputs of the last layer, `(m, units)`, and for each trainable batch normalization layer the
        moments of `batch_norm.normalize`.
    """
    outputs, stream, moments, mask_is_due = images, 0, [], False
    layers = model.layers[1:]  # the first is the input
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, keras.layers.Dropout):
            outputs = keyed_dropout(outputs, keys, rate=layer.rate, seed=seed, stream=stream)
            stream += 1
        elif isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            outputs, of_layer = normalize(layer, outputs, weights, norm_group)
            moments.append(of_layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            outputs = layer(outputs, training=False)
        elif isinstance(following, keras.layers.MaxPooling2D) and _ends_with_relu(layer):
            outputs, mask_is_due = _without_mask(layer, outputs), True
        elif mask_is_due:
            outputs, mask_is_due = _masked(layer(outputs)), False
        else:
            outputs = layer(outputs)
    return outputs, moments


def _ends_with_relu(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.ReLU) or getattr(layer, "activation", None) is keras.activations.relu


def _without_mask(layer: keras.layers.Layer, inputs):
    """Calls a layer that ends with ReLU, without its mask in the gradient."""
    if isinstance(layer, keras.layers.ReLU):
        return _passing_relu(inputs)
    layer.activation = _passing_relu
    try:
        return layer(inputs)
    finally:
        layer.activation = keras.activations.relu


@tf.custom_gradient
def _passing_relu(inputs):
    return tf.nn.relu(inputs), lambda gradient: gradient


@tf.custom_gradient
def _masked(outputs):
    """Returns `outputs` of a ReLU and applies its mask to their gradient."""
    return outputs, lambda gradient: tf.raw_ops.ReluGrad(gradients=gradient, features=outputs)
