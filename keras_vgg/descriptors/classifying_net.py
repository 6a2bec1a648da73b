"""A whole net of a linear classifier on descriptors: the layers that describe an image, and the classifier as the last one.

What is a net: the descriptor of one view, the whole image at one Q or the crop, made of length one by a layer or not. What is none:
several scales or nets, mirror images, whose features are averaged before they are made of length one, and FC layers looked at
densely, whose places are.
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
"""The layers that make features of length one, and classify them: no `predictions`, which stands on features as they are."""


def check(source: NetFile, protocol: DescriptorProtocol, path: pathlib.Path) -> None:
    """Finds out whether a classifier on descriptors will be a net that can be kept, before any image is described.

    Args:
        source: the net that is to describe images.
        protocol: the descriptor.
        path: where the net is to be kept.

    Raises:
        InputError: if it will not, for the reason in the module's docstring, or `path` is no `.keras` file that can be written.
    """
    if path.suffix != ".keras":
        raise InputError(f"`--save` must name a .keras file. Received: {path}.")
    files.check_file(path)
    views = protocol.views(source.default_scale, source.flip)
    told = {
        f"{len(views)} scales; give --scales with one": len(views) > 1,
        "mirror images too; give --no-flip": views[0].flip,
        f"{protocol.pooling} pooling; leave out --pooling": protocol.pooling != "floor",
    }
    if wrong := next((text for text, differs in told.items() if differs), None):
        raise InputError(f"`--save` makes a net, which looks at an image once. Received: descriptors of {wrong}.")
    _check_layer(source.load_model(), protocol)


def _check_layer(model: keras.Model, protocol: DescriptorProtocol) -> None:
    *_, last = (layer.name for layer in model.layers if len(layer.output.shape) == 4)
    of_top = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dense)][:-1]
    if protocol.layer != last and protocol.layer not in of_top:
        others = f" or, with --no-dense, {', '.join(of_top)}" if of_top else ""
        raise InputError(f"`--save` takes the layer {last}{others}. Received: --layer {protocol.layer}.")
    if protocol.layer in of_top and protocol.dense:
        raise InputError(
            f"`--save` takes {protocol.layer} of the crop, since a net does not average it over a whole image: give --no-dense, or "
            f"--layer {last}. Received: --dense."
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
    """Writes a classifier on descriptors as a net, with what its weights want of an image, at which Q, and its classes' names.

    Args:
        path: where to, a `.keras` file.
        source: the net that described the images.
        protocol: the descriptor, see `check`.
        kernel: `(D, classes)`, from a descriptor to logits.
        bias: `(classes,)`.
        classes: class names in label order.
        activation: from logits to what the net puts out, `"softmax"` or `"sigmoid"`.
        digest: of the net that described the images, `Extracted.digests`.

    Returns:
        What the net has to look at to see what the classifier saw.

    Raises:
        InputError: if the net's file was replaced since.
    """
    model = source.load_model(precision=protocol.precision)
    if digest_of_copies([model], source.path) != digest:
        raise InputError(f"{source.path} was replaced after it had described the images; run the same command again.")
    (views,) = protocol.views(source.default_scale, source.flip)
    set_precision(model, FLOAT32)  # which precision it is used in is asked of whoever uses it
    # Keras' own calls take images of this size alone; the commands look at whole images, of any size from it on.
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
        model: the net that describes images, whose layers are shared.
        protocol, kernel, bias, activation: as for `keep`.
        side: of the images that it takes.

    Returns:
        A functional model, `(B, side, side, 3)` to probabilities `(B, classes)` float32: the layers of `model` up to the last
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
