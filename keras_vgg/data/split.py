"""What every data set looks like to the rest: splits that can be read at any index."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_vgg import randomness
from keras_vgg.errors import InputError
from keras_vgg.support.image_files import printable

HELD_OUT_FRACTION = 0.1
"""Share of the examples held out for validation where a data set has no such split."""


LABEL = tf.TensorSpec([], tf.int32)


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples that can be read in any order.

    Attributes:
        size: number of examples.
        read: graph function from a scalar int64 index to `(encoded image, target)`, a scalar string and what a net is to tell of
            the image. An error that it raises is the example's own and costs that example alone.
        name_of: the example's name in messages, from its index.
        target: shape and dtype of a target; by default a label, the number of the one class that the image shows.
    """

    size: int
    read: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    name_of: Callable[[int], str]
    target: tf.TensorSpec = LABEL

    def subset(self, indices: np.ndarray) -> "Split":
        """Returns the split of the examples at `indices`, in that order."""
        positions = tf.constant(indices, tf.int64)
        return Split(
            len(indices),
            lambda index: self.read(tf.gather(positions, index)),
            lambda index: self.name_of(int(indices[index])),
            self.target,
        )

    def with_targets(self, targets: np.ndarray) -> "Split":
        """Returns the split with other targets: `targets[i]` is that of example `i`."""
        values = tf.constant(targets)
        spec = tf.TensorSpec(values.shape[1:], values.dtype)
        return dataclasses.replace(self, read=lambda index: (self.read(index)[0], tf.gather(values, index)), target=spec)

    def limited(self, most: int | None) -> "Split":
        """Returns at most `most` examples, drawn evenly over the split: listings are sorted by class."""
        if most is None or most >= self.size:
            return self
        return self.subset(np.sort(randomness.epoch_order(self.size, seed=0, epoch=0)[:most]))


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set to train on and to test with.

    Attributes:
        train, validation: its splits.
        classes: names of the classes that its targets tell of, in label order (sorted).
        description: one line for people.
        test: images that no decision of training may rest on, `None` if the data set has no such split.
        notes: lines for people on how it was read, where that might not be what they expect.
    """

    train: Split
    validation: Split
    classes: tuple[str, ...]
    description: str
    test: Split | None = None
    notes: tuple[str, ...] = ()

    def limited(self, most: int | None) -> "Dataset":
        """Returns at most `most` examples of each split."""
        test = self.test and self.test.limited(most)
        return dataclasses.replace(self, train=self.train.limited(most), validation=self.validation.limited(most), test=test)


def in_memory(encoded: list[bytes], labels: np.ndarray, name: str) -> Split:
    """Returns the split of encoded images that lie in memory."""
    images, labels = tf.constant(encoded), tf.constant(labels, tf.int32)
    return Split(
        len(encoded),
        lambda index: (tf.gather(images, index), tf.gather(labels, index)),
        lambda index: f"{name}[{index}]",
    )


def files(paths: list[str], labels: np.ndarray) -> Split:
    """Returns the split of image files; what is not UTF-8 of a file's name is told of as `\\xff`."""
    path_tensor, label_tensor = tf.constant([os.fsencode(path) for path in paths], tf.string), tf.constant(labels, tf.int32)
    return Split(
        len(paths),
        lambda index: (tf.io.read_file(tf.gather(path_tensor, index)), tf.gather(label_tensor, index)),
        lambda index: printable(paths[index]),
    )


def held_out_note(train: int, held_out: int, test: str) -> str:
    """Returns a line for people: a set without validation images keeps its test images, called `test`, for tests."""
    return (
        f"validation: {held_out} images held out of the {train + held_out} for training, since there are none for it; "
        f"{test} is for tests and steers no training"
    )


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
