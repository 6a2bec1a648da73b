"""A dataset: its sets of images as found, and its splits."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from keras_vgg import randomness
from keras_vgg.data.sets import TEST, TRAIN, VALIDATION
from keras_vgg.data.split import Split, joined
from keras_vgg.errors import InputError

ALL = "all"
HELD_OUT_FRACTION = 0.1
"""Share of the training images held out for validation if a dataset has no validation set."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset for training or testing.

    Attributes:
        sets: the images by set, at least one of `sets.NAMES`; images without a set are for training.
        classes: class names in label order.
        description: readable description, one line.
        notes: readable lines on how it was read, where that may be unexpected.
        most: maximum number of images per split, drawn evenly over it; `None` for all.
    """

    sets: Mapping[str, Split]
    classes: tuple[str, ...]
    description: str
    notes: tuple[str, ...] = ()
    most: int | None = None

    @property
    def target(self) -> tf.TensorSpec:
        """Shape and dtype of a target."""
        return next(iter(self.sets.values())).target

    def limited(self, most: int | None) -> "Dataset":
        """Returns the dataset with at most `most` images per split."""
        return dataclasses.replace(self, most=most)

    @functools.cached_property
    def train(self) -> Split:
        """The training set, without the images held out of it if there is no validation set.

        Raises:
            InputError: if there is none.
        """
        whole = self._for_training("training")
        return (whole if VALIDATION in self.sets else whole.subset(hold_out(whole.size)[0])).limited(self.most)

    @functools.cached_property
    def validation(self) -> Split:
        """The validation set, else a tenth of the training images, the same at every call.

        Raises:
            InputError: if there is neither a validation set nor a training set.
        """
        if found := self.sets.get(VALIDATION):
            return found.limited(self.most)
        whole = self._for_training("validation")
        return whole.subset(hold_out(whole.size)[1]).limited(self.most)

    @functools.cached_property
    def test(self) -> Split | None:
        """The test set, on which no decision of training may depend; `None` if there is none."""
        found = self.sets.get(TEST)
        return found and found.limited(self.most)

    @property
    def splits(self) -> dict[str, Split]:
        """All images, each once, by split."""
        if TRAIN in self.sets:
            found: dict[str, Split | None] = {TRAIN: self.train, VALIDATION: self.validation, TEST: self.test}
            return {name: split for name, split in found.items() if split}
        return {name: split.limited(self.most) for name, split in self.sets.items()}

    def split(self, which: str) -> Split:
        """Returns the split `"train"`, `"validation"` or `"test"`, or for `"all"` the images of all sets, one set after another.

        Raises:
            InputError: if the dataset has no such images.
        """
        if which == ALL:
            return joined([split.limited(self.most) for split in self.sets.values()])
        if which not in self.splits:
            raise InputError(f"The dataset must have {which} images. Received: {self._told}.")
        return self.splits[which]

    @property
    def training_notes(self) -> tuple[str, ...]:
        """`notes`, and where validation images come from if there are only training and test sets."""
        if {*self.sets} != {TRAIN, TEST}:
            return self.notes
        held_out, whole = self.validation.size, self.train.size + self.validation.size
        return (
            *self.notes,
            f"validation: {held_out} images held out of {whole} training images, since there is no validation set; "
            f"the {self.split(TEST).size} test images are not used in training",
        )

    @functools.cached_property
    def training_digest(self) -> str:
        """The SHA-256, in hexadecimal, of the names of the training images, each with its folder's; "" if there are none.

        It does not depend on the location of the images.
        """
        if not (found := self.sets.get(TRAIN)):
            return ""
        names = (found.name_of(index).replace(os.sep, "/").split("/")[-2:] for index in range(found.size))
        return hashlib.sha256("\n".join(sorted(map("/".join, names))).encode()).hexdigest()

    def _for_training(self, use: str) -> Split:
        if TRAIN not in self.sets:
            raise InputError(f"The dataset must have {use} images. Received: {self._told}.")
        return self.sets[TRAIN]

    @property
    def _told(self) -> str:
        found = " and ".join(f"{split.size} {name}" for name, split in self.sets.items())
        return f"{self.description} with {found} images only"


def hold_out(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns sorted indices for training and for validation, the same at every call.

    Raises:
        InputError: if there are fewer than two examples.
    """
    if size < 2:
        raise InputError(f"A dataset without a validation set must have at least two images, to hold one out. Received: {size}.")
    order = randomness.epoch_order(size, seed=0, epoch=1)
    held_out = max(1, round(size * HELD_OUT_FRACTION))
    return np.sort(order[held_out:]), np.sort(order[:held_out])
