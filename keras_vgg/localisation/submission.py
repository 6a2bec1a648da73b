"""Files of guesses in the format of ILSVRC's devkit: one line per image with up to five times `label xmin ymin xmax ymax`.

Labels are ILSVRC's numbers, from 1. Boxes are first and last pixels, written as integers, as in the devkit's own example,
`demo.val.pred.loc.txt`. The devkit reads them with MATLAB's `dlmread`, which accepts fractions, so these are read here, too. It
pads short lines with zeros, and could skip an empty line, which would shift all later lines to other images: an image without
guesses is therefore written as a guess of class 0, which no image has.
"""

import math
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.localisation import boxes as edges
from keras_vgg.localisation.scoring import MOST_GUESSES
from keras_vgg.support import files, paths
from keras_vgg.support.counts import counted

_FIELDS = 5  # per guess
_NONE = "0 0 0 0 0"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def numbers_of(classes: Sequence[str], order: Sequence[str]) -> np.ndarray:
    """Returns the number of each class, `(classes,)` int64: its position, from 1, in ILSVRC's order.

    Args:
        classes: names, such as WordNet ids, in the order of the net's labels.
        order: the same names in ILSVRC's order, that of `meta_clsloc.mat` or `map_clsloc.txt`, which is not alphabetical.

    Raises:
        InputError: if a class is missing from the order, or the order has duplicates.
    """
    place = {name: number for number, name in enumerate(order, start=1)}
    if len(place) < len(order):
        twice = next(name for number, name in enumerate(order, start=1) if place[name] != number)
        raise InputError(f"Classes must be unique in ILSVRC's order. Received: {twice} twice.")
    if missing := [name for name in classes if name not in place]:
        raise InputError(
            f"All classes must be in ILSVRC's order, of {len(order)}. Received: {len(missing)} of {len(classes)} that are not, "
            f"such as {missing[0]}."
        )
    return np.array([place[name] for name in classes], np.int64)


def write_submission(
    path: str | pathlib.Path, labels: np.ndarray, boxes: np.ndarray, numbers: Sequence[int] | np.ndarray, *, origin: int = 0
) -> None:
    """Writes a file for the devkit, atomically; images must be in the order of their names, as the devkit expects.

    Edges are rounded to whole pixels. A box with an area keeps at least one pixel.

    Args:
        path: the file.
        labels: `(N, G)` int, the guesses, the best first; negative for no guess. Those beyond the fifth are dropped.
        boxes: `(N, G, 4)` edges in pixels at the annotation's image size; a guess with NaN is dropped.
        numbers: the number of each class, as from `numbers_of`.
        origin: coordinate of the first pixel of a row or column: 1 in VOC's files, 0 in many others.

    Raises:
        InputError: for labels without a number, or if the file cannot be written.
    """
    labels, boxes, numbers = np.asarray(labels), np.asarray(boxes, np.float64), _checked(numbers)
    if boxes.shape != (*labels.shape, 4) or labels.ndim != 2:
        raise InputError(f"Expected labels (N, guesses) and boxes (N, guesses, 4). Received: {labels.shape} and {boxes.shape}.")
    if labels.size and labels.max() >= len(numbers):
        raise InputError(f"Each of {labels.max() + 1} classes must have a number. Received: {counted(len(numbers), 'number')}.")
    labels, boxes = labels[:, :MOST_GUESSES], boxes[:, :MOST_GUESSES]
    guessed = (labels >= 0) & np.isfinite(boxes).all(axis=-1)
    numbered = numbers[np.where(guessed, labels, 0)]
    pixels = edges.to_inclusive(_whole(np.where(guessed[..., None], boxes, 0)), origin).astype(np.int64)
    rows = np.concatenate([numbered[..., None], pixels], axis=-1).tolist()
    lines = [
        " ".join(str(field) for guess, is_one in zip(row, is_guess, strict=True) if is_one for field in guess) or _NONE
        for row, is_guess in zip(rows, guessed.tolist(), strict=True)
    ]
    files.write_text(path, "".join(f"{line}\n" for line in lines))


def _checked(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    numbers = np.asarray(numbers)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or (numbers < 1).any() or len(set(numbers.tolist())) < len(numbers):
        raise InputError(f"Class numbers must be distinct integers from 1. Received: {numbers}.")
    return numbers


def _whole(boxes: np.ndarray) -> np.ndarray:
    """Rounds edges, but keeps at least one pixel of every box with an area."""
    low, high = np.floor(boxes[..., :2] + 0.5), np.floor(boxes[..., 2:] + 0.5)
    thin = (boxes[..., 2:] > boxes[..., :2]) & (high <= low)
    low = np.where(thin, np.floor(boxes[..., :2]), low)
    return np.concatenate([low, np.where(thin, low + 1, high)], axis=-1)


def read_submission(
    path: str | os.PathLike[str], numbers: Sequence[int] | np.ndarray, *, origin: int = 0, images: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the guesses in a file: labels `(N, 5)` int64, -1 for none, and edges `(N, 5, 4)` float64, NaN for none.

    Guesses beyond the fifth are ignored, as by the devkit.

    Args:
        path: the file.
        numbers: the number of each class, as for `write_submission`.
        origin: coordinate of the first pixel of a row or column.
        images: the expected number of images.

    Raises:
        InputError: for the first invalid line, with its number; or for another number of images.
    """
    path = paths.path_of(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Expected a text file of guesses, one line per image. Received: {path} ({error}).") from error
    if not lines or (images is not None and len(lines) != images):
        wanted = "one line per image" if images is None else f"{images} lines, one per image"
        raise InputError(f"Expected {wanted}. Received: {path} with {len(lines)}.")
    label_of = {int(number): label for label, number in enumerate(_checked(numbers))} | {0: -1}
    labels, boxes = np.full((len(lines), MOST_GUESSES), -1, np.int64), np.full((len(lines), MOST_GUESSES, 4), np.nan)
    for row, line in enumerate(lines):
        fields = line.split()
        if wrong := _wrong(fields, label_of):
            raise InputError(f"{path}, line {row + 1}: expected up to five times `label xmin ymin xmax ymax`. Received: {wrong}.")
        guesses = np.array(fields, np.float64).reshape(-1, _FIELDS)[:MOST_GUESSES]
        labels[row, : len(guesses)] = [label_of[int(number)] for number in guesses[:, 0]]
        boxes[row, : len(guesses)] = edges.from_inclusive(guesses[:, 1:], origin)
    boxes[labels < 0] = np.nan
    return labels, boxes


def _wrong(fields: list[str], label_of: dict[int, int]) -> str | None:
    """Returns what is wrong with a line's fields, if anything."""
    if not fields:
        return f"nothing; an image without a guess is `{_NONE}`"
    if len(fields) % _FIELDS:
        return f"{len(fields)} fields, which is not a multiple of five"
    if other := next((field for field in fields if not _NUMBER.fullmatch(field) or math.isinf(float(field))), None):
        return f"`{other}`, which is not a finite number"
    if other := next((field for field in fields[::_FIELDS] if float(field) not in label_of), None):
        return f"the label {other}, which is not one of the {len(label_of) - 1} classes"
    return None
