"""Turns a net of Table 1 into a function with the arguments, layers and errors of `keras.applications`."""

import dataclasses
import inspect
import os
import warnings
from collections.abc import Callable
from typing import TypeVar

import keras

from keras_vgg import configs, models
from keras_vgg.errors import InputError
from keras_vgg.weights import catalogue, download
from keras_vgg.weights.loading import build_unset, fill

Build = TypeVar("Build", bound=Callable[..., keras.Model])


@dataclasses.dataclass(frozen=True)
class Application:
    """A net of Table 1 and the function of `keras_vgg.applications` that builds it.

    Attributes:
        function: the function's name.
        arch: the net.
        batch_norm: whether it has batch normalization, as in torchvision.
    """

    function: str
    arch: str
    batch_norm: bool = False

    def build(
        self,
        include_top: bool = True,
        weights: str | os.PathLike[str] | None = "imagenet",
        input_tensor: keras.KerasTensor | None = None,
        input_shape: tuple[int | None, int | None, int] | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: str | None = "softmax",
        name: str | None = None,
        *,
        dropout: float = 0.0,
    ) -> keras.Model:
        """Returns the net, as `keras.applications` would.

        Args:
            include_top: whether the three FC layers follow the convolutions.
            weights: `None` for random ones, a name of public ones, a weight file of Keras, PyTorch, safetensors or Caffe, or a run
                folder of `keras_vgg.fit`.
            input_tensor: Keras tensor to build on.
            input_shape: `(height, width, channels)`, sides of at least 32; any size by default without the top. Like everything
                here, in Keras' image data format.
            pooling: without the top, `"avg"` or `"max"` for global pooling after the last block; `None` for its feature map.
            classes: number of classes, with the top.
            classifier_activation: activation of `predictions`; `None` for logits.
            name: the model's name; by default the function's in lower case.
            dropout: dropout rate after fc1 and fc2, for training; no such layers at 0, as in `keras.applications`.

        Returns:
            A functional model from images, preprocessed by `keras_vgg.preprocessing.for_model(model)`, to posteriors.

        Raises:
            InputError: (a `ValueError`) for arguments or weights that do not fit.

        Example:
            >>> import keras_vgg
            >>> keras_vgg.applications.VGG16(weights=None, input_shape=(64, 64, 3), classes=10).output_shape
            (None, 10)
        """
        entry = _catalogue_entry(self.arch, self.batch_norm, weights)
        shape = _input_shape(input_shape, include_top, public=entry is not None)
        if entry and include_top and classes != 1000:
            raise InputError(f"With weights={weights!r} and include_top=True, `classes` must be 1000. Received: classes={classes}.")
        if entry and include_top and not entry.has_top:
            raise InputError(f"weights={weights!r} have no FC layers; pass include_top=False. Received: include_top=True.")
        if weights is not None and include_top:
            _check_activation(classifier_activation)
        inputs = _inputs(input_tensor, shape)
        file = _weight_file(entry, weights, include_top)

        def build_net(initializer="glorot"):
            outputs = models.apply_vgg(
                inputs,
                self.arch,
                classes=classes,
                include_top=include_top,
                dropout=dropout,
                batch_norm=self.batch_norm,
                initializer=initializer,
                classifier_activation=classifier_activation,
                pooling=None if include_top else pooling,  # like Keras, accepts it and ignores it with the top
            )
            sources = [inputs] if input_tensor is None else keras.utils.get_source_inputs(input_tensor)
            # With a list of one, as in keras.applications, Keras warns at every call with a plain array.
            return keras.Model(sources[0] if len(sources) == 1 else sources, outputs, name=name)

        if file is None:
            return build_net()
        model = build_unset(build_net)
        fill(model, file)
        return model


def as_function(build: Build) -> Build:
    """Returns `Application.build` of a net as a public function with its own name and help, which can be pickled.

    To static tools such as editors and type checkers it is the method, with all its arguments.
    """
    net: Application = build.__self__  # type: ignore[attr-defined]  # of a bound method, which the type Callable does not guarantee
    declared = inspect.signature(build)
    default_name = net.function.lower().replace("lrn", "_lrn").replace("bn", "_bn")
    named = declared.parameters["name"].replace(default=default_name)
    signature = declared.replace(parameters=[named if each.name == "name" else each for each in declared.parameters.values()])

    def function(*arguments, **options):
        try:
            bound = signature.bind(*arguments, **options)
        except TypeError as error:
            raise TypeError(f"{net.function}() {error}") from None
        bound.apply_defaults()
        return build(*bound.args, **bound.kwargs)

    function.__name__ = function.__qualname__ = net.function
    function.__module__ = __package__  # its public location, where pickle finds it
    function.__doc__ = _doc(net, inspect.getdoc(build) or "")
    function.__signature__ = signature  # type: ignore[attr-defined]  # used by `help` and `inspect`
    return function  # type: ignore[return-value]  # same arguments as `build`


def _doc(net: Application, general: str) -> str:
    names = ", ".join(map(repr, catalogue.names(net.arch, net.batch_norm))) or "none for this net"
    told = f"net {net.arch} of Table 1{' with batch normalization, as in torchvision' if net.batch_norm else ''}"
    own = general.replace("the net", told, 1).replace("a name of public ones", f"a name of public ones ({names})")
    return own.replace("applications.VGG16(", f"applications.{net.function}(")


def _catalogue_entry(arch: str, batch_norm: bool, weights) -> catalogue.Entry | None:
    names = catalogue.names(arch, batch_norm)
    if isinstance(weights, str) and weights in names:
        return catalogue.find(arch, weights, batch_norm)
    is_path = isinstance(weights, str | os.PathLike)  # `os.path.exists(True)` would check standard output
    if weights is None or (is_path and os.path.exists(os.path.expanduser(weights))):
        return None
    if isinstance(weights, str) and weights.startswith("imagenet"):
        catalogue.find(arch, weights, batch_norm)  # its error lists the available names
    raise InputError(
        f"`weights` must be None (random), {', '.join(map(repr, names)) + ', ' if names else ''}"
        f"or the path of a weight file or run folder. Received: weights={weights!r}{', which does not exist' if is_path else ''}."
    )


def _weight_file(entry: catalogue.Entry | None, weights, include_top: bool):
    if entry is None:
        return weights
    return download.fetch(entry.file_without_top if entry.file_without_top and not include_top else entry.file)


def _check_activation(activation) -> None:
    if keras.activations.get(activation) not in (keras.activations.get("softmax"), keras.activations.get(None)):
        raise InputError(f"With loaded weights, `classifier_activation` must be 'softmax' or None. Received: {activation!r}.")


def _input_shape(shape, include_top: bool, *, public: bool) -> tuple[int | None, ...]:
    last = keras.config.image_data_format() == "channels_last"

    def arranged(channels, height, width):
        return (height, width, channels) if last else (channels, height, width)

    side = configs.TRAINING_SIZE
    if shape is None:
        return arranged(3, *((side, side) if include_top else (None, None)))
    shape = tuple(shape)
    if len(shape) != 3:
        raise InputError(f"`input_shape` must be a tuple of three integers. Received: input_shape={shape}.")
    channels, sides = (shape[2], shape[:2]) if last else (shape[0], shape[1:])
    if public and include_top and shape != arranged(3, side, side):
        raise InputError(
            f"With include_top=True and public weights, `input_shape` must be {arranged(3, side, side)}. Received: {shape}."
        )
    if public and channels != 3:
        raise InputError(f"With public weights, the input must have 3 channels. Received: input_shape={shape}.")
    if any(size is not None and size < configs.STRIDE for size in sides):
        raise InputError(f"Input size must be at least {configs.STRIDE}x{configs.STRIDE}. Received: input_shape={shape}.")
    if include_top and None in sides:
        raise InputError(f"With include_top=True, `input_shape` must be static. Received: input_shape={shape}.")
    if channels not in (1, 3):
        warnings.warn(f"This model usually expects 1 or 3 input channels, not {channels}.", stacklevel=4)
    return shape


def _inputs(tensor, shape):
    if tensor is None:
        return keras.Input(shape)
    return tensor if keras.utils.is_keras_tensor(tensor) else keras.Input(tensor=tensor, shape=shape)
