"""ILSVRC's localization error as in its devkit's `eval_clsloc.m`, split into errors of class and of box.

An image has up to five guesses, each a class and a box, the best first. It is correct if one of them has the image's class and an
IoU of at least 0.5 with any true box of that class. The paper says "above 50%" instead, which `above` selects; the two differ for
an IoU of exactly one half. Guesses beyond the fifth are ignored, and so are images on the blacklist.
"""

import dataclasses

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.localisation import boxes as edges

MOST_GUESSES = 5


@dataclasses.dataclass(frozen=True)
class LocalisationScore:
    """Per-image correctness, `(N,)` bool each, and shares of the counted images in 0–1; NaN if none counts.

    For top 1 and top 5 alike, `class_wrong` and `box_wrong` add up to the error.

    Attributes:
        right_top1: the first guess has the image's class and a good box.
        right_top5: one of the first five guesses has both.
        class_right_top1: the first guess has the image's class, whatever its box.
        class_right_top5: one of the first five guesses has the image's class.
        counted: images that count: not on the blacklist, and with a true box.
    """

    right_top1: np.ndarray
    right_top5: np.ndarray
    class_right_top1: np.ndarray
    class_right_top5: np.ndarray
    counted: np.ndarray

    @property
    def top1_error(self) -> float:
        """Share of images whose first guess is wrong."""
        return self._share(~self.right_top1)

    @property
    def top5_error(self) -> float:
        """Share of images without a correct guess among the first five: the challenge's metric."""
        return self._share(~self.right_top5)

    @property
    def top1_class_wrong(self) -> float:
        """Share of images whose first guess has a wrong class."""
        return self._share(~self.class_right_top1)

    @property
    def top5_class_wrong(self) -> float:
        """Share of images without the correct class among the first five guesses."""
        return self._share(~self.class_right_top5)

    @property
    def top1_box_wrong(self) -> float:
        """Share of images whose first guess has the correct class, but no good box."""
        return self._share(self.class_right_top1 & ~self.right_top1)

    @property
    def top5_box_wrong(self) -> float:
        """Share of images with the correct class among the first five guesses, but without a good box for it."""
        return self._share(self.class_right_top5 & ~self.right_top5)

    def _share(self, images: np.ndarray) -> float:
        return float(images[self.counted].mean()) if self.counted.any() else float("nan")


def score(
    labels: np.ndarray,
    boxes: np.ndarray,
    true_labels: np.ndarray,
    true_boxes: np.ndarray,
    blacklist: np.ndarray | None = None,
    *,
    above: bool = False,
) -> LocalisationScore:
    """Scores guesses against the ground truth.

    If the class is known (Table 8), it is the only guess: `score(true_labels[:, None], …).top1_error`.

    Args:
        labels: `(N, G)` classes of the guesses, the best first; negative for no guess.
        boxes: `(N, G, 4)` their boxes as edges; NaN, as for an unreadable image, means no guess.
        true_labels: `(N,)` the images' classes.
        true_boxes: `(N, K, 4)` edges of the true boxes of these classes, padded with NaN. An image with only NaN has no true box
            and does not count; with only boxes of zero area, it counts and no guess is correct, as in the devkit.
        blacklist: `(N,)` bool, images to ignore.
        above: whether the IoU must be above one half, as the paper states, instead of at least one half.

    Raises:
        InputError: for incompatible shapes.
    """
    labels, true_labels = np.asarray(labels), np.asarray(true_labels)
    boxes, true_boxes = np.asarray(boxes, np.float64), np.asarray(true_boxes, np.float64)
    blacklist = np.zeros(true_labels.shape, bool) if blacklist is None else np.asarray(blacklist, bool)
    _check(labels, boxes, true_labels, true_boxes, blacklist)
    labels, boxes = labels[:, :MOST_GUESSES], boxes[:, :MOST_GUESSES]
    has_class = (labels == true_labels[:, None]) & (labels >= 0) & ~np.isnan(boxes).any(axis=-1)
    good = np.zeros_like(has_class)
    image, guess = np.nonzero(has_class)  # few, so only their overlaps are computed
    shared, union = edges.shared_and_union(boxes[image, guess][:, None], true_boxes[image])
    enough = 2 * shared > union if above else 2 * shared >= union
    good[image, guess] = (enough & (shared > 0)).any(axis=-1)
    first = slice(0, 1)
    return LocalisationScore(
        good[:, first].any(axis=1),
        good.any(axis=1),
        has_class[:, first].any(axis=1),
        has_class.any(axis=1),
        ~np.isnan(true_boxes).any(axis=-1).all(axis=-1) & ~blacklist,
    )


def _check(labels, boxes, true_labels, true_boxes, blacklist) -> None:
    images = true_labels.shape
    wanted = {
        "true_labels": (true_labels, len(images) == 1, "(N,), N images"),
        "labels": (labels, labels.ndim == 2 and labels.shape[:1] == images, "(N, guesses)"),
        "boxes": (boxes, boxes.shape == (*labels.shape, 4), "(N, guesses, 4)"),
        "true_boxes": (true_boxes, true_boxes.ndim == 3 and true_boxes.shape[::2] == (*images, 4), "(N, most true boxes, 4)"),
        "blacklist": (blacklist, blacklist.shape == images, "(N,)"),
    }
    for name, (array, fits, shape) in wanted.items():
        if not fits:
            raise InputError(
                f"`{name}` must have shape {shape}, with `true_labels` of {images} and `labels` of {labels.shape}. "
                f"Received: {array.shape}."
            )
    for name, array in (("labels", labels), ("true_labels", true_labels)):
        if array.dtype.kind not in "iu":
            raise InputError(f"`{name}` must be integers. Received: an array of {array.dtype}.")
