"""What a net has learnt, as pictures: the filters of its first convolution, and the maps that a layer makes of an image."""

import difflib

import keras
import numpy as np

from keras_vgg import preprocessing
from keras_vgg.errors import InputError
from keras_vgg.inference.tracing import up_to_layer


def first_filters(model: keras.Model) -> np.ndarray:
    """Returns the filters of the first convolution in the colours of images: `(filters, height, width, 3)` float32 in 0–1.

    What a filter weighs with 0 is grey (0.5); its largest weight, or smallest, is at the end of the range. Weights are those of an
    RGB image's pixels, whatever order and scale of colours the net takes.

    Raises:
        InputError: if what the weights want of an image is not known.
    """
    wants = preprocessing.of_weights(model)
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    kernel = keras.ops.convert_to_numpy(first.kernel).astype(np.float32)  # (height, width, 3, filters)
    kernel = kernel[:, :, ::-1] if wants.bgr else kernel
    kernel = np.moveaxis(kernel / np.reshape(wants.std, (3, 1)), -1, 0)
    largest = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True)
    return (0.5 + 0.5 * kernel / np.maximum(largest, np.finfo(np.float32).tiny)).astype(np.float32)


def layers_with_maps(model: keras.Model) -> list[str]:
    """Returns the names of the layers of a net that put out feature maps, in order."""
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    return [layer.name for layer in layers if len(layer.output.shape) == 4]


def check_layer(model: keras.Model, layer: str) -> None:
    """Raises `InputError`, telling near names, if `layer` is no layer of the model that puts out feature maps."""
    known = layers_with_maps(model)
    if layer not in known:
        near = ", ".join(difflib.get_close_matches(layer, known, 3)) or f"{known[0]} … {known[-1]}"
        raise InputError(f"`--layer` must be a layer with feature maps. Received: {layer!r}; the net has {near}.")


def feature_maps(model: keras.Model, image: np.ndarray, layer: str) -> np.ndarray:
    """Returns what a layer puts out for a whole image: `(rows, columns, channels)` float32.

    Args:
        model: a net whose preprocessing is known.
        image: `(height, width, 3)` uint8, RGB.
        layer: the name of one of `layers_with_maps`.
    """
    net = up_to_layer(model, layer)
    outputs = net(preprocessing.for_model(model)(image[np.newaxis]), training=False)
    return keras.ops.convert_to_numpy(outputs)[0].astype(np.float32)


def strongest(maps: np.ndarray, most: int) -> list[int]:
    """Returns the channels of `(rows, columns, channels)` with the largest mean over places, at most `most`, the largest first."""
    return np.argsort(-maps.mean(axis=(0, 1)), kind="stable")[:most].tolist()
