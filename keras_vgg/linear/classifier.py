"""SVMs as a linear classifier with calibrated probabilities.

Scores of SVMs are distances from their planes, but a net outputs probabilities. For images of one class each these are the
softmax of the scores times one factor, an inverse temperature (Guo et al. 2017, "On Calibration of Modern Neural Networks"),
which changes no decision; a line for each class, as in scikit-learn's `CalibratedClassifierCV`, would, and it supports
temperatures only from version 1.8 on. For images of any number of classes they are the sigmoid of an increasing line of each
class's scores (Platt 1999), which preserves the order of images, and so average precision.
"""

import dataclasses

import numpy as np

from keras_vgg.support import extras

_BOUNDS = (-5.0, 10.0)  # of the logarithm of a factor; scores of SVMs on L2-normalized features are around one


@dataclasses.dataclass(frozen=True)
class LinearClassifier:
    """Class probabilities: an activation of a linear function of an image's features.

    Attributes:
        kernel: `(D, classes)` float64.
        bias: `(classes,)` float64.
        activation: `"softmax"` for images of one class each, else `"sigmoid"`.
        told: readable description of how the probabilities follow from the SVMs' scores.
    """

    kernel: np.ndarray
    bias: np.ndarray
    activation: str
    told: str


def of_one_label(weights: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> LinearClassifier:
    """Returns the classifier of images of one class each.

    Args:
        weights: `(D + 1, classes)` of the SVMs, the last row that of the constant 1.
        scores: `(n, classes)` of held-out images.
        labels: `(n,)` int, of the same images.
    """
    sharp = sharpness(scores, labels)
    return LinearClassifier(
        sharp * weights[:-1], sharp * weights[-1], "softmax", f"the softmax of {sharp:.3g} times the SVMs' scores"
    )


def of_many_labels(weights: np.ndarray, lines: np.ndarray) -> LinearClassifier:
    """Returns the classifier of images of any number of classes.

    Args:
        weights: as for `of_one_label`.
        lines: `(classes, 2)`, slope and offset of each class, from `line`.
    """
    slopes, offsets = lines.T
    told = "the sigmoids of a linear function of the SVMs' scores for each class"
    return LinearClassifier(slopes * weights[:-1], slopes * weights[-1] + offsets, "sigmoid", told)


def sharpness(scores: np.ndarray, labels: np.ndarray) -> float:
    """Returns the factor on scores that maximizes the likelihood of their softmax on held-out images.

    A class with n held-out images, out of K classes, has a target probability of (n + 1) / (n + K), as in Platt for two classes:
    otherwise the factor would be infinite if all images are classified correctly.

    Args:
        scores: `(n, classes)` of images that the SVMs have not seen.
        labels: `(n,)` int.

    Example:
        >>> import numpy as np
        >>> from keras_vgg.linear.classifier import sharpness
        >>> scores = np.array([[1.0, -1.0]] * 9 + [[-1.0, 1.0]])  # one of ten is wrong
        >>> round(sharpness(scores, np.zeros(10, int)), 2)  # 9 of 11/12 and one of 1/12 are 5/6: 2 s = log(5)
        0.8
    """
    with extras.needed("transfer"):
        from scipy.optimize import minimize_scalar
        from scipy.special import log_softmax

    count, classes = scores.shape
    of_class = np.bincount(labels, minlength=classes)[labels]
    targets = np.repeat(1 / (of_class + classes)[:, None], classes, axis=1)
    targets[np.arange(count), labels] *= of_class + 1

    def loss(logarithm):
        return -np.sum(targets * log_softmax(np.exp(logarithm) * scores, axis=1))

    return float(np.exp(minimize_scalar(loss, bounds=_BOUNDS, method="bounded").x))


def line(scores: np.ndarray, shown: np.ndarray) -> tuple[float, float]:
    """Returns slope and offset that maximize the likelihood of the sigmoid of a class's scores on held-out images (Platt 1999).

    The slope is always positive, which preserves the order of images.

    Args:
        scores: `(n,)` of images that the SVM has not seen.
        shown: `(n,)` bool, which of them show the class.
    """
    with extras.needed("transfer"):
        from scipy.optimize import minimize
        from scipy.special import log_expit

    count = int(shown.sum())
    targets = np.where(shown, (count + 1) / (count + 2), 1 / (shown.size - count + 2))

    def loss(parameters):
        logits = np.exp(parameters[0]) * scores + parameters[1]
        return -np.sum(targets * log_expit(logits) + (1 - targets) * log_expit(-logits))

    found = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=[_BOUNDS, (None, None)]).x
    return float(np.exp(found[0])), float(found[1])
