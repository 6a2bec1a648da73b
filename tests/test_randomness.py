import numpy as np
import pytest
import tensorflow as tf

from keras_vgg import randomness


def philox(counter, key, rounds=10):
    """Philox4x32-10 as published (Salmon et al. 2011): four 32-bit numbers from four counter words and two key words."""
    c, k, low = list(counter), list(key), 2**32 - 1
    for _ in range(rounds):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(second >> 32) ^ c[1] ^ k[0], second & low, (first >> 32) ^ c[3] ^ k[1], first & low]
        k = [(k[0] + 0x9E3779B9) & low, (k[1] + 0xBB67AE85) & low]
    return c


@pytest.mark.parametrize(("seed", "stream", "key"), [(0, 0, 0), (5, 2, (7 << 32) + 123), (randomness.MAX_SEED - 1, 255, 2**40 + 1)])
def test_numbers_are_those_of_philox(seed, stream, key):
    low = 2**32 - 1
    word = seed * randomness.MAX_STREAMS + stream
    blocks = [philox([block, 0, key & low, key >> 32], [word & low, word >> 32]) for block in range(3)]
    expected = np.array(blocks, np.uint32).reshape(-1) >> 8
    drawn = randomness.uniform(tf.constant(key, tf.int64), [12], seed=seed, stream=stream)
    np.testing.assert_array_equal(drawn, expected.astype(np.float32) * np.float32(2**-24))


def test_example_keys_are_distinct():
    keys = [int(randomness.example_key(epoch, index)) for epoch in (0, 1, 74) for index in (0, 1, 1_281_166, 2**32 - 1)]
    assert len(set(keys)) == len(keys)
    assert keys[0] == 0
    assert int(randomness.example_key(3, 5)) == 3 * 2**32 + 5


@pytest.mark.parametrize("draw", [randomness.uniform, randomness.normal])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_row_depends_on_its_key_alone(draw, jit_compile):
    @tf.function(jit_compile=jit_compile)
    def drawn(keys):
        return draw(keys, [3, 2], seed=6, stream=1)

    keys = randomness.example_key(2, tf.constant([9, 0, 4], tf.int64))
    expected = np.stack([draw(key, [3, 2], seed=6, stream=1) for key in keys])
    np.testing.assert_allclose(drawn(keys), expected, rtol=1e-6)
    np.testing.assert_allclose(drawn(keys[1:]), expected[1:], rtol=1e-6)


@pytest.mark.parametrize("draw", [randomness.uniform, randomness.normal])
@pytest.mark.parametrize("length", [3, 300])
def test_numbers_of_an_example_do_not_depend_on_those_beside_it_bit_for_bit(draw, length):
    keys = randomness.example_key(1, np.arange(50))
    whole = draw(keys, [length], seed=4, stream=1).numpy()
    for count in (1, 2, 5, 17):
        np.testing.assert_array_equal(draw(keys[33 : 33 + count], [length], seed=4, stream=1), whole[33 : 33 + count])
    np.testing.assert_array_equal(draw(keys[33], [length], seed=4, stream=1), whole[33])


def test_uniform_lies_in_the_unit_interval_and_fills_it():
    drawn = randomness.uniform(tf.constant(1, tf.int64), [20000], seed=0, stream=0).numpy()
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.histogram(drawn, bins=10, range=(0, 1))[0]
    np.testing.assert_allclose(counts, 2000, atol=200)  # 4.7 standard deviations


def test_first_numbers_of_neighbouring_examples_are_not_related():
    @tf.function
    def drawn():
        return randomness.uniform(randomness.example_key(0, tf.range(4000, dtype=tf.int64)), [1], seed=0, stream=0)

    first = drawn().numpy()[:, 0]
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.06
    assert first.mean() == pytest.approx(0.5, abs=0.02)


def test_normal_has_mean_zero_and_variance_one():
    drawn = randomness.normal(tf.constant(1, tf.int64), [20000], seed=0, stream=0).numpy()
    assert np.isfinite(drawn).all()
    assert drawn.mean() == pytest.approx(0, abs=0.03)
    assert drawn.var() == pytest.approx(1, abs=0.04)
    assert (np.abs(drawn) < 1.96).mean() == pytest.approx(0.95, abs=0.01)


def test_epoch_order_is_a_permutation_that_changes_with_epoch_and_seed():
    orders = [randomness.epoch_order(100, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
    for order in orders:
        assert order.dtype == np.int64
        np.testing.assert_array_equal(np.sort(order), np.arange(100))
    assert len({order.tobytes() for order in orders}) == 6
    np.testing.assert_array_equal(randomness.epoch_order(100, seed=1, epoch=2), orders[-1])


def test_epoch_order_never_changes_so_that_old_runs_can_be_resumed():
    assert randomness.epoch_order(10, seed=0, epoch=0).tolist() == [6, 1, 0, 5, 3, 8, 7, 9, 2, 4]
