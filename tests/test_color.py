import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_vgg import randomness
from keras_vgg.data import color
from keras_vgg.data.split import in_memory
from keras_vgg.errors import InputError

pytestmark = pytest.mark.usefixtures("graphs_as_traced")

STATISTICS = color.ColorStatistics((1.0, 2.0, 3.0), (0.3, 0.1, 0.02), ((0.6, 0.8, 0.0), (-0.8, 0.6, 0.0), (0.0, 0.0, 1.0)))


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def colored_pixels(number, seed=0):
    """`(number, 32, 32, 3)` uint8 whose channels have different variances and are correlated."""
    random = np.random.default_rng(seed)
    brightness = random.normal(0, 40, (number, 32, 32, 1))
    noise = random.normal(0, 1, (number, 32, 32, 3)) * [5, 15, 25]
    return (brightness + noise + [150, 120, 90]).clip(0, 255).astype(np.uint8)


def split_of(pixels):
    return in_memory([png(image) for image in pixels], np.zeros(len(pixels)), "memory")


def test_measured_colors_are_numpys():
    pixels = colored_pixels(60)  # more than one row of the pipeline, and not a multiple of it
    statistics = color.measure(split_of(pixels), scale=32, crop=32)
    flat = pixels.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(statistics.mean, flat.mean(0), rtol=1e-9)
    covariance = np.cov((flat / 255).T, bias=True)
    values, vectors = np.array(statistics.eigenvalues), np.array(statistics.eigenvectors)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(covariance)[::-1], rtol=1e-7)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(vectors.T @ np.diag(values) @ vectors, covariance, atol=1e-10)
    assert values[0] > values[1] > values[2] > 0
    assert all(vector[np.abs(vector).argmax()] > 0 for vector in vectors)


def test_images_of_one_color_have_no_components():
    pixels = np.full((3, 32, 32, 3), [10, 20, 30], np.uint8)
    statistics = color.measure(split_of(pixels), scale=32, crop=32)
    np.testing.assert_allclose(statistics.mean, [10, 20, 30])
    np.testing.assert_allclose(statistics.eigenvalues, 0, atol=1e-12)
    assert min(statistics.eigenvalues) >= 0


def test_centre_crops_are_measured():
    pixels = np.zeros((2, 64, 128, 3), np.uint8)
    pixels[:, 16:48, 48:80] = [200, 100, 50]
    assert color.measure(split_of(pixels), scale=64, crop=32).mean == pytest.approx((200, 100, 50))


def test_a_sample_is_the_same_at_every_call():
    split = split_of(colored_pixels(60))
    first = color.measure(split, scale=32, crop=32, sampled=10)
    assert first == color.measure(split, scale=32, crop=32, sampled=10)
    chosen = randomness.epoch_order(60, seed=0, epoch=2)[:10]
    np.testing.assert_allclose(first.mean, colored_pixels(60)[chosen].reshape(-1, 3).mean(0))


def test_unreadable_images_do_not_count():
    pixels = colored_pixels(5)
    spoiled = in_memory([png(pixels[0]), b"", png(pixels[1]), b"no image"], np.zeros(4), "memory")
    assert color.measure(spoiled, scale=32, crop=32).mean == pytest.approx(pixels[:2].reshape(-1, 3).mean(0))


def test_nothing_readable_is_told():
    with pytest.raises(InputError, match=r"None of the 2 sampled training images could be read, e\.g\. memory\[0\]"):
        color.measure(in_memory([b"", b"x"], np.zeros(2), "memory"), scale=32, crop=32)


def shifts(number=4000, epoch=0, seed=0, statistics=STATISTICS):
    keys = randomness.example_key(epoch, tf.range(number, dtype=tf.int64))
    return tf.function(lambda keys: color.shifts(keys, statistics, seed=seed))(keys).numpy()


@pytest.mark.parametrize("statistics", [STATISTICS, color.IMAGENET])
def test_shifts_have_mean_zero_and_the_formulas_covariance(statistics):
    # Σ aᵢ λᵢ pᵢ with aᵢ ~ N(0, 0.1), in units of 255: covariance Σ (0.1 · 255 · λᵢ)² pᵢ pᵢᵀ.
    drawn = shifts(statistics=statistics)
    deviations, vectors = 25.5 * np.array(statistics.eigenvalues), np.array(statistics.eigenvectors)
    covariance = vectors.T @ np.diag(deviations**2) @ vectors
    assert drawn.shape == (4000, 3)
    np.testing.assert_allclose(drawn.mean(0), 0, atol=0.08 * deviations[0])
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.08 * deviations[0] ** 2)
    along = drawn @ vectors.T
    np.testing.assert_allclose(along.std(0), deviations, rtol=0.05)


def test_shift_of_an_example_depends_on_its_key_and_the_seed_alone():
    drawn = shifts(20)
    np.testing.assert_array_equal(shifts(7), drawn[:7])
    assert not np.isclose(shifts(20, epoch=1), drawn).any()
    assert not np.isclose(shifts(20, seed=1), drawn).any()


def test_imagenets_components_are_orthonormal():
    vectors = np.array(color.IMAGENET.eigenvectors)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-3)
