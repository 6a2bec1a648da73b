"""Preprocessing that weights need: color order, mean and standard deviation.

Images are RGB in 0–255. Only this module distinguishes "caffe" from "torch" inputs. Preprocessing belongs to weights: files
record it (`attach`, `read_attached`), and for a model in memory `for_model` returns it.
"""

import dataclasses
import json
import math
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
from keras_vgg.support import strict_json

_MEMBER = "keras_vgg.json"  # in a .keras file, a zip archive in which Keras ignores unknown members


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """`(image - mean) / std` per channel, then RGB to BGR if requested.

    Attributes:
        mean: subtracted from the channels, RGB, in the unit of the image (0–255).
        std: divisor of the channels, RGB, in the unit of the image.
        bgr: whether channels are reordered to blue, green, red (the authors' Caffe weights).
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bgr: bool = False

    def __post_init__(self):
        # As floats, so that integers give the same digest of a net.
        object.__setattr__(self, "mean", _three(self.mean))
        object.__setattr__(self, "std", _three(self.std))
        if not all(map(math.isfinite, self.mean + self.std)) or not all(self.std):
            raise ValueError(f"mean and std must be finite, and std not 0; received {self.mean} and {self.std}")

    def __call__(self, images):
        """Maps `(…, 3)` RGB in 0–255 of any dtype to float32 of the same shape; never changes its argument."""
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
        """Returns the preprocessing saved by `to_json`; raises `InputError` for anything else."""
        try:
            values = strict_json.parse(text)
            return cls(tuple(values["mean"]), tuple(values["std"]), bool(values["bgr"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"Expected a preprocessing as JSON with mean, std and bgr. Received: {text!r:.200} ({error})."
            ) from error


def _three(values: Iterable) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


CAFFE = Preprocessing(mean=(123.68, 116.779, 103.939), bgr=True)
TORCH = Preprocessing(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
CAFFE_RGB = Preprocessing(mean=(255 * 0.48235, 255 * 0.45882, 255 * 0.40784))
"""Of torchvision's `VGG16_Weights.IMAGENET1K_FEATURES`, the authors' weights for RGB: their std is 1/255, for images in 0–1."""
TF = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3)
UNIT = Preprocessing(mean=(0,) * 3, std=(255,) * 3)
NONE = Preprocessing(mean=(0,) * 3)
BY_NAME = {"caffe": CAFFE, "torch": TORCH, "caffe_rgb": CAFFE_RGB, "tf": TF, "unit": UNIT, "none": NONE}
"""`caffe`, `torch` and `tf` are Keras' modes; `unit` is RGB in 0–1, as from `Rescaling(1 / 255)`; `none` is RGB in 0–255."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """How the preprocessing of weights is known.

    Attributes:
        name: its key in files.
        text: its display text.
    """

    name: str
    text: str

    def __str__(self):
        return self.text


GIVEN = Origin("said", "as specified")
KNOWN = Origin("known", "recorded in the file")
RECOGNISED = Origin("recognised", "recognized by its first layer")
ASSUMED = Origin("assumed", "assumed, as usual for its kind of file")
OWN_LAYERS = Origin("own", "from the model's own layers")

_NOTED = {
    "said": "as specified when the file was written",
    "recognised": "recognized by its first layer when the file was written",
    "own": "from the layers of the model that the file was made from",
    "assumed": "assumed when the file was written, as usual for the kind of its source",
}


def noted_origin(name: object) -> Origin:
    """Returns the origin recorded in a file; `KNOWN` for `None`; raises `InputError` for an unknown one."""
    if name is not None and name not in _NOTED:
        raise InputError(f"`origin` in a file's record must be one of {', '.join(_NOTED)}. Received: {name!r:.100}.")
    return KNOWN if name is None else Origin(name, _NOTED[name])


def statement(wants: Preprocessing, origin: Origin) -> str:
    """Returns the line with which all commands state a preprocessing and how it is known."""
    return f"preprocessing: {wants}, {origin}"


# Keyed by the first convolution, whose weights see the image, so that it holds for every model that shares this layer.
_BY_LAYER: weakref.WeakKeyDictionary[keras.layers.Layer, tuple[Preprocessing, Origin]] = weakref.WeakKeyDictionary()


def remember(model: keras.Model, preprocessing: Preprocessing | None, origin: Origin | None = None) -> None:
    """Records the preprocessing of a model's weights, for `for_model`.

    Args:
        model: the model.
        preprocessing: the preprocessing; `None` if it is unknown.
        origin: how it is known, for saving the model; by default as specified by the caller.

    Raises:
        InputError: if `model` has no convolution.
    """
    if preprocessing:
        _BY_LAYER[_first_convolution(model)] = preprocessing, origin or GIVEN
    else:
        _BY_LAYER.pop(_first_convolution(model), None)


def for_model(model: keras.Model) -> Preprocessing:
    """Returns the preprocessing of images for `model`, so that its weights get the inputs they need.

    If the model's own layers do a part of it, or all (`Rescaling`, `Normalization`, a change of color order), it is the rest; if
    the weights' preprocessing is unknown, as for a model loaded by Keras itself, it adds nothing to those layers.

    It is known for models of `keras_vgg.applications` with weights, for loaded ones (`transfer.load_model`), and for models
    made of their layers, such as `keras.Model(vgg.input, vgg.get_layer("block5_pool").output)`.

    Raises:
        InputError: if it is unknown, as for random weights, or if the model's own layers do anything else.

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
    if own is not None and not is_known(model):  # those layers were added to fit the weights
        return NONE
    known = of_weights(model)
    if own is None:
        return known
    turned, scale, offset = own
    order = slice(None, None, -1 if known.bgr else 1)  # of the convolution's input, then as RGB
    mean, std = np.array(known.mean) + np.array(known.std) * offset[order], np.array(known.std) * scale[order]
    return _of_trying(mean, std, known.bgr != turned)


def of_affine(turned: bool, scale: np.ndarray, offset: np.ndarray) -> Preprocessing:
    """Returns the result of `input_layers.affine_before` as a preprocessing."""
    order = slice(None, None, -1 if turned else 1)  # of the output channels, then as RGB
    return _of_trying((-offset / scale)[order], (1 / scale)[order], turned)


def _of_trying(mean: np.ndarray, std: np.ndarray, bgr: bool) -> Preprocessing:
    """Returns the preprocessing from values found by trial in float32, where a scale of 1 may come out as 1 ± 1e-7."""
    for known in BY_NAME.values():
        if known.bgr == bgr and np.allclose(mean, known.mean, rtol=0, atol=2e-3) and np.allclose(std, known.std, rtol=1e-5):
            return known
    means, stds = ([float(f"{value:.5g}") for value in np.where(np.abs(values) < 1e-3, 0, values)] for values in (mean, std))
    return Preprocessing(_three(means), _three(stds), bgr)


def of_weights(model: keras.Model) -> Preprocessing:
    """Returns the preprocessing that the first convolution of `model` needs, whatever layers precede it.

    Raises:
        InputError: if it is unknown.
    """
    return _known(model)[0]


def origin_of(model: keras.Model) -> Origin:
    """Returns how the preprocessing of the weights of `model` is known; raises like `of_weights`."""
    return _known(model)[1]


def _known(model) -> tuple[Preprocessing, Origin]:
    known = _BY_LAYER.get(_first_convolution(model))
    if known is None:
        raise InputError(
            f"The preprocessing of model {model.name!r} is unknown: its weights are random or came without it. "
            "Set it with keras_vgg.preprocessing.remember(model, CAFFE), TORCH, or a Preprocessing of your own."
        )
    return known


def is_known(model: keras.Model) -> bool:
    """Returns whether the preprocessing of a model's weights is known."""
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
    """Records `preprocessing` and further facts in the `.keras` file at `path`."""
    attach_note(path, json.dumps(json.loads(preprocessing.to_json()) | dict(facts or {})))


def attach_note(path: str | pathlib.Path, note: str) -> None:
    """Writes the text of `weights.kinds.note` into the `.keras` file at `path`."""
    # Given the name, zipfile would replace a file that it cannot open with a new, empty archive.
    with open(path, "r+b") as file, zipfile.ZipFile(file, "a") as archive:
        archive.writestr(_MEMBER, note)


def read_attached(path: str | pathlib.Path) -> Preprocessing | None:
    """Returns the preprocessing that `attach` recorded in the `.keras` file at `path`; `None` if there is none.

    Raises:
        InputError: if the file cannot be read.
    """
    note = read_note(path)
    return Preprocessing.from_json(note) if note and b'"mean"' in note else None


def attached_origin(path: str | pathlib.Path) -> Origin:
    """Returns how the preprocessing that `read_attached` returns is known."""
    return noted_origin(read_facts(path).get("origin"))


def read_facts(path: str | pathlib.Path) -> dict:
    """Returns the facts that `attach_note` recorded in a `.keras` file; none if there are none.

    Raises:
        InputError: if they are not a JSON object.
    """
    note = read_note(path)
    try:
        facts = strict_json.parse(note) if note else {}
    except ValueError as error:
        raise InputError(f"{path} is damaged: its record of preprocessing cannot be read ({error}).") from error
    return facts if isinstance(facts, dict) else {}


def read_note(path: str | pathlib.Path) -> bytes | None:
    """Returns the text that `attach_note` wrote; raises like `read_attached`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(_MEMBER) if _MEMBER in archive.namelist() else None
    except Exception as error:  # zipfile raises many kinds of exceptions on damage
        raise InputError(f"{path} is damaged: its record of preprocessing cannot be read ({error}).") from error
