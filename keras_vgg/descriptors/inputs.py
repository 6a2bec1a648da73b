"""Inputs of descriptor extraction: a dataset, one or all of its splits, or image files."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_vgg.data.dataset import ALL, Dataset
from keras_vgg.data.split import LABEL, Split, files, joined
from keras_vgg.errors import InputError
from keras_vgg.support.counts import counted


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Images and their metadata.

    Attributes:
        split: the images.
        parts: `(N,)` str, the split of each image in the dataset; `None` for image files.
        classes: class names in label order; empty for image files.
        description: readable description, one line.
        notes: readable lines on how the dataset was read.
    """

    split: Split
    parts: np.ndarray | None
    classes: tuple[str, ...]
    description: str
    notes: tuple[str, ...] = ()


def of_dataset(dataset: Dataset, which: str = ALL) -> Inputs:
    """Returns the images of a dataset: of its split `which`, or of all its splits: train, validation, test.

    Raises:
        InputError: if it has no such split, or images have several labels.
    """
    if dataset.target != LABEL:
        raise InputError(
            f"Expected a dataset with one label per image. Received: {dataset.description} with several; pass --images."
        )
    chosen = dataset.splits if which == ALL else {which: dataset.split(which)}
    parts = np.repeat(list(chosen), [split.size for split in chosen.values()])
    return Inputs(joined([*chosen.values()]), parts, dataset.classes, dataset.description, dataset.training_notes)


def of_files(paths: Sequence[str]) -> Inputs:
    """Returns image files as inputs, with the labels -1."""
    return Inputs(files(list(paths), np.full(len(paths), -1)), None, (), f"{counted(len(paths), 'image file')}")
