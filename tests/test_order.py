import itertools

import numpy as np
import pytest

from keras_vgg import randomness
from keras_vgg.data.order import PADDING, Layout, balanced_order, training_rows, validation_rows

LAYOUTS = [
    (n, Layout(batch, micro, replicas))
    for n, batch, micro, replicas in itertools.product((1, 7, 64, 100), (1, 8, 30, 64), (1, 3, 8), (1, 2, 4))
]


def examples(dealt):
    return dealt[dealt != PADDING]


@pytest.mark.parametrize(("n", "layout"), LAYOUTS, ids=str)
def test_every_example_is_dealt_once_an_epoch_and_batches_do_not_depend_on_the_cut(n, layout):
    order = randomness.epoch_order(n, seed=1, epoch=2)
    steps = [layout.deal(order, step) for step in range(layout.steps(n))]
    assert len(steps) == -(-n // layout.batch_size)
    for step, dealt in enumerate(steps):
        assert dealt.shape == (layout.micro_steps(n, step), layout.replicas, layout.micro_batch)
        # In the order of the epoch, whatever the micro-batch and the replicas, with all padding behind.
        batch = order[step * layout.batch_size : (step + 1) * layout.batch_size]
        flat = dealt.reshape(-1)
        np.testing.assert_array_equal(flat[: len(batch)], batch)
        assert (flat[len(batch) :] == PADDING).all()
        assert dealt.size - len(batch) < layout.replicas * layout.micro_batch  # no micro-step without examples
    np.testing.assert_array_equal(np.sort(np.concatenate([examples(dealt) for dealt in steps])), np.arange(n))


def test_deal_by_hand():
    dealt = Layout(batch_size=7, micro_batch=2, replicas=2).deal(np.arange(10, 20), 0)
    assert dealt.tolist() == [[[10, 11], [12, 13]], [[14, 15], [16, PADDING]]]
    last = Layout(batch_size=7, micro_batch=2, replicas=2).deal(np.arange(10, 20), 1)
    assert last.tolist() == [[[17, 18], [19, PADDING]]]


def rows_of_epoch(n, layout, epoch, replicas, seed=3):
    number = sum(layout.micro_steps(n, step) for step in range(layout.steps(n))) * len(replicas)
    rows = training_rows(n, layout, seed=seed, epoch=epoch, step=0, my_replicas=replicas)
    return list(itertools.islice(rows, number)), rows


def test_training_rows_are_the_epochs_in_turn():
    n, layout = 50, Layout(batch_size=16, micro_batch=3, replicas=2)
    first, rows = rows_of_epoch(n, layout, 4, range(2))
    assert {epoch for epoch, _ in first} == {4}
    np.testing.assert_array_equal(examples(np.concatenate([row for _, row in first])), randomness.epoch_order(n, seed=3, epoch=4))
    second = list(itertools.islice(rows, len(first)))
    assert {epoch for epoch, _ in second} == {5}
    np.testing.assert_array_equal(examples(np.concatenate([row for _, row in second])), randomness.epoch_order(n, seed=3, epoch=5))


@pytest.mark.parametrize("replicas", [range(2), range(1, 2)])
@pytest.mark.parametrize("step", [0, 1, 3])
def test_rows_started_at_a_step_are_the_tail_of_the_uninterrupted_ones(step, replicas):
    n, layout, epoch = 50, Layout(batch_size=16, micro_batch=3, replicas=2), 4
    uninterrupted = training_rows(n, layout, seed=3, epoch=0, step=0, my_replicas=replicas)
    an_epoch = sum(layout.micro_steps(n, current) for current in range(layout.steps(n))) * len(replicas)
    done = epoch * an_epoch + sum(layout.micro_steps(n, current) for current in range(step)) * len(replicas)
    resumed = training_rows(n, layout, seed=3, epoch=epoch, step=step, my_replicas=replicas)
    tail = itertools.islice(uninterrupted, done, done + 2 * an_epoch)
    for (epoch_a, row_a), (epoch_b, row_b) in zip(tail, resumed, strict=False):
        assert epoch_a == epoch_b
        np.testing.assert_array_equal(row_a, row_b)


def test_workers_together_take_what_one_takes():
    n, layout = 50, Layout(batch_size=16, micro_batch=2, replicas=4)
    everything, _ = rows_of_epoch(n, layout, 1, range(4))
    first, _ = rows_of_epoch(n, layout, 1, range(2))
    second, _ = rows_of_epoch(n, layout, 1, range(2, 4))
    for i, (_, row) in enumerate(everything):
        micro_step, replica = divmod(i, 4)
        worker = first if replica < 2 else second
        np.testing.assert_array_equal(row, worker[2 * micro_step + replica % 2][1])


@pytest.mark.parametrize(("n", "layout"), [case for case in LAYOUTS if case[1].batch_size == 8], ids=str)
def test_a_validation_pass_takes_every_example_once(n, layout):
    number = -(-n // (layout.micro_batch * layout.replicas)) * layout.replicas
    rows = validation_rows(n, layout, my_replicas=range(layout.replicas))
    for _ in range(2):
        epochs, taken = zip(*itertools.islice(rows, number), strict=True)
        assert set(epochs) == {0}
        np.testing.assert_array_equal(examples(np.concatenate(taken)), np.arange(n))


def test_behind_the_end_of_a_run_rows_are_empty():
    n, layout = 50, Layout(batch_size=16, micro_batch=3, replicas=2)
    an_epoch = sum(layout.micro_steps(n, step) for step in range(layout.steps(n))) * 2
    options = {"seed": 3, "epoch": 4, "step": 1, "my_replicas": range(2)}
    endless, ending = training_rows(n, layout, **options), training_rows(n, layout, **options, epochs=6)
    assert_ends_after(2 * an_epoch - 2 * layout.micro_steps(n, 0), endless, ending)
    endless, ending = (validation_rows(n, layout, my_replicas=range(2), passes=passes) for passes in (None, 2))
    assert_ends_after(2 * 2 * -(-n // 6), endless, ending)


def assert_ends_after(number, endless, ending):
    for (epoch, row), (epoch_of_ending, row_of_ending) in itertools.islice(zip(endless, ending, strict=False), number):
        assert epoch == epoch_of_ending
        np.testing.assert_array_equal(row, row_of_ending)
    assert (next(endless)[1] != PADDING).any()
    assert all((row == PADDING).all() for _, row in itertools.islice(ending, 20))


def test_validation_workers_share_a_pass():
    n, layout = 10, Layout(batch_size=4, micro_batch=2, replicas=2)
    mine, theirs = (validation_rows(n, layout, my_replicas=range(i, i + 1)) for i in range(2))
    assert [row.tolist() for _, row in itertools.islice(mine, 3)] == [[0, 1], [4, 5], [8, 9]]
    assert [row.tolist() for _, row in itertools.islice(theirs, 3)] == [[2, 3], [6, 7], [PADDING, PADDING]]


LABELS = np.array([0] * 50 + [2] * 3 + [-1] * 2 + [1] * 30)


def test_balanced_epochs_have_every_class_as_often():
    n = len(LABELS)
    orders = [balanced_order(LABELS, seed=1, epoch=epoch) for epoch in range(9)]
    for drawn in orders:
        assert drawn.shape == (n,)
        assert len(set(drawn.tolist())) == n  # again is another number, so that its view is another
        counts = np.bincount(LABELS[drawn % n])
        assert sorted(counts.tolist()) == [28, 28, 29]
        assert set(np.bincount(drawn % n)[50:53]) <= {9, 10}  # 28 or 29 of the three, each as often
        assert np.bincount(drawn % n)[:50].max() == 1
    assert {np.bincount(LABELS[drawn % n]).argmax() for drawn in orders} == {0, 1, 2}  # who has one more changes
    assert set(np.concatenate(orders) % n) == set(np.flatnonzero(LABELS >= 0))  # whom an epoch leaves out another has
    np.testing.assert_array_equal(orders[4], balanced_order(LABELS, seed=1, epoch=4))
    assert not np.array_equal(orders[4], balanced_order(LABELS, seed=2, epoch=4))
    assert np.abs(np.diff(LABELS[orders[0] % n])).mean() > 0.5  # mixed, not one class after another


def test_balanced_rows_are_those_orders_cut():
    layout = Layout(batch_size=16, micro_batch=4, replicas=2)
    rows = training_rows(len(LABELS), layout, seed=3, epoch=2, step=0, my_replicas=range(2), balance=LABELS)
    number = sum(layout.micro_steps(len(LABELS), step) for step in range(layout.steps(len(LABELS)))) * 2
    dealt = np.concatenate([row for _, row in itertools.islice(rows, number)])
    np.testing.assert_array_equal(examples(dealt), balanced_order(LABELS, seed=3, epoch=2))
    assert next(rows)[0] == 3
