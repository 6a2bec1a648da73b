"""Engines other than TensorFlow: what the file of each is called, and how it is read."""

import dataclasses
import os
import pathlib
from collections.abc import Callable

import numpy as np

Run = Callable[[np.ndarray], np.ndarray]
"""From images, `(B, height, width, 3)` float32 in 0–255, to probabilities, `(B, classes)` float32."""


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        suffix: of the file's name.
        open: reads a file and returns what computes its outputs for images.
        companions: suffixes of further files without which it is of no use; they lie beside it under its name.
        engine: what reads it, for people.
    """

    suffix: str
    open: Callable[[pathlib.Path], Run]
    companions: tuple[str, ...] = ()
    engine: str = ""

    def size(self, path: pathlib.Path) -> int:
        """Returns how many bytes a file has, with its companions."""
        return sum(each.stat().st_size for each in (path, *map(path.with_suffix, self.companions)))


def _open_onnx(path: pathlib.Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _open_litert(path: pathlib.Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    # It would take one processor unless told otherwise; the other engines take all.
    interpreter = Interpreter(str(path), num_threads=os.cpu_count())
    runner = interpreter.get_signature_runner()
    name = next(iter(runner.get_input_details()))
    return lambda images: next(iter(runner(**{name: images}).values()))


def _open_openvino(path: pathlib.Path) -> Run:
    import openvino

    # Where a processor has half precision, OpenVINO would take it of its own accord.
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: compiled(images)[0]


FORMATS = {  # by the name of the extra that installs what writes it and reads it back
    "onnx": Format(".onnx", _open_onnx, engine="ONNX Runtime"),
    "litert": Format(".tflite", _open_litert, engine="LiteRT"),
    "openvino": Format(".xml", _open_openvino, (".bin",), "OpenVINO"),
}
