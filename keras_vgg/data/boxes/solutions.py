"""Kaggle's CSV files of ILSVRC's boxes: `LOC_train_solution.csv`, `LOC_val_solution.csv`.

A row is an image: `ImageId,PredictionString`, the latter a sequence of `WNID xmin ymin xmax ymax`, one for each object.
"""

import os
import pathlib
from collections.abc import Iterable, Sequence

import pandas as pd

from keras_vgg.data.class_names import class_name
from keras_vgg.data.sets import TRAIN, VALIDATION
from keras_vgg.data.voc_xml import Object, Shown
from keras_vgg.errors import InputError

FILES = {TRAIN: "LOC_train_solution.csv", VALIDATION: "LOC_val_solution.csv"}
_COLUMNS = ["ImageId", "PredictionString"]
_NUMBERS = 5  # values per object, including its class


def find_solutions(folders: Iterable[pathlib.Path]) -> dict[str, pathlib.Path]:
    """Returns the file of each set that is in one of `folders`."""
    places = [*folders]
    found = {each: next((place / name for place in places if (place / name).is_file()), None) for each, name in FILES.items()}
    return {each: path for each, path in found.items() if path is not None}


def read_solution(file: pathlib.Path, paths: Sequence[str]) -> list[Shown | str | None]:
    """Returns the annotations of images: an error message for an invalid row, `None` for a missing one.

    Raises:
        InputError: if the file cannot be read, or columns are missing.
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (OSError, ValueError) as error:  # pandas' own errors are among these
        raise InputError(f"Expected a readable CSV file of boxes from Kaggle. Received: {file} ({error}).") from error
    if missing := [name for name in _COLUMNS if name not in table.columns]:
        raise InputError(
            f"{file} must have columns {' and '.join(_COLUMNS)}. Received: columns {', '.join(table.columns)}; "
            f"{' and '.join(missing)} missing."
        )
    row_of = {name: row for row, name in enumerate(table[_COLUMNS[0]])}
    told = table[_COLUMNS[1]].tolist()
    stems = (os.path.splitext(os.path.basename(path))[0] for path in paths)
    return [_shown(told[row_of[stem]], file, row_of[stem] + 2) if stem in row_of else None for stem in stems]


def _shown(text: str, file: pathlib.Path, line: int) -> Shown | str:
    words = text.split()
    each = [words[start : start + _NUMBERS] for start in range(0, len(words), _NUMBERS)]
    try:
        objects = [Object(class_name(name), (float(x0), float(y0), float(x1), float(y1))) for name, x0, y0, x1, y1 in each]
    except ValueError:
        return f"{file.name}, line {line}: expected a class and four numbers for each box, got {text!r}"
    return Shown(tuple(objects))
