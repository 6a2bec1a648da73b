"""Boxes as the targets of a split: `(2 + most, 4)` float32, where `most` is the largest number of boxes in an image.

The rows of an image's target are

- `HEADER`: its label, the number of its boxes, and zeros;
- `FRAME`: the edges of the image in the units of the boxes, `0, 0, width, height`; zeros if these are pixels of the file;
- from `FIRST` on: its boxes, as edges, followed by zeros.

This works for any image sizes, passes through `data.pipeline` like any target, and a view's target has the same shape.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_vgg.data.boxes.annotation import Annotation
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.split import LABEL, Split

HEADER, FRAME, FIRST = 0, 1, 2
LABEL_AT, COUNT_AT = 0, 1  # within the header


def annotated(split: Split, labels: np.ndarray, annotations: Sequence[Annotation]) -> Split:
    """Returns a split with boxes as its targets.

    An image whose annotation has a flaw counts as unreadable: it is counted and listed like broken images.

    Args:
        split: the images.
        labels: `(size,)` int, the class of each image.
        annotations: of each image.
    """
    counts = np.array([len(each.boxes) for each in annotations])
    most = int(counts.max(initial=1))
    edges = tf.constant(np.concatenate([np.zeros((0, 4)), *(each.boxes for each in annotations)]), tf.float32)
    starts = tf.constant(np.append(0, np.cumsum(counts)), tf.int32)
    sizes = tf.constant([each.size or (0.0, 0.0) for each in annotations], tf.float32)
    label_tensor, flaws = tf.constant(labels, tf.float32), tf.constant([each.flaw for each in annotations], tf.string)

    def refuse_flawed(index):
        flaw = flaws[index]
        if not tf.executing_eagerly():
            return [tf.debugging.Assert(flaw == "", [flaw])]
        if flaw != "":
            raise ValueError(flaw.numpy().decode())
        return []

    def read(index):
        encoded, _ = split.read(index)
        with tf.control_dependencies(refuse_flawed(index)):
            encoded = tf.identity(encoded)
        start, stop = starts[index], starts[index + 1]
        header = [[label_tensor[index], tf.cast(stop - start, tf.float32), 0.0, 0.0], [0.0, 0.0, sizes[index][0], sizes[index][1]]]
        target = tf.concat([header, tf.pad(edges[start:stop], [[0, most - (stop - start)], [0, 0]])], axis=0)
        return encoded, tf.ensure_shape(target, [FIRST + most, 4])

    spec = tf.TensorSpec([FIRST + most, 4], tf.float32)
    return dataclasses.replace(split, read=read, target=spec, known=np.asarray(labels, np.int32))


def labels_of(targets):
    """Returns the labels of `(…, 2 + most, 4)` targets, `(…)` int32."""
    return tf.cast(targets[..., HEADER, LABEL_AT], tf.int32)


def are_boxes(target: tf.TensorSpec) -> bool:
    """Whether the targets of a split are boxes."""
    return target.shape.rank == 2 and target.shape[-1] == 4 and target.dtype == tf.float32


def labelled(dataset: Dataset) -> Dataset:
    """Returns a dataset with boxes as one with labels as targets, for classifiers."""
    return dataclasses.replace(dataset, sets={name: _labelled(split) for name, split in dataset.sets.items()})


def _labelled(split: Split) -> Split:
    def read(index):
        encoded, target = split.read(index)
        return encoded, labels_of(target)

    return dataclasses.replace(split, read=read, target=LABEL)
