"""Measures a file for another engine: size, agreement with the float32 net, errors and speed, next to the net's own."""

import dataclasses
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import pandas as pd

from keras_vgg.inference.network import Network
from keras_vgg.mixed_precision import in_precision
from keras_vgg.precision import FLOAT32
from keras_vgg.serving.engines import Run
from keras_vgg.support.progress import Progress

_SECONDS, _LEAST, _MOST, _WARM_UP = 2.0, 10, 500, 3
_BYTES = {"float32": 4, "bfloat16": 2}


@dataclasses.dataclass(frozen=True)
class Computer:
    """Something that computes probabilities of images, to be measured.

    Attributes:
        name: for people.
        size: bytes of its file, or of its weights.
        open: loads it.
    """

    name: str
    size: int
    open: Callable[[], Run]


def of_net(network: Network, kind: str, flip: bool, precision: str = FLOAT32) -> Computer:
    """Returns a TensorFlow net as it computes in a given precision; its size is that of the weights in this precision.

    Args:
        network: in float32.
        kind, flip: views of an image, as for `Network.posteriors`.
        precision: `"float32"` or `"mixed_bfloat16"`.
    """
    model = in_precision(network.model, precision)

    def open_net() -> Run:
        ready = network if model is network.model else Network(model, pooling=network.pooling, average=network.average)
        return lambda images: np.asarray(ready.posteriors(images.astype(np.uint8), kind, flip=flip))

    return Computer(f"net {precision}", _bytes_of(model), open_net)


def _bytes_of(model: keras.Model) -> int:
    return sum(layer.count_params() * _BYTES[layer.compute_dtype] for layer in model.layers if layer.weights)


def measure(
    computers: Sequence[Computer],
    calibration: Sequence[np.ndarray],
    labelled: Sequence[np.ndarray] = (),
    labels: np.ndarray | None = None,
    *,
    stream=None,
) -> list[dict]:
    """Returns a row of figures for each computer; the first is the reference for the others.

    Args:
        computers: measured one after another, on one image at a time.
        calibration: images to compare on, each `(1, height, width, 3)` float32 in 0–255, see `image_sets.Crops`.
        labelled: further images, with known classes.
        labels: `(len(labelled),)`, the true classes as class numbers of the net.
        stream: where to show progress, if anywhere.

    Raises:
        RuntimeError: if one of them returns NaN or infinity.
    """
    sets = [calibration, labelled] if labelled else [calibration]
    rows: list[dict] = []
    expected: list[np.ndarray] = []
    with Progress(sum(map(len, sets)) * len(computers), stream=stream) as progress:
        for computer in computers:
            run = computer.open()
            found = [_probabilities(computer.name, run, images, progress) for images in sets]
            expected = expected or found
            row = {"computed by": computer.name, "MB": computer.size / 1e6} | _compared(found, expected)
            if labelled:
                row |= errors(found[1], expected[1], np.asarray(labels))
            rows.append(row | {"images/s": _speed(run, calibration[0])})
    return rows


def _probabilities(name: str, run: Run, images: Sequence[np.ndarray], progress: Progress) -> np.ndarray:
    found = []
    for image in images:
        found.append(run(image))
        progress.count(1)
        progress.show(f"measuring {name}")
    whole = np.concatenate(found)
    if not np.isfinite(whole).all():
        raise RuntimeError(f"{name} returns NaN or infinity")
    return whole


def _compared(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> dict:
    row: dict = {}
    for name, each, other in zip(("calibration", "labelled"), found, expected, strict=False):
        row[f"agrees %, {name}"] = 100 * float(np.mean(each.argmax(1) == other.argmax(1)))
        row[f"images, {name}"] = len(each)
    return row | {"largest difference": max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))}


def errors(found: np.ndarray, expected: np.ndarray, labels: np.ndarray) -> dict:
    """Returns the error of probabilities `(N, classes)`, and how many predictions became right or wrong against `expected`.

    Args:
        found, expected: `(N, classes)` each.
        labels: `(N,)`, the true classes.
    """
    right, was_right = (each.argmax(1) == labels for each in (found, expected))
    return {
        "top-1 error %": 100 * float(np.mean(~right)),
        "right to wrong": int(np.sum(was_right & ~right)),
        "wrong to right": int(np.sum(~was_right & right)),
    }


def _speed(run: Run, image: np.ndarray) -> float:
    """Returns images per second at batch size 1, from the median time."""
    for _ in range(_WARM_UP):
        run(image)
    times: list[float] = []
    while len(times) < _LEAST or (sum(times) < _SECONDS and len(times) < _MOST):
        began = time.perf_counter()
        run(image)
        times.append(time.perf_counter() - began)
    return 1 / float(np.median(times))


def format_table(rows: Sequence[dict]) -> str:
    """Returns the figures as a table, without the numbers of images, which are the same in all rows."""
    table = pd.DataFrame(rows)
    table = table[[column for column in table.columns if not column.startswith("images, ")]]
    forms = {"MB": "{:,.2f}", "largest difference": "{:.2g}", "images/s": "{:,.3g}"}
    for column in table.columns:
        if column in forms or "%" in column:
            table[column] = table[column].map(forms.get(column, "{:.2f}").format)
    return table.to_string(index=False)
