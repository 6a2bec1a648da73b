"""A net made of a linear classifier on descriptors: the layers that compute the descriptor, and the classifier as the last layer.

It supports descriptors of one view, the whole image at one Q or the crop, L2-normalized by a layer or not. It does not support
several scales or nets, mirror images, whose features are averaged before normalization, or dense FC layers, whose positions are.
"""

import json
import pathlib
from collections.abc import Sequence

import keras
import numpy as np

from keras_vgg import configs, preprocessing
from keras_vgg.descriptors.descriptor import DescriptorProtocol
from keras_vgg.errors import InputError
from keras_vgg.identity import digest_of_copies
from keras_vgg.inference.net_files import NetFile
from keras_vgg.inference.views import Views
from keras_vgg.mixed_precision import set_precision
from keras_vgg.precision import FLOAT32
from keras_vgg.support import files
from keras_vgg.weights import kinds

UNIT_LENGTH, CLASSIFIER = "unit_length", "classifier"
"""The layers that L2-normalize features and classify them; not named `predictions`, which takes features as they are."""


def check(source: NetFile, protocol: DescriptorProtocol, path: pathlib.Path) -> None:
    """Checks that a classifier on descriptors can be saved as a net, before any descriptor is computed.

    Args:
        source: the net that computes the descriptors.
        protocol: the descriptor.
        path: output file.

    Raises:
        InputError: if it cannot, for the reasons in the module's docstring, or `path` is not a writable `.keras` file.
    """
    if path.suffix != ".keras":
        raise InputError(f"`--save` must name a .keras file. Received: {path}.")
    files.check_file(path)
    views = protocol.views(source.default_scale, source.flip)
    told = {
        f"{len(views)} scales; pass --scales with a single value": len(views) > 1,
        "mirror images too; pass --no-flip": views[0].flip,
        f"{protocol.pooling} pooling; omit --pooling": protocol.pooling != "floor",
    }
    if wrong := next((text for text, differs in told.items() if differs), None):
        raise InputError(f"`--save` needs descriptors of a single view. Received: descriptors of {wrong}.")
    _check_layer(source.load_model(), protocol)


def _check_layer(model: keras.Model, protocol: DescriptorProtocol) -> None:
    *_, last = (layer.name for layer in model.layers if len(layer.output.shape) == 4)
    of_top = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dense)][:-1]
    if protocol.layer != last and protocol.layer not in of_top:
        others = f" or, with --no-dense, {', '.join(of_top)}" if of_top else ""
        raise InputError(f"`--save` supports the layer {last}{others}. Received: --layer {protocol.layer}.")
    if protocol.layer in of_top and protocol.dense:
        raise InputError(
            f"`--save` supports {protocol.layer} only for the crop, since a net does not average it over a whole image. "
            f"Received: --dense; pass --no-dense or --layer {last}."
        )


def keep(
    path: pathlib.Path,
    source: NetFile,
    protocol: DescriptorProtocol,
    kernel: np.ndarray,
    bias: np.ndarray,
    classes: Sequence[str],
    *,
    activation: str,
    digest: str,
) -> Views:
    """Writes a classifier on descriptors as a net, with its input preprocessing, Q and class names.

    Args:
        path: output file, `.keras`.
        source: the net that computed the descriptors.
        protocol: the descriptor, see `check`.
        kernel: `(D, classes)`, from a descriptor to logits.
        bias: `(classes,)`.
        classes: class names in label order.
        activation: of the logits, `"softmax"` or `"sigmoid"`.
        digest: of the net that computed the descriptors, from `Extracted.digests`.

    Returns:
        The views on which the net reproduces the classifier's inputs.

    Raises:
        InputError: if the net's file has been replaced since.
    """
    model = source.load_model(precision=protocol.precision)
    if digest_of_copies([model], source.path) != digest:
        raise InputError(f"{source.path} was replaced after its descriptors were computed; run the same command again.")
    (views,) = protocol.views(source.default_scale, source.flip)
    set_precision(model, FLOAT32)  # the precision is chosen when the net is used
    # Keras' own calls accept only images of this size; the commands use whole images of at least this size.
    side = model.input_shape[1] or min(views.scale, configs.TRAINING_SIZE)
    net = classifying_net(model, protocol, kernel, bias, side=side, activation=activation)
    note = json.loads(kinds.note(preprocessing.of_weights(net), preprocessing.origin_of(net), None, classes))
    with files.replacing(path) as beside:
        net.save(beside)
        preprocessing.attach_note(beside, json.dumps(note | {"scale": views.scale, "flip": False}))
    return views


def classifying_net(
    model: keras.Model, protocol: DescriptorProtocol, kernel: np.ndarray, bias: np.ndarray, *, side: int, activation: str
) -> keras.Model:
    """Returns a net whose logits are `descriptor @ kernel + bias`.

    Args:
        model: the net that computes the descriptors, whose layers are shared.
        protocol, kernel, bias, activation: as for `keep`.
        side: input size, in pixels.

    Returns:
        A functional model from `(B, side, side, 3)` to probabilities `(B, classes)` float32: the layers of `model` up to the last
        pooling and `avg_pool`, or up to an FC layer; then `unit_length` and `classifier`.
    """
    inputs = outputs = keras.Input((side, side, model.input_shape[-1]), dtype=model.inputs[0].dtype, name="images")
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        outputs = layer(outputs)
        if layer.name == protocol.layer:
            break
    if len(outputs.shape) == 4:
        outputs = keras.layers.GlobalAveragePooling2D(dtype="float32", name=configs.POOL_LAYER)(outputs)
    if protocol.normalize:
        outputs = keras.layers.UnitNormalization(dtype="float32", name=UNIT_LENGTH)(outputs)
    last = keras.layers.Dense(bias.size, activation=activation, dtype="float32", name=CLASSIFIER)
    net = keras.Model(inputs, last(outputs), name=f"{model.name}_classifier")
    last.set_weights([kernel, bias])
    preprocessing.remember(net, preprocessing.of_weights(model), preprocessing.origin_of(model))
    return net
