"""Random numbers that depend on the example, not on the machine.

All randomness of an example in an epoch is a pure function of `(seed, epoch, example index)`; the order of an epoch is a function
of `(seed, epoch)`. The trained weights therefore depend neither on the number of replicas, workers, threads or micro-batches nor
on whether the run was killed and resumed (the paper's "exactly the same as when training on a single GPU", Sec. 3.3, including
dropout and augmentation).
"""

import math

import numpy as np
import tensorflow as tf

from keras_vgg import philox

# One stream per purpose, so that no two draws of an example share random numbers.
VIEW, COLOR, DROPOUT = 0, 1, 2  # dropout layers take DROPOUT, DROPOUT + 1, …
MAX_STREAMS = 256
NOISE, ERASING, RAND_AUGMENT, MIXING = range(MAX_STREAMS - 4, MAX_STREAMS)
MAX_SEED = 2**40
_PHILOX = 1  # TensorFlow's ID of the algorithm
_REGISTER = 16  # values in the largest register of a processor


def example_key(epoch, index):
    """Returns the int64 key of example `index` in `epoch` (int64 tensors or integers; `index` below 2**32)."""
    return tf.bitwise.left_shift(tf.cast(epoch, tf.int64), tf.constant(32, tf.int64)) + tf.cast(index, tf.int64)


def example_index(key):
    """Returns the example index of `key`: int64, with the shape of `key`."""
    return tf.bitwise.bitwise_and(key, tf.constant(2**32 - 1, tf.int64))


def uniform(keys, shape, *, seed: int, stream: int):
    """Draws uniform random numbers for each example that depend only on its key.

    Philox counts blocks of numbers under a key; here the key consists of the seed and the stream, and the example is the upper
    half of the counter. The algorithm is specified explicitly, since `tf.random.stateless_uniform` uses another one under XLA.

    Args:
        keys: int64 from `example_key`, a scalar or `(B,)`.
        shape: shape of the numbers of one example; static for a vector of keys.
        seed: random seed of the run.
        stream: the purpose of the numbers.

    Returns:
        `shape`, or `(B, *shape)`, float32 in [0, 1): multiples of 2**-24.
    """
    word, keys = seed * MAX_STREAMS + stream, tf.convert_to_tensor(keys)
    if keys.shape.rank:
        bits = tf.reshape(philox.numbers(keys, math.prod(shape), word), [-1, *shape])
    else:
        bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=shape,
            key=tf.constant([word], tf.uint64),
            counter=tf.stack([tf.constant(0, tf.uint64), tf.bitcast(keys, tf.uint64)]),
            alg=_PHILOX,
            dtype=tf.uint32,
        )
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24


def stateless_seed(key, *, seed: int, stream: int):
    """Returns the seed, `(2,)` int64, of a `tf.image.stateless_…` operation for the example of a scalar `key`."""
    return tf.stack([tf.constant(seed * MAX_STREAMS + stream, tf.int64), tf.cast(key, tf.int64)])


def normal(keys, shape, *, seed: int, stream: int):
    """Like `uniform`, with float32 values from N(0, 1); `shape` is static."""
    # Whole registers: a remainder is computed by other instructions with different rounding, so a value would depend on the
    # neighboring examples.
    count, keys = math.prod(shape), tf.convert_to_tensor(keys)
    draws = uniform(keys, [math.ceil(count / _REGISTER) * _REGISTER], seed=seed, stream=stream)
    drawn = tf.math.ndtri(tf.maximum(draws, 2.0**-24))  # the inverse distribution function, infinite at zero
    return tf.reshape(drawn[..., :count], [*keys.shape, *shape] if keys.shape.is_fully_defined() else [-1, *shape])


def epoch_order(num_examples: int, *, seed: int, epoch: int) -> np.ndarray:
    """Returns the order in which `epoch` visits its examples: a permutation, `(num_examples,)` int64.

    NumPy's `RandomState` stream is frozen permanently, so a run may be resumed under a later NumPy.
    """
    return epoch_state(seed, epoch).permutation(num_examples).astype(np.int64)


def epoch_state(seed: int, epoch: int) -> np.random.RandomState:
    """Returns the random stream of `epoch_order`, at its start."""
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence((seed, epoch))))
