"""The linear classifier that SVMs are, and how sure it may be of what it says.

Scores of SVMs are distances from their planes, no probabilities. What a net puts out are: the soft-max of the scores times one
number, the inverse of a temperature (Guo et al. 2017, "On Calibration of Modern Neural Networks"). One number for all classes
leaves every decision as it was, which Platt's line for each class, as in scikit-learn's `CalibratedClassifierCV`, does not; that
has temperatures too, but from version 1.8 on alone.
"""

import dataclasses

import numpy as np

from keras_vgg.support import extras

_BOUNDS = (-5.0, 10.0)  # of the logarithm; scores of SVMs on features of length one are around one


@dataclasses.dataclass(frozen=True)
class LinearClassifier:
    """Scores of classes, linear in an image's features.

    Attributes:
        kernel: `(D, classes)` float64.
        bias: `(classes,)` float64.
        sharpness: by which scores are multiplied before the soft-max that makes probabilities of them.
    """

    kernel: np.ndarray
    bias: np.ndarray
    sharpness: float


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
