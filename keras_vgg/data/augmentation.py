"""Augmentation of training views, a function of the seed and the example's key only."""

import dataclasses

import tensorflow as tf

from keras_vgg import randomness
from keras_vgg.data.rand_augment import rand_augment

_AREA, _ASPECT = (0.02, 1 / 3), (0.3, 1 / 0.3)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """RandAugment, then random erasing.

    Attributes:
        rand_augment: N operations and their strength M; `None` for none.
        erasing: probability of erasing a rectangle of an image.
        seed: the run's seed.
    """

    rand_augment: tuple[int, int] | None = None
    erasing: float = 0.0
    seed: int = 0

    def __call__(self, pixels, key):
        """Augments `(crop, crop, 3)` uint8 pixels, given the scalar int64 key of the example."""
        if self.rand_augment is not None:
            operations, strength = self.rand_augment
            pixels = rand_augment(pixels, key, operations=operations, strength=strength, seed=self.seed)
        return erase(pixels, key, share=self.erasing, seed=self.seed) if self.erasing else pixels


def erase(pixels, key, *, share: float, seed: int):
    """Replaces a rectangle of an image by uniform noise (Zhong et al. 2020, RE-R).

    Args:
        pixels: `(crop, crop, 3)` uint8.
        key: scalar int64 example key.
        share: probability, in [0, 1].
        seed: the run's seed.

    Returns:
        `(crop, crop, 3)` uint8. The rectangle covers 2% to a third of the area, with an aspect ratio of 0.3 to 3.3.
    """

    def erased():
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            pixels.shape,
            tf.zeros([1, 0, 4]),
            seed=randomness.stateless_seed(key, seed=seed, stream=randomness.ERASING),
            min_object_covered=0.0,
            aspect_ratio_range=_ASPECT,
            area_range=_AREA,
            use_image_if_no_bounding_boxes=True,
        )
        begin, size = begin[:2], size[:2]
        around = tf.stack([begin, pixels.shape[:2] - begin - size], axis=1)
        noise = randomness.uniform(key, tf.concat([size, [3]], 0), seed=seed, stream=randomness.NOISE)
        inside = tf.pad(tf.ones(size, tf.bool), around)[..., tf.newaxis]
        return tf.where(inside, tf.pad(tf.cast(256.0 * noise, tf.uint8), tf.concat([around, [[0, 0]]], 0)), pixels)

    drawn = randomness.uniform(key, [1], seed=seed, stream=randomness.ERASING)[0]
    return tf.ensure_shape(tf.cond(drawn < share, erased, lambda: pixels), pixels.shape)
