"""Keras' files turned as whoever made them means it: what is in one depends on the version, the backend and the data format.

| made by                                                        | kernels                  | fc1's inputs |
|----------------------------------------------------------------|--------------------------|--------------|
| Keras before 2, `dim_ordering` "th"                            | (out, in, height, width) | C x H x W    |
| Keras before 2, "tf"; from 2 on by default                     | (height, width, in, out) | H x W x C    |
| from 2 on, convolutions `channels_first`, but its `Flatten` not | (height, width, in, out) | C x H x W    |

Theano alone convolves in the strict sense of the word: whatever the version and the format, kernels made on it come turned by 180
degrees against those of TensorFlow, CNTK, JAX and PyTorch, which all correlate.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.weights import first_layer, layouts
from keras_vgg.weights.stored_array import StoredArray

_FIRST, _LAST = ("channels_first", "th"), ("channels_last", "tf")
_LARGEST_KERNEL = 3


@dataclasses.dataclass(frozen=True)
class Maker:
    """What a legacy HDF5 file says of who made it.

    Attributes:
        backend: Keras' backend, in small letters; `None` where it does not say.
        major: Keras' version before the first dot: 0 for files that number their layers, else 1 where it does not say.
        config: configuration of the whole model, if it is there.
        data_format: `"channels_first"` or `"channels_last"`, where somebody wrote it into the file.
        kernels: what the backend calls the kernels.
    """

    backend: str | None = None
    major: int = 1
    config: object = None
    data_format: str | None = None
    kernels: tuple[str, ...] = ()


def turned(path, arrays: Mapping[str, StoredArray], maker: Maker) -> tuple[dict[str, StoredArray], bool | None]:
    """Returns a legacy file's arrays with their convolutions as Keras 3 has them, and in which order fc1 takes the feature map.

    Args:
        path: the file, for messages.
        arrays: by `<layer>/<number>`, in the order of the layers.
        maker: who made them.

    Returns:
        The arrays, and whether fc1's inputs are C x H x W; `None` if nothing tells it.

    Raises:
        InputError: if it cannot be told whether kernels are to be turned, or what batch norm has.
    """
    kernels = {name: array for name, array in arrays.items() if len(array.shape) == 4}
    if maker.major == 0 and any(name.endswith("/3") for name in arrays):
        raise InputError(
            f"{path} has batch norm as of Keras before version 1, whose deviations were variances in some releases; "
            "load it in the Keras that made it, and save it with Keras 1 or later."
        )
    lie_first = _lie_first(kernels)
    if lie_first:
        kernels = {name: _changed(array, layouts.conv_to_keras, (2, 3, 1, 0)) for name, array in kernels.items()}
    if _is_convolved(path, kernels, maker):
        kernels = {name: _changed(array, layouts.turn, (0, 1, 2, 3)) for name, array in kernels.items()}
    return {**arrays, **kernels}, _flattens_first(path, maker, lie_first)


_CONVOLUTIONS = ("Conv2D", "Convolution2D")


def has_convolutions(config) -> bool:
    """Whether a configuration is that of a model with convolutions, in it or in a model that is part of it."""
    return any(name in _CONVOLUTIONS for name, _ in _layers(config))


def flattens_first(path, config) -> bool | None:
    """Returns whether the model of a configuration flattens its feature map as C x H x W; `None` if that does not tell it.

    Raises:
        InputError: if its layers have the channels now here, now there.
    """
    layers = list(_layers(config))
    formats = {_format(layer) for name, layer in layers if name in _CONVOLUTIONS} - {None}
    flatten = next((_format(layer) for name, layer in layers if name == "Flatten"), None)
    if not formats:
        return None
    if len(formats) > 1 or (formats == {False} and flatten):
        raise InputError(
            f"{path} is of a model that has its channels first in some layers and last in others, whose order before fc1 is not "
            "known; build it and load it by Keras."
        )
    # A Flatten that knows that channels come first puts them last before it flattens: so from Keras 2.2 on.
    return formats == {True} and not flatten


def _format(layer: dict) -> bool | None:
    told = layer.get("data_format", layer.get("dim_ordering"))
    return True if told in _FIRST else False if told in _LAST else None


def _layers(config) -> Iterator[tuple[str, dict]]:
    """Yields class and configuration of all layers in a model's configuration, those of models in it too."""
    todo = [config]  # a damaged file may nest deeper than Python recurses
    while todo:
        value = todo.pop()
        if isinstance(value, dict) and isinstance(value.get("config"), dict):
            yield str(value.get("class_name")), value["config"]
        todo += reversed(list(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()))


def _lie_first(kernels: Mapping[str, StoredArray]) -> bool:
    """Whether kernels lie as (out, in, height, width)."""
    shapes = [array.shape for array in kernels.values()]

    def are_sides(axes: slice) -> bool:
        return all(shape[axes][0] == shape[axes][1] <= _LARGEST_KERNEL for shape in shapes)

    return are_sides(slice(2, 4)) and not are_sides(slice(0, 2))


def _changed(array: StoredArray, change, axes: tuple[int, ...]) -> StoredArray:
    shape = tuple(array.shape[axis] for axis in axes)
    return StoredArray(shape, array.dtype, lambda start, stop: np.ascontiguousarray(change(array.read())[start:stop]))


def _is_convolved(path, kernels: Mapping[str, StoredArray], maker: Maker) -> bool:
    if maker.backend is not None or not kernels:
        return maker.backend == "theano"
    if all(name.endswith(":0") for name in maker.kernels):  # of a variable of TensorFlow
        return False
    if all(name.endswith("_W") for name in maker.kernels):  # of Theano, the other backend of Keras 1
        return True
    is_turned = first_layer.is_turned(next(iter(kernels.values())).read())
    if is_turned is None:
        raise InputError(
            f"{path} does not say on which backend it was made, and Theano's kernels are turned by 180 degrees. If it was Theano, "
            f"write so into it once, else 'tensorflow': import h5py; h5py.File({str(path)!r}, 'a').attrs['backend'] = 'theano'."
        )
    return is_turned


def _flattens_first(path, maker: Maker, lie_first: bool) -> bool | None:
    if maker.data_format in _FIRST + _LAST:
        return maker.data_format in _FIRST
    told = flattens_first(path, maker.config)
    if told is not None or lie_first or maker.major < 2:
        return lie_first if told is None else told
    return None if maker.backend == "theano" else False  # Theano's users had channels either way, nearly all others last
