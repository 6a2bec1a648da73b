"""A data set: its sets of images as they are found, and which of them are for what."""

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
"""Share of the images for training held out for validation where a data set has no set for it."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set to train on or to test with.

    Attributes:
        sets: the images by set, at least one out of `sets.NAMES`; images that are in no set are for training.
        classes: names of the classes that targets tell of, in label order.
        description: one line for people.
        notes: lines for people on how it was read, where that might not be what they expect.
        most: most images of a split, drawn evenly over it; `None` for all.
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
        """Returns the data set with at most `most` images of each split."""
        return dataclasses.replace(self, most=most)

    @functools.cached_property
    def train(self) -> Split:
        """Images to train on: the set called so, without those held out of it where there is none for validation.

        Raises:
            InputError: if there are none.
        """
        whole = self._for_training("to train on")
        return (whole if VALIDATION in self.sets else whole.subset(hold_out(whole.size)[0])).limited(self.most)

    @functools.cached_property
    def validation(self) -> Split:
        """Images that steer the training: the set called so, else a tenth of those for training, the same at every call.

        Raises:
            InputError: if there are none of either.
        """
        if found := self.sets.get(VALIDATION):
            return found.limited(self.most)
        whole = self._for_training("for validation")
        return whole.subset(hold_out(whole.size)[1]).limited(self.most)

    @functools.cached_property
    def test(self) -> Split | None:
        """Images that no decision of training may rest on; `None` if there is no such set."""
        found = self.sets.get(TEST)
        return found and found.limited(self.most)

    @property
    def splits(self) -> dict[str, Split]:
        """All images, each once, by what they are for."""
        if TRAIN in self.sets:
            found: dict[str, Split | None] = {TRAIN: self.train, VALIDATION: self.validation, TEST: self.test}
            return {name: split for name, split in found.items() if split}
        return {name: split.limited(self.most) for name, split in self.sets.items()}

    def split(self, which: str) -> Split:
        """Returns the split `"train"`, `"validation"` or `"test"`, or with `"all"` the images of all sets, one set after another.

        Raises:
            InputError: if the data set has no such images.
        """
        if which == ALL:
            return joined([split.limited(self.most) for split in self.sets.values()])
        if which not in self.splits:
            raise InputError(f"There must be images in the set {which}. Received: {self._told}.")
        return self.splits[which]

    @property
    def training_notes(self) -> tuple[str, ...]:
        """`notes`, and where validation images come from if there are some for tests alone."""
        if {*self.sets} != {TRAIN, TEST}:
            return self.notes
        held_out, whole = self.validation.size, self.train.size + self.validation.size
        return (
            *self.notes,
            f"validation: {held_out} images held out of the {whole} for training, since there are none for it; "
            f"the {self.split(TEST).size} of the test set steer no training",
        )

    @functools.cached_property
    def training_digest(self) -> str:
        """The SHA-256, in hexadecimal, of the names of the images for training, each with its folder's; "" if there are none.

        The same images somewhere else, or by another path, have the same one.
        """
        if not (found := self.sets.get(TRAIN)):
            return ""
        names = (found.name_of(index).replace(os.sep, "/").split("/")[-2:] for index in range(found.size))
        return hashlib.sha256("\n".join(sorted(map("/".join, names))).encode()).hexdigest()

    def _for_training(self, use: str) -> Split:
        if TRAIN not in self.sets:
            raise InputError(f"There must be images {use}. Received: {self._told}.")
        return self.sets[TRAIN]

    @property
    def _told(self) -> str:
        found = " and ".join(f"{split.size} for {name}" for name, split in self.sets.items())
        return f"{self.description} with {found} alone"


def hold_out(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns sorted indices for training and for validation, the same at every call.

    Raises:
        InputError: if there are not two examples to share out.
    """
    if size < 2:
        raise InputError(f"A data set without images for validation must hold at least two, to hold one out. Received: {size}.")
    order = randomness.epoch_order(size, seed=0, epoch=1)
    held_out = max(1, round(size * HELD_OUT_FRACTION))
    return np.sort(order[held_out:]), np.sort(order[:held_out])
