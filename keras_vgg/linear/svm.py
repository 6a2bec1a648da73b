"""Linear SVMs: scikit-learn's LinearSVC (LIBLINEAR), one against the rest.

The paper only says "linear SVM". Here it is the L2-regularized squared hinge loss, LIBLINEAR's default. The intercept is the
weight of a constant feature 1 and so is regularized too. C weights the loss summed over images; with L2-normalized descriptors
one grid of powers of ten fits all layers and nets.

LIBLINEAR's primal solver converges in some tens of Newton steps for any C, where its dual solver takes thousands of iterations at
C = 100 for very similar descriptors, and scikit-learn stops it after 1,000. For features much longer than one, or a large C, the
primal solver stops early too. So the duality gap of each SVM is computed, `squared_hinge` finishes those that have not converged,
and the remaining gap is returned with the scores.
"""

import dataclasses
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.linear import squared_hinge
from keras_vgg.support import extras

COSTS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Candidate values of C."""

_JITTER = 1e-10
_TOLERANCE = 1e-6
"""Of the gradient, as a share of its initial norm; scores are then correct to about four digits."""


@dataclasses.dataclass(frozen=True)
class Features:
    """Images in the coordinates in which SVMs are trained.

    Attributes:
        train: `(n, d)` float64.
        test: `(m, d)` float64.
        jitter: what was added to the inner products of training images with themselves.
    """

    train: np.ndarray
    test: np.ndarray
    jitter: float = 0.0


@dataclasses.dataclass(frozen=True)
class Decisions:
    """Outputs of SVMs for test images.

    Attributes:
        scores: `(m, classes)` float64: larger is more likely.
        gap: the largest duality gap of these SVMs, as a share of the objective: 0 at the optimum.
        weights: `(d + 1, classes)` float64, in the coordinates of the features; the last row is that of the constant 1.
    """

    scores: np.ndarray
    gap: float
    weights: np.ndarray


def compact(train: np.ndarray, test: np.ndarray) -> Features:
    """Returns the images in at most as many coordinates as there are training images: the same SVMs, several times faster.

    An SVM's weights lie in the span of the training images, so that only inner products with those matter. If K = X Xᵀ = L Lᵀ
    (Cholesky), the rows of L are the training images in an orthonormal basis of their span, and those of T Xᵀ L⁻ᵀ the test
    images. Stacked descriptors have 12,288 features (24,576 for two nets) while Caltech-101 has 3,060 training images. On
    synthetic descriptors of 2,448 images in 102 classes, half of them zeros, a fit with C = 1 took 13 s instead of 59 s on two
    cores of an AMD EPYC, after 6 s for this step, and scores agreed to 1e-10.

    Args:
        train: `(n, D)`.
        test: `(m, D)`.
    """
    train, test = np.asarray(train, np.float64), np.asarray(test, np.float64)
    if len(train) >= train.shape[1]:
        return Features(train, test)
    from scipy.linalg import solve_triangular

    products = train @ train.T
    # Duplicate images make it singular; this gives each image a direction of its own.
    jitter = _JITTER * max(np.trace(products) / len(train), 1e-300)
    products.flat[:: len(train) + 1] += jitter
    factor = np.linalg.cholesky(products)
    return Features(factor, solve_triangular(factor, train @ test.T, lower=True).T, jitter)


def in_own_coordinates(weights: np.ndarray, features: Features, train: np.ndarray) -> np.ndarray:
    """Converts weights for compact `features` to weights for the original ones, with the same scores.

    Args:
        weights: `(d + 1, classes)`, the last row that of the constant 1.
        features: from `compact`.
        train: `(n, D)`, the training images passed to it.

    Returns:
        `(D + 1, classes)` float64.
    """
    if features.train.shape[1] == train.shape[1]:
        return weights
    from scipy.linalg import solve_triangular

    own = train.astype(np.float64).T @ solve_triangular(features.train, weights[:-1], lower=True, trans="T")
    return np.concatenate([own, weights[-1:]])


def decide(features: Features, labels: np.ndarray, cost: float) -> Decisions:
    """Trains an SVM for each class and returns their outputs for the test images.

    Args:
        features: of training and test images.
        labels: `(n,)` int, of the training images: 0 to classes - 1, each at least once.
        cost: C.
    """
    with extras.needed("transfer"):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC

    # Squared hinge loss adds 1 / 2C to inner products of images with themselves, as the jitter does: this C compensates for it.
    if 2 * cost * features.jitter < 1:
        cost = cost / (1 - 2 * cost * features.jitter)
    with warnings.catch_warnings():
        # The gap tells whether it has converged.
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine = LinearSVC(C=cost, dual=False, tol=_TOLERANCE).fit(features.train, labels)
    train, test = _with_constant(features.train), _with_constant(features.test)
    weights, gaps = np.column_stack([machine.coef_, machine.intercept_]), []
    positive = [1] if len(weights) == 1 else machine.classes_  # for two classes it fits one SVM
    for row, label in enumerate(positive):
        weights[row], gap = squared_hinge.finish(train, np.where(labels == label, 1.0, -1.0), cost, weights[row])
        gaps.append(gap)
    weights = np.concatenate([-weights, weights]) if len(weights) == 1 else weights
    return Decisions(test @ weights.T, max(gaps), weights.T)


def _with_constant(values: np.ndarray) -> np.ndarray:
    return np.column_stack([values, np.ones(len(values))])


def choose_cost(costs: Sequence[float], measure: Callable[[float], float]) -> float:
    """Returns the C with the best measure; among equals the smallest, which regularizes most.

    Args:
        costs: candidates; a single value skips validation.
        measure: maps C to its result on the held-out images.
    """
    costs = sorted(costs)
    return costs[0] if len(costs) == 1 else costs[int(np.argmax([measure(cost) for cost in costs]))]


def check_costs(costs: Sequence[float]) -> None:
    """Raises `InputError` unless there is at least one value and all are positive and finite."""
    if not costs or not all(np.isfinite(cost) and cost > 0 for cost in costs):
        raise InputError(f"`costs` must be positive numbers, at least one. Received: {', '.join(map(str, costs)) or 'none'}.")
