"""Metrics of posteriors: top-k errors, confidence intervals, scores of classes, and confusions."""

import numpy as np

from keras_vgg.support import extras


def ranks(posteriors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns how many classes rank before the true one: 0 for a correctly predicted class.

    Among equal posteriors, the smaller label ranks first: the rule wherever classes are ranked here (top-1 and top-5 errors,
    confusion, predictions, served classes, linear SVMs), and that of `argmax` and `tf.math.top_k`.

    Args:
        posteriors: `(N, classes)`; a row that is not finite (an unreadable image) is wrong for any number of guesses.
        labels: `(N,)` true classes.
    """
    right = posteriors[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(posteriors.shape[1])[None] < labels[:, None]
    before = np.sum((posteriors > right) | ((posteriors == right) & earlier), axis=1)
    return np.where(np.isfinite(posteriors).all(axis=1), before, np.iinfo(np.int64).max)


def best_first(posteriors: np.ndarray, most: int) -> np.ndarray:
    """Returns the labels of the `most` largest of an image's `(classes,)` posteriors, in descending order; ties as in `ranks`."""
    return np.argsort(-posteriors, kind="stable")[:most]


def top_k_error(posteriors: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Returns the share of images whose class is not among the `k` most probable; see `ranks`."""
    return float(np.mean(ranks(posteriors, labels) >= k))


def real_error(posteriors: np.ndarray, right: np.ndarray) -> tuple[int, float]:
    """Returns how many images have any true class, and the share of them that are predicted wrongly; NaN without images.

    Args:
        posteriors: `(N, classes)`; an unreadable image has no guess.
        right: `(N, most)` true classes: -1 for none, -2 for one that the net cannot predict.
    """
    has_any = (right != -1).any(axis=1)
    guesses = first_guesses(posteriors)
    wrong = (guesses < 0) | (right != guesses[:, None]).all(axis=1)
    return int(has_any.sum()), float(wrong[has_any].mean()) if has_any.any() else float("nan")


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Returns the 95% confidence interval of a share among `count` (Wilson 1927), valid near 0 and 1 too; by SciPy."""
    with extras.needed("evaluate"):
        from scipy.stats import binomtest

    interval = binomtest(round(share * count), count).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def confusion(posteriors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns `(classes, classes)` int64 counts of true class by predicted class, without unreadable images.

    By scikit-learn.
    """
    with extras.needed("evaluate"):
        from sklearn.metrics import confusion_matrix

    found = first_guesses(posteriors)
    read = found >= 0
    return confusion_matrix(labels[read], found[read], labels=np.arange(posteriors.shape[1]))


def first_guesses(posteriors: np.ndarray) -> np.ndarray:
    """Returns the most probable class for each row of `(N, classes)` posteriors, `(N,)` int64; -1 for unreadable images."""
    guesses = np.argmax(posteriors, axis=1)
    return np.where(np.isfinite(posteriors).all(axis=1), guesses, -1)


def class_scores(posteriors: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns precision, recall and F1 of each class, `(classes,)` in 0–1, and its number of images; by scikit-learn.

    An unreadable image counts as one of its class without a guess, or not at all if its label is -1. Scores undefined for a class
    without images, or without guesses, are NaN.
    """
    with extras.needed("evaluate"):
        from sklearn.metrics import precision_recall_fscore_support

    classes = np.arange(posteriors.shape[1])
    return precision_recall_fscore_support(labels, first_guesses(posteriors), labels=classes, zero_division=np.nan)


def class_errors(before: np.ndarray, labels: np.ndarray, classes: int, k: int) -> np.ndarray:
    """Returns the share of each class's images whose class is not among the `k` most probable; NaN without images.

    Args:
        before: `ranks` of the images.
        labels: `(N,)` true classes; -1 for images whose label could not be read either, which count for no class.
        classes: number of classes.
        k: number of guesses.
    """
    known = labels >= 0
    images = np.bincount(labels[known], minlength=classes)
    wrong = np.bincount(labels[known], weights=before[known] >= k, minlength=classes)
    return np.divide(wrong, images, out=np.full(classes, np.nan), where=images > 0)


def most_confused(counts: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """Returns `(true class, predicted class, images)` for the most frequent errors, at most `most`."""
    errors = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    order = np.argsort(errors, axis=None, kind="stable")[::-1][:most]
    rights, guesses = np.unravel_index(order, errors.shape)
    found = zip(rights.tolist(), guesses.tolist(), errors.flat[order].tolist(), strict=True)
    return [(right, guess, int(images)) for right, guess, images in found if images]
