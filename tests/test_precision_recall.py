"""Improved precision and recall against a plain computation, and on clouds of which the answer is known."""

import numpy as np
import pytest

from keras_vgg.errors import InputError
from keras_vgg.features import neighbours, precision_recall
from keras_vgg.features.neighbours import pairs_of


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks that do not divide the number of rows."""
    monkeypatch.setattr(neighbours, "BLOCK", 300)


def cloud(count, width=64, seed=0, spread=1.0):
    return spread * np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def plainly(real, generated, k):
    """The formula of the paper, with all distances at once and one pair of rows after the other."""

    def distances(first, second):
        return np.array([np.sqrt(((second.astype(np.float64) - row.astype(np.float64)) ** 2).sum(axis=1)) for row in first])

    def share_inside(rows, centres):
        reach = np.sort(distances(centres, centres), axis=1)[:, k]  # the first is the row itself
        return (distances(rows, centres) <= reach).any(axis=1).mean()

    return share_inside(generated, real), share_inside(real, generated)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_the_figures_are_those_of_the_formula(k):
    real, generated = cloud(2000), cloud(1500, seed=1, spread=0.9)
    found = precision_recall(real, generated, k=k)
    assert found == plainly(real, generated, k)
    assert 0.05 < found.precision < 0.999 or 0.05 < found.recall < 0.999  # else nothing is told apart


def test_the_same_images_are_all_there_and_disjoint_ones_are_not():
    real = cloud(700)
    assert precision_recall(real, real) == (1, 1)
    assert precision_recall(real, real[::-1].copy()) == (1, 1)
    assert precision_recall(real, real + 100) == (0, 0)


def test_one_kind_of_two_is_precise_and_half_of_what_is_there():
    one, other, generated = (cloud(400, width=2, seed=seed) for seed in range(3))
    found = precision_recall(np.concatenate([one, other + 100]), generated)
    assert found.precision > 0.95
    assert found.recall == pytest.approx(0.5, abs=0.03)


def test_images_that_are_there_many_times_are_their_own_likes_alone():
    real = np.repeat(cloud(30, width=4096, spread=50), 10, axis=0)  # whose reach is zero, and rounding is not
    assert precision_recall(real, real[:100]) == (1, 1 / 3)
    assert precision_recall(real, real + 0.5).precision == 0


def test_every_pair_is_counted():
    counts = []
    precision_recall(cloud(1000), cloud(700, seed=1), on_done=counts.append)
    assert sum(counts) == pairs_of(1000, 700)


class Slices:
    """Rows that are never there as a whole."""

    def __init__(self, rows):
        self._rows = rows

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, part):
        assert part.stop - (part.start or 0) <= 300
        return self._rows[part]


def test_rows_are_read_in_blocks():
    real, generated = cloud(1000), cloud(700, seed=1)
    assert precision_recall(Slices(real), Slices(generated)) == precision_recall(real, generated)


@pytest.mark.parametrize(
    ("real", "generated", "k", "message"),
    [
        (cloud(3), cloud(9), 3, "k=3 for 3 real"),
        (cloud(9), cloud(9), 0, "k=0"),
        (cloud(9), cloud(9, width=32), 3, "64 and 32 numbers"),
        (cloud(9), np.full((9, 64), np.nan), 3, "finite numbers. Received: invalid ones for the generated"),
        (cloud(9)[:, :, None], cloud(9), 3, "rows of finite numbers. Received: invalid ones for the real"),
    ],
)
def test_features_that_cannot_be_compared_are_refused(real, generated, k, message):
    with pytest.raises(InputError, match=message):
        precision_recall(real, generated, k=k)
