"""What a set of weights wants of an image: colour order, mean and deviation.

Images come as RGB in 0–255. The one place that knows "caffe" from "torch" input. Preprocessing goes with weights: files
carry it along (`attach`, `read_attached`), and for a model in memory `for_model` tells it.
"""

import dataclasses
import json
import pathlib
import weakref
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vgg.errors import InputError
from keras_vgg.input_layers import affine_before

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

    def __post_init__(self):
        # Whole numbers are the same numbers, and so the same digest of a net.
        object.__setattr__(self, "mean", _three(self.mean))
        object.__setattr__(self, "std", _three(self.std))

    def __call__(self, images):
        """`(…, 3)` RGB in 0–255 of any dtype to float32 of the same shape; never changes its argument."""
        images = (tf.cast(images, tf.float32) - tf.constant(self.mean, tf.float32)) / tf.constant(self.std, tf.float32)
        return images[..., ::-1] if self.bgr else images

    def __str__(self):
        parts = [f"{'BGR' if self.bgr else 'RGB'} in 0–255"]
        if set(self.mean) != {0.0}:
            parts[0] += f" minus {', '.join(f'{mean:g}' for mean in self.mean)} (R, G, B)"
        if set(self.std) != {1.0}:
            parts.append(f"divided by {', '.join(f'{std:g}' for std in self.std)}")
        return ", ".join(parts)

    def to_json(self) -> str:
        """Returns the three fields as JSON, for `from_json`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Preprocessing":
        """Returns what `to_json` was told to keep; `InputError` for anything else."""
        try:
            values = json.loads(text)
            return cls(tuple(values["mean"]), tuple(values["std"]), bool(values["bgr"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"Expected mean, std and bgr of a preprocessing as JSON. Received: {text!r}.") from error


def _three(values: Iterable) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


CAFFE = Preprocessing(mean=(123.68, 116.779, 103.939), bgr=True)
TORCH = Preprocessing(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
CAFFE_RGB = Preprocessing(mean=(255 * 0.48235, 255 * 0.45882, 255 * 0.40784))
"""Of torchvision's `VGG16_Weights.IMAGENET1K_FEATURES`, the authors' turned to RGB: their deviation is 1/255, of images in 0–1."""
TF = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3)
UNIT = Preprocessing(mean=(0,) * 3, std=(255,) * 3)
NONE = Preprocessing(mean=(0,) * 3)
BY_NAME = {"caffe": CAFFE, "torch": TORCH, "caffe_rgb": CAFFE_RGB, "tf": TF, "unit": UNIT, "none": NONE}
"""`caffe`, `torch` and `tf` are Keras' modes; `unit` is RGB in 0–1, as by `Rescaling(1 / 255)`; `none` RGB in 0–255."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """How it is known what weights want of an image.

    Attributes:
        name: in the notes of files.
        text: for people.
    """

    name: str
    text: str

    def __str__(self):
        return self.text


GIVEN = Origin("said", "as was said")
KNOWN = Origin("known", "known from the file")
RECOGNISED = Origin("recognised", "recognised by its first layer")
ASSUMED = Origin("assumed", "assumed, as is the custom of its kind of file")
OWN_LAYERS = Origin("own", "as the model's own layers do it")

_NOTED = {
    "said": "as was said when the file was written",
    "recognised": "recognised by its first layer when the file was written",
    "own": "as the layers did of the model that the file was made of",
    "assumed": "assumed when the file was written, as is the custom of the kind it was made of",
}


def noted_origin(name: object) -> Origin:
    """Returns the origin that a file's note names; `KNOWN` for `None`, `InputError` for anything else."""
    if name is not None and name not in _NOTED:
        raise InputError(f"Expected one of {', '.join(_NOTED)} as the origin in a file's note. Received: {name!r:.100}.")
    return KNOWN if name is None else Origin(name, _NOTED[name])


def statement(wants: Preprocessing, origin: Origin) -> str:
    """Returns what weights want of an image and how that is known, in the words of all commands."""
    return f"preprocessing: {wants}, {origin}"


# It belongs to the weights that see the image: kept by the first convolution, it holds for every model that shares this layer.
_BY_LAYER: weakref.WeakKeyDictionary[keras.layers.Layer, tuple[Preprocessing, Origin]] = weakref.WeakKeyDictionary()


def remember(model: keras.Model, preprocessing: Preprocessing | None, origin: Origin | None = None) -> None:
    """Notes what the weights of `model` want, for `for_model`; `None` if that is not known.

    Args:
        model: the model.
        preprocessing: it.
        origin: how that is known, for whoever saves the model; unsaid, by whoever says it here.

    Raises:
        InputError: if `model` has no convolution.
    """
    if preprocessing:
        _BY_LAYER[_first_convolution(model)] = preprocessing, origin or GIVEN
    else:
        _BY_LAYER.pop(_first_convolution(model), None)


def for_model(model: keras.Model) -> Preprocessing:
    """Returns what `model` is to be given of an image, so that its weights get what they want.

    Where its own layers do a part of that, or all (`Rescaling`, `Normalization`, a change of the colours' order), it is the rest;
    where nothing is known of the weights, as of a model that Keras itself has loaded, nothing is added to them.

    It is known for models of `keras_vgg.applications` with weights, for loaded ones (`transfer.load_model`), and for models
    made of their layers, such as `keras.Model(vgg.input, vgg.get_layer("block5_pool").output)`.

    Raises:
        InputError: if it is not known, as for random weights, or what its own layers do is something else.

    Example:
        >>> import numpy as np
        >>> import keras_vgg
        >>> model = keras_vgg.applications.VGG16(weights=None)  # with weights="imagenet" it is known
        >>> keras_vgg.preprocessing.remember(model, keras_vgg.preprocessing.CAFFE)
        >>> preprocess = keras_vgg.preprocessing.for_model(model)
        >>> print(preprocess)
        BGR in 0–255 minus 123.68, 116.779, 103.939 (R, G, B)
        >>> images = np.zeros((1, 224, 224, 3), np.uint8)  # RGB, 0 to 255
        >>> model(preprocess(images)).shape
        TensorShape([1, 1000])
    """
    own = affine_before(model, _first_convolution(model))
    if own is not None and not is_known(model):  # whoever put those layers there knew what the weights want
        return NONE
    known = of_weights(model)
    if own is None:
        return known
    turned, scale, offset = own
    order = slice(None, None, -1 if known.bgr else 1)  # of what the convolution gets; then as RGB
    mean, std = np.array(known.mean) + np.array(known.std) * offset[order], np.array(known.std) * scale[order]
    return _of_trying(mean, std, known.bgr != turned)


def of_affine(turned: bool, scale: np.ndarray, offset: np.ndarray) -> Preprocessing:
    """Returns what `input_layers.affine_before` has found, as a preprocessing."""
    order = slice(None, None, -1 if turned else 1)  # of the channels as they come out; then as RGB
    return _of_trying((-offset / scale)[order], (1 / scale)[order], turned)


def _of_trying(mean: np.ndarray, std: np.ndarray, bgr: bool) -> Preprocessing:
    """Returns the preprocessing whose numbers were found by trying in float32, where a scale of 1 is one of 1 ± 1e-7."""
    for known in BY_NAME.values():
        if known.bgr == bgr and np.allclose(mean, known.mean, rtol=0, atol=2e-3) and np.allclose(std, known.std, rtol=1e-5):
            return known
    means, stds = ([float(f"{value:.5g}") for value in np.where(np.abs(values) < 1e-3, 0, values)] for values in (mean, std))
    return Preprocessing(_three(means), _three(stds), bgr)


def of_weights(model: keras.Model) -> Preprocessing:
    """Returns what the first convolution of `model` wants to get of an image, whatever layers come before it.

    Raises:
        InputError: if it is not known.
    """
    return _known(model)[0]


def origin_of(model: keras.Model) -> Origin:
    """Returns how it is known what the weights of `model` want; raises as `of_weights`."""
    return _known(model)[1]


def _known(model) -> tuple[Preprocessing, Origin]:
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


def attach(path: str | pathlib.Path, preprocessing: Preprocessing, facts: Mapping[str, Any] | None = None) -> None:
    """Writes `preprocessing` into the `.keras` file at `path`, so that the file says what its weights want, and further facts."""
    attach_note(path, json.dumps(json.loads(preprocessing.to_json()) | dict(facts or {})))


def attach_note(path: str | pathlib.Path, note: str) -> None:
    """Writes what `weights.kinds.note` says of a net into the `.keras` file at `path`."""
    # By its name, zipfile would make a new archive of a file that cannot be opened, and empty it.
    with open(path, "r+b") as file, zipfile.ZipFile(file, "a") as archive:
        archive.writestr(_MEMBER, note)


def read_attached(path: str | pathlib.Path) -> Preprocessing | None:
    """Returns what `attach` wrote into the `.keras` file at `path`; `None` if it has nothing of the kind.

    Raises:
        InputError: if it cannot be read.
    """
    note = read_note(path)
    return Preprocessing.from_json(note) if note and b'"mean"' in note else None


def attached_origin(path: str | pathlib.Path) -> Origin:
    """Returns how that is known which `read_attached` returns."""
    note = read_note(path)
    return noted_origin(json.loads(note).get("origin") if note else None)


def read_note(path: str | pathlib.Path) -> bytes | None:
    """Returns what `attach_note` wrote, as `read_attached`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(_MEMBER) if _MEMBER in archive.namelist() else None
    except Exception as error:  # zipfile raises whatever damage makes it run into
        raise InputError(f"{path} is damaged: what it says of preprocessing cannot be read ({error}).") from error
