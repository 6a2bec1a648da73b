"""Converts the layout of legacy Keras files, which depends on the Keras version, the backend and the data format.

| made by                                                        | kernels                  | fc1's inputs |
|----------------------------------------------------------------|--------------------------|--------------|
| Keras before 2, `dim_ordering` "th"                            | (out, in, height, width) | C x H x W    |
| Keras before 2, "tf"; from 2 on by default                     | (height, width, in, out) | H x W x C    |
| from 2 on, convolutions `channels_first`, but its `Flatten` not | (height, width, in, out) | C x H x W    |

Only Theano convolves in the strict sense: whatever the version and format, its kernels are rotated by 180 degrees relative to
those of TensorFlow, CNTK, JAX and PyTorch, which all correlate.
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
    """What a legacy HDF5 file records about the software that wrote it.

    Attributes:
        backend: Keras' backend in lower case; `None` if not recorded.
        major: Keras' major version: 0 for files that number their layers, else 1 if not recorded.
        config: configuration of the whole model, if present.
        data_format: `"channels_first"` or `"channels_last"`, if a user added it to the file.
        kernels: the backend's names of the kernels.
    """

    backend: str | None = None
    major: int = 1
    config: object = None
    data_format: str | None = None
    kernels: tuple[str, ...] = ()


def turned(path, arrays: Mapping[str, StoredArray], maker: Maker) -> tuple[dict[str, StoredArray], bool | None]:
    """Returns a legacy file's arrays with convolutions in Keras 3's layout, and the order in which fc1 takes the feature map.

    Args:
        path: the file, for messages.
        arrays: by `<layer>/<number>`, in the order of the layers.
        maker: the software that wrote them.

    Returns:
        The arrays, and whether fc1's inputs are C x H x W; `None` if unknown.

    Raises:
        InputError: if it is unknown whether kernels must be rotated, or how batch norm is stored.
    """
    kernels = {name: array for name, array in arrays.items() if len(array.shape) == 4}
    if maker.major == 0 and any(name.endswith("/3") for name in arrays):
        raise InputError(
            f"{path} has batch norm of Keras before version 1, some releases of which stored variances as deviations; "
            "load it in the Keras version that wrote it, and save it with Keras 1 or later."
        )
    lie_first = _lie_first(kernels)
    if lie_first:
        kernels = {name: _changed(array, layouts.conv_to_keras, (2, 3, 1, 0)) for name, array in kernels.items()}
    if _is_convolved(path, kernels, maker):
        kernels = {name: _changed(array, layouts.turn, (0, 1, 2, 3)) for name, array in kernels.items()}
    return {**arrays, **kernels}, _flattens_first(path, maker, lie_first)


_CONVOLUTIONS = ("Conv2D", "Convolution2D")


def has_convolutions(config) -> bool:
    """Returns whether a configuration is that of a model with convolutions, nested models included."""
    return any(name in _CONVOLUTIONS for name, _ in _layers(config))


def flattens_first(path, config) -> bool | None:
    """Returns whether a configured model flattens its feature map as C x H x W; `None` if the configuration does not show it.

    Raises:
        InputError: if its layers mix both data formats.
    """
    layers = list(_layers(config))
    formats = {_format(layer) for name, layer in layers if name in _CONVOLUTIONS} - {None}
    flatten = next((_format(layer) for name, layer in layers if name == "Flatten"), None)
    if not formats:
        return None
    if len(formats) > 1 or (formats == {False} and flatten):
        raise InputError(
            f"{path} is a model with channels first in some layers and last in others, so that their order before fc1 is "
            "unknown; build it and load it with Keras."
        )
    # Since Keras 2.2, a Flatten configured as channels_first moves the channels last before flattening.
    return formats == {True} and not flatten


def _format(layer: dict) -> bool | None:
    told = layer.get("data_format", layer.get("dim_ordering"))
    return True if told in _FIRST else False if told in _LAST else None


def _layers(config) -> Iterator[tuple[str, dict]]:
    """Yields class and configuration of all layers in a model's configuration, including nested models."""
    todo = [config]  # a damaged file may nest deeper than Python can recurse
    while todo:
        value = todo.pop()
        if isinstance(value, dict) and isinstance(value.get("config"), dict):
            yield str(value.get("class_name")), value["config"]
        todo += reversed(list(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()))


def _lie_first(kernels: Mapping[str, StoredArray]) -> bool:
    """Returns whether kernels are stored as (out, in, height, width)."""
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
    if all(name.endswith(":0") for name in maker.kernels):  # a TensorFlow variable
        return False
    if all(name.endswith("_W") for name in maker.kernels):  # Theano, the other backend of Keras 1
        return True
    is_turned = first_layer.is_turned(next(iter(kernels.values())).read())
    if is_turned is None:
        raise InputError(
            f"{path} does not record its backend, and Theano's kernels are rotated by 180 degrees. If it was Theano, record that "
            f"in the file, else 'tensorflow': import h5py; h5py.File({str(path)!r}, 'a').attrs['backend'] = 'theano'."
        )
    return is_turned


def _flattens_first(path, maker: Maker, lie_first: bool) -> bool | None:
    if maker.data_format in _FIRST + _LAST:
        return maker.data_format in _FIRST
    told = flattens_first(path, maker.config)
    if told is not None or lie_first or maker.major < 2:
        return lie_first if told is None else told
    return None if maker.backend == "theano" else False  # Theano users had either order, nearly all others channels last
