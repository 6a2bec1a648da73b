"""Batch normalisation that does not depend on how a batch is cut.

Statistics are those of groups of examples that stand together in the batch (Hoffer et al. 2017, "ghost" batch normalisation; what
each GPU of a data-parallel training does with its share). A group lies within one micro-batch, so that replicas, workers and
micro-batches make no difference, float rounding apart, and none of them waits for another. Places without an image do not count.
"""

import keras
import tensorflow as tf


def batch_norm_layers(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Returns the layers that are trained by statistics of the batch; frozen ones keep to their own."""
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]


def normalize(layer: keras.layers.BatchNormalization, inputs, weights, group: int):
    """Normalises a micro-batch by its groups' statistics.

    Args:
        layer: gives scale, shift and epsilon; the last axis is that of the channels.
        inputs: `(m, height, width, C)`, of any float dtype.
        weights: `(m,)` float32: 1 for an image, 0 for an empty place.
        group: examples of a group, which `m` is a multiple of.

    Returns:
        `(outputs, moments)`: like `inputs`, and `(2, C)` float32, the groups' means and variances, each times its number of images,
        summed. As in Keras the variance is that of the population.
    """
    size, height, width, channels = inputs.shape
    values = tf.reshape(tf.cast(inputs, tf.float32), [size // group, group, height, width, channels])
    present = tf.reshape(weights, [size // group, group, 1, 1, 1])
    images = tf.reduce_sum(present, axis=1, keepdims=True)  # of each group
    count = tf.maximum(images, 1.0) * float(height * width)
    # From one of the values on, so that a channel that is the same everywhere is so exactly: else ReLU would pass rounding noise.
    origin = tf.stop_gradient(values[:, :1, :1, :1])
    values -= origin
    mean = tf.reduce_sum(present * values, axis=[1, 2, 3], keepdims=True) / count  # (groups, 1, 1, 1, C)
    centered = values - mean
    variance = tf.reduce_sum(present * tf.square(centered), axis=[1, 2, 3], keepdims=True) / count
    scale = tf.math.rsqrt(variance + layer.epsilon) * tf.convert_to_tensor(layer.gamma)
    # Empty places are held at zero: in a group of these alone the scale is 1 / sqrt(epsilon), and layer upon layer would overflow.
    outputs = tf.reshape(present * centered * scale + tf.convert_to_tensor(layer.beta), tf.shape(inputs))
    moments = tf.stack([tf.reduce_sum(images * each, axis=[0, 1, 2, 3]) for each in (mean + origin, variance)])
    return tf.cast(outputs, inputs.dtype), moments


def follow(layer: keras.layers.BatchNormalization, moments) -> None:
    """Moves a layer's own statistics towards those of a batch, once for each weight update.

    Args:
        layer: whose `momentum` says how much of the old ones stays.
        moments: `(2, C)` float32: mean and variance of the batch, the mean over its images of their groups' own.
    """
    for own, of_batch in zip((layer.moving_mean, layer.moving_variance), tf.unstack(moments), strict=True):
        variable = own.value
        variable.assign(layer.momentum * variable + (1 - layer.momentum) * of_batch)
