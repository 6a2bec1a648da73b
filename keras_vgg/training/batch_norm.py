"""Batch normalization that does not depend on how a batch is split.

Statistics are computed over groups of consecutive examples of the batch (Hoffer et al. 2017, "ghost" batch normalization; what
each GPU does with its share in data-parallel training). A group lies within one micro-batch, so replicas, workers and
micro-batches make no difference apart from float rounding, and need no synchronization. Places without an image do not count.
"""

import keras
import tensorflow as tf


def batch_norm_layers(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Returns the trainable batch normalization layers, which use batch statistics; frozen ones use their own."""
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]


def normalize(layer: keras.layers.BatchNormalization, inputs, weights, group: int):
    """Normalizes a micro-batch by its groups' statistics.

    Args:
        layer: provides scale, shift and epsilon; channels are the last axis.
        inputs: `(m, height, width, C)`, of any float dtype.
        weights: `(m,)` float32: 1 for an image, 0 for an empty place.
        group: examples per group; `m` is a multiple of it.

    Returns:
        `(outputs, moments)`: like `inputs`, and `(2, C)` float32, the sum of the groups' means and variances, each times the
        group's number of images. As in Keras, it is the population variance.
    """
    size, height, width, channels = inputs.shape
    values = tf.reshape(tf.cast(inputs, tf.float32), [size // group, group, height, width, channels])
    present = tf.reshape(weights, [size // group, group, 1, 1, 1])
    images = tf.reduce_sum(present, axis=1, keepdims=True)  # of each group
    count = tf.maximum(images, 1.0) * float(height * width)
    # Relative to one of the values, so that a constant channel is exactly zero: otherwise ReLU would pass rounding noise.
    origin = tf.stop_gradient(values[:, :1, :1, :1])
    values -= origin
    mean = tf.reduce_sum(present * values, axis=[1, 2, 3], keepdims=True) / count  # (groups, 1, 1, 1, C)
    centered = values - mean
    variance = tf.reduce_sum(present * tf.square(centered), axis=[1, 2, 3], keepdims=True) / count
    scale = tf.math.rsqrt(variance + layer.epsilon) * tf.convert_to_tensor(layer.gamma)
    # Empty places stay zero: in a group of only these the scale is 1 / sqrt(epsilon), which would overflow over several layers.
    outputs = tf.reshape(present * centered * scale + tf.convert_to_tensor(layer.beta), tf.shape(inputs))
    moments = tf.stack([tf.reduce_sum(images * each, axis=[0, 1, 2, 3]) for each in (mean + origin, variance)])
    return tf.cast(outputs, inputs.dtype), moments


def follow(layer: keras.layers.BatchNormalization, moments) -> None:
    """Updates a layer's moving statistics from a batch, once per weight update.

    Args:
        layer: the layer; its `momentum` is the share of the old statistics that remains.
        moments: `(2, C)` float32: mean and variance of the batch, averaged over its images from those of their groups.
    """
    for own, of_batch in zip((layer.moving_mean, layer.moving_variance), tf.unstack(moments), strict=True):
        variable = own.value
        variable.assign(layer.momentum * variable + (1 - layer.momentum) * of_batch)
