"""Building blocks of a net's graphs: parts of the net, means over positions, means over mirror images."""

from collections.abc import Callable

import keras
import tensorflow as tf


def over_flips(see: Callable, images, flip: bool):
    """Returns `see(images)`, or its mean with that of the mirror images, processed in the same batch.

    Args:
        see: function from `(B, height, width, 3)` to `(B, …)`.
        images: `(B, height, width, 3)`.
        flip: whether to include mirror images.
    """
    if not flip:
        return see(images)
    both = see(tf.concat([images, tf.reverse(images, [2])], axis=0))  # (2B, …)
    return tf.add(*tf.split(both, 2)) / 2


def up_to_layer(net: keras.Model, layer: str) -> keras.Model:
    """Returns the model from images of any size to the output of `layer`, sharing the layers of `net` and their variables.

    Args:
        net: a chain of layers for maps of any size.
        layer: the name of one of them.
    """
    # Rebuilt, since `layer.output` of a layer shared by several nets belongs to the first of them.
    inputs = outputs = keras.Input((None, None, net.input_shape[-1]), dtype=net.inputs[0].dtype, name="images")
    for each in net.layers:
        if not isinstance(each, keras.layers.InputLayer):
            outputs = each(outputs)
        if each.name == layer:
            break
    return keras.Model(inputs, outputs, name=f"{net.name}_up_to_{layer}")


def mean_over_places(net: keras.Model, preprocess: Callable, images):
    """Returns a net's output averaged over all positions of its map: `(B, height, width, 3)` to `(B, channels)` float32.

    Args:
        net: a fully convolutional net.
        preprocess: its preprocessing of images in 0–255.
        images: RGB images of any dtype.
    """
    return tf.reduce_mean(tf.cast(net(preprocess(images), training=False), tf.float32), axis=[1, 2])
