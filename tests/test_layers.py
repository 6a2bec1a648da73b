import numpy as np
import pytest
import tensorflow as tf

from keras_vgg import randomness
from keras_vgg.layers import LocalResponseNormalization, keyed_dropout


def normalised(x, k=2.0, n=5, alpha=1e-4, beta=0.75):
    """The layer's docstring, one channel at a time."""
    y = np.empty_like(x)
    for c in range(x.shape[-1]):
        around = x[..., max(0, c - n // 2) : c + n // 2 + 1]
        y[..., c] = x[..., c] / (k + alpha * (around**2).sum(-1)) ** beta
    return y


def activations(shape, seed=0, scale=100.0):
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype("float32")


@pytest.mark.parametrize("constants", [{}, {"n": 3}, {"k": 1.0, "n": 1, "alpha": 0.01, "beta": 0.5}])
@pytest.mark.parametrize("channels", [2, 9])
def test_lrn_is_the_formula(constants, channels):
    x = activations((2, 4, 3, channels))
    np.testing.assert_allclose(LocalResponseNormalization(**constants)(x), normalised(x.astype("float64"), **constants), rtol=1e-5)


def test_lrn_of_one_value_by_hand():
    # Alone among zeros: 100 / (2 + 1e-4 * 100²)^0.75 = 100 / 3^0.75; alpha is not divided by n.
    x = np.zeros((1, 1, 1, 7), "float32")
    x[..., 3] = 100
    assert float(LocalResponseNormalization()(x)[0, 0, 0, 3]) == pytest.approx(100 / 3**0.75, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_lrn_in_half_precision(dtype):
    x = tf.cast(activations((1, 2, 2, 8), scale=300.0), dtype)  # the squares overflow float16
    y = LocalResponseNormalization(dtype=dtype)(x)
    assert y.dtype == dtype
    np.testing.assert_allclose(tf.cast(y, "float32"), normalised(np.array(tf.cast(x, "float32"))), rtol=1e-2)


def test_lrn_keeps_its_constants_when_saved():
    layer = LocalResponseNormalization(k=1.0, n=3, alpha=0.5, beta=0.25, name="lrn")
    again = LocalResponseNormalization.from_config(layer.get_config())
    assert (again.k, again.n, again.alpha, again.beta, again.name) == (1.0, 3, 0.5, 0.25, "lrn")


@pytest.mark.parametrize("n", [0, 4])
def test_lrn_wants_an_odd_number(n):
    with pytest.raises(ValueError, match=f"`n` must be an odd number.*n={n}"):
        LocalResponseNormalization(n=n)


def keys_of(epoch, indices):
    return randomness.example_key(epoch, tf.constant(indices, tf.int64))


ONES = np.ones((6, 500), "float32")


def test_dropout_of_a_row_depends_on_its_key_alone():
    keys = keys_of(3, [7, 1, 2**31, 0, 12, 5])
    whole = keyed_dropout(ONES, keys, rate=0.5, seed=1, stream=0).numpy()
    part = keyed_dropout(ONES[:3], tf.gather(keys, [4, 1, 4]), rate=0.5, seed=1, stream=0).numpy()
    np.testing.assert_array_equal(part, whole[[4, 1, 4]])
    assert len({row.tobytes() for row in whole}) == 6


@pytest.mark.parametrize("change", [{"epoch": 4}, {"seed": 2}, {"stream": 1}, {"indices": range(10, 16)}])
def test_dropout_differs_between_epochs_seeds_layers_and_examples(change):
    def masks(epoch=3, seed=1, stream=0, indices=range(6)):
        return keyed_dropout(ONES, keys_of(epoch, list(indices)), rate=0.5, seed=seed, stream=stream).numpy() > 0

    agreement = (masks() == masks(**change)).mean()
    assert agreement == pytest.approx(0.5, abs=0.05)  # as between independent coins


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_rate_and_scaling(rate):
    x = np.full((40, 1000), 3.0, "float32")
    y = keyed_dropout(x, keys_of(0, range(40)), rate=rate, seed=0, stream=0).numpy()
    assert (y == 0).mean() == pytest.approx(rate, abs=0.01)
    np.testing.assert_allclose(y[y != 0], 3.0 / (1 - rate), rtol=1e-6)


def test_dropout_of_rate_zero_changes_nothing():
    np.testing.assert_array_equal(keyed_dropout(ONES, keys_of(0, range(6)), rate=0, seed=0, stream=0), ONES)


def test_dropout_does_not_depend_on_the_compiler():
    def masks(keys):
        return keyed_dropout(tf.constant(ONES), keys, rate=0.3, seed=9, stream=1)

    keys = keys_of(2, range(6))
    eager = masks(keys).numpy()
    for jit_compile in (False, True):
        np.testing.assert_array_equal(tf.function(masks, jit_compile=jit_compile)(keys) > 0, eager > 0)
