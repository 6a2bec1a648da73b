"""MixUp (Zhang et al. 2018) and CutMix (Yun et al. 2019) that do not depend on how a batch is cut.

Two examples that stand beside each other in the order of the epoch are mixed, one way and the other, by what the key of the first
one draws. Who they are is a function of the seed and the epoch; no image is read for it that the batch has not got, and of each
there is as much in the batch as without. Such a pair lies within one micro-batch, which therefore has an even number of places, as
those of `batch_norm` hold whole groups. Who has no partner stays as it is: the last of a batch of an odd number, and whoever stands
beside an image that could not be read.
"""

import dataclasses

import tensorflow as tf

from keras_vgg import randomness

_HALVINGS = 24  # to the last bit of a float32


@dataclasses.dataclass(frozen=True)
class Mixing:
    """Which mixtures are made.

    Attributes:
        mixup, cutmix: the parameter of the distribution Beta(α, α) of shares; 0 for none of the kind. With both, a pair is mixed in
            either way as often.
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
        weights: `(m,)` float32: 1 for an image, 0 for an empty place, which is no partner.
        mixing: how.

    Returns:
        `(mixed, shares)`: like `images`, and `(m,)` float32, how much of each is its own.
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
    """Returns of each of `(m, …)` values its partner's: those of places 0 and 1 are each other's, those of 2 and 3, ….

    >>> import tensorflow as tf
    >>> from keras_vgg.training.mixing import partners
    >>> partners(tf.constant([1, 2, 3, 4])).numpy().tolist()
    [2, 1, 4, 3]
    """
    return tf.reshape(tf.reverse(tf.reshape(values, [values.shape[0] // 2, 2, *values.shape[1:]]), [1]), values.shape)


def greater(values, shares):
    """Returns of each of `(m, …)` values the one that has the greater share in the mixture: its own, or its partner's."""
    is_own = tf.reshape(shares >= 0.5, [-1, *[1] * (len(values.shape) - 1)])
    return tf.where(is_own, values, partners(values))


def symmetric_beta(uniform, alpha):
    """Returns where the distribution function of Beta(α, α) has the value `uniform`: `(m,)` float32 each, found by halving."""

    def halve(low, high):
        middle = (low + high) / 2
        is_above = tf.math.betainc(alpha, alpha, middle) < uniform
        return tf.where(is_above, middle, low), tf.where(is_above, high, middle)

    bounds = (tf.zeros_like(uniform), tf.ones_like(uniform))
    low, high = tf.while_loop(lambda *_: True, halve, bounds, maximum_iterations=_HALVINGS)
    return (low + high) / 2


def _rectangles(shares, centre, sides):
    """Returns masks `(m, height, width)` float32 of rectangles of the image's form about points `centre`, cut off at its edges.

    Whole, they take all of the image but `shares`.
    """

    def inside(length, at):
        middle, half = tf.floor(at * length), tf.floor(tf.sqrt(1.0 - shares) * length) / 2
        first, end = (tf.floor(each)[:, tf.newaxis] for each in (middle - half, middle + half))
        places = tf.range(length, dtype=tf.float32)
        return tf.cast(tf.logical_and(places >= first, places < end), tf.float32)

    rows, columns = (inside(length, at) for length, at in zip(sides, centre, strict=True))
    return rows[:, :, tf.newaxis] * columns[:, tf.newaxis]
