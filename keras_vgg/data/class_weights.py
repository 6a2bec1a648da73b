"""Class weights on the loss: from class frequencies, or from a file."""

import math
import os

import numpy as np
import pandas as pd

from keras_vgg.data.class_names import class_name
from keras_vgg.errors import InputError
from keras_vgg.support.paths import path_of

_COLUMNS = ["class", "weight"]


def balanced(labels: np.ndarray, classes: int) -> tuple[float, ...]:
    """Returns `n / (k * n_c)` for each class, as scikit-learn does: `n_c` of the `n` examples belong to it, `k` classes have any.

    The mean over the examples is 1.

    Args:
        labels: `(n,)` integers; negative ones do not count.
        classes: number of classes; one without examples has the weight 1, which is never used.
    """
    counts = np.bincount(labels[labels >= 0], minlength=classes)
    weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return tuple(np.where(counts > 0, weights, 1.0).tolist())


def read(path: str | os.PathLike[str], classes: tuple[str, ...]) -> tuple[float, ...]:
    """Returns the weights of a CSV file with columns class and weight, in the order of `classes`.

    Raises:
        InputError: if it cannot be read, a class is missing, unknown or duplicated, or a weight is not a positive number.
    """
    file = path_of(path)
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, skipinitialspace=True, index_col=False)
    except (OSError, ValueError) as error:  # pandas' own errors are among these
        raise InputError(f"`class_weights` must be 'balanced' or a readable CSV file. Received: {path} ({error}).") from error
    if list(table.columns) != _COLUMNS:
        raise InputError(f"{file} must have the columns class and weight. Received: {', '.join(table.columns)}.")
    names = table["class"].map(class_name)
    for told, wrong in (
        ("duplicated", names[names.duplicated()]),
        ("unknown", names[~names.isin(classes)]),
        ("missing", pd.Series([name for name in classes if name not in set(names)], dtype=str)),
    ):
        if len(wrong):
            raise InputError(f"{file} must name each class of the dataset once. Received: {wrong.iloc[0]}, which is {told}.")
    weights = pd.to_numeric(table["weight"], errors="coerce")
    for name, text, weight in zip(names, table["weight"], weights, strict=True):
        if not 0 < weight < math.inf:
            raise InputError(f"{file}: a weight must be a positive number. Received: {text!r} for {name}.")
    of_class = dict(zip(names, weights.tolist(), strict=True))
    return tuple(of_class[name] for name in classes)
