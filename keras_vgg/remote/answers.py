"""Predictions of a served model for images, or the reasons why there are none."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_vgg.remote.protocol import RefusedError, Rows, Signatures, one_line, reading

OUTPUTS = {
    "classify": ("scores", "class_ids", "class_names", "error"),
    "features": ("features", "error"),
    "localise": ("scores", "class_ids", "class_names", "boxes", "image_size", "error"),
}
"""The supported signatures, with the outputs that are read."""

NET = "net_sha256"
"""The output with the digest of the net, in each row; models exported by earlier versions have none."""


_ROUNDING = 1e-3  # of sums in half precision


@dataclasses.dataclass(frozen=True)
class TopClass:
    """One of the most probable classes of an image.

    Attributes:
        name: may be empty.
        label: class number, from 0.
        score: its posterior, as returned by the server.
    """

    name: str
    label: int
    score: float


@dataclasses.dataclass(frozen=True)
class Located:
    """A guess of the class and position of an object in an image.

    Attributes:
        name: of the class; may be empty.
        label: class number, from 0.
        score: as returned by the server.
        box: edges `x_min, y_min, x_max, y_max` in pixels of the image.
    """

    name: str
    label: int
    score: float
    box: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Answer:
    """The result for an image.

    Attributes:
        path: path of the image.
        error: why there is no result, in one line; empty if there is one.
        top: the most probable classes, best first, of the signature `classify`.
        features: `(D,)` float32, of the signature `features`.
        located: guesses, best first, of the signature `localise`.
        size: width and height of the image in pixels, of the signature `localise`.
        seconds: duration of the successful request, NaN if there was none.
        net_sha256: digest of the net; empty if the response has none.
        image_sha256: SHA-256 of the image that was sent; empty if it could not be read.
    """

    path: str
    error: str = ""
    top: tuple[TopClass, ...] = ()
    features: np.ndarray | None = None
    located: tuple[Located, ...] = ()
    size: tuple[int, int] | None = None
    seconds: float = float("nan")
    net_sha256: str = ""
    image_sha256: str = ""


def read_answers(
    signature: str, paths: Sequence[str], outputs: Mapping[str, Rows], seconds: float, served: Signatures
) -> list[Answer]:
    """Returns the results for the images of one request, whose outputs have a row for each.

    Raises:
        RefusedError: if the number of rows or of values in a row differs from `served`, or the format is not that of `keras_vgg`.
    """
    for name, rows in outputs.items():
        count = len(rows) if hasattr(rows, "__len__") else "no"
        if count != len(paths):
            raise RefusedError(f"the server returned {count} rows of {name!r} for {len(paths)} images")
    answers = []
    for row, path in enumerate(paths):
        with reading("in keras_vgg's format"):
            for name, width in served.outputs.get(signature, {}).items():
                if width is not None and name in outputs and len(outputs[name][row]) != width:
                    raise RefusedError(
                        f"the server returned {len(outputs[name][row])} values of {name!r} for an image, "
                        f"but version {served.version} announced {width}"
                    )
            error, found = _read_row(signature, outputs, row)
            net = one_line(outputs[NET][row]) if NET in outputs else ""
        answers.append(Answer(path, error, seconds=seconds, net_sha256=net, **found))
    return answers


def _read_row(signature: str, outputs: Mapping[str, Rows], row: int) -> tuple[str, dict[str, Any]]:
    if error := one_line(outputs["error"][row]):
        return error, {}
    found: dict[str, Any]
    if signature == "classify":
        top = _top(outputs, row)
        name, numbers, found = "scores", np.array([each.score for each in top]), {"top": top}
    elif signature == "localise":
        height, width = (_whole(side, 1) for side in outputs["image_size"][row])
        located = _located(outputs, row, (width, height))
        name, found = "boxes", {"located": located, "size": (width, height)}
        numbers = np.array([[each.score, *each.box] for each in located])
    else:
        with np.errstate(over="ignore"):  # infinity is reported below
            features = np.asarray(outputs["features"][row], np.float32)
        if features.ndim != 1:
            raise ValueError(f"features of an image have shape {features.shape}")
        name, numbers, found = "features", features, {"features": features}
    if not np.isfinite(numbers).all():
        return f"the model's {name} are not finite", {}
    return "", found


def _located(outputs: Mapping[str, Rows], row: int, size: tuple[int, int]) -> tuple[Located, ...]:
    names, labels, scores, boxes = (outputs[name][row] for name in ("class_names", "class_ids", "scores", "boxes"))
    found = []
    for name, label, score, box in zip(names, labels, scores, boxes, strict=True):
        if _whole(label, -1) >= 0:  # -1 follows the last guess
            edges = tuple(float(edge) * side for edge, side in zip(box, size * 2, strict=True))
            found.append(Located(one_line(name), int(label), _score(score), edges))
    return tuple(found)


def _top(outputs: Mapping[str, Rows], row: int) -> tuple[TopClass, ...]:
    columns = (outputs[name][row] for name in ("class_names", "class_ids", "scores"))
    return tuple(TopClass(one_line(name), _whole(label, 0), _score(score)) for name, label, score in zip(*columns, strict=True))


def _whole(value: Any, least: int) -> int:
    """Returns a whole number from `least` on, as large as an int32 at most."""
    number = int(value)
    if number != value or not least <= number < 2**31:
        raise ValueError(f"expected a whole number from {least} on, received {value!r}")
    return number


def _score(value: Any) -> float:
    """Returns a score, at most rounding away from [0, 1]; NaN and infinity are reported by the caller."""
    if isinstance(value, str):  # which float would read
        raise TypeError(f"expected a number, received {value!r}")
    score = float(value)
    if np.isfinite(score) and not -_ROUNDING <= score <= 1 + _ROUNDING:
        raise ValueError(f"expected a score from 0 to 1, received {score:g}")
    return score
