"""Differences over seeds and images, and the verdicts that follow."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from keras_vgg.reproduction.claims import ALIKE, BETTER, NO_BETTER
from keras_vgg.reproduction.statistics import FAILS, HOLDS, OPEN, Difference, difference, p_values, verdicts


def test_without_differences_between_images_it_is_the_paired_t_test_over_seeds():
    """Seeds part by how many images they get wrong, images not at all: no image errs more than once."""
    wrong, against = np.zeros((3, 60), bool), np.zeros((3, 60), bool)
    wrong[0, :6] = wrong[1, 6:20] = wrong[2, 20:30] = True
    found = difference(wrong, against)
    assert found.mean == pytest.approx(30 / 180)
    assert found.p_above(0.0) == pytest.approx(ttest_1samp(found.seeds, 0.0, alternative="greater").pvalue, rel=1e-9)
    low, high = found.interval()
    assert (low, high) == pytest.approx(ttest_1samp(found.seeds, 0.0).confidence_interval(0.95), rel=1e-9)


def test_where_seeds_agree_the_images_are_the_sample():
    """The same answers with every seed: more seeds teach nothing, and it is the t test over images."""
    of_images = np.random.default_rng(0).integers(-1, 2, 400)
    wrong, against = np.tile(of_images == 1, (4, 1)), np.tile(of_images == -1, (4, 1))
    found = difference(wrong, against)
    assert found.p_below(0.05) == pytest.approx(ttest_1samp(of_images, 0.05, alternative="less").pvalue, rel=1e-9)
    assert found.interval() == pytest.approx(ttest_1samp(of_images, 0.0).confidence_interval(0.95), rel=1e-9)


def test_a_worked_example():
    """Two seeds, three images; mean squares by hand: seeds 1/6, images 1/2, rest 1/6, around a mean of 1/2."""
    values = np.array([[1, 1, 0], [1, 0, 0]])
    found = difference(values == 1, values == -1)
    assert found.mean == pytest.approx(1 / 2)
    assert found.errors == pytest.approx((np.sqrt(1 / 36), np.sqrt((1 / 2 - 1 / 6) / 6)))
    assert found.freedoms == (1, 2)


def test_seeds_that_agree_by_chance_make_nothing_certain():
    """Each of three seeds is better on one image of sixty, each on another: a difference of 1/60 with no deviation at all."""
    wrong, against = np.zeros((3, 60), bool), np.zeros((3, 60), bool)
    against[[0, 1, 2], [0, 1, 2]] = True
    found = difference(wrong, against)
    assert np.ptp(found.seeds) == 0
    assert found.p_below(0.0) > 0.05


def test_a_p_value_is_the_level_whose_interval_ends_at_the_bound():
    found = Difference(-0.02, (0.004, 0.006), (2, 2999), np.zeros(3))
    for level in (0.5, 0.1, 0.01):
        low, high = found.interval(level)
        assert found.p_below(high) == pytest.approx(level / 2)
        assert found.p_above(low) == pytest.approx(level / 2)
        assert found.p_below(low) == pytest.approx(1 - level / 2)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Nets of random seeds on random images, both of which matter, and no difference between them."""
    rng = np.random.default_rng(1)
    held = []
    for _ in range(400):
        hardness, likings = rng.normal(size=300), rng.normal(size=(2, 300))
        skill = rng.normal(scale=0.15, size=(2, 4, 1))
        scores = hardness + 0.5 * likings[:, None] + skill + rng.normal(size=(2, 4, 300))
        low, high = difference(*(scores > 0)).interval()
        held.append(low <= 0 <= high)
    assert 0.93 <= np.mean(held) <= 0.98


def test_of_one_seed_nothing_is_told():
    found = difference(np.ones((1, 50), bool), np.zeros((1, 50), bool))
    assert (found.mean, found.p_above(0.0), found.p_below(0.0)) == (1.0, 1.0, 1.0)
    assert np.isnan(found.interval()).all()
    assert verdicts([p_values(BETTER, found, 0.01)]) == [OPEN]


def test_the_same_answers_are_alike_and_no_better():
    same = np.tile(np.arange(40) % 3 == 0, (3, 1))
    found = difference(same, same)
    assert (found.mean, found.error) == (0.0, 0.0)
    told = verdicts([p_values(says, found, 0.01) for says in (BETTER, NO_BETTER, ALIKE)])
    assert told == [OPEN, HOLDS, HOLDS]


CERTAIN = 0.001  # standard error
CASES = [
    (BETTER, -0.02, HOLDS),
    (BETTER, 0.02, FAILS),
    (BETTER, 0.0, OPEN),
    (NO_BETTER, 0.02, HOLDS),
    (NO_BETTER, 0.0, HOLDS),
    (NO_BETTER, -0.02, FAILS),
    (NO_BETTER, -0.005, FAILS),  # better, if by less than the margin
    (ALIKE, 0.001, HOLDS),
    (ALIKE, 0.02, FAILS),
    (ALIKE, -0.02, FAILS),
    (ALIKE, 0.01, OPEN),
]


@pytest.mark.parametrize(("says", "mean", "verdict"), CASES)
def test_a_verdict_of_a_certain_difference(says, mean, verdict):
    found = Difference(mean, (CERTAIN, CERTAIN), (30, 3000), np.full(3, mean))
    assert verdicts([p_values(says, found, 0.01)]) == [verdict]


def test_a_difference_among_many_claims_must_be_clearer():
    """Benjamini and Hochberg: a p value of 0.02 is enough alone with its contrary, not among twenty claims that say nothing."""
    assert verdicts([(0.02, 0.98)]) == [HOLDS]
    assert verdicts([(0.02, 0.98), *[(0.5, 0.5)] * 19])[0] == OPEN
    assert verdicts([]) == []
