"""Exports a single file for an engine other than TensorFlow: ONNX, LiteRT or OpenVINO, from pixels to probabilities.

Keras writes the file; the engine's own runtime reloads it, and must compute what the net computes. A file quantized to int8 is
measured against the net instead. These files do not take encoded images; `saved_model` does.
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
from keras_vgg.serving import quantized
from keras_vgg.serving.comparison import largest_difference, with_own_layers
from keras_vgg.serving.engines import FORMATS, Format
from keras_vgg.serving.image_sets import CALIBRATION_IMAGES
from keras_vgg.serving.plan import Plan, plan_export
from keras_vgg.serving.quantizing import INT8
from keras_vgg.support import extras, files, paths

_OF_PIXELS = ("kind", "dense", "flip", "average", "pooling")  # the parts of a protocol that apply to images that are not rescaled


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """An exported file.

    Attributes:
        path: path of the file.
        size: its bytes, including the `.bin` of an `.xml`.
        card: like `model_card.json` of a SavedModel; written next to the file, as `flowers17.onnx.json`.
        inputs, outputs: for people.
        largest_difference: between outputs of the float32 file in its engine and of the net in memory.
        figures: for a quantized file, rows of `file_figures.measure`, which are also on the card.
    """

    path: pathlib.Path
    size: int
    card: dict
    inputs: str
    outputs: str
    largest_difference: float
    figures: list[dict] | None = None


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
    quantize: str | None = None,
    calibrate: str | os.PathLike[str] | None = None,
    calibration_images: int = CALIBRATION_IMAGES,
    labelled: str | os.PathLike[str] | None = None,
    say: Callable[[str], None] = print,
    stream=None,
) -> ExportedFile:
    """Writes a net as one ONNX, LiteRT or OpenVINO file that takes pixels, with its card next to it.

    Args:
        model_or_run: as for `saved_model.export_saved_model`, in float32.
        path: the file, ending in `.onnx`, `.tflite` or, with a `.bin` beside it, `.xml`.
        format: `"onnx"`, `"litert"` or `"openvino"`.
        dense, flip, average, pooling, labels, preprocessing, evaluation, licence: as for `saved_model.export_saved_model`.
        precision: `"float32"`, as files always are; a model in memory must compute in float32, unless this is given.
        scales: smallest sides, the first of which is that of calibration images. Otherwise without effect, like `top_k` and
            `features`, since a file does not rescale images; accepted as in `export_saved_model`.
        quantize: `"int8"` for weights and activations in int8, by the engine's own tool; inputs and outputs stay float32.
        calibrate: images to calibrate the ranges of activations with: a dataset as for `datasets.open_dataset`, whose training
            set is used if it has one, or a folder, glob or file of images without labels. They are seen as center crops of the
            net's input size.
        calibration_images: maximum number of them, spread evenly over the set, at least 1.
        labelled: a dataset with the net's classes, on which the errors of net and file are measured, in the same center crops; of
            its splits the one that `keras_vgg.evaluate` would test.
        say: called with lines for people: skipped images, how classes were matched.
        stream: where to show the progress of quantization, if anywhere.

    Raises:
        InputError: for a wrong name, a missing package, a net that is not in float32, images of which none is readable, classes
            that the net does not have, nets that the engine's tool does not support, or as `export_saved_model`.

    Example:
        >>> from keras_vgg.serving.formats import export_file
        >>> export_file("runs/flowers17", "flowers17.onnx", format="onnx").inputs  # doctest: +SKIP
        'images (batch, height, width, 3) float32'
    """
    target, kind = paths.path_of(path), _format(format)
    if target.suffix != kind.suffix:
        raise InputError(f"The name of an {format} file must end in {kind.suffix}. Received: {target}.")
    check_quantization(quantize, calibrate, labelled)
    extras.require(format)
    if precision not in (None, FLOAT32):
        raise InputError(f"{format} files are written in float32. Received: precision={precision!r}; export a SavedModel instead.")
    job = None
    if calibrate is not None:
        job = quantized.prepare(model_or_run, calibrate, calibration_images, labelled, say=say, stream=stream)
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
    card = plan.card | {"protocol": {name: plan.card["protocol"][name] for name in _OF_PIXELS}}
    with files.replacing(target, kind.companions) as beside:
        if job:
            with files.scratch(target.parent) as folder:
                plain = folder / f"float32{kind.suffix}"
                difference = _write_checked(model, plain, format, plan)
                del model
                card |= {"quantization": quantized.write(job, plan, format, plain, beside, say=say, stream=stream)}
                card["net"] = card["net"] | {"precision": quantize}
        else:
            difference = _write_checked(model, beside, format, plan)
    files.write_text(target.with_name(f"{target.name}.json"), json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    side = "height, width" if plan.protocol.dense else f"{plan.network.crop}, {plan.network.crop}"
    return ExportedFile(
        target,
        kind.size(target),
        card,
        f"images (batch, {side}, 3) float32",
        "probabilities (batch, classes)",
        difference,
        card["quantization"]["figures"] if job else None,
    )


def check_quantization(quantize: str | None, calibrate, labelled) -> None:
    """Raises `InputError` if the arguments of a quantization do not fit together."""
    if quantize not in (None, INT8):
        raise InputError(f"`quantize` must be {INT8!r}. Received: quantize={quantize!r}.")
    if quantize and calibrate is None:
        raise InputError("`quantize` requires `calibrate`, images to calibrate activation ranges with. Received: none.")
    for name, value in (("calibrate", calibrate), ("labelled", labelled)):
        if value is not None and not quantize:
            raise InputError(f"`{name}` requires `quantize`. Received: {name}={str(value)!r} without it.")


def pixel_model(plan: Plan) -> keras.Model:
    """Returns a Keras model from RGB images in 0–255, `(B, height, width, 3)` float32, to probabilities, `(B, classes)`.

    It computes the same as signature `serving_default`, but with layers that converters support: fc1 is a convolution with its
    own kernel.

    Raises:
        InputError: if the net computes in half precision, which the formats do not support.
    """
    network, dense = plan.network, plan.protocol.dense
    if half := {layer.compute_dtype for layer in network.model.layers if layer.compute_dtype != "float32"}:
        raise InputError(
            f"The format supports only nets in float32. Received: one that computes in {', '.join(half)}; pass "
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


def _write_checked(model: keras.Model, path: pathlib.Path, format: str, plan: Plan) -> float:
    """Writes a float32 file, and returns its largest difference from the net."""
    _write(model, path, format)
    return largest_difference(_outputs(FORMATS[format], path, plan))


def _write(model: keras.Model, path: pathlib.Path, format: str) -> None:
    # Converters log every step to standard error; failures are raised anyway.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = keras.InputSpec(shape=model.input_shape, dtype="float32", name="images")
        model.export(str(path), format=format, verbose=False, input_signature=[images])


def _outputs(kind: Format, path: pathlib.Path, plan: Plan) -> Iterator[tuple]:
    """Yields the outputs of the engine and of the net in memory for the same images."""
    network, protocol = plan.network, plan.protocol
    yield from with_own_layers(network)
    run = kind.open(path)
    for size in [(network.crop, network.crop)] + [(network.crop + 40, network.crop + 8)] * protocol.dense:
        images = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.float32)
        yield run(images), network.trace_posteriors(images, protocol.kind, protocol.flip)
