"""Tests the differences between rows of a table, over seeds and images at once, and over all claims together.

Both rows are tested on the same images, and their nets are paired by seed. Would the difference persist with other seeds and
other images? Both are samples, so the difference is a mean over a table of seeds by images whose rows and columns are random, as
readers and cases are in radiology (Dorfman, Berbaum & Metz 1992). An interval over seeds alone would ignore the sampling of test
images, one over images alone that of seeds. The two variance components have their own degrees of freedom, few and many, so that
the half-widths of their intervals are added as squares (Howe 1974): in simulations with three to five seeds such intervals
contain the truth 94 to 97% of the time, those by Hillis' (2007) degrees of freedom 91 to 95%.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_vgg.reproduction.claims import ALIKE, BETTER, NO_BETTER
from keras_vgg.support import extras

LEVEL = 0.05
"""Expected share of wrong ones among the verdicts "holds" and "does not hold" over all claims (Benjamini & Hochberg 1995)."""

_SMALLEST = 1e-12  # of p values

HOLDS, FAILS, OPEN = "holds", "does not hold", "inconclusive"


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference between the error rates of two rows.

    Attributes:
        mean: over seeds and images, as a fraction (-0.01: a percentage point fewer errors).
        errors: the standard errors of `mean` that come from the seeds and from the images; NaN for a single seed, which is
            no sample.
        freedoms: the degrees of freedom of each.
        seeds: `(seeds,)` float64, the difference for each seed.
    """

    mean: float
    errors: tuple[float, float]
    freedoms: tuple[int, int]
    seeds: np.ndarray

    @property
    def error(self) -> float:
        """The standard error of `mean`."""
        return math.hypot(*self.errors)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Returns the confidence interval of the difference at level 1 - `level`; NaN for a single seed or image."""
        half = self._half_width(level / 2)
        return self.mean - half, self.mean + half

    def p_below(self, bound: float) -> float:
        """Returns the p-value of a difference below `bound`, against `bound` or more; 1 for a single seed or image."""
        return self._tail(self.mean - bound)

    def p_above(self, bound: float) -> float:
        """Returns the p-value of a difference above `bound`, against `bound` or less; 1 for a single seed or image."""
        return self._tail(bound - self.mean)

    def _half_width(self, tail: float) -> float:
        with extras.needed("evaluate"):
            from scipy.stats import t

        pairs = zip(self.errors, self.freedoms, strict=True)
        return math.hypot(*(float(t.isf(tail, freedom)) * error if error else error for error, freedom in pairs))

    def _tail(self, distance: float) -> float:
        """Returns the tail probability at `distance` from the mean, of the lower tail if it is negative."""
        if math.isnan(self.error):
            return 1.0
        if self._half_width(_SMALLEST) <= abs(distance) or self.error == 0:  # no error: all images agree
            return _SMALLEST if distance < 0 else 1.0
        with extras.needed("evaluate"):
            from scipy.optimize import brentq

        tail = brentq(lambda tail: self._half_width(tail) - abs(distance), _SMALLEST, 0.5, xtol=1e-15)
        return tail if distance < 0 else 1 - tail


def difference(wrong: np.ndarray, wrong_against: np.ndarray) -> Difference:
    """Returns the difference between two rows.

    Args:
        wrong, wrong_against: `(seeds, images)` bool: whether a row is wrong on an image; the same seeds and images in both.
    """
    values = wrong.astype(np.float64) - wrong_against.astype(np.float64)
    seeds, images = values.shape
    mean, of_seeds, of_images = values.mean(), values.mean(1), values.mean(0)
    if seeds < 2 or images < 2:
        return Difference(float(mean), (math.nan, math.nan), (0, 0), of_seeds)
    rest = values - of_seeds[:, None] - of_images[None] + mean
    square_rest = (rest**2).sum() / ((seeds - 1) * (images - 1))
    # The expectation for seeds includes the residual; a smaller value is chance, which must not narrow the interval.
    square_seeds = max(images * of_seeds.var(ddof=1), square_rest)
    square_images = seeds * of_images.var(ddof=1) - square_rest
    errors = [math.sqrt(max(square, 0.0) / (seeds * images)) for square in (square_seeds, square_images)]
    return Difference(float(mean), (errors[0], errors[1]), (seeds - 1, images - 1), of_seeds)


def p_values(says: str, found: Difference, margin: float) -> tuple[float, float]:
    """Returns the p-values of a claim and of its contrary.

    A net is better if it has a lower error, however small the difference; a claim of no difference requires one below `margin`,
    since no experiment can show that there is none at all. The contrary of "no better" is a net that is better, of "alike" a
    difference of at least `margin`.

    Args:
        says: one of `claims.SAYINGS`.
        found: the difference.
        margin: as a fraction of the images.
    """
    match says:
        case str(said) if said == BETTER:
            return found.p_below(0.0), found.p_above(0.0)
        case str(said) if said == NO_BETTER:
            return found.p_above(-margin), found.p_below(0.0)
        case str(said) if said == ALIKE:
            held = max(found.p_above(-margin), found.p_below(margin))
            return held, min(1.0, 2 * min(found.p_below(-margin), found.p_above(margin)))
    raise ValueError(f"`says` must be one of {BETTER}, {NO_BETTER}, {ALIKE}. Received: {says!r}.")


def verdicts(pairs: Sequence[tuple[float, float]]) -> list[str]:
    """Returns for each claim `HOLDS`, `FAILS` or `OPEN`.

    All claims and contraries form one family, of which Benjamini and Hochberg's procedure accepts those that keep the expected
    share of false ones among them at `LEVEL`. If both a claim and its contrary are accepted (a net that is better, but by less
    than the margin), the contrary is the verdict.

    Args:
        pairs: `p_values` of each claim.
    """
    if not pairs:
        return []
    with extras.needed("evaluate"):
        from scipy.stats import false_discovery_control

    adjusted = false_discovery_control(np.asarray(pairs).ravel(), method="bh").reshape(-1, 2)
    return [FAILS if contrary <= LEVEL else HOLDS if claim <= LEVEL else OPEN for claim, contrary in adjusted]
