"""The SVM with squared hinge loss, solved to a given duality gap by Newton steps on the active images.

The objective is `|w|^2 / 2 + C * sum of max(0, 1 - y * (x . w))^2`, piecewise quadratic: the minimum of each piece is the
solution of a linear system. Its dual bounds it from below, so that the distance to the optimum is known without the optimum.
"""

import numpy as np

from keras_vgg.support import extras

with extras.needed("transfer"):
    from scipy.linalg import solve

GAP = 1e-6
"""Largest duality gap, as a share of the objective, at which an SVM counts as converged."""

_STEPS = 100


def relative_gap(train: np.ndarray, signs: np.ndarray, cost: float, weights: np.ndarray, alphas: np.ndarray | None = None) -> float:
    """Returns the duality gap as a share of the objective: 0 at the optimum.

    Args:
        train: `(n, d)` float64.
        signs: `(n,)`: 1 or -1.
        cost: C.
        weights: `(d,)`.
        alphas: `(n,)`, non-negative dual variables; by default those that correspond to the weights at the optimum.
    """
    slack = np.maximum(0, 1 - signs * (train @ weights))
    alphas = 2 * cost * slack if alphas is None else alphas  # any alphas bound the objective
    primal = weights @ weights / 2 + cost * slack @ slack
    combined = train.T @ (alphas * signs)
    dual = alphas.sum() - combined @ combined / 2 - alphas @ alphas / (4 * cost)
    return float((primal - max(dual, 0.0)) / primal)  # alphas of zero give the dual 0


def finish(train: np.ndarray, signs: np.ndarray, cost: float, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Refines weights to a gap of at most `GAP`, if float64 allows; returns them and the remaining gap. Arguments as above."""
    best = weights, relative_gap(train, signs, cost, weights)
    active = signs * (train @ weights) < 1
    for _ in range(_STEPS):
        if best[1] <= GAP:
            break
        weights, alphas = _least(train[active], signs[active], cost)
        everywhere = np.zeros(len(train))
        everywhere[active] = alphas
        gap = relative_gap(train, signs, cost, weights, np.maximum(everywhere, 0))
        if gap < best[1]:
            best = weights, gap
        # By the sign of alpha, not by the margin: margins are one to the last digits if all images are separable.
        active = np.where(active, everywhere > 0, signs * (train @ weights) < 1)
    return best


def _least(rows: np.ndarray, signs: np.ndarray, cost: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the optimal weights and alphas if only these images are active, by the smaller of two equivalent systems."""
    if len(rows) <= rows.shape[1]:
        system = rows @ rows.T
        system.flat[:: len(rows) + 1] += 1 / (2 * cost)
        dual = solve(system, signs, assume_a="pos") if len(rows) else signs
        return rows.T @ dual, signs * dual
    system = rows.T @ rows
    system.flat[:: len(system) + 1] += 1 / (2 * cost)
    weights = solve(system, rows.T @ signs, assume_a="pos")
    return weights, 2 * cost * (1 - signs * (rows @ weights))
