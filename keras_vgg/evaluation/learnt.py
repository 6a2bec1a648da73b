"""What a net has learned: the filters of its first convolution, and the feature maps of a layer for an image."""

import difflib

import keras
import numpy as np

from keras_vgg import preprocessing
from keras_vgg.errors import InputError
from keras_vgg.inference.tracing import up_to_layer


def first_filters(model: keras.Model) -> np.ndarray:
    """Returns the filters of the first convolution in image colors: `(filters, height, width, 3)` float32 in 0–1.

    A weight of 0 is gray (0.5); each filter's weight of largest magnitude is at an end of the range. Weights apply to the pixels
    of an RGB image, whatever order and scale of channels the net expects.

    Raises:
        InputError: if the preprocessing of the weights is unknown.
    """
    wants = preprocessing.of_weights(model)
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    kernel = keras.ops.convert_to_numpy(first.kernel).astype(np.float32)  # (height, width, 3, filters)
    kernel = kernel[:, :, ::-1] if wants.bgr else kernel
    kernel = np.moveaxis(kernel / np.reshape(wants.std, (3, 1)), -1, 0)
    largest = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True)
    return (0.5 + 0.5 * kernel / np.maximum(largest, np.finfo(np.float32).tiny)).astype(np.float32)


def layers_with_maps(model: keras.Model) -> list[str]:
    """Returns the names of the layers of a net that output feature maps, in order."""
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    return [layer.name for layer in layers if len(layer.output.shape) == 4]


def check_layer(model: keras.Model, layer: str) -> None:
    """Raises `InputError`, with similar names, if `layer` is not a layer of the model that outputs feature maps."""
    known = layers_with_maps(model)
    if layer not in known:
        near = ", ".join(difflib.get_close_matches(layer, known, 3)) or f"{known[0]} … {known[-1]}"
        raise InputError(f"`--layer` must be a layer with feature maps. Received: {layer!r}; the net has {near}.")


def feature_maps(model: keras.Model, image: np.ndarray, layer: str) -> np.ndarray:
    """Returns the output of a layer for a whole image: `(rows, columns, channels)` float32.

    Args:
        model: a net with known preprocessing.
        image: `(height, width, 3)` uint8, RGB.
        layer: the name of one of `layers_with_maps`.
    """
    net = up_to_layer(model, layer)
    outputs = net(preprocessing.for_model(model)(image[np.newaxis]), training=False)
    return keras.ops.convert_to_numpy(outputs)[0].astype(np.float32)


def strongest(maps: np.ndarray, most: int) -> list[int]:
    """Returns at most `most` channels of `(rows, columns, channels)` with the largest means over positions, the largest first."""
    return np.argsort(-maps.mean(axis=(0, 1)), kind="stable")[:most].tolist()
