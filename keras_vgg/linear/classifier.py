"""The linear classifier that SVMs are, and how sure it may be of what it says.

Scores of SVMs are distances from their planes, no probabilities. What a net puts out are probabilities. Of images of one class each
they are the soft-max of the scores times one number, the inverse of a temperature (Guo et al. 2017, "On Calibration of Modern
Neural Networks"), which leaves every decision as it was; a line for each class, as in scikit-learn's `CalibratedClassifierCV`,
would not, and temperatures it has from version 1.8 on alone. Of images of any number of classes they are the sigmoid of a rising
line of each class's scores (Platt 1999), which leaves the order of images as it was, and so average precision.
"""

import dataclasses

import numpy as np

from keras_vgg.support import extras

_BOUNDS = (-5.0, 10.0)  # of the logarithm of a factor; scores of SVMs on features of length one are around one


@dataclasses.dataclass(frozen=True)
class LinearClassifier:
    """Probabilities of classes: an activation of what is linear in an image's features.

    Attributes:
        kernel: `(D, classes)` float64.
        bias: `(classes,)` float64.
        activation: `"softmax"` of images of one class each, `"sigmoid"` of others.
        told: for people, what the probabilities are of the SVMs' scores.
    """

    kernel: np.ndarray
    bias: np.ndarray
    activation: str
    told: str


def of_one_label(weights: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> LinearClassifier:
    """Returns the classifier of images of one class each.

    Args:
        weights: `(D + 1, classes)` of the SVMs, the last of the constant 1.
        scores: `(n, classes)` of images held out.
        labels: `(n,)` int, theirs.
    """
    sharp = sharpness(scores, labels)
    return LinearClassifier(
        sharp * weights[:-1], sharp * weights[-1], "softmax", f"the soft-max of {sharp:.3g} times the SVMs' scores"
    )


def of_many_labels(weights: np.ndarray, lines: np.ndarray) -> LinearClassifier:
    """Returns the classifier of images of any number of classes.

    Args:
        weights: as for `of_one_label`.
        lines: `(classes, 2)`, slope and offset of each class, of `line`.
    """
    slopes, offsets = lines.T
    told = "the sigmoids of a line for each class of the SVMs' scores"
    return LinearClassifier(slopes * weights[:-1], slopes * weights[-1] + offsets, "sigmoid", told)


def sharpness(scores: np.ndarray, labels: np.ndarray) -> float:
    """Returns the number by which scores are multiplied so that their soft-max is most likely, given images held out.

    A class of which n images were held out, out of K classes, is told with a probability of at most (n + 1) / (n + K), as Platt has
    it for two: else images that are all told rightly would make it infinite.

    Args:
        scores: `(n, classes)` of images that the SVMs have not seen.
        labels: `(n,)` int.

    Example:
        >>> import numpy as np
        >>> from keras_vgg.linear.classifier import sharpness
        >>> scores = np.array([[1.0, -1.0]] * 9 + [[-1.0, 1.0]])  # one of ten is told wrongly
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
    """Returns slope and offset by which the sigmoid of a class's scores is most likely, given images held out (Platt 1999).

    The slope is positive, whatever the images are: images stay in their order.

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
