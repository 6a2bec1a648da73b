"""Grad-CAM: which positions of the last convolution's feature maps support a class.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017
(https://arxiv.org/abs/1610.02391), Sec. 3.
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

_KEEP_PLACES = (keras.layers.BatchNormalization, keras.layers.ReLU, keras.layers.Activation)


def split_at_last_convolution(net: keras.Model) -> tuple[list[keras.layers.Layer], list[keras.layers.Layer]]:
    """Splits a net's layers, in order, after its last convolution with its batch norm and ReLU.

    Args:
        net: a chain of layers.
    """
    chain = [layer for layer in net.layers if not isinstance(layer, keras.layers.InputLayer)]
    end = 1 + max(place for place, layer in enumerate(chain) if isinstance(layer, keras.layers.Conv2D))
    while end < len(chain) and isinstance(chain[end], _KEEP_PLACES):
        end += 1
    return chain[:end], chain[end:]


def grad_cam(body: Sequence[Callable], head: Sequence[Callable], inputs, label: int):
    """Returns the Grad-CAM of a class: the ReLU of feature maps weighted by the gradients of the score (eq. 1 and 2).

    The weight of a feature map is the gradient of the class score, before any softmax or sigmoid, averaged over positions. If the
    head outputs a score map, as in a fully convolutional net, the score is its mean over positions.

    Args:
        body: layers from an image to the last convolution's activation.
        head: layers from there to scores, `(B, classes)` or `(B, rows, columns, classes)`.
        inputs: `(B, height, width, channels)`, preprocessed images.
        label: the class.

    Returns:
        `(B, rows, columns)` float32, nonnegative and without unit: only relative values are meaningful.
    """
    features = _through(body, inputs)
    with tf.GradientTape() as tape:
        tape.watch(features)
        scores = tf.cast(_through(head, features)[..., label], tf.float32)
        score = tf.reduce_sum(tf.reduce_mean(tf.reshape(scores, [tf.shape(scores)[0], -1]), axis=1))
    gradients = tf.cast(tape.gradient(score, features), tf.float32)
    weights = tf.reduce_mean(gradients, axis=[1, 2], keepdims=True)  # (B, 1, 1, channels), eq. 1
    return tf.nn.relu(tf.reduce_sum(weights * tf.cast(features, tf.float32), axis=-1))  # eq. 2


def _through(chain: Sequence[Callable], outputs):
    for layer in chain:
        # Dropout and batch norm in inference mode, whatever Keras infers from a tape.
        outputs = layer(outputs, training=False) if getattr(layer, "_call_has_training_arg", False) else layer(outputs)
    return outputs


def centres(body: Sequence[keras.layers.Layer], size: int) -> tuple[float, int]:
    """Returns the pixel coordinate of a map's first position along an axis of its image, and the stride to the next ones.

    A position lies at the center of its receptive field, ignoring image borders.

    Args:
        body: layers from the image to the map.
        size: pixels of the image on that axis.
    """
    first, step = 0.5, 1
    for layer in body:
        if isinstance(layer, keras.layers.Conv2D):
            window, stride = layer.kernel_size[0], layer.strides[0]
        elif isinstance(layer, keras.layers.MaxPooling2D):
            window, stride = layer.pool_size[0], layer.strides[0]
        else:
            continue
        size, inputs = (-(-size // stride), size) if layer.padding == "same" else ((size - window) // stride + 1, size)
        before = max((size - 1) * stride + window - inputs, 0) // 2 if layer.padding == "same" else 0  # as TensorFlow pads
        first, step = first + step * ((window - 1) / 2 - before), step * stride
    return first, step
