"""The forward pass of training, and batch normalisation in groups."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vgg.layers import keyed_dropout
from keras_vgg.models import build_vgg
from keras_vgg.randomness import example_key
from keras_vgg.training.batch_norm import follow, normalize
from keras_vgg.training.forward import training_forward


def keys_of(epoch, indices):
    return example_key(epoch, tf.constant(indices, tf.int64))


def activations(shape, seed=0, scale=100.0):
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype("float32")


def net(arch, **kwargs):
    keras.utils.set_random_seed(0)
    return build_vgg(arch, input_shape=(32, 32, 3), width=0.05, classes=5, **kwargs)


def forward(model, batch, keys, *, seed):
    return training_forward(model, batch, keys, tf.ones(len(keys)), seed=seed, norm_group=1)[0]


@pytest.mark.parametrize("arch", ["A", "A-LRN", "C", "D"])
def test_training_forward_without_dropout_is_the_model(arch):
    model, batch = net(arch, dropout=0.0), activations((3, 32, 32, 3))
    outputs = forward(model, tf.constant(batch), keys_of(0, range(3)), seed=0)
    np.testing.assert_allclose(outputs, model(batch), rtol=1e-6, atol=1e-7)


def test_training_forward_drops_out_after_fc1_and_fc2_with_masks_of_their_own():
    model, batch = net("A", dropout=0.5), tf.constant(activations((4, 32, 32, 3)))
    keys = keys_of(1, range(4))
    x = keras.Model(model.inputs, model.get_layer("flatten").output)(batch)
    for stream, name in enumerate(("fc1", "fc2")):
        x = keyed_dropout(model.get_layer(name)(x), keys, rate=0.5, seed=4, stream=stream)
    expected = model.get_layer("predictions")(x)
    outputs = forward(model, batch, keys, seed=4)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6, atol=1e-7)
    assert not np.allclose(outputs, model(batch))


def test_training_forward_of_a_row_does_not_depend_on_its_batch():
    model, batch, keys = net("B", dropout=0.5), tf.constant(activations((4, 32, 32, 3))), keys_of(1, range(4))
    whole = forward(model, batch, keys, seed=0)
    part = forward(model, batch[2:3], keys[2:3], seed=0)
    np.testing.assert_allclose(part, whole[2:3], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("arch", "batch_norm"), [("A", False), ("A-LRN", False), ("C", True)])
def test_gradients_are_those_of_the_model_although_a_pooling_hands_on_the_mask_of_relu(arch, batch_norm):
    model, batch = net(arch, dropout=0.0, batch_norm=batch_norm), tf.constant(activations((3, 32, 32, 3)))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # statistics of its own, as in the model's own pass
        elif isinstance(layer, keras.layers.Conv2D):
            layer.bias.assign(np.linspace(-60, 60, layer.filters))  # windows without a positive value, and without another
    variables = [variable.value for variable in model.trainable_variables]

    def gradients(run):
        with tf.GradientTape() as tape:
            outputs = tf.square(run(batch)[:, 1])
        return tape.gradient(outputs, variables)

    ours = gradients(lambda images: forward(model, images, keys_of(0, range(3)), seed=0))
    for one, other in zip(ours, gradients(model), strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(np.any(one) for one in ours[:4])
    layer = model.get_layer("block1_conv1")
    assert layer.activation is (keras.activations.linear if batch_norm else keras.activations.relu)


def norm(channels=5):
    layer = keras.layers.BatchNormalization(epsilon=1e-5, momentum=0.9)
    layer.build((None, None, None, channels))
    rng = np.random.default_rng(2)
    layer.set_weights([rng.uniform(0.5, 2, channels).astype(np.float32) for _ in range(4)])
    return layer


def test_one_group_is_what_keras_makes_of_a_batch():
    """Outputs, and what the layer's own statistics become."""
    ours, keras_own, batch = norm(), norm(), activations((6, 4, 3, 5))
    outputs, moments = normalize(ours, tf.constant(batch), tf.ones(6), 6)
    follow(ours, moments / 6)
    np.testing.assert_allclose(outputs, keras_own(batch, training=True), rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(ours.get_weights(), keras_own.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


@pytest.mark.parametrize("cut", [4, 8])
def test_groups_are_normalised_apart_however_the_batch_is_cut(cut):
    layer, batch = norm(), activations((16, 4, 3, 5))
    expected = np.concatenate([norm()(batch[start : start + 4], training=True) for start in range(0, 16, 4)])
    found, moments = zip(*(normalize(layer, batch[i : i + cut], tf.ones(cut), 4) for i in range(0, 16, cut)), strict=True)
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-4, atol=1e-5)
    groups = batch.reshape(4, 4 * 4 * 3, 5)
    np.testing.assert_allclose(sum(moments)[0] / 16, groups.mean(1).mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sum(moments)[1] / 16, groups.var(1).mean(0), rtol=1e-4, atol=1e-5)


def test_empty_places_count_for_nothing():
    layer, batch = norm(), activations((4, 4, 3, 5))
    weights = tf.constant([1.0, 0.0, 1.0, 0.0])
    outputs, moments = normalize(layer, batch * np.where(weights, 1, 1000).reshape(-1, 1, 1, 1), weights, 4)
    alone, of_alone = normalize(layer, batch[::2], tf.ones(2), 2)
    np.testing.assert_allclose(outputs[::2], alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moments, of_alone, rtol=1e-4)
    nothing, none = normalize(layer, batch, tf.zeros(4), 4)
    np.testing.assert_array_equal(nothing, np.broadcast_to(layer.beta, nothing.shape))  # else deep nets would overflow there
    np.testing.assert_array_equal(none, 0)


def test_a_frozen_normalisation_keeps_to_its_own_statistics():
    model, batch = net("A", dropout=0.0, batch_norm=True), tf.constant(activations((3, 32, 32, 3)))
    for layer in model.layers:
        layer.trainable = "_bn" not in layer.name
    outputs, moments = training_forward(model, batch, keys_of(0, range(3)), tf.ones(3), seed=0, norm_group=3)
    np.testing.assert_allclose(outputs, model(batch, training=False), rtol=1e-5, atol=1e-7)
    assert moments == []
