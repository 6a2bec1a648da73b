"""Which differences between two rows of a table stand: over seeds and images at once, and over all claims together.

Both rows are tested on the same images, and their nets come in pairs of one seed. Would the difference be there with other seeds
and other images? Both are a sample, so that the difference is a mean over a table of seeds by images whose rows and columns are
random, as readers and cases are in radiology (Dorfman, Berbaum & Metz 1992). An interval over seeds alone would be too narrow by
what the images of the test set happen to be, one over images alone by what the seeds do. The two parts of the variance have their
own degrees of freedom, few and many, so that the half-widths of their intervals are added as squares (Howe 1974): in simulations
with three to five seeds such intervals hold the truth 94 to 97% of the time, those by Hillis' (2007) degrees of freedom 91 to 95%.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_vgg.reproduction.claims import ALIKE, BETTER, NO_BETTER
from keras_vgg.support import extras

LEVEL = 0.05
"""Share of the verdicts "holds" and "does not hold" that may be wrong, as expected over all claims (Benjamini & Hochberg 1995)."""

_SMALLEST = 1e-12  # of p values

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much more often one row errs than another.

    Attributes:
        mean: over seeds and images, as a share (-0.01: a point fewer errors).
        errors: the standard errors of `mean` that come from the seeds and from the images; NaN of a single seed, which tells
            nothing about others.
        freedoms: the degrees of freedom of either.
        seeds: `(seeds,)` float64, the difference with each.
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
        """Returns the interval that holds the difference but for `level` of the times; NaN where nothing can be told."""
        half = self._half_width(level / 2)
        return self.mean - half, self.mean + half

    def p_below(self, bound: float) -> float:
        """Returns the p value of a difference below `bound`, against `bound` or more; 1 where nothing can be told."""
        return self._tail(self.mean - bound)

    def p_above(self, bound: float) -> float:
        """Returns the p value of a difference above `bound`, against `bound` or less; 1 where nothing can be told."""
        return self._tail(bound - self.mean)

    def _half_width(self, tail: float) -> float:
        with extras.needed("evaluate"):
            from scipy.stats import t

        pairs = zip(self.errors, self.freedoms, strict=True)
        return math.hypot(*(float(t.isf(tail, freedom)) * error if error else error for error, freedom in pairs))

    def _tail(self, distance: float) -> float:
        """Returns the share of either tail that begins `distance` from the mean, of the lower one where it is negative."""
        if math.isnan(self.error):
            return 1.0
        if self._half_width(_SMALLEST) <= abs(distance) or self.error == 0:  # without error: all images alike
            return _SMALLEST if distance < 0 else 1.0
        with extras.needed("evaluate"):
            from scipy.optimize import brentq

        tail = brentq(lambda tail: self._half_width(tail) - abs(distance), _SMALLEST, 0.5, xtol=1e-15)
        return tail if distance < 0 else 1 - tail


def difference(wrong: np.ndarray, wrong_against: np.ndarray) -> Difference:
    """Returns the difference between two rows.

    Args:
        wrong, wrong_against: `(seeds, images)` bool: whether a row errs on an image; the same seeds and images in both.
    """
    values = wrong.astype(np.float64) - wrong_against.astype(np.float64)
    seeds, images = values.shape
    mean, of_seeds, of_images = values.mean(), values.mean(1), values.mean(0)
    if seeds < 2 or images < 2:
        return Difference(float(mean), (math.nan, math.nan), (0, 0), of_seeds)
    rest = values - of_seeds[:, None] - of_images[None] + mean
    square_rest = (rest**2).sum() / ((seeds - 1) * (images - 1))
    # That of seeds holds the rest, too, as expected; that it is smaller is chance, of which no certainty must be made.
    square_seeds = max(images * of_seeds.var(ddof=1), square_rest)
    square_images = seeds * of_images.var(ddof=1) - square_rest
    errors = [math.sqrt(max(square, 0.0) / (seeds * images)) for square in (square_seeds, square_images)]
    return Difference(float(mean), (errors[0], errors[1]), (seeds - 1, images - 1), of_seeds)


def p_values(says: str, found: Difference, margin: float) -> tuple[float, float]:
    """Returns the p values of a claim and of its contrary.

    A net is better if it errs less, by however little; what is said to make no difference must make less than `margin`, since no
    experiment can show that there is none at all. The contrary of "no better" is a net that is better, of "alike" one that is
    `margin` off.

    Args:
        says: one of `claims.SAYINGS`.
        found: the difference.
        margin: as a share of the images.
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

    All claims and all contraries are one family, of which Benjamini and Hochberg's procedure accepts those that keep the expected
    share of wrong ones among them at `LEVEL`. Where both of a claim are accepted (a net that is better, but by less than the
    margin) the contrary is the verdict.

    Args:
        pairs: `p_values` of each claim.
    """
    if not pairs:
        return []
    with extras.needed("evaluate"):
        from scipy.stats import false_discovery_control

    adjusted = false_discovery_control(np.asarray(pairs).ravel(), method="bh").reshape(-1, 2)
    return [FAILS if contrary <= LEVEL else HOLDS if claim <= LEVEL else OPEN for claim, contrary in adjusted]
