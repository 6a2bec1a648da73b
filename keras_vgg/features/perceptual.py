"""Models from images to the activations of a VGG net: plain Keras models with built-in preprocessing.

Images and activations are in Keras' image data format.
"""

import os
from collections.abc import Sequence

import keras
import numpy as np

from keras_vgg import configs
from keras_vgg import preprocessing as wanted
from keras_vgg.errors import InputError
from keras_vgg.features import layer_names
from keras_vgg.features.data_format import channel_axis
from keras_vgg.features.distance_layers import HannPooling2D
from keras_vgg.features.layer_weights import DEFAULT_ARCH, LayerWeights, open_layers
from keras_vgg.layers import LocalResponseNormalization
from keras_vgg.mixed_precision import set_precision
from keras_vgg.precision import checked
from keras_vgg.preprocessing import Preprocessing

DEFAULT_LAYERS = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3")
"""The layers of Johnson et al. 2016 (relu1_2, relu2_2, relu3_3, relu4_3 of net D), which also exist in net E."""

POOLING_LAYERS = {
    "max": keras.layers.MaxPooling2D,
    "avg": keras.layers.AveragePooling2D,
    "hann": lambda size, stride, name: HannPooling2D(name=name),  # has a fixed size
}


def perceptual_model(
    arch: str | None = DEFAULT_ARCH,
    layers: Sequence[str] = DEFAULT_LAYERS,
    *,
    weights: str | os.PathLike[str] | keras.Model | LayerWeights | None = "imagenet",
    value_range: float | tuple[float, float] = 255,
    pooling: str = "max",
    batch_norm: bool = False,
    preprocessing: str | Preprocessing | None = None,
    precision: str | None = None,
    name: str | None = None,
) -> keras.Model:
    """Returns a frozen model from RGB images to named activations of a net, with the preprocessing of its weights.

    It ends at the deepest of `layers`; no further weights are read. It has its own copy of the weights and, except for A-LRN,
    only built-in Keras layers, so that it can be saved, and loaded anywhere.

    Args:
        arch: one of `A`, `A-LRN`, `B`, `C`, `D`, `E`, or common names such as `VGG16`; `None` for the net of `weights`, with or
            without batch norm.
        layers: `block3_conv3` or `relu3_3` is that convolution after its ReLU, `conv3_3` before it, `pool3` the block's pooling.
            See `layer_names`.
        weights: as for `keras_vgg.applications` (`None` for random ones, a public name, a weight file of any kind, a run
            folder), a Keras model with the layers of a net, or the result of `layer_weights.open_layers`.
        value_range: `(low, high)` of the images, e.g. `(-1, 1)`; or the highest value alone, 255 or 1.
        pooling: `"max"`; `"avg"`, which suits optimizing images (Gatys et al. 2016, Sec. 2); or `"hann"`, which does not alias
            (`HannPooling2D`, Ding et al. 2020).
        batch_norm: whether the net has batch norm, which then runs in inference mode.
        preprocessing: `"caffe"`, `"torch"` or a `Preprocessing`, if the weights do not record theirs. Random weights get
            torchvision's, with values around 1.
        precision: compute precision, one of `precision.PRECISIONS`, except for preprocessing; by default Keras' global policy.
        name: the model's name.

    Returns:
        A functional model from `(B, height, width, 3)`, of any size and numeric dtype, to a dict of `layers`, each `(B, h, w,
        channels)`, in the layers' compute dtype.

    Raises:
        InputError: (a `ValueError`) for invalid arguments or weights, before anything is built.

    Example:
        >>> import numpy as np
        >>> from keras_vgg.features import perceptual_model
        >>> model = perceptual_model("D", ("relu2_2", "relu3_3"), weights=None, preprocessing="caffe", value_range=(0, 1))
        >>> model(np.zeros((1, 256, 256, 3), np.float32))["relu3_3"].shape
        TensorShape([1, 64, 64, 256])
    """
    if pooling not in POOLING_LAYERS:
        raise InputError(f"`pooling` must be 'max', 'avg' or 'hann'. Received: pooling={pooling!r}.")
    if precision is not None:
        checked(precision)
    low, high = limits(value_range)
    given = _preprocessing(preprocessing)
    if arch is not None:
        arch, with_batch_norm = configs.net_called(arch)
        batch_norm = batch_norm or with_batch_norm
        layer_names.resolve(layers, arch, batch_norm=batch_norm)
    source = open_layers(weights, arch=arch, batch_norm=batch_norm)
    names = layer_names.resolve(layers, source.arch, batch_norm=source.batch_norm)
    wants = given or source.preprocessing
    if wants is None:
        raise InputError("These weights do not record their preprocessing; pass preprocessing='caffe' or 'torch'.")
    inputs = keras.Input((None, None, 3) if channel_axis() == -1 else (3, None, None), name="images")
    found = _activations(_preprocessed(inputs, wants, low, high), source, layers, set(names.values()), POOLING_LAYERS[pooling])
    outputs = {layer: found[step] for layer, step in names.items()}
    model = keras.Model(inputs, outputs, name=name or f"perceptual_{source.arch.lower().replace('-', '_')}")
    model.trainable = False
    if precision is not None:
        set_precision(model, precision)
    # Its own layers do all preprocessing, which `for_model` accounts for.
    wanted.remember(model, wants, wanted.GIVEN if given else source.origin)
    return model


def limits(value_range) -> tuple[float, float]:
    """Returns `(low, high)` of a `value_range`; `InputError` if it is invalid."""
    found = (0, value_range) if np.ndim(value_range) == 0 else tuple(value_range)
    if len(found) != 2 or not all(isinstance(each, int | float) for each in found) or not -np.inf < found[0] < found[1] < np.inf:
        raise InputError(f"`value_range` must be (low, high) or the highest value. Received: value_range={value_range!r}.")
    return found


def _preprocessing(given) -> Preprocessing | None:
    if given is None or isinstance(given, Preprocessing):
        return given
    if given not in wanted.BY_NAME:
        raise InputError(f"`preprocessing` must be one of {', '.join(wanted.BY_NAME)}. Received: preprocessing={given!r}.")
    return wanted.BY_NAME[given]


def _preprocessed(inputs, wants: Preprocessing, low: float, high: float):
    unit = (high - low) / 255
    mean, variance = low + unit * np.array(wants.mean), (unit * np.array(wants.std)) ** 2
    normalize = keras.layers.Normalization(
        axis=channel_axis(),
        mean=mean.tolist(),
        variance=variance.tolist(),
        dtype="float32",  # under a mixed policy too, since pixels have more digits than half precision
        name="preprocessing",
    )
    outputs = normalize(inputs)
    return keras.ops.flip(outputs, axis=channel_axis()) if wants.bgr else outputs


def _activations(outputs, source: LayerWeights, layers, wanted_steps: set[str], pooling) -> dict:
    net = configs.get_config(source.arch)
    steps = layer_names.up_to(layers, source.arch, batch_norm=source.batch_norm)
    values = {
        step.layer: source.read(step.layer) for step in steps if step.kind in ("conv", "bn")
    }  # read all before building any layer
    found = {}
    for step in steps:
        # A ReLU stays in its convolution, as in keras.applications, unless the activation before it is requested.
        is_fused = not source.batch_norm and step.name.replace("relu", "conv") not in wanted_steps
        match step.kind:
            case "conv":
                weights = values[step.layer]
                config, activation = net.convolutions[step.layer], "relu" if is_fused else None
                filters = config.filters if weights is None else weights[0].shape[-1]
                layer = keras.layers.Conv2D(
                    filters, config.kernel, config.stride, padding="same", activation=activation, name=step.layer
                )
            case "bn":  # torchvision's epsilon, as in `models`
                layer = keras.layers.BatchNormalization(axis=channel_axis(), epsilon=1e-5, name=step.layer)
            case "relu":
                layer = None if is_fused else keras.layers.ReLU(name=step.layer.replace("conv", "relu"))
            case "lrn":
                layer = LocalResponseNormalization(name=step.layer)
            case "pool":
                layer = pooling(net.pooling.size, net.pooling.stride, name=step.layer)
        outputs = layer(outputs) if layer else outputs
        if values.get(step.layer) is not None and step.kind in ("conv", "bn"):
            layer.set_weights(values[step.layer])
        found[step.name] = outputs
    return found
