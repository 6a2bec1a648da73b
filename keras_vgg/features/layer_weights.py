"""Weights of a net by layer, from any source; layers are read on demand."""

import dataclasses
import os
from collections.abc import Callable, Iterator

import keras
import numpy as np

from keras_vgg import configs, preprocessing
from keras_vgg.errors import InputError
from keras_vgg.preprocessing import Origin, Preprocessing
from keras_vgg.support import paths
from keras_vgg.weights import catalogue, download, loading
from keras_vgg.weights.weight_file import open_weights

DEFAULT_ARCH = "E"
_OF_RANDOM = dataclasses.replace(preprocessing.ASSUMED, text="assumed, since random weights need none")
_OF_PUBLIC = dataclasses.replace(preprocessing.KNOWN, text="known of these public weights")


@dataclasses.dataclass(frozen=True)
class LayerWeights:
    """The weights of a net.

    Attributes:
        arch, batch_norm: the net.
        preprocessing: their preprocessing; `None` if unknown.
        origin: the origin of that preprocessing; `None` if unknown.
        read: returns a layer's arrays in Keras' order by name; `None` for random weights, which do not exist yet.
    """

    arch: str
    batch_norm: bool
    preprocessing: Preprocessing | None
    origin: Origin | None
    read: Callable[[str], list[np.ndarray] | None]


def open_layers(
    weights: str | os.PathLike[str] | keras.Model | LayerWeights | None, *, arch: str | None, batch_norm: bool
) -> LayerWeights:
    """Opens weights of any kind.

    Args:
        weights: as for `perceptual_model`; opened weights are returned as is.
        arch: the expected net; `None` to detect it, or for net E if `weights` is `None` or a public name.
        batch_norm: whether that net has batch norm; detected along with `arch`.

    Raises:
        InputError: for weights that are missing, damaged, or of another net.
    """
    if isinstance(weights, LayerWeights):
        return weights
    if isinstance(weights, keras.Model):
        return _of_model(weights, arch, batch_norm)
    net = arch or DEFAULT_ARCH
    if weights is None:
        # Random weights have no preprocessing of their own. They are initialized for inputs around 1, like torchvision's.
        return LayerWeights(net, batch_norm, preprocessing.TORCH, _OF_RANDOM, lambda layer: None)
    public = catalogue.names(net, batch_norm)
    if weights in public:
        entry = catalogue.find(net, weights, batch_norm)
        found = _of_file(download.fetch(entry.file_without_top or entry.file), net, batch_norm)
        return dataclasses.replace(found, preprocessing=preprocessing.BY_NAME[entry.preprocessing], origin=_OF_PUBLIC)
    if not (paths.path_of(weights).exists() or catalogue.called(os.fspath(weights))):
        raise InputError(
            f"`weights` must be None (random), a Keras model, {''.join(f'{name!r}, ' for name in public)}or the path of a weight "
            f"file or run folder. Received: weights={str(weights)!r}, which does not exist."
        )
    return _of_file(weights, arch, batch_norm if arch else None)


def _of_file(path, arch: str | None, batch_norm: bool | None) -> LayerWeights:
    file = open_weights(path, arch=arch, batch_norm=batch_norm)
    variables: dict[str, list] = {}
    for (layer, _), variable in file.variables.items():
        variables.setdefault(layer, []).append(variable)
    _check_channels(variables["block1_conv1"][0].shape, file)
    return LayerWeights(
        arch=file.arch,
        batch_norm=file.batch_norm,
        preprocessing=file.preprocessing,
        origin=file.origin,
        read=lambda layer: [variable.read() for variable in variables[layer]],
    )


def _of_model(model: keras.Model, arch: str | None, batch_norm: bool) -> LayerWeights:
    if arch is None:
        match = loading.arch_of(model)
        arch, batch_norm = match.arch, match.batch_norm
    layers = {layer.name: layer for layer in _flat(model)}
    if batch_norm != ("block1_bn1" in layers):
        raise InputError(f"Expected a net {'with' if batch_norm else 'without'} batch norm. Received: {model.name!r}.")
    kernels = {name: each.kernel for name, each in configs.get_config(arch).convolutions.items()}

    def read(name: str) -> list[np.ndarray]:
        if name not in layers:
            raise InputError(f"Expected a model with the layers of net {arch}. Received: {model.name!r}, which has no {name}.")
        values = layers[name].get_weights()
        if name in kernels and values[0].shape[:2] != (kernels[name],) * 2:
            raise InputError(f"Expected the layers of net {arch}. Received: {name} with a kernel of shape {values[0].shape}.")
        return values

    _check_channels(read("block1_conv1")[0].shape, model.name)
    is_known = preprocessing.is_known(model)
    wants, origin = (preprocessing.of_weights(model), preprocessing.origin_of(model)) if is_known else (None, None)
    return LayerWeights(arch, batch_norm, wants, origin, read)


def _flat(model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _flat(layer)
        else:
            yield layer


def _check_channels(kernel_shape, net) -> None:
    if kernel_shape[2] != 3:
        raise InputError(f"Expected a net for RGB images. Received: {net}, which takes {kernel_shape[2]} channels.")
