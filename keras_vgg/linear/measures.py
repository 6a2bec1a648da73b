"""Classification measures: recall of each class, its mean, accuracy."""

import numpy as np


def class_recalls(labels: np.ndarray, guesses: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns the recall of each class, `(num_classes,)` float64; NaN for classes without images.

    The mean over classes with images is scikit-learn's `balanced_accuracy_score`, and `recall_score(average="macro")` if all
    classes have images.

    Args:
        labels, guesses: `(n,)` int.
        num_classes: number of classes.
    """
    images = np.bincount(labels, minlength=num_classes)
    hits = np.bincount(labels[labels == guesses], minlength=num_classes)
    return np.divide(hits, images, out=np.full(num_classes, np.nan), where=images > 0)


def mean_class_recall(labels: np.ndarray, guesses: np.ndarray, num_classes: int) -> float:
    """Returns the mean of `class_recalls` over classes with images."""
    return float(np.nanmean(class_recalls(labels, guesses, num_classes)))


def accuracy(labels: np.ndarray, guesses: np.ndarray) -> float:
    """Returns the share of correctly classified images."""
    return float(np.mean(labels == guesses))
