"""Opens weight files of any kind: finds their net, and its variables with our names and Keras' layout.

The kind is detected from the content, not from the name. Only shapes are read until a variable is requested.
"""

import contextlib
import dataclasses
import math
import os
import pathlib
from collections.abc import Callable

from keras_vgg import preprocessing
from keras_vgg.errors import InputError
from keras_vgg.preprocessing import KNOWN, Origin, Preprocessing
from keras_vgg.regression import BOX, PCR, outputs_of
from keras_vgg.support import files, paths, saved_model_folders
from keras_vgg.weights import catalogue, download, first_layer, kinds, names
from keras_vgg.weights.own_models import Head
from keras_vgg.weights.stored_array import StoredArray
from keras_vgg.weights.variable import Variable, as_it_lies, convolution, fc_matrix, fc_of_channels

CLASSES = "classes.txt"
_RECIPE = "recipe.toml"


@dataclasses.dataclass(frozen=True)
class WeightFile:
    """The content of a weight file.

    Attributes:
        path: the file.
        kind: display name of the kind of file.
        arch: the net of Table 1. A-LRN, whose weights look like A's, is only known from `.keras` files or from the caller.
        batch_norm: whether it has batch norm.
        include_top: whether it has the FC layers.
        spatial: height and width of the feature map that fc1 takes; `None` without the top or if unknown.
        variables: `{(layer, variable): Variable}` in the order of the net's layers.
        preprocessing: preprocessing that the weights need; `None` if unknown.
        origin: how it is known; `None` if it is not.
        classes: class names in label order, from `classes.txt` next to the file or from its record; else `None`.
        head: the head of a whole user model, if no net has it; `variables` are then those of the net without its top.
        regression: for a localization net, the kind of its outputs, a key of `REGRESSIONS`; `None` for a classifier.
    """

    path: pathlib.Path
    kind: str
    arch: str
    batch_norm: bool
    include_top: bool
    spatial: tuple[int, int] | None
    variables: dict[tuple[str, str], Variable]
    preprocessing: Preprocessing | None
    origin: Origin | None = KNOWN
    classes: tuple[str, ...] | None = None
    head: Head | None = None
    regression: str | None = None

    @property
    def num_classes(self) -> int | None:
        """Number of classes; `None` without a head, and for a net with one box for unnamed classes."""
        if self.head:
            return self.head.classes
        outputs = self.variables["predictions", "bias"].shape[0] if self.include_top else None
        if self.regression and outputs:
            return outputs // len(BOX) if self.regression == PCR else len(self.classes or ()) or None
        return outputs

    def outputs(self) -> tuple[str, ...] | None:
        """Returns the meaning of each output of the last layer, a class name or a box coordinate; `None` if unknown."""
        classes = self.checked_classes()
        return outputs_of(self.regression, classes or ()) if self.regression else classes

    def checked_classes(self) -> tuple[str, ...] | None:
        """Returns `classes`.

        Raises:
            InputError: if the net has a different number of classes.
        """
        if self.classes is not None and len(self.classes) != (self.num_classes or len(self.classes)):
            raise InputError(
                f"{self.path.parent / CLASSES} must list the net's {self.num_classes} classes, one per line. "
                f"Received: {len(self.classes)}; "
                "fix it, or move it away from the weights."
            )
        return self.classes

    def __str__(self):
        net = names.net_name(self.arch, batch_norm=self.batch_norm, include_top=self.include_top or self.head is not None)
        return f"{self.path} ({self.kind}, {net}{f' with its own head: {self.head}' if self.head else ''})"


def find_file(run_or_file: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the path of a named weight file, of `best.keras` in a run folder of `keras_vgg.fit`, or of public weights.

    Public weights have the names of `catalogue.called`; a file or folder of that name takes precedence.

    Raises:
        InputError: if there is no such file, or public weights cannot be downloaded.
    """
    path = paths.path_of(run_or_file)
    if not path.exists() and (entry := catalogue.called(os.fspath(run_or_file))):
        return download.fetch(entry.file)
    given, path = path, path / "best.keras" if path.is_dir() else path
    if (given is path or not path.is_file()) and (saved := saved_model_folders.found_at(given)):
        raise _of_saved_model(run_or_file, saved)
    if not path.is_file():
        raise InputError(
            f"Expected a run folder with best.keras, a weight file, or public weights such as vgg16 (python -m keras_vgg.describe "
            f"--weights lists them). Received: {run_or_file} (no such file: {path})."
        )
    return path


def _of_saved_model(given: str | os.PathLike[str], saved: pathlib.Path) -> InputError:
    ours = any((folder / saved_model_folders.CARD).is_file() for folder in saved_model_folders.versions_in(saved).values())
    instead = (
        "pass the run folder or weight file that it was exported from"
        if ours
        else "pass the model's weights, such as a Keras model saved with model.save('net.keras')"
    )
    return InputError(
        f"Expected a run folder with best.keras, a weight file, or public weights. Received: {given}, a SavedModel, which is for "
        f"serving (python -m keras_vgg.serve --model {saved}) and cannot be converted back; {instead}."
    )


def open_weights(
    run_or_file: str | os.PathLike[str],
    *,
    arch: str | None = None,
    batch_norm: bool | None = None,
    spatial: tuple[int, int] | None = None,
) -> WeightFile:
    """Opens a weight file of any kind that `kinds` supports, or a run folder.

    Args:
        run_or_file: its path.
        arch: the net it must contain; inferred from the file by default.
        batch_norm: whether it must have batch norm; inferred from the file by default.
        spatial: height and width of the feature map that fc1 takes, if the file does not show it; a square by default.

    Raises:
        InputError: if it is missing, damaged, of unknown kind, or not the expected VGG net; the message names the layer.
    """
    path = find_file(run_or_file)
    guard = _guard(path)
    kind = kinds.tell(path)
    content = kind.read(path)
    match = _identify(path, content, arch, batch_norm)
    shapes = _keras_shapes(path, match, content)
    _check_chain(path, match.arrays, shapes)
    places = shapes["fc1", "kernel"][0] // _last_filters(shapes) if match.flattens else 1
    spatial = _spatial(path, match, content, shapes, spatial or _square(places)) if match.flattens else None
    _check_order(path, match, content, places)
    variables = {
        key: _variable(key, array, content.arrays[array], content, match.scheme.keras_layout, places).guarded(guard)
        for key, array in match.arrays.items()
    }
    beside = read_classes(path)
    wants, origin = _preprocessing(kind, content, variables["block1_conv1", "kernel"], variables["block1_conv1", "bias"])
    return WeightFile(
        path=path,
        kind=kind.name,
        arch=match.arch,
        batch_norm=match.batch_norm,
        include_top=match.include_top,
        spatial=spatial,
        variables=variables,
        preprocessing=wants,
        origin=origin,
        classes=content.classes if beside is None else beside,
        head=content.own.head if content.own else None,
        regression=content.regression,
    )


def _guard(path: pathlib.Path) -> Callable[[], contextlib.AbstractContextManager]:
    """Returns a context for each later reading of a file, which raises `InputError` unless the file is still that of this call.

    Values are read by name, after shapes: without it, values of two files could be mixed.
    """
    before = files.stamp(path)

    @contextlib.contextmanager
    def guard():
        try:
            yield
        except (OSError, InputError) as error:
            if not files.is_another(path, before):
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{path} could not be read: {error.strerror or error}. Fetch or copy it again.") from error
        if files.is_another(path, before):
            raise InputError(f"{path} changed while it was being read. Try again once it is no longer being written.")

    return guard


def read_classes(path: pathlib.Path) -> tuple[str, ...] | None:
    """Returns the class names in `classes.txt` next to a weight file, in label order; `None` if there is none.

    Raises:
        InputError: if it cannot be read or is visibly damaged.
    """
    beside = path.parent / CLASSES
    if not beside.exists():
        return None
    try:
        text = beside.read_text(encoding="utf-8-sig")
        if "\0" in text:
            raise ValueError("it contains null bytes")
        is_of_a_run = (path.parent / _RECIPE).exists()  # written by `fit`; users' own files may end in any way
        if is_of_a_run and text and not text.endswith("\n"):
            raise ValueError("it is truncated: its last line has no newline")
    except (OSError, ValueError) as error:
        raise InputError(
            f"Expected class names, one per line. Received: {beside} ({error}). For a run, repeat its keras_vgg.fit command to "
            "restore it; otherwise fix or delete the file."
        ) from error
    return tuple(text.splitlines())


def told_classes(path: pathlib.Path) -> tuple[str, ...] | None:
    """Returns the class names of a model saved by Keras: those of `read_classes`, else those recorded in the file."""
    beside = read_classes(path)
    return kinds.noted_classes(path) if beside is None and kinds.tell(path) is kinds.KERAS else beside


def _preprocessing(
    kind: kinds.Kind, content: kinds.Content, first: Variable, bias: Variable
) -> tuple[Preprocessing | None, Origin | None]:
    """Returns the preprocessing of weights and how it is known: recorded, recognized, or usual for their kind of file."""
    if content.preprocessing not in (None, kinds.NOT_KNOWN):
        return Preprocessing.from_json(content.preprocessing), content.origin
    has_custom = content.preprocessing is None and content.own is None  # nothing is usual for whole models
    custom = preprocessing.BY_NAME.get(kind.preprocessing or "") if has_custom else None
    if first.shape != first_layer.SHAPE or not first_layer.is_of_authors(kernel := first.read()):
        return custom, preprocessing.ASSUMED if custom else None
    if recognised := first_layer.recognise(kernel, bias.read()):
        told = f", unlike most files of its kind ({kind.name})" if custom not in (None, recognised) else ""
        return recognised, dataclasses.replace(preprocessing.RECOGNISED, text=preprocessing.RECOGNISED.text + told)
    return None, None  # adapted to an unknown preprocessing, whatever is usual


def _identify(path, content: kinds.Content, arch, batch_norm) -> names.Match:
    shapes = {name: array.shape for name, array in content.arrays.items()}
    found = names.closest(shapes, content.archs, schemes=content.schemes)
    if not shapes or found.is_hopeless:
        told = f"its arrays are named {', '.join(list(shapes)[:3])}, …" if shapes else "it has no arrays of floats"
        raise InputError(f"Expected weights of a VGG net. Received: {path}, which contains something else: {told}.")
    with_batch_norm = found.batch_norm if batch_norm is None else batch_norm
    wanted = names.closest(shapes, (arch or found.arch,), (with_batch_norm,), content.schemes)
    if wanted.distance and not found.distance:
        raise InputError(f"Expected weights of {wanted}. Received: {path}, which contains {found}: it {wanted.problem}.")
    if wanted.distance:
        has_head = not wanted.missing and not wanted.include_top and not wanted.other_kernels
        advice = "; weights alone do not define these layers: save the whole model (model.save('net.keras'))" if has_head else ""
        raise InputError(f"Expected weights of {wanted}. Received: {path}, which {wanted.problem}{advice}.")
    return wanted


def _keras_shapes(path, match: names.Match, content: kinds.Content) -> dict[tuple[str, str], tuple[int, ...]]:
    shapes = {}
    for (layer, variable), array in match.arrays.items():
        shape = content.arrays[array].shape
        axes = (1,) if variable != "kernel" else (4,) if not names.is_fc(layer) else (2,) if match.scheme.keras_layout else (2, 4)
        if len(shape) not in axes:
            raise InputError(f"{path}: {layer} ({array}) must have {' or '.join(map(str, axes))} axes. Received: shape {shape}.")
        if 0 in shape or (len(shape) == 4 and names.is_fc(layer) and layer != "fc1" and shape[2:] != (1, 1)):
            raise InputError(f"{path}: {layer} ({array}) has an invalid shape: {shape}.")
        if not match.scheme.keras_layout and variable == "kernel":
            shape = (math.prod(shape[1:]), shape[0]) if names.is_fc(layer) else (*shape[2:], shape[1], shape[0])
        shapes[layer, variable] = shape
    return shapes


def _check_chain(path, arrays: dict[tuple[str, str], str], shapes: dict[tuple[str, str], tuple[int, ...]]) -> None:
    """Checks that every layer takes as many channels as the previous one outputs, and that vectors fit their layer."""
    before, channels = None, None
    for (layer, variable), shape in shapes.items():
        told = f"{path}: {layer} ({arrays[layer, variable]})"
        if variable == "kernel":
            fits = channels in (None, shape[-2]) or (layer == "fc1" and shape[0] % channels == 0)
            if not fits:
                raise InputError(f"{told} must take the {channels} channels of {before}. Received: shape {shape}.")
            before, channels = layer, shape[-1]
        elif shape != (channels,):
            raise InputError(f"{told} must have shape ({channels},), the outputs of {before}. Received: shape {shape}.")


def _spatial(path, match: names.Match, content: kinds.Content, shapes, supposed) -> tuple[int, int] | None:
    array = match.arrays["fc1", "kernel"]
    stored, filters = content.arrays[array].shape, _last_filters(shapes)
    if len(stored) == 4:
        if stored[1] != filters:
            raise InputError(f"{path}: fc1 ({array}) must take the {filters} channels of the last block. Received: shape {stored}.")
        return stored[2:]
    return supposed


def _square(places: int) -> tuple[int, int] | None:
    side = math.isqrt(places)
    return (side, side) if side * side == places else None


def _last_filters(shapes) -> int:
    return next(shape[-1] for (layer, variable), shape in reversed(shapes.items()) if "_conv" in layer)


def _check_order(path, match: names.Match, content: kinds.Content, places: int) -> None:
    if match.scheme.keras_layout and content.channels_first is None and places > 1:
        raise InputError(
            f"{path} does not record in which order fc1 ({match.arrays['fc1', 'kernel']}) takes the feature map. If its model had "
            f"channels first, record that in the file, else 'channels_last': import h5py; h5py.File({str(path)!r}, "
            "'a').attrs['data_format'] = 'channels_first'."
        )


def _variable(key, array: str, stored: StoredArray, content: kinds.Content, keras_layout: bool, places: int) -> Variable:
    layer, variable = key
    if keras_layout and key == ("fc1", "kernel") and content.channels_first:
        return fc_of_channels(array, stored, places)
    if keras_layout or variable != "kernel":
        return as_it_lies(array, stored)
    if names.is_fc(layer):
        return fc_matrix(array, stored, places if layer == "fc1" else 1)
    return convolution(array, stored)
