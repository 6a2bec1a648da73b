"""Describes what the layers of a model compute, to identify the net its convolutions belong to."""

from collections.abc import Sequence

import keras

from keras_vgg import configs
from keras_vgg.configs import Config
from keras_vgg.errors import InputError
from keras_vgg.layers import LocalResponseNormalization


def name_of(layer) -> str:
    """Returns a display name of a layer."""
    return f"{type(layer).__name__} {layer.units}" if isinstance(layer, keras.layers.Dense) else type(layer).__name__


def _operations(layer) -> list[str]:
    if isinstance(layer, keras.layers.Conv2D):
        plain = layer.padding == "same" and set(layer.dilation_rate) == {1} and layer.groups == 1
        convolution = _convolution(layer.kernel_size, layer.strides) + ("" if plain else f" ({layer.padding} padding)")
        return [convolution, *_activation(layer)]
    if isinstance(layer, keras.layers.BatchNormalization):
        return ["batch norm"]
    if isinstance(layer, keras.layers.MaxPooling2D):
        return [_pooling(layer.pool_size, layer.strides)]
    if isinstance(layer, LocalResponseNormalization):
        return ["LRN"]
    if isinstance(layer, keras.layers.ReLU):
        return ["ReLU"]
    return _activation(layer) if isinstance(layer, keras.layers.Activation) else [name_of(layer)]


def _activation(layer) -> list[str]:
    if layer.activation is keras.activations.linear:
        return []
    return ["ReLU" if layer.activation is keras.activations.relu else layer.activation.__name__]


def _convolution(kernel: Sequence[int], strides: Sequence[int]) -> str:
    return f"convolution {kernel[0]}x{kernel[1]}" + (f" / {strides[0]}" if strides[0] > 1 else "")


def _pooling(size: Sequence[int], strides: Sequence[int]) -> str:
    return f"max-pooling {size[0]}x{size[1]} / {strides[0]}"


def _wanted(config: Config, batch_norm: bool) -> list[str]:
    operations = []
    for block in config.blocks:
        for each in block:
            operations += [_convolution((each.kernel,) * 2, (each.stride,) * 2), *["batch norm"] * batch_norm, "ReLU"]
            operations += ["LRN"] * each.lrn
        operations.append(_pooling((config.pooling.size,) * 2, (config.pooling.stride,) * 2))
    return operations


def net_of(chain: Sequence[keras.layers.Layer], path) -> tuple[Config, bool, int]:
    """Returns the net whose convolutions a chain begins with, whether it has batch norm, and their number of layers.

    Args:
        chain: consecutive layers, including convolutions.
        path: their file, for messages.

    Raises:
        InputError: if they match no net; the message tells where they differ from the closest one.
    """
    last = max(place for place, layer in enumerate(chain) if isinstance(layer, keras.layers.Conv2D))
    pool = next((place for place, layer in enumerate(chain) if place > last and isinstance(layer, keras.layers.MaxPooling2D)), last)
    found = [operation for layer in chain[: pool + 1] for operation in _operations(layer)]
    differing = []
    for config in configs.CONFIGS.values():
        for batch_norm in (False, True):
            wanted = _wanted(config, batch_norm)
            if found == wanted:
                return config, batch_norm, pool + 1
            same = next((place for place, pair in enumerate(zip(found, wanted, strict=False)) if pair[0] != pair[1]), None)
            differing.append((min(len(found), len(wanted)) if same is None else same, config.arch, wanted))
    place, arch, wanted = max(differing, key=lambda each: each[0])
    told = [operations[place] if place < len(operations) else "nothing" for operations in (found, wanted)]
    raise InputError(
        f"Expected the convolutions and poolings of a VGG net. Received: {path}, which is closest to net {arch} but has "
        f"{told[0]} instead of {told[1]} after {place} operations."
    )
