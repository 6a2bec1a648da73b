"""Which images are for training, for testing and for choosing C: pure functions of labels, seed and number of the split.

All drawing is `randomness.epoch_order`, a permutation by NumPy's `RandomState` over MT19937, whose stream is frozen: the same
images in the same order come to the same splits on any machine, under any NumPy. An image that cannot be used is passed over in
that permutation, so that which others come before which does not depend on it.
"""

from collections.abc import Sequence

import numpy as np

from keras_vgg import randomness
from keras_vgg.errors import InputError

HELD_OUT_FRACTION = 0.2
"""Share of the training images on which C is chosen (Appendix B)."""

_HOLDING_OUT = 2**20  # a range of draws of its own, beyond the numbers of splits


def random_split(
    labels: np.ndarray, classes: Sequence[str], *, train_images: int, test_images: int, seed: int, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns indices for training and for testing, sorted: of each class so many for training and at most so many of the rest.

    Args:
        labels: `(N,)` int, -1 for images that cannot be used.
        classes: class names in label order.
        train_images: of each class, exactly.
        test_images: of each class, at most.
        seed, number: which split, numbers from 1.

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
    """Raises `InputError` if there are no two classes, or one has too few images for training on so many and testing on one."""
    check_classes(labels, classes, "")
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    if short := [(classes[label], int(counts[label])) for label in np.flatnonzero(counts <= train_images).tolist()]:
        told = ", ".join(f"{name} with {count}" for name, count in short[:3]) + (", …" if len(short) > 3 else "")
        raise InputError(
            f"Each class must have at least {train_images + 1} images that can be used, {train_images} to train on and one to "
            f"test on. Received: {told}."
        )


def check_classes(labels: np.ndarray, classes: Sequence[str], purpose: str) -> None:
    """Raises `InputError` if there are no two classes, or one has no image.

    Args:
        labels: `(N,)` int, -1 for images that cannot be used.
        classes: class names in label order.
        purpose: what the images are for, as ` for training`.
    """
    if len(classes) < 2:
        raise InputError(f"A classifier needs at least two classes. Received: {', '.join(classes) or 'none'}.")
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    if empty := [classes[label] for label in np.flatnonzero(counts == 0).tolist()]:
        told = ", ".join(empty[:3]) + (", …" if len(empty) > 3 else "")
        raise InputError(f"Each class must have images{purpose} that can be used. Received: none for {told}.")


def hold_out(labels: np.ndarray, classes: Sequence[str], *, seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns places in `labels` to keep and to hold out, sorted: a fifth of each class, at least one.

    Args:
        labels: `(n,)` int, of the training images.
        classes: class names in label order.
        seed, number: of the split.

    Raises:
        InputError: if a class has one image alone.
    """
    order = randomness.epoch_order(len(labels), seed=seed, epoch=_HOLDING_OUT + number)
    kept, held_out = [], []
    for label, name in enumerate(classes):
        of_class = order[labels[order] == label]
        if len(of_class) < 2:
            raise InputError(
                f"C is chosen on a fifth of each class' training images, which takes two. Received: {len(of_class)} of {name}; "
                "give --costs with one value, or more images."
            )
        most = max(1, round(len(of_class) * HELD_OUT_FRACTION))
        held_out.append(of_class[:most])
        kept.append(of_class[most:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(held_out))


def hold_out_of_any(count: int, *, seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """`hold_out` for images that belong to no one class: a fifth of all."""
    order = randomness.epoch_order(count, seed=seed, epoch=_HOLDING_OUT + number)
    most = max(1, round(count * HELD_OUT_FRACTION))
    return np.sort(order[most:]), np.sort(order[:most])
