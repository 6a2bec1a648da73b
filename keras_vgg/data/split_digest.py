"""Digests of a split, by which workers find out whether they were given the same images in the same order."""

import hashlib
import itertools
import os

import numpy as np
import tensorflow as tf

from keras_vgg.data.split import Split
from keras_vgg.data.untuned import arrays
from keras_vgg.support.cores import CORES

MOST_READ = 1000
"""Number of examples whose contents are compared: all of a small split. 1.28 million images could not be read before training."""


def digest_of_listing(split: Split) -> str:
    """Returns the hexadecimal SHA-256 of the names of all examples in order, and of their labels if these are known.

    Names are relative to the innermost folder that contains all examples, so that the location of the split does not matter.
    Nothing is read.
    """
    paths = [split.name_of(index).replace(os.sep, "/").split("/") for index in range(split.size)]
    first, last = min(paths)[:-1], max(paths)[:-1]  # what these share, all share
    depth = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    whole = hashlib.sha256("\n".join("/".join(path[depth:]) for path in paths).encode())
    if split.known is not None:
        whole.update(np.asarray(split.known, "<i4").tobytes())
    return whole.hexdigest()


def digest_of_contents(split: Split, most: int = MOST_READ) -> str:
    """Returns the hexadecimal SHA-256 of encoded images and their targets.

    Args:
        split: the examples; those that cannot be read are skipped.
        most: maximum number of examples to read, spread evenly over the split.
    """
    chosen = np.unique(np.linspace(0, split.size - 1, min(most, split.size)).astype(np.int64))

    def read(index):
        return index, *split.read(index)

    whole = hashlib.sha256()
    examples = tf.data.Dataset.from_tensor_slices(chosen).map(read, num_parallel_calls=CORES).ignore_errors()
    for index, encoded, target in arrays(examples):
        whole.update(f"{index} {len(encoded)} ".encode() + encoded + np.ascontiguousarray(target).tobytes())
    return whole.hexdigest()
