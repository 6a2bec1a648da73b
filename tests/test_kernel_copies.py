"""Gradients with respect to copies of the kernels are Keras' own under a mixed policy, and copies follow the weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from logical_clusters import make_cluster

from keras_vgg.kernel_copies import KernelCopies
from keras_vgg.models import build_vgg


def net(policy):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    try:
        return build_vgg("A", input_shape=(32, 32, 3), width=0.05, classes=5, dropout=0.0)
    finally:
        keras.config.set_dtype_policy("float32")


def gradients(model, images, copies=None):
    """Returns the gradients of all weights, by Keras' casts or with respect to copies."""
    scope, sources = copies.stand_in(model.trainable_variables) if copies else (None, None)
    sources = sources or [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        if scope:
            with scope:
                outputs = model(images)
        else:
            outputs = model(images)
        loss = tf.reduce_sum(tf.square(outputs))
    return tape.gradient(loss, sources)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_gradients_are_those_of_keras_and_stay_in_half_precision(policy):
    model, images = net(policy), np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
    copies = KernelCopies(model, make_cluster(1).strategy)
    for shift in (0.0, 0.01):  # copies are of the weights as they are now
        for variable in model.trainable_variables:
            variable.assign(variable + shift)
        copies.refresh()
        expected, found = gradients(model, images), gradients(model, images, copies)
        for variable, ours, keras_own in zip(model.trainable_variables, found, expected, strict=True):
            is_copied = variable.name == "kernel" and "predictions" not in variable.path
            assert ours.dtype == (policy.removeprefix("mixed_") if is_copied else "float32")
            np.testing.assert_array_equal(tf.cast(ours, tf.float32), keras_own)


def test_of_a_net_in_float32_there_are_none():
    model = net("float32")
    copies = KernelCopies(model, make_cluster(1).strategy)
    copies.refresh()
    _, sources = copies.stand_in(model.trainable_variables)
    assert [id(source) for source in sources] == [id(variable.value) for variable in model.trainable_variables]
