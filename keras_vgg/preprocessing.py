"""What a set of weights wants of an image: colour order, mean and deviation.

Images come as RGB in 0–255. The one place that knows "caffe" from "torch" input. Preprocessing goes with weights: files
carry it along (`attach`, `read_attached`), and for a model in memory `for_model` tells it.
"""

import dataclasses
import json
import pathlib
import weakref
import zipfile
from collections.abc import Iterator

import keras
import tensorflow as tf

from keras_vgg.errors import InputError

_MEMBER = "keras_vgg.json"  # in a .keras file, which is a zip archive; Keras leaves members alone that it does not know


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """`(image - mean) / std` per channel, after turning RGB to BGR if so wanted.

    Attributes:
        mean: subtracted from the channels, RGB, in the unit of the image (0–255).
        std: the channels are divided by it, RGB, in the unit of the image.
        bgr: whether the channels are turned to blue, green, red (the authors' Caffe weights).
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bgr: bool = False

    def __call__(self, images):
        """`(…, 3)` RGB in 0–255 of any dtype to float32 of the same shape; never changes its argument."""
        images = (tf.cast(images, tf.float32) - tf.constant(self.mean, tf.float32)) / tf.constant(self.std, tf.float32)
        return images[..., ::-1] if self.bgr else images

    def __str__(self):
        told = f"{'BGR' if self.bgr else 'RGB'} in 0–255 minus {', '.join(f'{mean:g}' for mean in self.mean)} (R, G, B)"
        return told if set(self.std) == {1.0} else f"{told}, divided by {', '.join(f'{std:g}' for std in self.std)}"

    def to_json(self) -> str:
        """Returns the three fields as JSON, for `from_json`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Preprocessing":
        """Returns what `to_json` was told to keep; `InputError` for anything else."""
        try:
            values = json.loads(text)
            return cls(tuple(map(float, values["mean"])), tuple(map(float, values["std"])), bool(values["bgr"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"Expected mean, std and bgr of a preprocessing as JSON. Received: {text!r}.") from error


CAFFE = Preprocessing(mean=(123.68, 116.779, 103.939), bgr=True)
TORCH = Preprocessing(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
CAFFE_RGB = Preprocessing(mean=(255 * 0.48235, 255 * 0.45882, 255 * 0.40784))
"""Of torchvision's `VGG16_Weights.IMAGENET1K_FEATURES`, the authors' turned to RGB: their deviation is 1/255, of images in 0–1."""
BY_NAME = {"caffe": CAFFE, "torch": TORCH, "caffe_rgb": CAFFE_RGB}

# It belongs to the weights that see the image: kept by the first convolution, it holds for every model that shares this layer.
_BY_LAYER: weakref.WeakKeyDictionary[keras.layers.Layer, Preprocessing] = weakref.WeakKeyDictionary()


def remember(model: keras.Model, preprocessing: Preprocessing | None) -> None:
    """Notes what the weights of `model` want, for `for_model`; `None` if that is not known.

    Raises:
        InputError: if `model` has no convolution.
    """
    if preprocessing:
        _BY_LAYER[_first_convolution(model)] = preprocessing
    else:
        _BY_LAYER.pop(_first_convolution(model), None)


def for_model(model: keras.Model) -> Preprocessing:
    """Returns what the weights of `model` want of an image.

    It is known for models of `keras_vgg.applications` with weights, for loaded ones (`transfer.load_model`), and for models
    made of their layers, such as `keras.Model(vgg.input, vgg.get_layer("block5_pool").output)`.

    Raises:
        InputError: if it is not known, as for random weights.

    Example:
        >>> import numpy as np
        >>> import keras_vgg
        >>> images = np.zeros((1, 224, 224, 3), np.float32)  # RGB, 0 to 255
        >>> model = keras_vgg.applications.VGG16(weights="imagenet")  # doctest: +SKIP
        >>> posteriors = model.predict(keras_vgg.preprocessing.for_model(model)(images))  # doctest: +SKIP
    """
    known = _BY_LAYER.get(_first_convolution(model))
    if known is None:
        raise InputError(
            f"What the weights of model {model.name!r} want of an image is not known: they are random or came without it. "
            "Say it by keras_vgg.preprocessing.remember(model, CAFFE), TORCH, or a Preprocessing of your own."
        )
    return known


def is_known(model: keras.Model) -> bool:
    """Whether `for_model` knows the answer."""
    return _first_convolution(model) in _BY_LAYER


def _first_convolution(model) -> keras.layers.Layer:
    convolution = next(_convolutions(model), None)
    if convolution is None:
        raise InputError(f"Expected a model with a 2-D convolution. Received: {model.name!r}.")
    return convolution


def _convolutions(model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _convolutions(layer)
        elif isinstance(layer, keras.layers.Conv2D):
            yield layer


def attach(path: str | pathlib.Path, preprocessing: Preprocessing) -> None:
    """Writes `preprocessing` into the `.keras` file at `path`, so that the file says what its weights want."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(_MEMBER, preprocessing.to_json())


def read_attached(path: str | pathlib.Path) -> Preprocessing | None:
    """Returns what `attach` wrote into the `.keras` file at `path`; `None` if it has nothing of the kind.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(_MEMBER) if _MEMBER in archive.namelist() else None
    except Exception as error:  # zipfile raises whatever damage makes it run into
        raise InputError(f"{path} is damaged: what it says of preprocessing cannot be read ({error}).") from error
    return text and Preprocessing.from_json(text)
