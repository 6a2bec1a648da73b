"""MixUp and CutMix: shares by another library, mixtures by hand, pairs that no micro-batch tears apart."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_vgg.training.mixing import Mixing, greater, mix, symmetric_beta

MIXTURES = [Mixing(0.4, 0, 7), Mixing(0, 1.0, 7), Mixing(0.4, 1.0, 7)]
IMAGES = tf.constant(np.arange(400.0).reshape(400, 1, 1, 1) * np.ones((1, 16, 20, 1)), tf.float32)
"""Each of one value, so that a mixture's mean tells its shares."""


@pytest.mark.parametrize("jit_compile", [False, True])
def test_shares_are_those_of_the_beta_distribution(jit_compile):
    uniform, alpha = map(np.ravel, np.meshgrid(np.linspace(0.001, 0.999, 50, dtype=np.float32), np.float32([0.1, 0.4, 1, 5])))
    drawn = tf.function(symmetric_beta, jit_compile=jit_compile, autograph=False)(tf.constant(uniform), tf.constant(alpha))
    np.testing.assert_allclose(drawn, stats.beta.ppf(uniform.astype(float), alpha, alpha), atol=5e-6)


@pytest.mark.parametrize("mixing", MIXTURES)
def test_a_mixture_has_of_each_image_what_its_share_says(mixing):
    own, partner = np.arange(400.0), np.arange(400.0).reshape(-1, 2)[:, ::-1].reshape(-1)
    mixed, shares = (each.numpy() for each in mix(IMAGES, tf.range(400, dtype=tf.int64), tf.ones(400), mixing))
    np.testing.assert_allclose(mixed.mean((1, 2, 3)), shares * own + (1 - shares) * partner, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(shares[::2], shares[1::2])
    np.testing.assert_allclose(mixed[::2] + mixed[1::2], (IMAGES[::2] + IMAGES[1::2]).numpy(), rtol=1e-5)  # nothing is lost
    assert shares.mean() == pytest.approx(0.5 if not mixing.cutmix else 0.6, abs=0.11)
    is_whole = np.array([set(np.unique(values)) <= {a, b} for values, a, b in zip(mixed, own, partner, strict=True)])
    assert is_whole.mean() == pytest.approx({(0.4, 0): 0, (0, 1.0): 1, (0.4, 1.0): 0.5}[mixing.mixup, mixing.cutmix], abs=0.1)


def test_what_cutmix_pastes_is_a_rectangle():
    mixed, shares = mix(IMAGES, tf.range(400, dtype=tf.int64), tf.ones(400), Mixing(cutmix=1.0))
    for values, own, share in zip(mixed.numpy()[..., 0], np.arange(400), shares.numpy(), strict=True):
        pasted = values != own
        rows, columns = pasted.any(1), pasted.any(0)
        np.testing.assert_array_equal(pasted, np.outer(rows, columns))
        for side in (rows, columns):
            assert (np.diff(np.flatnonzero(side)) == 1).all()
        assert pasted.mean() == pytest.approx(1 - share, abs=1e-6)


@pytest.mark.parametrize("mixing", MIXTURES)
def test_pairs_do_not_depend_on_the_cut_and_who_is_alone_stays(mixing):
    keys, weights = tf.range(8, dtype=tf.int64) + 2**33, tf.constant([1.0, 1, 0, 1, 1, 1, 1, 0])
    whole = mix(IMAGES[:8], keys, weights, mixing)
    cut = [mix(IMAGES[i : i + 2], keys[i : i + 2], weights[i : i + 2], mixing) for i in range(0, 8, 2)]
    for together, apart in zip(whole, map(tf.concat, zip(*cut, strict=True), (0, 0)), strict=True):
        np.testing.assert_allclose(together, apart, rtol=1e-6)
    assert whole[1].numpy()[[3, 6]].tolist() == [1.0, 1.0]
    np.testing.assert_array_equal(whole[0].numpy()[[3, 6]], IMAGES.numpy()[[3, 6]])


def test_the_target_of_the_greater_share():
    labels, rows = tf.constant([1, 2, 3, 4]), tf.constant([[1, 0], [0, 1], [2, 0], [0, 2]])
    shares = tf.constant([0.9, 0.2, 0.5, 0.1])
    assert greater(labels, shares).numpy().tolist() == [1, 1, 3, 3]
    assert greater(rows, shares).numpy().tolist() == [[1, 0], [1, 0], [2, 0], [2, 0]]
