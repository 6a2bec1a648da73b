"""Splits into images for training, for testing and for the choice of C: pure functions of labels, seed and number of the split.

All randomness comes from `randomness.epoch_order`, a permutation by NumPy's `RandomState` over MT19937, whose stream is frozen:
the same images in the same order give the same splits on any machine, with any NumPy. Unusable images are skipped in that
permutation, so that the order of the others does not depend on them.
"""

from collections.abc import Sequence

import numpy as np

from keras_vgg import randomness
from keras_vgg.errors import InputError

HELD_OUT_FRACTION = 0.2
"""Share of the training images on which C is chosen (Appendix B)."""

_HOLDING_OUT = 2**20  # a separate range of draws, beyond the numbers of splits


def random_split(
    labels: np.ndarray, classes: Sequence[str], *, train_images: int, test_images: int, seed: int, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns sorted indices for training and for testing.

    Args:
        labels: `(N,)` int, -1 for unusable images.
        classes: class names in label order.
        train_images: exact number per class.
        test_images: maximum number per class, of the rest.
        seed, number: which split, numbered from 1.

    Raises:
        InputError: if a class has too few images to leave one for testing.
    """
    check_counts(labels, classes, train_images)
    order = randomness.epoch_order(len(labels), seed=seed, epoch=number)
    drawn = [order[labels[order] == label] for label in range(len(classes))]
    train = np.concatenate([of_class[:train_images] for of_class in drawn])
    test = np.concatenate([of_class[train_images : train_images + test_images] for of_class in drawn])
    return np.sort(train), np.sort(test)


def check_counts(labels: np.ndarray, classes: Sequence[str], train_images: int) -> None:
    """Raises `InputError` for fewer than two classes, or a class with fewer images than `train_images` and one test image."""
    check_classes(labels, classes, "")
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    if short := [(classes[label], int(counts[label])) for label in np.flatnonzero(counts <= train_images).tolist()]:
        told = ", ".join(f"{name} with {count}" for name, count in short[:3]) + (", …" if len(short) > 3 else "")
        raise InputError(
            f"Each class must have at least {train_images + 1} usable images, {train_images} for training and one for "
            f"testing. Received: {told}."
        )


def check_classes(labels: np.ndarray, classes: Sequence[str], purpose: str) -> None:
    """Raises `InputError` for fewer than two classes, or a class without images.

    Args:
        labels: `(N,)` int, -1 for unusable images.
        classes: class names in label order.
        purpose: of the images, such as ` for training`.
    """
    if len(classes) < 2:
        raise InputError(f"A classifier needs at least two classes. Received: {', '.join(classes) or 'none'}.")
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    if empty := [classes[label] for label in np.flatnonzero(counts == 0).tolist()]:
        told = ", ".join(empty[:3]) + (", …" if len(empty) > 3 else "")
        raise InputError(f"Each class must have usable images{purpose}. Received: none for {told}.")


def hold_out(labels: np.ndarray, classes: Sequence[str], *, seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns sorted positions in `labels` to keep and to hold out: a fifth of each class, at least one.

    Args:
        labels: `(n,)` int, of the training images.
        classes: class names in label order.
        seed, number: of the split.

    Raises:
        InputError: if a class has fewer than two images.
    """
    order = randomness.epoch_order(len(labels), seed=seed, epoch=_HOLDING_OUT + number)
    kept, held_out = [], []
    for label, name in enumerate(classes):
        of_class = order[labels[order] == label]
        if len(of_class) < 2:
            raise InputError(
                f"Each class must have at least two training images to choose C. Received: {len(of_class)} of {name}; "
                "pass --costs with a single value, or add images."
            )
        most = max(1, round(len(of_class) * HELD_OUT_FRACTION))
        held_out.append(of_class[:most])
        kept.append(of_class[most:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(held_out))


def hold_out_of_any(count: int, *, seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Does the same as `hold_out` for images without a single class: a fifth of all."""
    order = randomness.epoch_order(count, seed=seed, epoch=_HOLDING_OUT + number)
    most = max(1, round(count * HELD_OUT_FRACTION))
    return np.sort(order[most:]), np.sort(order[:most])
