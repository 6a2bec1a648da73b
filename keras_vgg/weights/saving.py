"""Saves weights in any format that has a public reader: Keras' three, PyTorch's and safetensors.

The suffix selects the format. PyTorch and safetensors files use torchvision's names and layout.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_vgg import class_names, preprocessing
from keras_vgg.errors import InputError
from keras_vgg.support import extras, files
from keras_vgg.weights import keras_files, kinds, layouts, loading, names, safetensors_files, torch_write
from keras_vgg.weights.variable import Part, Variable
from keras_vgg.weights.weight_file import WeightFile

SUFFIXES = (".keras", ".weights.h5", ".h5", ".pth", ".pt", ".safetensors")


def suffix_of(path: str | pathlib.Path) -> str:
    """Returns which of `SUFFIXES` a file name has.

    Raises:
        InputError: if it has none, or if the library that writes it is not installed.
    """
    for suffix in SUFFIXES:
        if str(path).endswith(suffix):
            if suffix == ".safetensors":
                extras.require("safetensors")
            return suffix
    raise InputError(f"The output's name must end in one of {', '.join(SUFFIXES)}. Received: {path}.")


def save_weights(file: WeightFile, path: str | pathlib.Path) -> None:
    """Writes the weights of an opened file to `path`, in the format of its suffix; completely or not at all.

    Their preprocessing and its origin, the net A-LRN, and class names are recorded with them.

    Raises:
        InputError: for another suffix, or if the file system refuses.
    """
    suffix, said = suffix_of(path), kinds.note(file.preprocessing, file.origin, file.arch, file.classes, file.regression)
    if suffix == ".h5":
        arrays = [(*key, variable.shape, variable.read) for key, variable in file.variables.items()]
        keras_files.write_legacy_h5(path, arrays, said)
    elif suffix == ".safetensors":
        safetensors_files.write_safetensors(path, _as_torchvision(file), said)
    elif suffix in (".pth", ".pt"):
        torch_write.write_state_dict(path, _as_torchvision(file), said)
    else:
        save_model(loading.build_net(file), path, classes=file.classes, regression=file.regression)


def save_model(
    model: keras.Model, path: str | pathlib.Path, *, classes: Sequence[str] | None = None, regression: str | None = None
) -> None:
    """Saves a model as `.keras` or `.weights.h5`, with its preprocessing and class names, if known.

    Args:
        model: the model.
        path: the file to write.
        classes: class names in label order.
        regression: for a localization net, a key of `REGRESSIONS`.
    """
    suffix, classes = suffix_of(path), classes or class_names.known(model)
    is_known = preprocessing.is_known(model)
    known, origin = (preprocessing.of_weights(model), preprocessing.origin_of(model)) if is_known else (None, None)
    with files.replacing(path) as beside:
        if suffix == ".keras":
            model.save(beside)
            if known or classes or regression:
                note = kinds.note(known, origin, None, classes, regression)  # the model itself identifies the net
                preprocessing.attach_note(beside, note)
        else:
            keras_files.write_weights_h5(beside, model)
            keras_files.write_note(beside, kinds.note(known, origin, loading.arch_of(model).arch, classes, regression))


def with_swapped_colors(file: WeightFile) -> WeightFile:
    """Returns the same net for the other color order, RGB for BGR or vice versa: the first convolution's inputs are reversed."""
    key = ("block1_conv1", "kernel")
    first = file.variables[key]
    if first.shape[2] != 3:
        raise InputError(f"{file.path}: block1_conv1 takes {first.shape[2]} channels; swapping colors needs 3.")
    swapped = dataclasses.replace(first, parts=lambda: iter([Part(0, 0, np.ascontiguousarray(first.read()[:, :, ::-1]))]))
    wanted = file.preprocessing and dataclasses.replace(file.preprocessing, bgr=not file.preprocessing.bgr)
    return dataclasses.replace(file, variables=file.variables | {key: swapped}, preprocessing=wanted)


def _as_torchvision(file: WeightFile) -> list[tuple[str, tuple[int, ...], Callable[[], np.ndarray]]]:
    arrays = names.TORCHVISION.arrays(file.arch, batch_norm=file.batch_norm, include_top=file.include_top)
    filters = [variable.shape[-1] for (layer, name), variable in file.variables.items() if "_conv" in layer and name == "kernel"]
    fc1 = file.variables.get(("fc1", "kernel"))
    places = fc1.shape[0] // filters[-1] if fc1 else 1
    return [(array, *_torch_array(key, file.variables[key], places)) for key, array in arrays.items()]


def _torch_array(key, variable: Variable, places: int):
    layer, name = key
    if name != "kernel":
        return variable.shape, variable.read
    if names.is_fc(layer):
        return variable.shape[::-1], lambda: layouts.fc_from_keras(variable.read(), places if layer == "fc1" else 1)
    height, width, channels, filters = variable.shape
    return (filters, channels, height, width), lambda: np.ascontiguousarray(layouts.conv_from_keras(variable.read()))
