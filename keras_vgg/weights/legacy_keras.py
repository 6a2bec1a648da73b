"""HDF5 files of Keras before version 3: the public VGG `.h5` files, whole models, and files of Keras' first year.

Their layout since Keras 1: the top group has an attribute `layer_names`, and a group per layer whose `weight_names` lists its
arrays. Before that: `nb_layers` in the top group, and groups `layer_<number>`, each with `nb_params` arrays `param_<number>`.
"""

import json
import pathlib
from collections.abc import Iterator

import h5py

from keras_vgg.errors import InputError
from keras_vgg.weights import keras_files
from keras_vgg.weights.hdf5_guard import check_hdf5
from keras_vgg.weights.keras_makers import Maker
from keras_vgg.weights.stored_array import StoredArray


def is_legacy(path: str | pathlib.Path) -> bool:
    """Returns whether an HDF5 file has one of these layouts; raises `InputError` if it is damaged."""
    check_hdf5(path)
    try:
        with h5py.File(path, "r") as file:
            return not {"layer_names", "nb_layers"}.isdisjoint(_top(file).attrs)
    except Exception as error:  # h5py raises many kinds of exceptions on damage
        raise InputError(f"{path} is damaged or truncated: {error}. Fetch or copy it again.") from error


def read_legacy_h5(path: str | pathlib.Path) -> tuple[dict[str, StoredArray], str | None, Maker]:
    """Returns the arrays of such a file in its layout, the text that `write_legacy_h5` stored, and the software that wrote it.

    Raises:
        InputError: if the file is damaged or contains something else.
    """
    check_hdf5(path)
    try:
        with h5py.File(path, "r") as file:
            found = {name: (dataset, called) for name, dataset, called in _datasets(_top(file))}
            arrays = {
                name: keras_files.stored(path, name, dataset, file, lambda: h5py.File(path, "r"))
                for name, (dataset, _) in found.items()
            }
            kernels = tuple(called for name, (_, called) in found.items() if len(arrays[name].shape) == 4)
            return arrays, file.attrs.get(keras_files.NOTE), _maker(file, kernels)
    except InputError:
        raise
    except Exception as error:  # as above
        raise InputError(f"{path} is damaged or truncated: {error}. Fetch or copy it again.") from error


def _top(file: h5py.File) -> h5py.Group:
    return file.get("model_weights", file)  # a whole model stores its weights in a group


def _datasets(top: h5py.Group) -> Iterator[tuple[str, h5py.Dataset, str]]:
    """Yields for each array our name, the array, and its name in the file."""
    if "layer_names" in top.attrs:
        for layer in map(_text, top.attrs["layer_names"]):
            for number, called in enumerate(map(_text, top[layer].attrs["weight_names"])):
                yield f"{layer}/{number}", top[layer][called], called
    else:
        for layer in (f"layer_{number}" for number in range(top.attrs["nb_layers"])):
            for number in range(top[layer].attrs["nb_params"]):
                yield f"{layer}/{number}", top[layer][f"param_{number}"], f"param_{number}"


def _maker(file: h5py.File, kernels: tuple[str, ...]) -> Maker:
    top = _top(file)
    said = {
        name: _text(value).lower()
        for name in ("backend", "keras_version", "data_format")
        if (value := top.attrs.get(name, file.attrs.get(name))) is not None
    }
    major = said.get("keras_version", "1").partition(".")[0]
    config = file.attrs.get("model_config")
    return Maker(
        backend=said.get("backend"),
        major=0 if "layer_names" not in top.attrs else int(major) if major.isdigit() else 1,
        config=None if config is None else json.loads(_text(config)),
        data_format=said.get("data_format"),
        kernels=kernels,
    )


def _text(name) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
