"""Converts users' whole Keras models, a VGG net with a custom head, to a chain of layers with our names.

For example `keras.applications.VGG16(include_top=False)` with pooling or `Flatten` and Dense layers, functional or sequential,
nested or not, with rescaling or augmentation before it; and nets written layer by layer.
"""

import dataclasses
import pathlib
import zipfile
from collections.abc import Iterator, Sequence

import keras

from keras_vgg import configs, preprocessing
from keras_vgg.configs import Config
from keras_vgg.errors import InputError
from keras_vgg.heads import has_score_map
from keras_vgg.input_layers import affine_before
from keras_vgg.layers import LocalResponseNormalization
from keras_vgg.preprocessing import ImageTransform, Preprocessing
from keras_vgg.weights import keras_files, operations


@dataclasses.dataclass(frozen=True)
class Head:
    """What follows a model's convolutions, where that is not the head of one of our nets.

    Attributes:
        layers: display names of its layers.
        outputs: number of outputs.
        side: side of its input images in pixels, if it flattens the last map; else `None`.
        has_score_map: whether it can predict classes at every position of a map, and not only for the whole.
    """

    layers: tuple[str, ...]
    outputs: int
    side: int | None
    has_score_map: bool

    @property
    def classes(self) -> int:
        """Number of classes: one sigmoid distinguishes two."""
        return max(self.outputs, 2)

    def __str__(self):
        return ", ".join(self.layers)


@dataclasses.dataclass(frozen=True)
class OwnModel:
    """A model taken apart.

    Attributes:
        model: a functional model that is a chain of the same layers, from the first convolution on, with our names.
        config: the net with the same convolutions, and the same head unless `head` is set.
        head: its own head; `None` if it is the net's.
        wants: preprocessing by its layers before the first convolution; `None` if they leave images unchanged.
    """

    model: keras.Model
    config: Config
    batch_norm: bool
    head: Head | None
    wants: Preprocessing | None


_OF_NETS = {
    *("Conv2D", "Convolution2D", "BatchNormalization", "ReLU", "Activation", "MaxPooling2D", "LocalResponseNormalization"),
    *("Flatten", "GlobalAveragePooling2D", "Dense", "Dropout", "Softmax"),
}
"""Layer classes of the nets built by this package."""


def is_plain(config: object) -> bool:
    """Returns whether a configuration looks like a net built by this package: images go directly into the first convolution."""
    try:
        layers = [(layer["class_name"], layer.get("config", {})) for layer in config["config"]["layers"]]  # type: ignore[index]
    except (LookupError, TypeError):
        return False
    classes = [name for name, _ in layers if name not in ("InputLayer", "ZeroPadding2D")]
    hidden = [each.get("activation") for name, each in layers if name == "Dense"][:-1]
    return set(classes) <= _OF_NETS and classes[:1] in (["Conv2D"], ["Convolution2D"]) and set(hidden) <= {"relu"}


def load_whole(path: pathlib.Path) -> keras.Model:
    """Loads a whole model saved by Keras, unchanged.

    Raises:
        InputError: if Keras cannot load it.
    """
    try:
        if zipfile.is_zipfile(path):
            keras_files.check_keras(path)
        return keras.saving.load_model(path, compile=False)
    except InputError:
        raise
    except Exception as error:  # Keras raises many kinds of exceptions for archives that are damaged or contain no model
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"Expected a model that Keras can load. Received: {path} ({reason}).") from error


def take_apart(model: keras.Model, path: pathlib.Path) -> OwnModel:
    """Returns a model as a chain of its layers, which are renamed and shared by both.

    Args:
        model: a model whose layers may be renamed.
        path: its file, for messages.

    Raises:
        InputError: if it is not a chain, its convolutions match no net, or its first layers do more than rescale.
    """
    first = next(_leaves(model, keras.layers.Conv2D), None)
    if first is None or len(getattr(model, "outputs", ())) != 1:
        raise InputError(f"Expected a model with convolutions and one output. Received: {path}, which contains {model.name!r}.")
    chain = _chain(model, first, path)
    config, batch_norm, number = operations.net_of(chain, path)
    wants, shape = _own_preprocessing(model, first, path), _shape_given(model, first)
    trunk, head = chain[:number], chain[number:]
    _rename(trunk, config)
    own = None
    width = trunk[0].filters / config.blocks[0][0].filters
    if arch := _known_head(head, config, width):
        config = configs.get_config(arch)
        _rename_head(head, config)
    elif any(isinstance(layer, keras.layers.Dense) for layer in head):
        flattens = any(isinstance(layer, keras.layers.Flatten) for layer in head)
        own = Head(
            tuple(map(operations.name_of, head)),
            model.output_shape[-1],
            shape[0] if flattens else None,
            has_score_map(trunk + head),
        )
    inputs = outputs = keras.Input(shape, name="images")
    for layer in chain:
        outputs = layer(outputs)
    return OwnModel(keras.Model(inputs, outputs, name=model.name), config, batch_norm, own, wants)


def _leaves(model, kind) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer, kind)
        elif isinstance(layer, kind):
            yield layer


def _chain(model, first, path) -> list[keras.layers.Layer]:
    """Returns the consecutive layers from `first`, or from the model's input if it does not contain `first`, to its output."""
    chain = []
    for step in _steps(model, first, path):
        if isinstance(step, keras.Model):
            chain += _chain(step, first, path)
        elif not isinstance(step, keras.layers.InputLayer):
            chain.append(step)
    return chain


def _steps(model, first, path) -> list:
    if isinstance(model, keras.Sequential):
        begins = next((place for place, layer in enumerate(model.layers) if _is_or_has(layer, first)), 0)
        return model.layers[begins:]
    steps, tensor, ours = [], model.outputs[0], {id(each) for each in model.inputs}
    while id(tensor) not in ours:
        operation, index, _ = tensor._keras_history  # as Keras itself traces back
        given = operation._inbound_nodes[index].input_tensors
        if not isinstance(operation, keras.layers.Layer) or len(given) != 1:
            raise InputError(
                f"Expected a model whose layers form one chain after its first convolution. Received: {path}, where "
                f"{operation.name!r} ({type(operation).__name__}) breaks the chain."
            )
        steps.append(operation)
        if _is_or_has(operation, first):
            break  # earlier layers process images
        tensor = given[0]
    return steps[::-1]


def _is_or_has(layer, first) -> bool:
    return layer is first or (isinstance(layer, keras.Model) and any(each is first for each in _leaves(layer, type(first))))


def _rename(trunk: Sequence[keras.layers.Layer], config: Config) -> None:
    """Renames the convolutional part's layers as in `models.build_vgg`."""
    places = config.places()
    block = conv = 0
    for layer in trunk:
        if isinstance(layer, keras.layers.Conv2D):
            block, conv, _ = next(places)
            layer.name = f"block{block}_conv{conv}"
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.name = f"block{block}_bn{conv}"
        elif isinstance(layer, LocalResponseNormalization):
            layer.name = configs.lrn_name(block, conv)
        elif isinstance(layer, keras.layers.MaxPooling2D):
            layer.name = f"block{block}_pool"
        else:
            layer.name = f"block{block}_relu{conv}"


def _known_head(head: Sequence[keras.layers.Layer], config: Config, width: float) -> str | None:
    """Returns the net that has this head and convolutions of this width; `None` for a head that no net has."""
    computing = [layer for layer in head if not isinstance(layer, keras.layers.Dropout)]
    classes = [type(layer) for layer in computing]
    activations = [layer.activation for layer in computing if isinstance(layer, keras.layers.Dense)]
    endings = (keras.activations.softmax, keras.activations.sigmoid, keras.activations.linear)
    if not activations or activations[-1] not in endings or computing[-1].units == 1:
        return None
    if classes == [keras.layers.GlobalAveragePooling2D, keras.layers.Dense]:
        return config.pooled.arch
    wanted = [configs.scaled_width(units, width) for units in config.fc_units]
    is_fc = classes == [keras.layers.Flatten, *[keras.layers.Dense] * (len(wanted) + 1)]
    is_whole = is_fc and [layer.units for layer in computing[1:-1]] == wanted
    return config.arch if is_whole and set(activations[:-1]) == {keras.activations.relu} else None


def _rename_head(head: Sequence[keras.layers.Layer], config: Config) -> None:
    names = iter(config.top)
    for layer in head:
        if isinstance(layer, keras.layers.Dense):
            layer.name = next(names)
        elif isinstance(layer, keras.layers.GlobalAveragePooling2D):
            layer.name = configs.POOL_LAYER


def _own_preprocessing(model, first, path) -> Preprocessing | None:
    if transform := next(_leaves(model, ImageTransform), None):  # its sizes are for callers of the model; commands have their own
        return transform.preprocessing or preprocessing.NONE
    try:
        found = affine_before(model, first)
    except InputError as error:
        raise InputError(
            f"Layers before the first convolution must change only scale, mean or color order. Received: "
            f"{path}, where they do more; save the model without them and set --preprocessing."
        ) from error
    return preprocessing.of_affine(*found) if found else None


def _shape_given(model, first) -> tuple[int | None, int | None, int]:
    """Returns height, width and channels of the convolution's input, as far as the model fixes them."""
    shape = tuple(first.input.shape[1:])
    if None in shape[:2] and None not in model.input_shape[1:3]:
        return (*model.input_shape[1:3], shape[2])
    return shape
