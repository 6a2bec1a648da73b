"""Splits: the interface to images, readable at any index."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_vgg import randomness
from keras_vgg.data.untuned import arrays
from keras_vgg.errors import InputError
from keras_vgg.support.cores import CORES
from keras_vgg.support.image_files import printable

LABEL = tf.TensorSpec([], tf.int32)
UNKNOWN = -1
"""The label of an example that cannot be read."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples that can be read in any order.

    Attributes:
        size: number of examples.
        read: graph function from a scalar int64 index to `(encoded image, target)`, a scalar string and the image's target. An
            error that it raises affects only that example.
        name_of: maps an index to the example's name in messages.
        target: shape and dtype of a target; by default a label, the number of the image's only class.
        file_name_of: maps an index to the example's original file name; may read the example. By default `name_of`.
        known: labels of all examples, `(size,)`, if they are known without reading any.
    """

    size: int
    read: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    name_of: Callable[[int], str]
    target: tf.TensorSpec = LABEL
    file_name_of: Callable[[int], str] | None = None
    known: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)

    def file_name(self, index: int) -> str:
        """Returns the original file name of example `index`."""
        return (self.file_name_of or self.name_of)(index)

    def subset(self, indices: np.ndarray) -> "Split":
        """Returns the split of the examples at `indices`, in that order."""
        positions = tf.constant(indices, tf.int64)
        return Split(
            len(indices),
            lambda index: self.read(tf.gather(positions, index)),
            lambda index: self.name_of(int(indices[index])),
            self.target,
            lambda index: self.file_name(int(indices[index])),
            self.known if self.known is None else self.known[indices],
        )

    def with_targets(self, targets: np.ndarray) -> "Split":
        """Returns the split with other targets: `targets[i]` is that of example `i`."""
        values = tf.constant(targets)
        spec = tf.TensorSpec(values.shape[1:], values.dtype)
        return dataclasses.replace(
            self, read=lambda index: (self.read(index)[0], tf.gather(values, index)), target=spec, known=None
        )

    def repeating(self) -> "Split":
        """Returns the split with its examples repeated any number of times: `size + i` is example `i`."""
        return dataclasses.replace(
            self, read=lambda index: self.read(index % self.size), name_of=lambda index: self.name_of(index % self.size)
        )

    def labels(self) -> np.ndarray:
        """Returns the label of each example, `(size,)` int32; -1 if it cannot be read.

        Raises:
            InputError: if no label can be read.
        """

        if self.known is not None:
            return self.known

        def label(index):
            return index, self.read(index)[1]  # no image is decoded

        found = np.full(self.size, UNKNOWN, np.int32)
        pairs = tf.data.Dataset.range(self.size).map(label, num_parallel_calls=CORES).ignore_errors()
        for indices, labels in arrays(pairs.batch(4096)):
            found[indices] = labels
        if (found == UNKNOWN).all():
            raise InputError(f"None of the {self.size} images has a readable label, e.g. {self.name_of(0)}.")
        return found

    def limited(self, most: int | None) -> "Split":
        """Returns at most `most` examples, drawn evenly over the split: listings are sorted by class."""
        if most is None or most >= self.size:
            return self
        return self.subset(np.sort(randomness.epoch_order(self.size, seed=0, epoch=0)[:most]))


def in_memory(encoded: list[bytes], labels: np.ndarray, name: str) -> Split:
    """Returns the split of encoded images in memory."""
    images, label_tensor = tf.constant(encoded), tf.constant(labels, tf.int32)
    return Split(
        len(encoded),
        lambda index: (tf.gather(images, index), tf.gather(label_tensor, index)),
        lambda index: f"{name}[{index}]",
        known=np.asarray(labels, np.int32),
    )


def files(paths: list[str], labels: np.ndarray) -> Split:
    """Returns the split of image files; bytes of a file name that are not UTF-8 are shown as `\\xff`."""
    path_tensor, label_tensor = tf.constant([os.fsencode(path) for path in paths], tf.string), tf.constant(labels, tf.int32)
    return Split(
        len(paths),
        lambda index: (tf.io.read_file(tf.gather(path_tensor, index)), tf.gather(label_tensor, index)),
        lambda index: printable(paths[index]),
        known=np.asarray(labels, np.int32),
    )


def joined(splits: Sequence[Split]) -> Split:
    """Returns the examples of several splits, one split after another."""
    ends = np.cumsum([split.size for split in splits]).tolist()
    starts = [0, *ends[:-1]]

    def read(index):
        part = tf.reduce_sum(tf.cast(index >= tf.constant(ends, tf.int64), tf.int32))
        return tf.switch_case(
            part, [functools.partial(split.read, index - start) for split, start in zip(splits, starts, strict=True)]
        )

    def within(index):
        part = int(np.searchsorted(ends, index, side="right"))
        return splits[part], index - starts[part]

    def name_of(index):
        split, place = within(index)
        return split.name_of(place)

    def file_name_of(index):
        split, place = within(index)
        return split.file_name(place)

    return splits[0] if len(splits) == 1 else Split(ends[-1], read, name_of, splits[0].target, file_name_of)
