"""Opening a weight file of any kind: which net it holds, and its variables by our names in Keras' layout.

The kind is told from the content, not from the name. Nothing is read but what says shapes, until a variable is asked for.
"""

import dataclasses
import math
import os
import pathlib

from keras_vgg import preprocessing
from keras_vgg.errors import InputError
from keras_vgg.preprocessing import KNOWN, Origin, Preprocessing
from keras_vgg.regression import BOX, PCR, outputs_of
from keras_vgg.support import paths, saved_model_folders
from keras_vgg.weights import catalogue, download, first_layer, kinds, names
from keras_vgg.weights.own_models import Head
from keras_vgg.weights.stored_array import StoredArray
from keras_vgg.weights.variable import Variable, as_it_lies, convolution, fc_matrix, fc_of_channels

CLASSES = "classes.txt"
_RECIPE = "recipe.toml"


@dataclasses.dataclass(frozen=True)
class WeightFile:
    """What a weight file holds.

    Attributes:
        path: the file.
        kind: what kind of file it is, for people.
        arch: the net of Table 1. A-LRN, whose weights look like A's, is told by `.keras` files alone, or by whoever asks.
        batch_norm: whether it has batch norm.
        include_top: whether it has the FC layers.
        spatial: height and width of the feature map that fc1 sees; `None` without the top, and if it is not known.
        variables: `{(layer, variable): Variable}` in the order of the net's layers.
        preprocessing: what the weights want of an image; `None` if nothing tells it.
        origin: how that is known; `None` if it is not.
        classes: what the classes are called, in label order: as `classes.txt` beside the file or its note says; else `None`.
        head: what a model that somebody has saved whole has behind its convolutions, where that is no net's; `variables` are those
            of the net without its top, then.
        regression: what the outputs of a net that localises are, a key of `REGRESSIONS`; `None` of a classifier.
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
        """How many classes it knows; `None` where it has no head, and of a net with one box for classes that are not named."""
        if self.head:
            return self.head.classes
        outputs = self.variables["predictions", "bias"].shape[0] if self.include_top else None
        if self.regression and outputs:
            return outputs // len(BOX) if self.regression == PCR else len(self.classes or ()) or None
        return outputs

    def outputs(self) -> tuple[str, ...] | None:
        """Returns what each output of the last layer tells, the name of a class or a number of a box; `None` if it is not known."""
        classes = self.checked_classes()
        return outputs_of(self.regression, classes or ()) if self.regression else classes

    def checked_classes(self) -> tuple[str, ...] | None:
        """Returns `classes`.

        Raises:
            InputError: if the net has more or fewer.
        """
        if self.classes is not None and len(self.classes) != (self.num_classes or len(self.classes)):
            raise InputError(
                f"{self.path.parent / CLASSES} must name the net's {self.num_classes} classes, one each. "
                f"Received: {len(self.classes)}; "
                "mend it, or take it away from the weights."
            )
        return self.classes

    def __str__(self):
        net = names.net_name(self.arch, batch_norm=self.batch_norm, include_top=self.include_top or self.head is not None)
        return f"{self.path} ({self.kind}, {net}{f' with a head of its own: {self.head}' if self.head else ''})"


def find_file(run_or_file: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the weight file that is named, the `best.keras` of a run folder of `keras_vgg.fit`, or a file of public weights.

    Public weights are named as `catalogue.called` says; a file or folder of that name goes before them.

    Raises:
        InputError: if there is no such file, or public weights cannot be fetched.
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
            f"--weights lists them). Received: {run_or_file} (no {path})."
        )
    return path


def _of_saved_model(given: str | os.PathLike[str], saved: pathlib.Path) -> InputError:
    ours = any((folder / saved_model_folders.CARD).is_file() for folder in saved_model_folders.versions_in(saved).values())
    instead = (
        "give the run folder or weight file that it was exported from"
        if ours
        else "give the model's weights, such as a Keras model saved by model.save('net.keras')"
    )
    return InputError(
        f"Expected a run folder with best.keras, a weight file, or public weights. Received: {given}, a SavedModel, which is for "
        f"serving (python -m keras_vgg.serve --model {saved}): its net cannot be taken out again; {instead}."
    )


def open_weights(
    run_or_file: str | os.PathLike[str],
    *,
    arch: str | None = None,
    batch_norm: bool | None = None,
    spatial: tuple[int, int] | None = None,
) -> WeightFile:
    """Opens a weight file of any kind that `kinds` knows, or a run folder.

    Args:
        run_or_file: where it is.
        arch: the net it must hold; told from the file if not given.
        batch_norm: whether it must have batch norm; told from the file if not given.
        spatial: height and width of the feature map that fc1 sees, where the file does not say; a square if not given.

    Raises:
        InputError: if it is missing, damaged, of no known kind, or holds no VGG net, or another one; the line names the layer.
    """
    path = find_file(run_or_file)
    kind = kinds.tell(path)
    content = kind.read(path)
    match = _identify(path, content, arch, batch_norm)
    shapes = _keras_shapes(path, match, content)
    _check_chain(path, match.arrays, shapes)
    places = shapes["fc1", "kernel"][0] // _last_filters(shapes) if match.flattens else 1
    spatial = _spatial(path, match, content, shapes, spatial or _square(places)) if match.flattens else None
    _check_order(path, match, content, places)
    variables = {
        key: _variable(key, array, content.arrays[array], content, match.scheme.keras_layout, places)
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


def read_classes(path: pathlib.Path) -> tuple[str, ...] | None:
    """Returns what `classes.txt` beside a weight file says that its classes are called, in label order; `None` if there is none.

    Raises:
        InputError: if it cannot be read or is damaged, so far as that can be told.
    """
    beside = path.parent / CLASSES
    if not beside.exists():
        return None
    try:
        text = beside.read_text(encoding="utf-8-sig")
        if "\0" in text:
            raise ValueError("it holds null bytes")
        is_of_a_run = (path.parent / _RECIPE).exists()  # which `fit` wrote; people's may end as they like
        if is_of_a_run and text and not text.endswith("\n"):
            raise ValueError("it is cut off: its last line has no end")
    except (OSError, ValueError) as error:
        raise InputError(
            f"Expected class names, one a line. Received: {beside} ({error}). For a run the command of keras_vgg.fit that began it "
            "makes it again; elsewhere mend or remove it."
        ) from error
    return tuple(text.splitlines())


def told_classes(path: pathlib.Path) -> tuple[str, ...] | None:
    """Returns what the classes of a model that Keras has saved are called: as `read_classes`, else as its note says."""
    beside = read_classes(path)
    return kinds.noted_classes(path) if beside is None and kinds.tell(path) is kinds.KERAS else beside


def _preprocessing(
    kind: kinds.Kind, content: kinds.Content, first: Variable, bias: Variable
) -> tuple[Preprocessing | None, Origin | None]:
    """Returns what weights want of an image and how that is known: noted, recognised, or the custom of their kind of file."""
    if content.preprocessing not in (None, kinds.NOT_KNOWN):
        return Preprocessing.from_json(content.preprocessing), content.origin
    has_custom = content.preprocessing is None and content.own is None  # whole models have no custom
    custom = preprocessing.BY_NAME.get(kind.preprocessing or "") if has_custom else None
    if first.shape != first_layer.SHAPE or not first_layer.is_of_authors(kernel := first.read()):
        return custom, preprocessing.ASSUMED if custom else None
    if recognised := first_layer.recognise(kernel, bias.read()):
        told = f", against the custom of its kind of file ({kind.name})" if custom not in (None, recognised) else ""
        return recognised, dataclasses.replace(preprocessing.RECOGNISED, text=preprocessing.RECOGNISED.text + told)
    return None, None  # made to take something of its own, whatever the custom


def _identify(path, content: kinds.Content, arch, batch_norm) -> names.Match:
    shapes = {name: array.shape for name, array in content.arrays.items()}
    found = names.closest(shapes, content.archs, schemes=content.schemes)
    if not shapes or found.is_hopeless:
        told = f"its arrays are named {', '.join(list(shapes)[:3])}, …" if shapes else "it has no arrays of floats"
        raise InputError(f"Expected weights of a VGG net. Received: {path}, which holds something else: {told}.")
    with_batch_norm = found.batch_norm if batch_norm is None else batch_norm
    wanted = names.closest(shapes, (arch or found.arch,), (with_batch_norm,), content.schemes)
    if wanted.distance and not found.distance:
        raise InputError(f"Expected weights of {wanted}. Received: {path}, which holds {found}: it {wanted.problem}.")
    if wanted.distance:
        has_head = not wanted.missing and not wanted.include_top and not wanted.other_kernels
        advice = "; weights alone do not say what these do: save the whole model (model.save('net.keras'))" if has_head else ""
        raise InputError(f"Expected weights of {wanted}. Received: {path}, which {wanted.problem}{advice}.")
    return wanted


def _keras_shapes(path, match: names.Match, content: kinds.Content) -> dict[tuple[str, str], tuple[int, ...]]:
    shapes = {}
    for (layer, variable), array in match.arrays.items():
        shape = content.arrays[array].shape
        axes = (1,) if variable != "kernel" else (4,) if not names.is_fc(layer) else (2,) if match.scheme.keras_layout else (2, 4)
        if len(shape) not in axes:
            raise InputError(f"{path}: {layer} ({array}) should have {' or '.join(map(str, axes))} axes. Received: shape {shape}.")
        if 0 in shape or (len(shape) == 4 and names.is_fc(layer) and layer != "fc1" and shape[2:] != (1, 1)):
            raise InputError(f"{path}: {layer} ({array}) has a shape that it cannot have: {shape}.")
        if not match.scheme.keras_layout and variable == "kernel":
            shape = (math.prod(shape[1:]), shape[0]) if names.is_fc(layer) else (*shape[2:], shape[1], shape[0])
        shapes[layer, variable] = shape
    return shapes


def _check_chain(path, arrays: dict[tuple[str, str], str], shapes: dict[tuple[str, str], tuple[int, ...]]) -> None:
    """Sees to it that every layer takes as many channels as the one before puts out, and that vectors fit their layer."""
    before, channels = None, None
    for (layer, variable), shape in shapes.items():
        told = f"{path}: {layer} ({arrays[layer, variable]})"
        if variable == "kernel":
            fits = channels in (None, shape[-2]) or (layer == "fc1" and shape[0] % channels == 0)
            if not fits:
                raise InputError(f"{told} should take the {channels} channels of {before}. Received: shape {shape}.")
            before, channels = layer, shape[-1]
        elif shape != (channels,):
            raise InputError(f"{told} should have shape ({channels},), as {before} puts out. Received: shape {shape}.")


def _spatial(path, match: names.Match, content: kinds.Content, shapes, supposed) -> tuple[int, int] | None:
    array = match.arrays["fc1", "kernel"]
    stored, filters = content.arrays[array].shape, _last_filters(shapes)
    if len(stored) == 4:
        if stored[1] != filters:
            raise InputError(
                f"{path}: fc1 ({array}) should take the {filters} channels of the last block. Received: shape {stored}."
            )
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
            f"{path} does not say in which order fc1 ({match.arrays['fc1', 'kernel']}) takes the feature map. If its model had "
            f"channels first, write so into it once, else 'channels_last': import h5py; h5py.File({str(path)!r}, "
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
