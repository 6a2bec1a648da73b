"""Schedules as functions of the place in a run, and at work on an optimizer."""

import dataclasses
import itertools
import math

import keras
import pytest

from keras_vgg import schedules
from keras_vgg.recipe import Recipe
from keras_vgg.training.plateau import learning_rate_of
from keras_vgg.training.schedule import make_schedule


def shares(updates_per_epoch=2, **fields):
    """The share of the rate at every update of a run."""
    recipe = Recipe(**fields)
    updates = range(recipe.epochs * updates_per_epoch)
    return [schedules.share(recipe.schedule, update, updates_per_epoch, recipe) for update in updates]


def test_constant():
    assert shares(schedule="constant", epochs=3) == [1] * 6


def test_step_by_hand():
    assert shares(schedule="step", epochs=5, step_epochs=2, factor=0.5) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_cosine_by_hand():
    expected = [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    assert shares(schedule="cosine", epochs=2) == pytest.approx(expected)


@pytest.mark.parametrize("name", schedules.RATES)
def test_warm_up_rises_to_the_full_rate(name):
    found = shares(schedule=name, epochs=6, warmup_epochs=1.5)
    assert found[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert found[3] == pytest.approx(1)  # where the warm-up ends, each schedule is at its height
    assert all(later <= earlier for earlier, later in itertools.pairwise(found[3:]))


def test_a_warm_up_of_a_fraction_of_an_update_starts_at_the_full_rate():
    assert shares(schedule="constant", epochs=2, warmup_epochs=0.1)[0] == 1


@pytest.mark.parametrize("name", schedules.SCHEDULES)
def test_a_resumed_schedule_sets_the_rates_of_one_that_was_never_stopped(name):
    recipe = Recipe(schedule=name, epochs=12, patience=1, drops=2, factor=0.5, step_epochs=3, learning_rate=0.1)
    figures = [0.1, 0.3, 0.2, 0.3, 0.4, 0.4, 0.4, 0.1, 0.4, 0.4, 0.4, 0.4]

    def go_on(schedule, optimizer, epochs):
        rates = []
        for epoch in epochs:
            if schedule.ended:
                break
            for update in range(2):
                schedule.before_update(2 * epoch + update)
                rates.append(learning_rate_of(optimizer))
                assert schedule.rate == rates[-1]
            schedule.after_epoch(epoch, figures[epoch])
        return rates

    def begin():
        optimizer = keras.optimizers.SGD(recipe.learning_rate)
        return make_schedule(recipe, optimizer, 2), optimizer

    whole = go_on(*begin(), range(12))
    assert len(set(whole)) > (2 if name != "constant" else 0)
    for stop in (1, 4, 7):
        first, optimizer = begin()
        rates = go_on(first, optimizer, range(stop))
        second = make_schedule(recipe, optimizer, 2)
        second.restore(first.state())
        assert rates + go_on(second, optimizer, range(stop, 12)) == whole


def test_a_schedule_that_looks_at_the_end_is_named_so():
    """Of the others, no update before the end depends on where the end is, so that a run may go on to a later one."""
    for name in schedules.RATES:
        recipe = Recipe(schedule=name, epochs=4, step_epochs=2)
        longer = dataclasses.replace(recipe, epochs=8)
        same = [schedules.share(name, n, 2, recipe) for n in range(8)] == [schedules.share(name, n, 2, longer) for n in range(8)]
        assert same == (name not in schedules.DEPEND_ON_EPOCHS)
