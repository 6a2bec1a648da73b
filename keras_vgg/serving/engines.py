"""Engines other than TensorFlow: their file formats, and how to run them."""

import dataclasses
import os
import pathlib
from collections.abc import Callable

import numpy as np

Run = Callable[[np.ndarray], np.ndarray]
"""From images, `(B, height, width, 3)` float32 in 0–255, to probabilities, `(B, classes)` float32."""


@dataclasses.dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        suffix: suffix of the file name.
        open: loads a file and returns a function from images to outputs.
        companions: suffixes of further required files, with the same name in the same folder.
        engine: name of the engine, for people.
    """

    suffix: str
    open: Callable[[pathlib.Path], Run]
    companions: tuple[str, ...] = ()
    engine: str = ""

    def size(self, path: pathlib.Path) -> int:
        """Returns the size of a file in bytes, including its companions."""
        return sum(each.stat().st_size for each in (path, *map(path.with_suffix, self.companions)))


def _open_onnx(path: pathlib.Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _open_litert(path: pathlib.Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    # By default LiteRT uses a single core; the other engines use all.
    interpreter = Interpreter(str(path), num_threads=os.cpu_count())
    runner = interpreter.get_signature_runner()
    name = next(iter(runner.get_input_details()))
    return lambda images: next(iter(runner(**{name: images}).values()))


def _open_openvino(path: pathlib.Path) -> Run:
    import openvino

    # OpenVINO would use half precision by default where the processor supports it.
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: compiled(images)[0]


FORMATS = {  # by the extra that installs the packages to write and read it
    "onnx": Format(".onnx", _open_onnx, engine="ONNX Runtime"),
    "litert": Format(".tflite", _open_litert, engine="LiteRT"),
    "openvino": Format(".xml", _open_openvino, (".bin",), "OpenVINO"),
}
