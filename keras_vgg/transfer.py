"""Initializes a net from another: net A for the deeper nets (Sec. 3.1), or the same net trained before."""

import dataclasses
import os
import pathlib

import keras
import numpy as np

from keras_vgg import class_names, preprocessing
from keras_vgg.configs import CONFIGS
from keras_vgg.errors import InputError
from keras_vgg.mixed_precision import set_precision
from keras_vgg.preprocessing import Preprocessing
from keras_vgg.weights import first_layer, kinds, loading, own_models, weight_file

NET_A_LAYERS = ("block1_conv1", "block2_conv1", "block3_conv1", "block3_conv2", "fc1", "fc2", "predictions")
"""Net A's first four convolutions and its FC layers: what the paper copies into the deeper nets.

They match by block and name, not by position: the first four convolutions of nets B–E have 64, 64, 128, 128 filters.
"""


@dataclasses.dataclass(frozen=True)
class Transferred:
    """The result of a transfer.

    Attributes:
        copied: names of the copied layers.
        left_random: names of the layers with weights that kept their initialization, each with the reason.
        adapted: names of copied layers that were then adapted to another preprocessing or class order, each with the change.
    """

    copied: tuple[str, ...]
    left_random: dict[str, str]
    adapted: dict[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self):
        lines = [f"copied: {', '.join(self.copied) or 'nothing'}"]
        lines += [f"adapted: {name} ({change})" for name, change in self.adapted.items()]
        lines += [f"left as initialized: {name} ({reason})" for name, reason in self.left_random.items()]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Classes:
    """Class names in label order.

    Attributes:
        ours: those of the net to be trained.
        theirs: those of the net to start from; `None` if unknown.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...] | None


_BY_NUMBER = "the source has no class names: they are assumed to be this dataset's, in the same order"


def init_from_net_a(model: keras.Model, net_a: keras.Model) -> Transferred:
    """Copies net A's first four convolutions and its FC layers into a deeper net (Sec. 3.1).

    Layers are matched by block and name. `fc1`, `fc2` and `predictions` are copied if their shapes match, so that a net
    with a different number of classes keeps a random `predictions`.

    Args:
        model: a net of `build_vgg`, changed in place.
        net_a: a trained net A of the same width.

    Returns:
        What was copied and what was left random.

    Raises:
        InputError: if no convolution fits, e.g. between nets of different width.

    Example:
        >>> from keras_vgg.models import build_vgg
        >>> from keras_vgg.transfer import init_from_net_a
        >>> small = {"input_shape": (32, 32, 3), "classes": 10, "width": 1 / 16}
        >>> done = init_from_net_a(build_vgg("B", **small), build_vgg("A", **small))
        >>> done.copied
        ('block1_conv1', 'block2_conv1', 'block3_conv1', 'block3_conv2', 'fc1', 'fc2', 'predictions')
        >>> done.left_random["block1_conv2"]
        'the source has none'
    """
    return _copy(model, net_a, NET_A_LAYERS)


def init_from_same_net(model: keras.Model, source: keras.Model) -> Transferred:
    """Copies every layer that fits, matched by name: e.g. for S=384 from S=256, or new classes on old features.

    Returns and raises like `init_from_net_a`.
    """
    return _copy(model, source, tuple(layer.name for layer in source.layers if layer.weights))


def init_from(
    model: keras.Model, source: keras.Model, *, wants: Preprocessing | None = None, classes: Classes | None = None
) -> Transferred:
    """Initializes `model` from `source` as in the paper: the whole same net, or net A into a deeper one.

    Args:
        model: a net of `build_vgg`, changed in place.
        source: a trained net.
        wants: preprocessing of the inputs of `model`. If the weights of `source` need another one (BGR, another mean or
            deviation), the first convolution is changed to give the same output for the same image, except at the image's
            border, where padding zeros stand for the mean and a difference between the means remains.
        classes: class names of both, to copy `predictions` by name.

    Raises:
        InputError: if `source` is neither, or if `wants` is given and the preprocessing of `source` is unknown.
    """
    start = model.get_layer("predictions").get_weights() if classes else []
    ours, theirs = _convolutions(model), _convolutions(source)
    if ours == theirs:
        result = init_from_same_net(model, source)
    elif theirs == _NET_A:
        result = init_from_net_a(model, source)
    else:
        raise InputError(
            f"`init_from` takes the same net or net A. Received: {source.name} with {len(theirs)} convolutions and "
            f"normalizations for {model.name} with {len(ours)}."
        )
    if classes and "predictions" in result.copied:
        result = _match_classes(model, start, result, classes)
    if not wants or "block1_conv1" not in result.copied:
        return result
    learned = preprocessing.of_weights(source)
    if learned == wants:
        return result
    _adapt(model.get_layer("block1_conv1"), learned, wants)
    return dataclasses.replace(result, adapted=result.adapted | {"block1_conv1": f"from {learned} to {wants}"})


def _match_classes(model, start: list[np.ndarray], result: Transferred, classes: Classes) -> Transferred:
    """Orders the copied classifier's columns by name, or undoes the copy if the classes differ."""
    head = model.get_layer("predictions")
    if classes.theirs is None:
        return dataclasses.replace(result, adapted=result.adapted | {"predictions": _BY_NUMBER})
    if set(classes.ours) != set(classes.theirs) or len(set(classes.theirs)) < len(classes.theirs):
        head.set_weights(start)
        only = sorted(set(classes.theirs) ^ set(classes.ours))
        left = {"predictions": f"the classes differ, e.g. only one of the nets has {only[0] if only else classes.theirs[0]!r}"}
        return Transferred(tuple(name for name in result.copied if name != "predictions"), result.left_random | left)
    if classes.ours == classes.theirs:
        return result
    place = {name: label for label, name in enumerate(classes.theirs)}
    head.set_weights([values[..., [place[name] for name in classes.ours]] for values in head.get_weights()])
    return dataclasses.replace(result, adapted=result.adapted | {"predictions": "classes reordered by name to match this dataset"})


def _adapt(first: keras.layers.Conv2D, learned: Preprocessing, given: Preprocessing) -> None:
    """Changes the first convolution, trained with one preprocessing, to give the same output with another."""
    kernel, bias = first.get_weights()  # (height, width, channels, filters)
    if learned.bgr:
        kernel = kernel[:, :, ::-1]
    # In RGB, x_learned = (image - mean_l) / std_l and x_given = (image - mean_g) / std_g; solved for x_learned.
    scale = np.divide(given.std, learned.std)
    shift = np.subtract(given.mean, learned.mean) / learned.std
    bias = bias + np.einsum("hwcf,c->f", kernel, shift)
    kernel = kernel * scale[:, None]
    first.set_weights([kernel[:, :, ::-1] if given.bgr else kernel, bias])


def find_model(run_or_file: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the file of a model: the `best.keras` of a run folder of `keras_vgg.fit`, or the weight file itself.

    Raises:
        InputError: if there is no such file or its kind is unknown.
    """
    path = weight_file.find_file(run_or_file)
    kinds.tell(path)
    return path


def facts_of(run_or_file: str | os.PathLike[str]) -> weight_file.WeightFile:
    """Returns facts about the weights that `load_model` loads: preprocessing, how it is known, class names.

    Raises:
        InputError: as for `weights.weight_file.open_weights`.
    """
    return weight_file.open_weights(run_or_file)


def load_model(run_or_file: str | os.PathLike[str], *, precision: str | None = None) -> keras.Model:
    """Loads the model that `find_model` finds, with its preprocessing and class names if the file records them.

    A `.keras` file contains its own model; for other files the net of their weights is built.

    Args:
        run_or_file: a run folder, or a weight file of any kind.
        precision: compute precision, one of `precision.PRECISIONS`; by default that of the file, or Keras' setting.

    Raises:
        InputError: if it is missing or cannot be loaded, or for an unknown precision.

    Example:
        >>> import pathlib
        >>> import tempfile
        >>> import keras_vgg
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "net.keras")
        ...     keras_vgg.models.build_vgg("C", input_shape=(32, 32, 3), classes=10, width=1 / 16).save(path)
        ...     model = keras_vgg.transfer.load_model(path)
        >>> model.name, model.output_shape
        ('vgg_c', (None, 10))
    """
    model = _load(find_model(run_or_file))
    if precision is not None:
        set_precision(model, precision)
    return model


def _load(path: pathlib.Path) -> keras.Model:
    is_keras, own = kinds.tell(path) is kinds.KERAS, kinds.own_model(path)
    if not (is_keras or own):
        return loading.load_net(path)
    model = own.model if own else own_models.load_whole(path)
    class_names.adopt(model, weight_file.told_classes(path))
    if own and own.wants:
        preprocessing.remember(model, own.wants, preprocessing.OWN_LAYERS)
    elif is_keras and (wants := preprocessing.read_attached(path)):
        preprocessing.remember(model, wants, preprocessing.attached_origin(path))
    elif wants := _recognise(model):
        preprocessing.remember(model, wants, preprocessing.RECOGNISED)
    return model


def _recognise(model: keras.Model) -> Preprocessing | None:
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    return first_layer.recognise(*convolutions[0].get_weights()[:2]) if convolutions else None


_NET_A = [(name, (each.kernel, each.kernel)) for name, each in CONFIGS["A"].convolutions.items()]


def _convolutions(model):
    # Names with kernel sizes, since net C differs from net D only in these. Batch norm makes a different net.
    kept = [layer for layer in model.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.BatchNormalization))]
    return [(layer.name, tuple(getattr(layer, "kernel_size", ()))) for layer in kept]


def _copy(model, source, names) -> Transferred:
    sources = {layer.name: layer for layer in source.layers if layer.name in names}
    present, copied, left_random = {layer.name for layer in source.layers}, [], {}
    for layer in model.layers:
        if not layer.weights:
            continue
        if layer.name not in sources:
            left_random[layer.name] = "not copied from the source" if layer.name in present else "the source has none"
            continue
        values = sources[layer.name].get_weights()
        wanted, found = [tuple(w.shape) for w in layer.weights], [value.shape for value in values]
        if wanted != found:
            left_random[layer.name] = f"needs shape {wanted[0]}, the source has {found[0]}"
            continue
        layer.set_weights(values)
        copied.append(layer.name)
    if not any("conv" in name for name in copied):
        raise InputError(
            f"No convolution of {source.name} fits {model.name}: nets must have the same width and channels. "
            f"E.g. {next(iter(left_random.items()), '')}."
        )
    return Transferred(tuple(copied), left_random)
