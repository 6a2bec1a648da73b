"""The six nets of Table 1 as plain functional Keras models.

Layer names are those of `keras.applications.vgg16` and `vgg19` (`block3_conv2`, `fc1`, `predictions`). Inputs are images
preprocessed by `preprocessing`; the nets themselves contain no preprocessing.
"""

import math

import keras

from keras_vgg import configs
from keras_vgg.errors import InputError
from keras_vgg.layers import LocalResponseNormalization

INITIALIZERS = {
    "glorot": keras.initializers.GlorotUniform,
    "gaussian": lambda: keras.initializers.RandomNormal(stddev=configs.GAUSSIAN_DEVIATION),
    "he": keras.initializers.HeNormal,
}
"""Kernel initializers (Sec. 3.1); biases start at zero."""

GLOBAL_POOLINGS = {None: None, "avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}


def build_vgg(
    arch: str,
    *,
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    name: str | None = None,
    classes: int = 1000,
    include_top: bool = True,
    dropout: float = 0.5,
    width: float = 1.0,
    batch_norm: bool = False,
    initializer: str | keras.initializers.Initializer = "glorot",
    classifier_activation: str | None = "softmax",
    pooling: str | None = None,
) -> keras.Model:
    """Returns net `arch` of Table 1, untrained.

    Args:
        arch: one of `A`, `A-LRN`, `B`, `C`, `D`, `E`, or a common name such as `VGG16`; with the suffix `-pool`,
            `predictions` follows global average pooling of the last map instead of the FC layers.
        input_shape: `(height, width, channels)`; sides of at least 32, or `None` for any size, without FC layers.
        name: the model's name; by default from `arch`, e.g. `vgg_d`.
        classes, include_top, dropout, width, batch_norm, initializer, classifier_activation, pooling: as for `apply_vgg`.

    Returns:
        A functional model, `(B, height, width, channels)` float32 to `(B, classes)` float32 with the top.

    Raises:
        InputError: (a `ValueError`) for an invalid argument, before anything is built.

    Example:
        >>> from keras_vgg.models import build_vgg
        >>> build_vgg("D").count_params()
        138357544
    """
    config = configs.get_config(arch)
    _check_shape(input_shape, config, include_top)
    inputs = keras.Input(input_shape, name="images")
    outputs = apply_vgg(
        inputs,
        arch,
        classes=classes,
        include_top=include_top,
        dropout=dropout,
        width=width,
        batch_norm=batch_norm,
        initializer=initializer,
        classifier_activation=classifier_activation,
        pooling=pooling,
    )
    return keras.Model(inputs, outputs, name=name or default_name(config.arch, batch_norm=batch_norm))


def default_name(arch: str, *, batch_norm: bool = False) -> str:
    """Returns the default name of a model of net `arch`, e.g. `vgg_a_lrn` or `vgg_d_bn`."""
    return f"vgg_{arch.lower().replace('-', '_')}{'_bn' if batch_norm else ''}"


def apply_vgg(
    inputs: keras.KerasTensor,
    arch: str,
    *,
    classes: int = 1000,
    include_top: bool = True,
    dropout: float = 0.5,
    width: float = 1.0,
    batch_norm: bool = False,
    initializer: str | keras.initializers.Initializer = "glorot",
    classifier_activation: str | None = "softmax",
    pooling: str | None = None,
) -> keras.KerasTensor:
    """Applies the layers of net `arch` to a symbolic tensor in Keras' image data format.

    Args:
        inputs: symbolic `(B, height, width, channels)`.
        arch: one of `A`, `A-LRN`, `B`, `C`, `D`, `E`, or a common name such as `VGG16`.
        classes: number of classes of `predictions`.
        include_top: whether `fc1`, `fc2` and `predictions` follow the convolutions.
        dropout: dropout rate after `fc1` and after `fc2`; no such layers at 0.
        width: factor on the number of filters and on the units of `fc1` and `fc2`, for small machines.
        batch_norm: batch normalization between every convolution and its ReLU, as in torchvision's `vgg*_bn`.
        initializer: `"glorot"`, `"gaussian"`, `"he"`, or any Keras initializer, for the kernels.
        classifier_activation: activation of `predictions`; `None` for logits.
        pooling: without the top, `"avg"` or `"max"` for global pooling after the last block, `None` for its feature map.

    Returns:
        Symbolic outputs: `(B, classes)` with the top, `(B, 512)` with `pooling`, else `(B, height / 32, width / 32, 512)`.

    Raises:
        InputError: for an invalid argument.
    """
    config = configs.get_config(arch)
    _check_options(classes, include_top, dropout, width, initializer, pooling)

    def new_initializer():
        return INITIALIZERS[initializer]() if isinstance(initializer, str) else _fresh(initializer)

    outputs = _convolutions(inputs, config, width, batch_norm, new_initializer)
    if not include_top:
        return GLOBAL_POOLINGS[pooling](name=f"{pooling}_pool")(outputs) if pooling else outputs
    if config.global_pooling:
        outputs = keras.layers.GlobalAveragePooling2D(name=configs.POOL_LAYER)(outputs)
        if dropout:
            outputs = keras.layers.Dropout(dropout, name=f"dropout_{configs.POOL_LAYER}")(outputs)
    else:
        outputs = keras.layers.Flatten(name="flatten")(outputs)
    for fc, full in config.fully_connected.items():
        units = configs.scaled_width(full, width)
        outputs = keras.layers.Dense(units, activation="relu", kernel_initializer=new_initializer(), name=fc)(outputs)
        if dropout:
            outputs = keras.layers.Dropout(dropout, name=f"dropout_{fc}")(outputs)
    return keras.layers.Dense(
        classes,
        activation=classifier_activation,
        kernel_initializer=new_initializer(),
        dtype="float32",  # posteriors and the loss keep full precision under a mixed policy
        name="predictions",
    )(outputs)


def _convolutions(outputs, config, width, batch_norm, new_initializer):
    channel_axis = -1 if keras.config.image_data_format() == "channels_last" else 1
    for block, convolutions in enumerate(config.blocks, start=1):
        for conv, convolution in enumerate(convolutions, start=1):
            outputs = keras.layers.Conv2D(
                configs.scaled_width(convolution.filters, width),
                convolution.kernel,
                convolution.stride,
                padding="same",
                activation=None if batch_norm else "relu",
                kernel_initializer=new_initializer(),
                name=f"block{block}_conv{conv}",
            )(outputs)
            if batch_norm:  # torchvision's epsilon and momentum, so that its weights reproduce its outputs
                normalization = keras.layers.BatchNormalization(
                    axis=channel_axis, epsilon=1e-5, momentum=0.9, name=f"block{block}_bn{conv}"
                )
                outputs = keras.layers.ReLU(name=f"block{block}_relu{conv}")(normalization(outputs))
            if convolution.lrn:
                outputs = LocalResponseNormalization(name=configs.lrn_name(block, conv))(outputs)
        outputs = keras.layers.MaxPooling2D(config.pooling.size, config.pooling.stride, name=f"block{block}_pool")(outputs)
    return outputs


def _fresh(initializer):
    # A seeded initializer gives the same values at every call; each layer needs its own.
    initializer = keras.initializers.get(initializer)
    return initializer.clone() if isinstance(initializer, keras.initializers.Initializer) else initializer


def _check_shape(input_shape, config, include_top):
    if len(input_shape) != 3 or input_shape[-1] is None:
        raise InputError(f"`input_shape` must be (height, width, channels). Received: input_shape={input_shape}.")
    sides = input_shape[:2]
    if any(side is not None and side < config.side() for side in sides):
        limit = f"at least {config.side()}: {config.halvings} halve them"
        raise InputError(f"The sides of `input_shape` must be {limit}. Received: {input_shape}.")
    if include_top and None in sides and not config.global_pooling:
        raise InputError(f"With `include_top=True`, `input_shape` must have fixed sides for fc1. Received: {input_shape}.")


def _check_options(classes, include_top, dropout, width, initializer, pooling):
    if classes < 1:
        raise InputError(f"`classes` must be at least 1. Received: classes={classes}.")
    if not 0 <= dropout < 1:
        raise InputError(f"`dropout` must be in [0, 1). Received: dropout={dropout}.")
    if not 0 < width < math.inf:
        raise InputError(f"`width` must be positive. Received: width={width}.")
    if isinstance(initializer, str) and initializer not in INITIALIZERS:
        raise InputError(f"`initializer` must be one of {', '.join(INITIALIZERS)}. Received: initializer={initializer!r}.")
    if pooling not in GLOBAL_POOLINGS:
        raise InputError(f"`pooling` must be None, 'avg' or 'max'. Received: pooling={pooling!r}.")
    if pooling and include_top:
        raise InputError("`pooling` requires `include_top=False`: with the top, fc1 takes the whole feature map.")
