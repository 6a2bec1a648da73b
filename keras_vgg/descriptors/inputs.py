"""What descriptors are extracted of: a data set, one split of it or all, or image files."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_vgg.data.dataset import ALL, Dataset
from keras_vgg.data.split import LABEL, Split, files, joined
from keras_vgg.errors import InputError


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
    """Returns the images of a data set: of its split `which`, or of all that it has: train, validation, test.

    Raises:
        InputError: if it has no such split, or images are of several classes each.
    """
    if dataset.target != LABEL:
        raise InputError(f"Descriptors have one label an image. Received: {dataset.description}, of several; give --images.")
    chosen = dataset.splits if which == ALL else {which: dataset.split(which)}
    parts = np.repeat(list(chosen), [split.size for split in chosen.values()])
    return Inputs(joined([*chosen.values()]), parts, dataset.classes, dataset.description, dataset.training_notes)


def of_files(paths: Sequence[str]) -> Inputs:
    """Returns image files, whose labels are -1."""
    return Inputs(files(list(paths), np.full(len(paths), -1)), None, (), f"{len(paths)} image files")
