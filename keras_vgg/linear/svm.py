"""Linear SVMs: scikit-learn's LinearSVC (LIBLINEAR), one against the rest.

The paper says "linear SVM" and no more. Here it is the L2-regularised squared hinge loss, LIBLINEAR's own default. The intercept is
a weight of a constant feature 1 and so is regularised too. C weighs the loss summed over images; descriptors of length one make
one grid of powers of ten fit all layers and nets.

LIBLINEAR's Newton steps in the primal arrive in some tens of them whatever C is, where its dual takes thousands of rounds at
C = 100 for descriptors that are much alike, and scikit-learn ends it after 1,000. Of features far longer than one, or at a large C,
the primal ends early too. So the duality gap of each SVM is computed, `squared_hinge` finishes those that are not solved, and the
gap that is left comes back with the scores.
"""

import dataclasses
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.linear import squared_hinge
from keras_vgg.support import extras

COSTS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Among which C is chosen."""

_JITTER = 1e-10
_TOLERANCE = 1e-6
"""Of the gradient, as a share of what it is at first; scores are then right to about four digits."""


@dataclasses.dataclass(frozen=True)
class Features:
    """Images in coordinates in which SVMs are trained.

    Attributes:
        train: `(n, d)` float64.
        test: `(m, d)` float64.
        jitter: what the training images' products with themselves have beyond what they should have.
    """

    train: np.ndarray
    test: np.ndarray
    jitter: float = 0.0


@dataclasses.dataclass(frozen=True)
class Decisions:
    """What SVMs say of test images.

    Attributes:
        scores: `(m, classes)` float64: the larger the likelier.
        gap: the largest duality gap of these SVMs, as a share of the objective: 0 at the optimum.
        weights: `(d + 1, classes)` float64, in the coordinates of the features; the last are of the constant 1.
    """

    scores: np.ndarray
    gap: float
    weights: np.ndarray


def compact(train: np.ndarray, test: np.ndarray) -> Features:
    """Returns the same images in at most as many coordinates as there are training images: the same SVMs, several times faster.

    An SVM's weights lie in the span of the training images, so that only inner products with those count. If K = X Xᵀ = L Lᵀ
    (Cholesky), the rows of L are the training images in an orthonormal basis of their span, and those of T Xᵀ L⁻ᵀ the others.
    Stacked descriptors have 12,288 features (24,576 of two nets) while Caltech-101 has 3,060 training images. On made-up
    descriptors of 2,448 images in 102 classes, half of them zeros, a fit with C = 1 took 13 s instead of 59 s on two cores of an
    AMD EPYC, after 6 s for this, and scores agreed to 1e-10.

    Args:
        train: `(n, D)`.
        test: `(m, D)`.
    """
    train, test = np.asarray(train, np.float64), np.asarray(test, np.float64)
    if len(train) >= train.shape[1]:
        return Features(train, test)
    from scipy.linalg import solve_triangular

    products = train @ train.T
    # Images that are there twice make it singular; this gives each image a direction of its own.
    jitter = _JITTER * max(np.trace(products) / len(train), 1e-300)
    products.flat[:: len(train) + 1] += jitter
    factor = np.linalg.cholesky(products)
    return Features(factor, solve_triangular(factor, train @ test.T, lower=True).T, jitter)


def in_own_coordinates(weights: np.ndarray, features: Features, train: np.ndarray) -> np.ndarray:
    """Returns weights for `features` as weights for the images they were made of: the same scores.

    Args:
        weights: `(d + 1, classes)`, the last of the constant 1.
        features: of `compact`.
        train: `(n, D)`, the training images that it was given.

    Returns:
        `(D + 1, classes)` float64.
    """
    if features.train.shape[1] == train.shape[1]:
        return weights
    from scipy.linalg import solve_triangular

    own = train.astype(np.float64).T @ solve_triangular(features.train, weights[:-1], lower=True, trans="T")
    return np.concatenate([own, weights[-1:]])


def decide(features: Features, labels: np.ndarray, cost: float) -> Decisions:
    """Trains an SVM for each class and returns what they say of the test images.

    Args:
        features: of training and test images.
        labels: `(n,)` int of the training images: 0 to classes - 1, each at least once.
        cost: C.
    """
    with extras.needed("transfer"):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC

    # Squared hinge loss adds 1 / 2C to products of images with themselves, as the jitter does: with this C it adds that much less.
    if 2 * cost * features.jitter < 1:
        cost = cost / (1 - 2 * cost * features.jitter)
    with warnings.catch_warnings():
        # Whether it is solved is told by the gap.
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine = LinearSVC(C=cost, dual=False, tol=_TOLERANCE).fit(features.train, labels)
    train, test = _with_constant(features.train), _with_constant(features.test)
    weights, gaps = np.column_stack([machine.coef_, machine.intercept_]), []
    positive = [1] if len(weights) == 1 else machine.classes_  # of two classes it gives one machine
    for row, label in enumerate(positive):
        weights[row], gap = squared_hinge.finish(train, np.where(labels == label, 1.0, -1.0), cost, weights[row])
        gaps.append(gap)
    weights = np.concatenate([-weights, weights]) if len(weights) == 1 else weights
    return Decisions(test @ weights.T, max(gaps), weights.T)


def _with_constant(values: np.ndarray) -> np.ndarray:
    return np.column_stack([values, np.ones(len(values))])


def choose_cost(costs: Sequence[float], measure: Callable[[float], float]) -> float:
    """Returns the C whose measure is best; of equals the smallest, which is regularised most.

    Args:
        costs: candidates; a single one is taken unmeasured.
        measure: from C to what it achieves on the images held out.
    """
    costs = sorted(costs)
    return costs[0] if len(costs) == 1 else costs[int(np.argmax([measure(cost) for cost in costs]))]


def check_costs(costs: Sequence[float]) -> None:
    """Raises `InputError` unless all are positive and finite, and there is one."""
    if not costs or not all(np.isfinite(cost) and cost > 0 for cost in costs):
        raise InputError(f"`costs` must be positive numbers, at least one. Received: {', '.join(map(str, costs)) or 'none'}.")
