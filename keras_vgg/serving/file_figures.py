"""What a file for another engine costs and gains: size, agreement with the float32 net, errors and speed, beside the net's own."""

import dataclasses
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import pandas as pd

from keras_vgg.inference.network import Network
from keras_vgg.inference.passes import run_pass
from keras_vgg.inference.row_cache import DONE, RowCache
from keras_vgg.inference.views import Views
from keras_vgg.mixed_precision import in_precision
from keras_vgg.precision import FLOAT32
from keras_vgg.serving.engines import Run
from keras_vgg.serving.image_sets import ImageSet
from keras_vgg.support.progress import Progress

_SECONDS, _LEAST, _MOST, _WARM_UP = 2.0, 10, 500, 3
_BYTES = {"float32": 4, "bfloat16": 2}
BFLOAT16 = "mixed_bfloat16"


@dataclasses.dataclass(frozen=True)
class Computer:
    """What computes probabilities of images, and is measured.

    Attributes:
        name: for people.
        size: bytes of its file, or of its weights.
        open: makes it ready.
    """

    name: str
    size: int
    open: Callable[[], Run]


def of_net(network: Network, kind: str, flip: bool, precision: str = FLOAT32) -> Computer:
    """Returns a net of TensorFlow's as it computes in a precision; its size is that of the weights in it.

    Args:
        network: in float32.
        kind, flip: how it looks at images, as for `Network.posteriors`.
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
    network: Network,
    views: Views,
    calibration: ImageSet,
    labelled: ImageSet | None = None,
    labels: np.ndarray | None = None,
    *,
    stream=None,
) -> tuple[list[dict], list[np.ndarray]]:
    """Returns a row of figures for each computer, beside the first, which the others are compared with.

    Args:
        computers: what is measured, one after another, on one image at a time.
        network: the net, whose size and classes are theirs.
        views: the centre crops that all see.
        calibration: images to compare by.
        labelled: further images, whose classes are known.
        labels: `(classes of the data,)`, the net's number of each class of them.
        stream: where progress is shown, if anywhere.

    Returns:
        `(rows, seen)`: the rows, and of each set the indices of the images that could be read.
    """
    sets = [calibration] + ([labelled] if labelled else [])
    total = sum(np.count_nonzero(each.images.survey.sizes[:, 0]) for each in sets) * len(computers)
    rows: list[dict] = []
    expected: list[np.ndarray] = []
    pixels = views.pixels(0, 0, network.crop)
    with Progress(total, stream=stream) as progress:
        for computer in computers:
            run = computer.open()

            def on_done(seen, name=computer.name):
                progress.count(seen / pixels)
                progress.show(f"measuring {name}")

            found = [_probabilities(run, network, each, views, on_done) for each in sets]
            expected = expected or found
            row = {"computed by": computer.name, "MB": computer.size / 1e6} | _compared(found, expected)
            if labelled is not None:
                row |= _errors(found[1], expected[1], np.append(np.asarray(labels), -1)[labelled.labels])
            rows.append(row | {"images/s": _speed(run, network.crop)})
    return rows, [np.flatnonzero(~np.isnan(each[:, 0])) for each in expected]


def _probabilities(run: Run, network: Network, images: ImageSet, views: Views, on_done) -> np.ndarray:
    """Returns `(N, classes)` float32, NaN for images that cannot be read."""
    store = RowCache.in_memory(len(images.labels), network.classes)
    run_pass([_Seeing(run, network)], images.images, views, store, batch=1, on_done=on_done)
    rows = store.rows
    if not np.isfinite(rows[store.state == DONE]).all():
        raise RuntimeError("what was written gives NaN or infinity where the net in memory does not")
    return rows


class _Seeing:
    """What computes, as a pass over images wants it."""

    def __init__(self, run: Run, network: Network):
        self.model, self.crop, self.smallest_input, self._run = network.model, network.crop, network.smallest_input, run

    def see(self, images, views: Views, which=None) -> np.ndarray:
        return self._run(np.asarray(images).astype(np.float32))


def _compared(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> dict:
    row: dict = {}
    for name, each, other in zip(("calibration", "labelled"), found, expected, strict=False):
        read = ~np.isnan(other[:, 0])
        row[f"agrees %, {name}"] = 100 * float(np.mean(each[read].argmax(1) == other[read].argmax(1)))
        row[f"images, {name}"] = int(read.sum())
    return row | {
        "largest difference": max(float(np.nanmax(np.abs(a - b))) for a, b in zip(found, expected, strict=True)),
    }


def _errors(found: np.ndarray, expected: np.ndarray, labels: np.ndarray) -> dict:
    known = ~np.isnan(expected[:, 0]) & (labels >= 0)
    right, was_right = (each[known].argmax(1) == labels[known] for each in (found, expected))
    return {
        "top-1 error %": 100 * float(np.mean(~right)),
        "right to wrong": int(np.sum(was_right & ~right)),
        "wrong to right": int(np.sum(~was_right & right)),
    }


def _speed(run: Run, crop: int) -> float:
    """Returns images a second, in batches of one: of the median time."""
    images = np.random.default_rng(0).integers(0, 256, (1, crop, crop, 3)).astype(np.float32)
    for _ in range(_WARM_UP):
        run(images)
    times: list[float] = []
    while len(times) < _LEAST or (sum(times) < _SECONDS and len(times) < _MOST):
        began = time.perf_counter()
        run(images)
        times.append(time.perf_counter() - began)
    return 1 / float(np.median(times))


def format_table(rows: Sequence[dict]) -> str:
    """Returns the figures as people read them."""
    table = pd.DataFrame(rows)
    forms = {"MB": "{:,.2f}", "largest difference": "{:.2g}", "images/s": "{:,.3g}"}
    for column in table.columns:
        if column in forms or "%" in column:
            table[column] = table[column].map(forms.get(column, "{:.2f}").format)
    return table.to_string(index=False)
