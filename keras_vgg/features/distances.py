"""Perceptual distances: LPIPS and DISTS as differentiable Keras models from two batches of images to distances.

Both use torchvision's VGG16, whose activations were fitted to human judgments; with the VGG authors' weights, Keras' "imagenet",
the same formula gives other numbers. Models are frozen, can be saved, and compute distances in float32 whatever the net's
precision.
"""

import hashlib
import json
import os
from typing import TypeAlias

import keras
import numpy as np

from keras_vgg import identity
from keras_vgg.errors import InputError
from keras_vgg.features import calibrations
from keras_vgg.features.data_format import channel_axis
from keras_vgg.features.distance_layers import Comparison, TextureDistance, UnitDistance
from keras_vgg.features.layer_weights import open_layers
from keras_vgg.features.perceptual import limits, perceptual_model
from keras_vgg.preprocessing import TORCH, Preprocessing

Weights: TypeAlias = str | os.PathLike[str] | keras.Model | None

TRUNK = "imagenet_torchvision"
DISTANCE = "distance"
"""The name of the comparison layer."""

_AS_IT_WAS = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3)  # version 0.0 gave the net [-1, 1]


def lpips_model(
    weights: Weights = TRUNK,
    *,
    calibration: str | os.PathLike[str] | None = None,
    version: str = "0.1",
    spatial: bool = False,
    value_range: float | tuple[float, float] = 255,
    precision: str | None = None,
    name: str = "lpips",
) -> keras.Model:
    """Returns LPIPS with net D, "VGG16": the learned perceptual distance of two images (Zhang et al. 2018).

    Args:
        weights: torchvision's weights of the net: by default the public ones, or a file or model with them; `None` for random
            ones. Weights with another preprocessing are refused.
        calibration: a file with the linear weights, like `lpips/weights/v0.1/vgg.pth` of the package `lpips`; by default that of
            `version`, downloaded if needed.
        version: `"0.1"`, or `"0.0"`, of the paper's first version on arXiv, whose net takes images in [-1, 1] without
            preprocessing.
        spatial: whether to output a map of distances, `(B, height, width)`, rather than its mean over positions.
        value_range: `(low, high)` of the images, or the highest value alone, as for `perceptual_model`.
        precision: compute precision of the net; by default Keras' global policy.
        name: the model's name.

    Returns:
        A model from two batches of images, `(B, height, width, 3)` of any size and dtype, to `(B,)` float32: 0 for equal
        images, 0.2 to 0.8 for most pairs of different photographs.

    Raises:
        InputError: (a `ValueError`) for invalid arguments or weights.

    Example:
        >>> import numpy as np
        >>> from keras_vgg.features import lpips_model
        >>> model = lpips_model(value_range=(0, 1))  # doctest: +SKIP
        >>> model([np.zeros((1, 64, 64, 3)), np.ones((1, 64, 64, 3))]).shape  # doctest: +SKIP
        TensorShape([1])
    """
    linear = calibrations.read_lpips(calibration, version)
    trunk = _trunk(weights, value_range, precision, preprocessing=_AS_IT_WAS if version == "0.0" else None)
    return _compared(trunk, UnitDistance(calibrations.CHANNELS, limits(value_range), spatial, name=DISTANCE), linear, name)


def dists_model(
    weights: Weights = TRUNK,
    *,
    calibration: str | os.PathLike[str] | None = None,
    value_range: float | tuple[float, float] = 255,
    precision: str | None = None,
    name: str = "dists",
) -> keras.Model:
    """Returns DISTS: the distance of two images in structure and texture (Ding et al. 2020).

    It is robust to resampling a texture, which shifts every pixel.

    Args:
        weights, value_range, precision, name: as for `lpips_model`.
        calibration: a file with α and β, like `weights.pt` of the package `DISTS_pytorch`; by default that one, downloaded if
            needed.

    Returns:
        A model from two batches of images, `(B, height, width, 3)` of any size and dtype, to `(B,)` float32: 0 for equal
        images, at most slightly above 1. The authors first rescale photographs to a smaller side of 256.

    Raises:
        InputError: (a `ValueError`) for invalid arguments or weights.
    """
    alpha, beta = calibrations.read_dists(calibration)
    trunk = _trunk(weights, value_range, precision, pooling="hann")
    return _compared(trunk, TextureDistance(calibrations.CHANNELS, limits(value_range), name=DISTANCE), [alpha, beta], name)


def digest_of_distance(model: keras.Model) -> str:
    """Returns the SHA-256, in hexadecimal, of everything that a model's distances depend on: net, calibration, version."""
    (trunk,) = (layer for layer in model.layers if isinstance(layer, keras.Model))
    whole = hashlib.sha256(identity.digest_of_net(trunk).encode())
    layer = model.get_layer(DISTANCE)
    whole.update(json.dumps([type(layer).__name__, layer.channels, layer.value_range, getattr(layer, "spatial", False)]).encode())
    for values in layer.get_weights():
        whole.update(np.ascontiguousarray(values, np.float32).data)
    return whole.hexdigest()


def _trunk(weights: Weights, value_range, precision, *, preprocessing=None, pooling="max") -> keras.Model:
    source = open_layers(weights, arch="D", batch_norm=False)
    if source.preprocessing != TORCH:
        told = "does not record its input preprocessing" if source.preprocessing is None else "expects another preprocessing"
        raise InputError(
            f"`weights` must be torchvision's VGG16, to which distances were fitted. Received: {weights!r}, which {told}; pass "
            f"{TRUNK!r} or a file with those weights (`keras_vgg.convert --preprocessing torch` records it)."
        )
    model = perceptual_model(
        "D",
        calibrations.LAYERS,
        weights=source,
        value_range=value_range,
        pooling=pooling,
        preprocessing=preprocessing,
        precision=precision,
        name="trunk",
    )
    for layer, size in zip(calibrations.LAYERS, calibrations.CHANNELS, strict=True):
        if (found := model.output[layer].shape[channel_axis()]) != size:
            raise InputError(f"`weights` must be of net D at full width, {size} channels at {layer}. Received: {found}.")
    return model


def _compared(trunk: keras.Model, layer: Comparison, calibration: list[np.ndarray], name: str) -> keras.Model:
    layer.set_weights(calibration)
    images, others = (keras.Input(trunk.input.shape[1:], name=each) for each in ("images", "others"))
    outputs = layer(images, others, list(trunk(images).values()), list(trunk(others).values()))
    model = keras.Model([images, others], outputs, name=name)
    model.trainable = False
    return model
