"""Errors of posteriors: top-k, their intervals, and what is taken for what. NumPy alone."""

import math

import numpy as np

Z95 = 1.959963984540054
"""The normal deviate that leaves 2.5% on either side."""


def ranks(posteriors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns how many classes stand before the right one: 0 for a right first guess.

    Of classes with the same posterior the one with the smaller label stands first: the rule wherever classes are ranked here (top-1
    and top-5 errors, confusion, predictions, served classes, linear SVMs), and that of `argmax` and `tf.math.top_k`.

    Args:
        posteriors: `(N, classes)`; where a row is not finite (an image that could not be read), no number of guesses is enough.
        labels: `(N,)` right classes.
    """
    right = posteriors[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(posteriors.shape[1])[None] < labels[:, None]
    before = np.sum((posteriors > right) | ((posteriors == right) & earlier), axis=1)
    return np.where(np.isfinite(posteriors).all(axis=1), before, np.iinfo(np.int64).max)


def best_first(posteriors: np.ndarray, most: int) -> np.ndarray:
    """Returns the labels of the `most` probable of an image's `(classes,)` posteriors, the best first; ties as in `ranks`."""
    return np.argsort(-posteriors, kind="stable")[:most]


def top_k_error(posteriors: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Returns the share of images whose class is not among the `k` most probable ones; see `ranks`."""
    return float(np.mean(ranks(posteriors, labels) >= k))


def wilson_interval(share: float, count: int, z: float = Z95) -> tuple[float, float]:
    """Returns the interval (95% by default) for a share seen among `count` (Wilson 1927): it holds near 0 and 1 too."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def confusion(posteriors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns `(classes, classes)` counts: right class by first guess; images that could not be read are left out."""
    classes = posteriors.shape[1]
    read = np.isfinite(posteriors).all(axis=1)
    pairs = labels[read] * classes + np.argmax(posteriors[read], axis=1)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def most_confused(counts: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """Returns `(right class, first guess, images)` of the most frequent errors, at most `most`."""
    errors = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    order = np.argsort(errors, axis=None, kind="stable")[::-1][:most]
    rights, guesses = np.unravel_index(order, errors.shape)
    found = zip(rights.tolist(), guesses.tolist(), errors.flat[order].tolist(), strict=True)
    return [(right, guess, int(images)) for right, guess, images in found if images]
