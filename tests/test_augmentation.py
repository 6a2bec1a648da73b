"""RandAugment's operations beside Pillow's; erasing; both as functions of the example's key."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from keras_vgg import randomness
from keras_vgg.data import rand_augment
from keras_vgg.data.augmentation import Augmentation, erase

SIDE = 40
COARSE = np.random.default_rng(0).integers(20, 220, (6, 6, 3)).astype(np.uint8)
PICTURE = Image.fromarray(COARSE).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
PIXELS = np.asarray(PICTURE)


def affine(a, b, c, d):
    """About the centre; Pillow takes x and y of the middle of a pixel."""
    half = SIDE / 2
    return moved((a, b, half - a * half - b * half, c, d, half - c * half - d * half))


def moved(matrix):
    grey = (128, 128, 128)
    return PICTURE.transform((SIDE, SIDE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=grey)


BY_PILLOW = {
    "identity": lambda amount: PICTURE,
    "auto_contrast": lambda amount: ImageOps.autocontrast(PICTURE),
    "equalize": lambda amount: ImageOps.equalize(PICTURE),
    "rotate": lambda amount: PICTURE.rotate(30 * amount, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128)),
    "solarize": lambda amount: ImageOps.solarize(PICTURE, round(256 * (1 - abs(amount)))),
    "color": lambda amount: ImageEnhance.Color(PICTURE).enhance(1 + 0.9 * amount),
    "posterize": lambda amount: ImageOps.posterize(PICTURE, 8 - round(4 * abs(amount))),
    "contrast": lambda amount: ImageEnhance.Contrast(PICTURE).enhance(1 + 0.9 * amount),
    "brightness": lambda amount: ImageEnhance.Brightness(PICTURE).enhance(1 + 0.9 * amount),
    "sharpness": lambda amount: ImageEnhance.Sharpness(PICTURE).enhance(1 + 0.9 * amount),
    "shear_x": lambda amount: affine(1, 0.3 * amount, 0, 1),
    "shear_y": lambda amount: affine(1, 0, 0.3 * amount, 1),
    "translate_x": lambda amount: moved((1, 0, 0.45 * amount * SIDE, 0, 1, 0)),
    "translate_y": lambda amount: moved((1, 0, 0, 0, 1, 0.45 * amount * SIDE)),
}
ROUNDED_OTHERWISE = {"equalize": 12, **dict.fromkeys(("rotate", "shear_x", "shear_y"), 2)}


@pytest.mark.parametrize("name", rand_augment.OPERATIONS)
@pytest.mark.parametrize("amount", [-1.0, 0.5])
def test_operations_are_those_of_pillow(name, amount):
    ours = rand_augment.OPERATIONS[name](tf.constant(PIXELS), tf.constant(amount)).numpy()
    theirs = np.asarray(BY_PILLOW[name](amount))
    difference = np.abs(ours.astype(int) - theirs)
    # At the edge of what is uncovered, Pillow does not blend with the grey.
    assert np.quantile(difference, 0.95) <= ROUNDED_OTHERWISE.get(name, 1)
    assert difference.mean() < 6
    assert name == "identity" or (ours != PIXELS).mean() > 0.2


def test_nothing_is_done_without_strength():
    for name, operation in rand_augment.OPERATIONS.items():
        same = np.array_equal(operation(tf.constant(PIXELS), tf.constant(0.0)), PIXELS)
        assert same != (name in ("auto_contrast", "equalize")), name


KEYS = [int(randomness.example_key(1, index)) for index in range(40)]


def in_a_data_set(augmentation, keys):
    @tf.autograph.experimental.do_not_convert
    def augmented(key):
        return augmentation(tf.constant(PIXELS), key)

    return np.stack([each.numpy() for each in tf.data.Dataset.from_tensor_slices(keys).map(augmented, num_parallel_calls=2)])


def test_an_augmentation_depends_on_seed_and_key_alone():
    augmentation = Augmentation((2, 9), 0.5, seed=3)
    all_together = in_a_data_set(augmentation, KEYS)
    np.testing.assert_array_equal(in_a_data_set(augmentation, KEYS[::-3]), all_together[::-3])
    np.testing.assert_array_equal(augmentation(tf.constant(PIXELS), tf.constant(KEYS[5])), all_together[5])
    assert len(np.unique(all_together.reshape(len(KEYS), -1), axis=0)) > 35  # twice the identity leaves an image as it is
    others = in_a_data_set(Augmentation((2, 9), 0.5, seed=4), KEYS[:5])
    assert (others != all_together[:5]).reshape(5, -1).any(1).sum() >= 4


def test_without_any_the_pixels_are_left_alone():
    pixels = tf.constant(PIXELS)
    assert Augmentation()(pixels, tf.constant(KEYS[0])) is pixels


def test_what_is_erased_is_a_rectangle_of_noise():
    areas, values = [], []
    for key in KEYS:
        erased = erase(tf.constant(PIXELS), tf.constant(key), share=1.0, seed=2).numpy()
        places = np.argwhere((erased != PIXELS).any(-1))
        (top, left), (bottom, right) = places.min(0), places.max(0) + 1
        inside = erased[top:bottom, left:right]
        areas.append(inside.size / erased.size)
        values.append(inside.reshape(-1))
        assert np.array_equal(np.delete(erased, np.s_[top:bottom], 0), np.delete(PIXELS, np.s_[top:bottom], 0))
        assert np.array_equal(np.delete(erased, np.s_[left:right], 1), np.delete(PIXELS, np.s_[left:right], 1))
        assert 0.2 < (bottom - top) / (right - left) < 5  # of 0.3 to 3.3, in whole pixels
    assert 0.015 < min(areas) < 0.08
    assert 0.25 < max(areas) < 0.35
    np.testing.assert_allclose(np.histogram(np.concatenate(values), 8, (0, 256), density=True)[0] * 256, 1, atol=0.1)


def test_a_share_of_the_images_is_erased():
    drawn = [np.array_equal(erase(tf.constant(PIXELS), tf.constant(key), share=0.25, seed=2), PIXELS) for key in KEYS]
    assert 25 <= sum(drawn) <= 36
