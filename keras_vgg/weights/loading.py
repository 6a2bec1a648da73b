"""Loads weights from a file of any kind into a model, completely or not at all."""

import pathlib
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_vgg import class_names, configs, preprocessing
from keras_vgg.errors import InputError
from keras_vgg.layers import LocalResponseNormalization
from keras_vgg.models import build_vgg
from keras_vgg.weights import names
from keras_vgg.weights.variable import Variable
from keras_vgg.weights.weight_file import WeightFile, open_weights


def load_weights(model: keras.Model, run_or_file: str | pathlib.Path) -> WeightFile:
    """Loads the weights of a file or run folder into a VGG model and records their preprocessing for it.

    A file with FC layers loads into a model without them. The model is not changed unless everything fits and could be read: the
    values are held in memory until then.

    Args:
        model: a net of `build_vgg`, `keras_vgg.applications` or `keras.applications`.
        run_or_file: weights of any kind that `weights.kinds` supports.

    Returns:
        The opened file.

    Raises:
        InputError: if the file is missing, damaged, or of another net, class count or input size; the message names the layer.
    """
    net, file = _opened_for(model, run_or_file)
    _load(model, net, file, at_once=True)
    return file


def fill(model: keras.Model, run_or_file: str | pathlib.Path) -> None:
    """Loads weights into a new model of `build_unset`, like `load_weights`, in little more memory than the model's own.

    After an error the model's weights are undefined.
    """
    _load(model, *_opened_for(model, run_or_file))


def _opened_for(model: keras.Model, run_or_file: str | pathlib.Path) -> tuple[names.Match, WeightFile]:
    net = arch_of(model)
    return net, open_weights(run_or_file, arch=net.arch, batch_norm=net.batch_norm, spatial=_spatial(model))


def load_net(run_or_file: str | pathlib.Path, *, arch: str | None = None, dropout: float = 0.5) -> keras.Model:
    """Builds the net of a weight file and loads it; width, classes and input size are inferred from the shapes.

    Args:
        run_or_file: weights of any kind that `weights.kinds` supports.
        arch: the net; inferred from the file by default (A-LRN's weights look like A's).
        dropout: dropout rate after fc1 and fc2, which weights do not show.

    Raises:
        InputError: as `load_weights`, and for filters that are not a multiple of the paper's.
    """
    return build_net(open_weights(run_or_file, arch=arch), dropout=dropout)


def build_net(file: WeightFile, *, dropout: float = 0.5) -> keras.Model:
    """Builds the net of an opened file and loads it, like `load_net`."""
    arguments = build_arguments(file) | {"dropout": dropout}
    model = build_unset(lambda initializer: build_vgg(**arguments, initializer=initializer))
    _load(model, arch_of(model), file)
    return model


def _load(model: keras.Model, net: names.Match, file: WeightFile, *, at_once: bool = False) -> None:
    if net.include_top and not file.include_top:
        top = ", ".join(configs.get_config(file.arch).top)
        if file.head:
            raise InputError(
                f"{file.path} has its own head ({file.head}) instead of the top ({top}) of model {model.name!r}; "
                "build it with include_top=False, or load the whole model with transfer.load_model."
            )
        raise InputError(
            f"{file.path} was saved without the top ({top}), which model {model.name!r} has; build it with include_top=False."
        )
    targets = {
        (layer, variable): model.get_layer(layer).weights[int(array.split("/")[1])]
        for (layer, variable), array in net.arrays.items()
    }
    for key, target in targets.items():
        _check(model, file, key, tuple(target.shape))
    if net.flattens and file.spatial not in (None, places := _spatial(model)):  # as many positions, in another shape
        array = file.variables["fc1", "kernel"].array
        raise InputError(f"{file.path}: fc1 ({array}) takes a map of {file.spatial}. Model {model.name!r} has one of {places}.")
    sources = {key: file.variables[key] for key in targets}
    if at_once:
        sources = {key: source.in_memory() for key, source in sources.items()}
    for key, target in targets.items():
        _assign(target, sources[key])
    takes_rgb = targets["block1_conv1", "kernel"].shape[2] == 3
    preprocessing.remember(model, file.preprocessing if takes_rgb else None, file.origin)
    class_names.adopt(model, file.classes if net.include_top else None)


def build_arguments(file: WeightFile) -> dict:
    """Returns the arguments of `build_vgg` for the net of a file.

    Raises:
        InputError: if `build_vgg` cannot build it: blocks differ in width, or fc1 takes a map that is not square.
    """
    kernels = {layer: variable.shape for (layer, name), variable in file.variables.items() if name == "kernel"}
    config = configs.get_config(file.arch)
    units = {name: each.filters for name, each in config.convolutions.items()}
    units |= config.fully_connected if file.include_top else {}
    found = {layer: kernels[layer][-1] for layer in units}
    arguments = {
        "arch": file.arch,
        "width": _width(file, units, found),
        "batch_norm": file.batch_norm,
        "include_top": file.include_top,
        "input_shape": (None, None, kernels["block1_conv1"][2]),
    }
    if not file.include_top:
        return arguments
    arguments["classes"] = kernels["predictions"][1]
    if file.regression:  # boxes take no activation
        arguments["classifier_activation"] = None
    if config.global_pooling:
        return arguments
    if file.spatial is None:
        raise InputError(f"{file.path}: fc1 takes a map that is not square; build the model and load the weights into it.")
    height, width = map(config.side, file.spatial)
    return arguments | {"input_shape": (height, width, kernels["block1_conv1"][2])}


def _width(file: WeightFile, units: dict[str, int], found: dict[str, int]) -> float:
    # Each layer only bounds the width, since its units were rounded.
    least, widest = max(((found[layer] - 0.5) / full, layer) for layer, full in units.items())
    most, narrowest = min(((found[layer] + 0.5) / full, layer) for layer, full in units.items())
    whole = found["block1_conv1"] / units["block1_conv1"]
    width = whole if least < whole < most else (least + most) / 2
    if any(found[layer] != configs.scaled_width(full, width) for layer, full in units.items()):
        raise InputError(
            f"{file.path}: {widest} has {found[widest]} outputs, which no single width gives together with "
            f"{found[narrowest]} of {narrowest}; build the model and load the weights into it."
        )
    return width


class _Unset(keras.initializers.Initializer):
    """Leaves memory uninitialized."""

    def __call__(self, shape, dtype=None):
        """Returns a tensor of arbitrary values."""
        return tf.raw_ops.Empty(shape=shape, dtype=dtype or "float32", init=False)


def build_unset(build: Callable[[keras.initializers.Initializer], keras.Model]) -> keras.Model:
    """Builds a model whose kernels are about to be loaded, without drawing random values that are overwritten.

    Args:
        build: builds the model with the given initializer.

    Returns:
        The model; its layers' initializers are then reset to the usual one, for clones.
    """
    model = build(_Unset())
    for layer in model.layers:
        if isinstance(getattr(layer, "kernel_initializer", None), _Unset):
            layer.kernel_initializer = keras.initializers.GlorotUniform()
    return model


def arch_of(model: keras.Model) -> names.Match:
    """Returns which net of Table 1 a model is, with or without batch norm, with or without its top.

    Raises:
        InputError: if it is none of them.
    """
    shapes = {f"{layer.name}/{number}": tuple(w.shape) for layer in model.layers for number, w in enumerate(layer.weights)}
    lrn = [layer.name for layer in model.layers if isinstance(layer, LocalResponseNormalization)]
    match = names.closest(shapes, configs.with_lrn(lrn))
    if match.distance:
        raise InputError(
            f"Expected a model that is one of the VGG nets. Received: {model.name!r}, which {match.problem} of {match}."
        )
    return match


def _spatial(model: keras.Model) -> tuple[int, int] | None:
    pool = next(layer for layer in reversed(model.layers) if isinstance(layer, keras.layers.MaxPooling2D))
    height, width = pool.output.shape[1:3] if pool.data_format == "channels_last" else pool.output.shape[2:]
    return (height, width) if height and width else None


def _check(model: keras.Model, file: WeightFile, key: tuple[str, str], wanted: tuple[int, ...]) -> None:
    layer, found = key[0], file.variables[key].shape
    if found == wanted:
        return
    told = f"shape {wanted}"
    if layer == "predictions" and found[:-1] == wanted[:-1]:
        told = f"{wanted[-1]} classes, not {found[-1]}"
    elif key == ("fc1", "kernel") and found[1] == wanted[1]:
        told = f"another input size: fc1 takes {wanted[0]:,} values, not {found[0]:,}"
    array = file.variables[key].array
    raise InputError(f"{file.path}: {layer} ({array}) has shape {found}. Model {model.name!r} has {told}.")


def _assign(target: keras.Variable, source: Variable) -> None:
    if isinstance(target.value, tf.distribute.DistributedValues):  # a partial assignment would reach only one replica
        target.assign(source.read())
        return
    for part in source.parts():
        # The raw op: `value[…].assign` reads the variable first, so that each assignment copies it whole.
        begin, end = [0] * len(source.shape), list(source.shape)
        begin[part.axis], end[part.axis] = part.start, part.start + part.values.shape[part.axis]
        tf.raw_ops.ResourceStridedSliceAssign(
            ref=target.value.handle, begin=begin, end=end, strides=[1] * len(begin), value=tf.cast(part.values, target.dtype)
        )
