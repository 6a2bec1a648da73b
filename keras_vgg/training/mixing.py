"""MixUp (Zhang et al. 2018) and CutMix (Yun et al. 2019) that do not depend on how a batch is split.

Two consecutive examples of an epoch are mixed with each other, each with the share drawn by the key of the first. The pairs are a
function of the seed and the epoch; no additional images are read, and each image has the same total weight in the batch as
without mixing. A pair lies within one micro-batch, which therefore has an even number of places, just as `batch_norm` needs whole
groups. An example without a partner is not mixed: the last of an odd batch, and the neighbor of an unreadable image.
"""

import dataclasses

import tensorflow as tf

from keras_vgg import randomness

_HALVINGS = 24  # to the last bit of a float32


@dataclasses.dataclass(frozen=True)
class Mixing:
    """Settings of MixUp and CutMix.

    Attributes:
        mixup, cutmix: parameter α of the distribution Beta(α, α) of shares; 0 to disable. With both, a pair is mixed either way
            with equal probability.
        seed: the run's seed.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    seed: int = 0


def mix(images, keys, weights, mixing: Mixing):
    """Mixes each image of a micro-batch with its partner.

    Args:
        images: `(m, height, width, C)` float32, `m` even.
        keys: `(m,)` int64 example keys.
        weights: `(m,)` float32: 1 for an image, 0 for an empty place, which is not a partner.
        mixing: the settings.

    Returns:
        `(mixed, shares)`: like `images`, and `(m,)` float32, the share of each image's own content.
    """
    draws = randomness.uniform(keys[::2], [4], seed=mixing.seed, stream=randomness.MIXING)
    which, share, *centre = tf.unstack(tf.repeat(draws, 2, axis=0), axis=1)
    has_partner = weights * partners(weights) > 0
    is_cut = which < (0.5 if mixing.mixup else 1.0) if mixing.cutmix else tf.zeros_like(which, tf.bool)
    shares = symmetric_beta(share, tf.where(is_cut, float(mixing.cutmix or 1), float(mixing.mixup or 1)))
    cut = _rectangles(shares, centre, images.shape[1:3])  # (m, height, width)
    kept = tf.where(is_cut[:, tf.newaxis, tf.newaxis], 1.0 - cut, shares[:, tf.newaxis, tf.newaxis])
    kept = tf.where(has_partner[:, tf.newaxis, tf.newaxis], kept, 1.0)
    mixed = kept[..., tf.newaxis] * images + (1.0 - kept[..., tf.newaxis]) * partners(images)
    return mixed, tf.reduce_mean(kept, axis=[1, 2])


def partners(values):
    """Swaps `(m, …)` values between partners: places 0 and 1, 2 and 3, ….

    >>> import tensorflow as tf
    >>> from keras_vgg.training.mixing import partners
    >>> partners(tf.constant([1, 2, 3, 4])).numpy().tolist()
    [2, 1, 4, 3]
    """
    return tf.reshape(tf.reverse(tf.reshape(values, [values.shape[0] // 2, 2, *values.shape[1:]]), [1]), values.shape)


def greater(values, shares):
    """Returns `(m, …)` values of whichever image has the larger share in the mixture: the own one or its partner."""
    is_own = tf.reshape(shares >= 0.5, [-1, *[1] * (len(values.shape) - 1)])
    return tf.where(is_own, values, partners(values))


def symmetric_beta(uniform, alpha):
    """Returns the quantiles of Beta(α, α) at `uniform`, `(m,)` float32 each, found by bisection."""

    def halve(low, high):
        middle = (low + high) / 2
        is_above = tf.math.betainc(alpha, alpha, middle) < uniform
        return tf.where(is_above, middle, low), tf.where(is_above, high, middle)

    bounds = (tf.zeros_like(uniform), tf.ones_like(uniform))
    low, high = tf.while_loop(lambda *_: True, halve, bounds, maximum_iterations=_HALVINGS)
    return (low + high) / 2


def _rectangles(shares, centre, sides):
    """Returns masks `(m, height, width)` float32 of rectangles of the image's aspect ratio around `centre`, clipped to the image.

    Before clipping, they cover all but `shares` of the image.
    """

    def inside(length, at):
        middle, half = tf.floor(at * length), tf.floor(tf.sqrt(1.0 - shares) * length) / 2
        first, end = (tf.floor(each)[:, tf.newaxis] for each in (middle - half, middle + half))
        places = tf.range(length, dtype=tf.float32)
        return tf.cast(tf.logical_and(places >= first, places < end), tf.float32)

    rows, columns = (inside(length, at) for length, at in zip(sides, centre, strict=True))
    return rows[:, :, tf.newaxis] * columns[:, tf.newaxis]
