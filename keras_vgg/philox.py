"""Philox4x32-10 (Salmon et al. 2011) for many counters at once; TensorFlow's own operations take only one."""

import math

import numpy as np
import tensorflow as tf

_ROUNDS = 10
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_INCREMENTS = 0x9E3779B9, 0xBB67AE85
_WORD = 2**32 - 1
_MANY = 2**8  # numbers per counter from which compiling, a quarter of a second, is worth it


def numbers(keys, count: int, word: int):
    """Returns the first numbers of each counter.

    Args:
        keys: `(B,)` int64, the upper halves of the counters; the lower count blocks of four numbers from zero.
        count: how many numbers.
        word: the Philox key, below 2**64.

    Returns:
        `(B, count)` uint32, equal to `tf.raw_ops.StatelessRandomUniformFullIntV2` for each counter.
    """
    draw = _draw_compiled if count >= _MANY else _draw
    return draw(keys, tf.constant([word & _WORD, word >> 32], tf.uint64), math.ceil(count / 4))[:, :count]


def _draw(keys, word, blocks: int):
    """`(B, 4 * blocks)` uint32; every 32-bit word is stored in a uint64, so that products do not overflow."""
    low, shift = tf.constant(_WORD, tf.uint64), tf.constant(32, tf.uint64)
    multipliers, increments = ([tf.constant(each, tf.uint64) for each in constants] for constants in (_MULTIPLIERS, _INCREMENTS))
    upper = tf.bitcast(keys, tf.uint64)[:, tf.newaxis] + tf.zeros([blocks], tf.uint64)
    block = tf.zeros_like(upper) + tf.constant(np.arange(blocks, dtype=np.uint64))
    counter = block, tf.zeros_like(upper), tf.bitwise.bitwise_and(upper, low), tf.bitwise.right_shift(upper, shift)
    word = tf.unstack(word)
    for _ in range(_ROUNDS):
        first, second = counter[0] * multipliers[0], counter[2] * multipliers[1]
        counter = (
            _xor(tf.bitwise.right_shift(second, shift), counter[1], word[0]),
            tf.bitwise.bitwise_and(second, low),
            _xor(tf.bitwise.right_shift(first, shift), counter[3], word[1]),
            tf.bitwise.bitwise_and(first, low),
        )
        word = [tf.bitwise.bitwise_and(each + increment, low) for each, increment in zip(word, increments, strict=True)]
    return tf.cast(tf.reshape(tf.stack(counter, axis=-1), [-1, 4 * blocks]), tf.uint32)


def _xor(one, two, three):
    return tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(one, two), three)


_draw_compiled = tf.function(_draw, jit_compile=True, autograph=False)
