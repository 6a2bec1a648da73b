"""The protocols of Table 11 on given descriptors: splits and their outcomes."""

from collections.abc import Sequence

import numpy as np

from keras_vgg.data.sets import TEST, TRAIN, VALIDATION
from keras_vgg.errors import InputError
from keras_vgg.linear import splits, svm
from keras_vgg.linear.benchmarks import Benchmark
from keras_vgg.linear.classify import Outcome, check_many, classes_to_choose_by, many_labels, one_label
from keras_vgg.linear.data import Data


def check(data: Data, benchmark: Benchmark, costs: Sequence[float] = svm.COSTS, seed: int = 0, *, keep: bool = False) -> None:
    """Checks that there are enough images, before any descriptor is computed.

    Arguments are those of `run`.

    Raises:
        InputError: for a single class, an empty class, or too few images for a split or for the choice of C.
    """
    if benchmark.protocol == "random":
        splits.check_counts(_labels(data), data.classes, benchmark.train_images)
        labels = np.repeat(np.arange(len(data.classes)), benchmark.train_images)
    elif benchmark.protocol == "fixed":
        train, test = _own_split(data)
        labels = data.labels[train]
        splits.check_classes(labels, data.classes, " for training")
        if not len(test):
            raise InputError("The test set contains no usable images.")
    else:
        check_many(data.labels, data.indices(*_training_sets(benchmark)), data.indices(benchmark.test_set), data.classes)
        if len(costs) > 1 or keep:
            classes_to_choose_by(data.labels, *_choosing(data, benchmark, seed))
        return
    if len(costs) > 1 or keep:
        splits.hold_out(labels, data.classes, seed=0, number=1)


def run(
    data: Data,
    values: np.ndarray,
    benchmark: Benchmark,
    *,
    costs: Sequence[float] = svm.COSTS,
    seed: int = 0,
    keep: bool = False,
) -> list[Outcome]:
    """Returns the outcome of each split: of all splits for `random`, else of one.

    Args:
        data: the images and labels.
        values: `(N, D)` float, descriptors.
        benchmark: the protocol.
        costs: candidate values of C.
        seed: random seed.
        keep: whether outcomes contain their classifiers.

    Raises:
        InputError: as `check`.
    """
    check(data, benchmark, costs, seed, keep=keep)
    if benchmark.protocol == "multi-label":
        train, test = data.indices(*_training_sets(benchmark)), data.indices(benchmark.test_set)
        choosing = _choosing(data, benchmark, seed)
        return [many_labels(values, data.labels, train, test, data.classes, choosing=choosing, costs=costs, keep=keep)]
    labels = _labels(data)
    if benchmark.protocol == "fixed":
        return [one_label(values, labels, *_own_split(data), data.classes, costs=costs, seed=seed, keep=keep)]
    outcomes = []
    for number in range(1, benchmark.splits + 1):
        train, test = splits.random_split(
            labels,
            data.classes,
            train_images=benchmark.train_images,
            test_images=benchmark.test_images,
            seed=seed,
            number=number,
        )
        outcomes.append(one_label(values, labels, train, test, data.classes, number=number, costs=costs, seed=seed, keep=keep))
    return outcomes


def _labels(data: Data) -> np.ndarray:
    return np.where(data.usable, data.labels, -1)


def _own_split(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Training and test images of a `fixed` benchmark: the test split is tested, or else the validation split.

    As with VOC, all other images are for training: C is chosen on images held out from them.
    """
    if TEST in data.parts:
        return data.indices(TRAIN, VALIDATION), data.indices(TEST)
    return data.indices(TRAIN), data.indices(VALIDATION)


def _choosing(data: Data, benchmark: Benchmark, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and test images for the choice of C in a `multi-label` benchmark."""
    if benchmark.test_set == "test":
        return data.indices("train"), data.indices("val")
    train = data.indices("train")
    fit, on = splits.hold_out_of_any(len(train), seed=seed, number=1)
    return train[fit], train[on]


def _training_sets(benchmark: Benchmark) -> tuple[str, ...]:
    return ("train",) if benchmark.test_set == "val" else ("train", "val")
