"""Post-training quantization to int8 by each engine's own tool, which runs calibration images through the float32 file.

Weights are quantized per channel, activations by their minimum and maximum. Convolutions and the layers between them are int8;
preprocessing, scores, the softmax and the means over positions and mirror images stay float32, and so do inputs and outputs.
"""

import collections
import contextlib
import dataclasses
import importlib.metadata
import io
import logging
import pathlib
import re
import warnings
from collections.abc import Callable, Iterator

from keras_vgg.errors import InputError
from keras_vgg.serving.image_sets import Crops
from keras_vgg.support.progress import Progress

INT8 = "int8"

_INPUT = "images"


@dataclasses.dataclass(frozen=True)
class Tool:
    """A tool that quantizes files of one format.

    Attributes:
        package: the distribution that contains it.
        function: the function that is called.
        settings: its arguments, for people.
        quantise: writes a quantized file, given a float32 file, calibration images and the name of the layer that computes the
            scores.
    """

    package: str
    function: str
    settings: dict
    quantise: Callable[[pathlib.Path, pathlib.Path, Crops, str], None]

    @property
    def told(self) -> str:
        """Its name and version."""
        return f"{self.function} of {self.package} {importlib.metadata.version(self.package)}"


def quantise(format: str, source: pathlib.Path, target: pathlib.Path, crops: Crops, classifier: str, *, stream=None) -> dict:
    """Writes the int8 file of a float32 file.

    Args:
        format: a key of `TOOLS`.
        source: the float32 file.
        target: the file to write.
        crops: the calibration images; each is decoded only when the tool needs it, so that memory use does not grow with their
            number.
        classifier: the layer that computes the scores, which stay float32.
        stream: where to show progress, if anywhere.

    Returns:
        The settings for the card.

    Raises:
        InputError: if the tool does not support the net.
    """
    tool = TOOLS[format]
    try:
        with Progress(len(crops), stream=stream) as progress, _quiet():
            tool.quantise(source, target, crops.counted(lambda: _show(progress, format)), classifier)
    except OSError:
        raise  # disk errors are reported by the code that replaces files
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{tool.told} could not quantize this net ({reason}); omit --quantize, or try another format.") from error
    return {"type": INT8, "tool": tool.told, "settings": tool.settings}


def _show(progress: Progress, format: str) -> None:
    progress.count(1)
    progress.show(f"quantizing for {format}")


def _quantise_onnx(source: pathlib.Path, target: pathlib.Path, crops: Crops, classifier: str) -> None:
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self._left = iter(crops)

        def get_next(self):
            crop = next(self._left, None)
            return None if crop is None else {_INPUT: crop}

    prepared = source.with_name(f"prepared{source.suffix}")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)  # symbolic shapes help only transformers
    quantization.quantize_static(
        str(prepared),
        str(target),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=_ONNX_OPERATIONS,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method=quantization.CalibrationMethod.MinMax,
        extra_options={"OpTypesToExcludeOutputQuantization": _ONNX_PRODUCTS},  # inputs of a ReLU, or scores
    )


class _Lazy(collections.UserDict):
    """One image for LiteRT's tool, decoded on access: the tool makes a list of all its images to count them."""

    def __init__(self, crops: Crops, place: int):
        super().__init__()
        self._crops, self._place = crops, place

    def copy(self):
        """Returns the input that the tool runs the net on."""
        return {_INPUT: self._crops[self._place]}


def _quantise_litert(source: pathlib.Path, target: pathlib.Path, crops: Crops, classifier: str) -> None:
    from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    recipe = recipe_manager.RecipeManager()
    for name in _LITERT_OPERATIONS:
        recipe.add_static_config(".*", qtyping.TFLOperationName[name], activation_num_bits=8, weight_num_bits=8)
        if name != "MAX_POOL_2D":
            scores = rf"/{re.escape(classifier)}(_\d+)?/"
            recipe.add_weight_only_config(scores, qtyping.TFLOperationName[name], num_bits=8)
    # The tool's `Quantizer.calibrate` uses moving averages, which would favor the last images, all of one class.
    calibration = calibrator.Calibrator(str(source), qsv_update_func=qsv_utils.min_max_update)
    (signature,) = calibration.get_signature_list()
    calibration.calibrate({signature: [_Lazy(crops, place) for place in range(len(crops))]}, recipe)
    tool = quantizer.Quantizer(str(source), recipe.get_quantization_recipe())
    quiet = {"enable_progress_bar": False, "enable_progress_report": False}
    tool.quantize(calibration.get_model_qsvs(), serialize_to_path=str(target), **quiet)


def _quantise_openvino(source: pathlib.Path, target: pathlib.Path, crops: Crops, classifier: str) -> None:
    import nncf
    import openvino

    model = openvino.Core().read_model(str(source))
    quantised = nncf.quantize(
        model,
        nncf.Dataset(crops, lambda crop: {_INPUT: crop}),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.ANY,
        subset_size=len(crops),
        advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
        ignored_scope=nncf.IgnoredScope(names=_behind_scores(model), types=_OPENVINO_IGNORED, validate=False),
    )
    openvino.save_model(quantised, str(target), compress_to_fp16=False)


def _behind_scores(model) -> list[str]:
    """Returns the names of the operations of an OpenVINO model that turn scores into probabilities and average them."""
    found: list[str] = []
    for operation in model.get_ordered_ops():
        before = [operation.input_value(place).get_node().get_friendly_name() for place in range(operation.get_input_size())]
        if operation.get_type_name() in _OPENVINO_ENDINGS or set(before) & set(found):
            found.append(operation.get_friendly_name())
    return found


_ONNX_PRODUCTS = ["Conv", "MatMul", "Gemm"]
_ONNX_OPERATIONS = [*_ONNX_PRODUCTS, "Relu", "MaxPool"]
_LITERT_OPERATIONS = ("CONV_2D", "MAX_POOL_2D", "FULLY_CONNECTED")
_OPENVINO_ENDINGS = ("Softmax", "Sigmoid")
_OPENVINO_IGNORED = ["ReduceMean"]

TOOLS = {  # by the name of the format
    "onnx": Tool(
        "onnxruntime",
        "quantize_static",
        {
            "format": "QDQ",
            "weights": "int8 per channel",
            "activations": "uint8, minimum to maximum",
            "operations": _ONNX_OPERATIONS,
        },
        _quantise_onnx,
    ),
    "litert": Tool(
        "ai-edge-quantizer",
        "Quantizer",
        {"weights": "int8 per channel", "activations": "int8, minimum to maximum", "operations": [*_LITERT_OPERATIONS]},
        _quantise_litert,
    ),
    "openvino": Tool(
        "nncf",
        "quantize",
        {
            "preset": "mixed",
            "target_device": "ANY",
            "bias_correction": False,
            "ignored": [*_OPENVINO_IGNORED, *_OPENVINO_ENDINGS, "what follows"],
        },
        _quantise_openvino,
    ),
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses the log output of tools; failures are raised anyway."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
