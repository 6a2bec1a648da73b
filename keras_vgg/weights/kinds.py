"""The kinds of weight files: how each is detected by its content, and read."""

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from keras_vgg import configs, preprocessing
from keras_vgg.errors import InputError
from keras_vgg.preprocessing import KNOWN, Origin, Preprocessing
from keras_vgg.regression import REGRESSIONS
from keras_vgg.support import strict_json
from keras_vgg.weights import (
    caffe_files,
    catalogue,
    keras_files,
    keras_makers,
    legacy_keras,
    names,
    own_models,
    safetensors_files,
    torch_files,
)
from keras_vgg.weights.stored_array import StoredArray, in_memory

NOT_KNOWN = "null"
"""Recorded if the preprocessing is unknown, so that no reader assumes the usual one of the file's kind."""

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a pickle of PyTorch's magic number
_PICKLE = b"\x80"
_FEATURES_FILE, _TOP = catalogue.find("D", "imagenet_features").file.name, "classifier."  # torchvision's names
_FIRST = "block1_conv1/0"
_NO_WEIGHTS = {
    b"<": "a web page, as after a failed download",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
    b"\x1f\x8b": "compressed with gzip: unpack it",
}


@dataclasses.dataclass(frozen=True)
class Content:
    """The content of a file.

    Attributes:
        arrays: the arrays by their names in the file.
        preprocessing: the recorded preprocessing as JSON, or `NOT_KNOWN`; `None` if nothing is recorded.
        origin: how that preprocessing was known.
        archs: the possible nets, if the file shows them in anything but its arrays.
        classes: class names in label order, if recorded.
        schemes: the possible naming schemes of its arrays.
        channels_first: whether arrays in Keras' layout have fc1's inputs as C x H x W; `None` if unknown.
        own: a whole Keras model that becomes a net only when taken apart, or that has its own head.
        regression: meaning of the box outputs, a key of `REGRESSIONS`, if recorded; `None` for a classifier.
    """

    arrays: Mapping[str, StoredArray]
    preprocessing: str | bytes | None = None
    origin: Origin = KNOWN
    archs: Sequence[str] | None = None
    classes: tuple[str, ...] | None = None
    schemes: tuple[names.Scheme, ...] = names.SCHEMES
    channels_first: bool | None = False
    own: own_models.OwnModel | None = None
    regression: str | None = None


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of weight file.

    Attributes:
        name: display name.
        read: function from path to `Content`.
        preprocessing: the usual one of such files, a key of `preprocessing.BY_NAME`, if any.
    """

    name: str
    read: Callable[[pathlib.Path], Content]
    preprocessing: str | None = None


def note(
    wants: Preprocessing | None,
    origin: Origin | None,
    arch: str | None,
    classes: Sequence[str] | None = None,
    regression: str | None = None,
) -> str:
    """Returns the record stored with arrays: their preprocessing, how it is known, and further facts.

    Args:
        wants: the preprocessing; `None` if unknown.
        origin: how it is known; recorded unless it was simply read from a file.
        arch: the net, recorded where the arrays do not identify it; `None` if something else does.
        classes: class names in label order.
        regression: for a localization net, a key of `REGRESSIONS`.
    """
    facts = json.loads(wants.to_json()) if wants else {}
    facts |= {"origin": origin.name} if wants and origin and origin.name != KNOWN.name else {}
    facts |= {} if arch in (None, *configs.distinct()) else {"arch": arch}
    facts |= {"classes": list(classes)} if classes else {}
    facts |= {"regression": regression} if regression else {}
    return json.dumps(facts) if facts else NOT_KNOWN


def _noted(arrays: Mapping[str, StoredArray], text: str | bytes | None) -> Content:
    """Returns arrays with the facts recorded by `note`."""
    try:
        facts = strict_json.parse(text or NOT_KNOWN)
    except ValueError:  # reported by `Preprocessing.from_json`
        facts = None
    if not isinstance(facts, dict):
        return Content(arrays, text)
    if not isinstance(facts.get("arch", ""), str) or facts.get("arch", "A") not in configs.every_net():
        raise InputError(f"`arch` in a file's record must be the name of a net. Received: {facts['arch']!r:.100}.")
    classes = facts.get("classes")
    if not (classes is None or (isinstance(classes, list) and all(isinstance(name, str) for name in classes))):
        raise InputError(f"`classes` in a file's record must be a list of names. Received: {classes!r:.100}.")
    if not isinstance(regression := facts.get("regression"), str | None) or regression not in (None, *REGRESSIONS):
        raise InputError(f"`regression` in a file's record must be one of {', '.join(REGRESSIONS)}. Received: {regression!r:.100}.")
    is_silent = bool(facts) and set(facts) <= {"arch", "classes", "regression"}
    return Content(
        arrays,
        preprocessing=NOT_KNOWN if is_silent else text,
        origin=preprocessing.noted_origin(facts.get("origin")),
        archs=(facts["arch"],) if "arch" in facts else None,
        classes=tuple(classes) if classes else None,
        regression=regression,
    )


def noted_classes(path: pathlib.Path) -> tuple[str, ...] | None:
    """Returns the class names recorded in a `.keras` file; `None` if there are none."""
    return _noted({}, preprocessing.read_note(path)).classes


def _read_keras(path) -> Content:
    arrays, config = keras_files.read_keras(path)
    noted = _noted(arrays, preprocessing.read_note(path))
    try:
        layers = config["config"]["layers"]
        lrn = [layer["config"]["name"] for layer in layers if layer["class_name"] == "LocalResponseNormalization"]
    except (LookupError, TypeError):  # not a functional model
        lrn = []
    content = dataclasses.replace(noted, archs=configs.with_lrn(lrn))
    if keras_makers.has_convolutions(config) and not (own_models.is_plain(config) and _is_net(content)):
        return _taken_apart(path, noted)
    return dataclasses.replace(content, channels_first=bool(keras_makers.flattens_first(path, config)))


def _is_net(content: Content) -> bool:
    """Returns whether a whole model's arrays are those of a net, judging by their names and shapes."""
    shapes = {name: array.shape for name, array in content.arrays.items()}
    match = names.closest(shapes, content.archs, schemes=content.schemes)
    if match.distance or match.flattens or not match.include_top:
        return not match.distance
    *_, (last, _) = configs.get_config(match.arch).convolutions.items()
    filters, taken = (shapes[match.arrays[layer, "kernel"]] for layer in (last, "predictions"))
    return filters[-1] == taken[0]  # otherwise the map is flattened


def _taken_apart(path, noted: Content) -> Content:
    """Returns the content of a user's own model, which Keras itself must load."""
    own = own_models.take_apart(own_models.load_whole(path), path)
    convolutions = set(names.weight_layers(own.config.arch, batch_norm=own.batch_norm, include_top=own.head is None))
    kept = {name for name, _ in convolutions}
    return dataclasses.replace(
        noted,
        arrays={
            f"{layer.name}/{number}": in_memory(keras.ops.convert_to_numpy(variable))
            for layer in own.model.layers
            if layer.name in kept
            for number, variable in enumerate(layer.weights)
        },
        preprocessing=own.wants.to_json() if own.wants else noted.preprocessing,
        origin=preprocessing.OWN_LAYERS if own.wants else noted.origin,
        archs=(own.config.arch,),
        schemes=(names.KERAS,),
        channels_first=False,
        own=own,
    )


def _read_legacy_keras(path) -> Content:
    arrays, text, maker = legacy_keras.read_legacy_h5(path)
    arrays, channels_first = keras_makers.turned(path, arrays, maker)
    shapes = {name: array.shape for name, array in arrays.items()}
    scheme = names.KERAS if _FIRST in shapes else names.by_order(shapes)  # our names identify layers better than their order
    content = dataclasses.replace(_noted(arrays, text), schemes=(scheme,), channels_first=channels_first)
    return _taken_apart(path, content) if keras_makers.has_convolutions(maker.config) and not _is_net(content) else content


def _read_torch(path) -> Content:
    arrays = torch_files.read_state_dict(path)
    if (text := torch_files.read_note(path)) is not None:
        return _noted(arrays, text)
    kept = {name: array for name, array in arrays.items() if not name.startswith(_TOP)}
    if path.name == _FEATURES_FILE or _is_blank([array for name, array in arrays.items() if name not in kept]):
        return Content(kept, preprocessing.CAFFE_RGB.to_json())
    return Content(arrays)


def _is_blank(arrays: Sequence[StoredArray]) -> bool:
    """Returns whether there are vectors among the arrays and all are NaN, like the FC layers in torchvision's features file."""
    vectors = [array for array in arrays if len(array.shape) == 1]
    return bool(vectors) and all(np.isnan(vector.read()).all() for vector in vectors)


KERAS = Kind("Keras model", _read_keras)
KERAS_WEIGHTS = Kind("Keras weights", lambda path: _noted(*keras_files.read_h5(path)))
LEGACY_KERAS = Kind("legacy Keras weights", _read_legacy_keras, "caffe")  # as in the public files, made from the authors' weights
TORCH = Kind("PyTorch state dict", _read_torch, "torch")
SAFETENSORS = Kind("safetensors", lambda path: _noted(*safetensors_files.read_safetensors(path)), "torch")
CAFFE = Kind("Caffe model", lambda path: Content(caffe_files.read_caffemodel(path)), "caffe")


def own_model(path: pathlib.Path) -> own_models.OwnModel | None:
    """Returns a file's whole model taken apart, if it becomes a net only so or has its own head; else `None`."""
    kind = tell(path)
    return kind.read(path).own if kind in (KERAS, LEGACY_KERAS) else None


def tell(path: pathlib.Path) -> Kind:
    """Returns the kind of a weight file, detected by its content.

    Raises:
        InputError: if it is of none of these kinds.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(64)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not head:
        raise InputError(f"Expected a weight file. Received: {path}, which is empty.")
    if head.startswith(_HDF5):
        return LEGACY_KERAS if legacy_keras.is_legacy(path) else KERAS_WEIGHTS
    if head.startswith(_ZIP):
        return _tell_archive(path)
    if head.startswith(_LEGACY_TORCH):
        return TORCH
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return SAFETENSORS
    if caffe_files.looks_like_caffemodel(path):
        return CAFFE
    what = next((told for start, told in _NO_WEIGHTS.items() if head.startswith(start)), None)
    if head.startswith(_PICKLE):
        what = "a pickle but not a PyTorch state dict: it was not opened, since a pickle can run any code"
    raise InputError(
        f"Expected weights of Keras (.keras, .weights.h5, .h5), PyTorch (.pth), safetensors or Caffe (.caffemodel). "
        f"Received: {path}, which is {what or 'none of these, or is damaged at its start'}."
    )


def _tell_archive(path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except Exception as error:  # zipfile raises many kinds of exceptions on garbage
        raise InputError(f"{path} is truncated or damaged: a zip archive without its end. Fetch or copy it again.") from error
    if "model.weights.h5" in members:
        return KERAS
    if any(member.split("/")[-1] == "data.pkl" for member in members):
        return TORCH
    raise InputError(f"Expected a .keras file or a PyTorch state dict. Received: {path}, a zip archive with other content.")
