"""One file for engines other than TensorFlow: ONNX and LiteRT, from pixels to probabilities.

Keras writes them; the engine's own runtime reads the file back, and must compute what the net computes. Nothing here takes encoded
images: that is for `saved_model`.
"""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.inference.network import score_net
from keras_vgg.precision import FLOAT32
from keras_vgg.preprocessing import Preprocessing
from keras_vgg.serving.comparison import largest_difference, with_own_layers
from keras_vgg.serving.plan import Plan, plan_export
from keras_vgg.support import extras, files, paths


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        suffix: of the file's name.
        run: computes a file's outputs for images, `(B, height, width, 3)` float32 to `(B, classes)`.
    """

    suffix: str
    run: Callable[[pathlib.Path, np.ndarray], np.ndarray]


def _run_onnx(path: pathlib.Path, images: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def _run_litert(path: pathlib.Path, images: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner()
    return next(iter(runner(**{next(iter(runner.get_input_details())): images}).values()))


FORMATS = {  # by the name of the extra that installs what writes it and reads it back
    "onnx": Format(".onnx", _run_onnx),
    "litert": Format(".tflite", _run_litert),
}


_OF_PIXELS = ("kind", "dense", "flip", "average", "pooling")  # what a protocol says of images that are looked at as they are


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """What was exported.

    Attributes:
        path: the file.
        card: as `model_card.json` of a SavedModel; lies beside the file, `flowers17.onnx.json`.
        inputs, outputs: for people.
        largest_difference: between what the engine computes from the file and what the net in memory does.
    """

    path: pathlib.Path
    card: dict
    inputs: str
    outputs: str
    largest_difference: float


def export_file(
    model_or_run: keras.Model | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    format: str,
    dense: bool = True,
    scales: Sequence[int] | None = None,
    flip: bool | None = None,
    top_k: int = 5,
    labels: Sequence[str] | str | os.PathLike[str] | None = None,
    features: str | None = None,
    average: str = "posteriors",
    pooling: str = "floor",
    preprocessing: str | None = None,
    evaluation: str | os.PathLike[str] | None = None,
    licence: str | None = None,
    precision: str | None = None,
) -> ExportedFile:
    """Writes a net as one ONNX or LiteRT file that takes pixels, and its card beside it.

    Args:
        model_or_run: as for `saved_model.export_saved_model`, in float32.
        path: the file, ending in `.onnx` or `.tflite`.
        format: `"onnx"` or `"litert"`.
        dense, flip, average, pooling, labels, preprocessing, evaluation, licence: as for `saved_model.export_saved_model`.
        precision: `"float32"`, in which files are taken anyway; a model in memory is taken as it computes, unless this is given.
        scales, top_k, features: of no account, since a file looks at pixels as they are; taken as `export_saved_model` takes them.

    Raises:
        InputError: for a wrong name, a package that is missing, a net that is not in float32, or as `export_saved_model`.

    Example:
        >>> from keras_vgg.serving.formats import export_file
        >>> export_file("runs/flowers17", "flowers17.onnx", format="onnx").inputs  # doctest: +SKIP
        'images (batch, height, width, 3) float32'
    """
    target, kind = paths.path_of(path), _format(format)
    if target.suffix != kind.suffix:
        raise InputError(f"The name of an {format} file should end in {kind.suffix}. Received: {target}.")
    extras.require(format)
    if precision not in (None, FLOAT32):
        raise InputError(f"{format} files are written in float32. Received: precision={precision!r}; a SavedModel takes it.")
    plan = plan_export(
        model_or_run,
        dense=dense,
        scales=scales,
        flip=flip,
        top_k=top_k,
        labels=labels,
        features=features,
        average=average,
        pooling=pooling,
        preprocessing=preprocessing,
        evaluation=evaluation,
        licence=licence,
        precision=precision,
    )
    model = pixel_model(plan)
    with files.replacing(target) as beside:
        _write(model, beside, format)
        difference = largest_difference(_outputs(kind, beside, plan))
    card = plan.card | {"protocol": {name: plan.card["protocol"][name] for name in _OF_PIXELS}}
    files.write_text(target.with_name(f"{target.name}.json"), json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    side = "height, width" if plan.protocol.dense else f"{plan.network.crop}, {plan.network.crop}"
    return ExportedFile(target, card, f"images (batch, {side}, 3) float32", "probabilities (batch, classes)", difference)


def pixel_model(plan: Plan) -> keras.Model:
    """Returns a Keras model from RGB images in 0–255, `(B, height, width, 3)` float32, to probabilities, `(B, classes)`.

    The same as signature `serving_default`, but of layers that converters know: fc1 is a convolution with a kernel of its own.

    Raises:
        InputError: if the net computes in half precision, which the formats do not have.
    """
    network, dense = plan.network, plan.protocol.dense
    if half := {layer.compute_dtype for layer in network.model.layers if layer.compute_dtype != "float32"}:
        raise InputError(
            f"The format takes nets in float32. Received: one that computes in {', '.join(half)}; give "
            "precision float32, or export a SavedModel."
        )
    logits = score_net(network.model, pooling=network.pooling)
    side = None if dense else network.crop
    images = keras.Input((side, side, 3), name="images")

    def see(images):
        scores = logits(_Preprocess(plan.preprocessing)(images))  # (B, rows, columns, classes)
        posteriors, mean = keras.layers.Activation(network.activation), keras.layers.GlobalAveragePooling2D()
        return posteriors(mean(scores)) if network.average == "scores" else mean(posteriors(scores))

    both = [see(images), see(keras.ops.flip(images, axis=2))] if plan.protocol.flip else [see(images)]
    probabilities = keras.layers.Average()(both) if plan.protocol.flip else both[0]
    return keras.Model(images, keras.layers.Identity(name="probabilities")(probabilities), name=network.model.name)


class _Preprocess(keras.layers.Layer):
    """Preprocessing as a layer."""

    def __init__(self, preprocessing: Preprocessing):
        super().__init__()
        self._preprocessing = preprocessing

    def call(self, images):
        return self._preprocessing(images)


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise InputError(f"`format` must be one of {', '.join(FORMATS)}. Received: format={name!r}.")
    return FORMATS[name]


def _write(model: keras.Model, path: pathlib.Path, format: str) -> None:
    # Converters tell on standard error what they do, line after line; what fails is raised all the same.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = keras.InputSpec(shape=model.input_shape, dtype="float32", name="images")
        model.export(path, format=format, verbose=False, input_signature=[images])


def _outputs(kind: Format, path: pathlib.Path, plan: Plan) -> Iterator[tuple]:
    """Yields what the engine and the net in memory compute for the same images."""
    network, protocol = plan.network, plan.protocol
    yield from with_own_layers(network)
    for size in [(network.crop, network.crop)] + [(network.crop + 40, network.crop + 8)] * protocol.dense:
        images = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.float32)
        yield kind.run(path, images), network.trace_posteriors(images, protocol.kind, protocol.flip)
