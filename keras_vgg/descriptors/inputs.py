"""What descriptors are extracted of: a data set, one split of it or all, or image files."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_vgg.data.sets import TEST, TRAIN, VALIDATION
from keras_vgg.data.split import Dataset, Split, files

ALL = "all"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Images and what is known of them.

    Attributes:
        split: the images.
        parts: `(N,)` str, the split of the data set that each is of; `None` for image files.
        classes: class names in label order; none for image files.
        description: one line for people.
        notes: lines for people on how the data set was read.
    """

    split: Split
    parts: np.ndarray | None
    classes: tuple[str, ...]
    description: str
    notes: tuple[str, ...] = ()


def of_dataset(dataset: Dataset, which: str = ALL) -> Inputs:
    """Returns the images of a data set: of its split `which`, or of all that it has: train, validation, test."""
    splits = {TRAIN: dataset.train, VALIDATION: dataset.validation} | ({TEST: dataset.test} if dataset.test else {})
    chosen = splits if which == ALL else {which: splits[which]}
    parts = np.repeat(list(chosen), [split.size for split in chosen.values()])
    return Inputs(functools.reduce(_joined, chosen.values()), parts, dataset.classes, dataset.description, dataset.notes)


def of_files(paths: Sequence[str]) -> Inputs:
    """Returns image files, whose labels are -1."""
    return Inputs(files(list(paths), np.full(len(paths), -1)), None, (), f"{len(paths)} image files")


def _joined(first: Split, second: Split) -> Split:
    def read(index):
        return tf.cond(index < first.size, lambda: first.read(index), lambda: second.read(index - first.size))

    def name_of(index):
        return first.name_of(index) if index < first.size else second.name_of(index - first.size)

    return Split(first.size + second.size, read, name_of)
