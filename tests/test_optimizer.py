import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from logical_clusters import make_cluster

from keras_vgg import models, optimizers
from keras_vgg.recipe import Recipe
from keras_vgg.training.layer_rates import layer_rates
from keras_vgg.training.optimizer import SGD, make_optimizer


def test_follows_the_papers_formula():
    """`v ← μv − η(g + λw)`, `w ← w + v`, worked out with NumPy over several steps."""
    rng = np.random.default_rng(0)
    weight, velocity = rng.normal(size=5), np.zeros(5)
    variable = keras.Variable(weight.astype("float32"))
    optimizer = SGD(0.1, momentum=0.9, l2=0.05)
    for _ in range(6):
        gradient = rng.normal(size=5)
        optimizer.apply([keras.ops.convert_to_tensor(gradient.astype("float32"))], [variable])
        velocity = 0.9 * velocity - 0.1 * (gradient + 0.05 * weight)
        weight = weight + velocity
    np.testing.assert_allclose(variable.numpy(), weight, rtol=1e-5)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_is_keras_sgd_where_nothing_decays(momentum, nesterov):
    rng = np.random.default_rng(1)
    variables = [keras.Variable(np.ones((2, 3), "float32")) for _ in range(2)]
    optimizers = [SGD(0.1, momentum, l2=0.0, nesterov=nesterov), keras.optimizers.SGD(0.1, momentum, nesterov=nesterov)]
    for gradient in rng.normal(size=(4, 2, 3)).astype("float32"):
        for optimizer, variable in zip(optimizers, variables, strict=True):
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    np.testing.assert_allclose(variables[0].numpy(), variables[1].numpy(), rtol=1e-6)
    assert not np.allclose(variables[0].numpy(), 1)


def test_differs_from_both_keras_ways():
    """With no gradient at all, ten steps at momentum 0.9: Keras' decay is far weaker; an L2 regularizer pulls twice as hard."""
    ours, keras_decay = keras.Variable([1.0]), keras.Variable([1.0])
    paper, keras_sgd = SGD(0.1, momentum=0.9, l2=0.01), keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(10):
        paper.apply([keras.ops.zeros(1)], [ours])
        keras_sgd.apply([keras.ops.zeros(1)], [keras_decay])
    assert (1 - float(ours.numpy()[0])) > 3 * (1 - float(keras_decay.numpy()[0]))


def test_is_saved_with_its_multiplier():
    optimizer = keras.optimizers.deserialize(keras.optimizers.serialize(SGD(0.2, momentum=0.8, l2=0.3)))
    assert isinstance(optimizer, SGD)
    assert (optimizer.l2, optimizer.momentum, float(optimizer.learning_rate)) == (0.3, 0.8, np.float32(0.2))


# --- Keras' optimizers by name, and rates of layers -------------------------------------------------------------------------

RNG = np.random.default_rng(4)
GRADIENTS = [[RNG.normal(size=shape).astype("float32") for shape in ((3, 4), (4,), (4, 2), (2,))] for _ in range(3)]


def two_layers(frozen=False):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="first"), keras.layers.Dense(2, name="second")])
    model.get_layer("first").bias.assign([0.1, -0.2, 0.3, 0.4])
    model.get_layer("first").trainable = not frozen
    return model


def updated(name, factors=None, make=None, strategy=None, **fields):
    """Returns the weights of two layers after three updates, and the optimizer."""
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = two_layers()
        optimizer = make() if make else make_optimizer(Recipe(optimizer=name, **fields), model, factors or {})
        optimizer.build(model.trainable_variables)

        def update(gradients, share=1.0):
            optimizer.apply([share * tf.constant(each) for each in gradients], model.trainable_variables)

        def on_replica(gradients):
            update(gradients, tf.gather([0.25, 0.75], tf.distribute.get_replica_context().replica_id_in_sync_group))

        for gradients in GRADIENTS:
            strategy.run(on_replica, args=(gradients,)) if strategy else update(gradients)
    return model.get_weights(), optimizer


@pytest.mark.parametrize("name", [name for name in optimizers.RATES if name != optimizers.SGD])
def test_a_name_is_keras_optimizer_with_its_decoupled_decay(name):
    """On two replicas that have a part of the gradient each, too."""
    kind = next(kind for key, kind in vars(keras.optimizers).items() if key.lower() == name)
    theirs, _ = updated(name, make=lambda: kind(learning_rate=0.03, weight_decay=0.1))
    for strategy in (None, make_cluster(2).strategy):
        ours, optimizer = updated(name, learning_rate=0.03, weight_decay=0.1, strategy=strategy)
        for mine, of_keras in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, of_keras, rtol=2e-5, atol=1e-7)
    slots = sum(variable.value.numpy().size for variable in optimizer.variables[2:])
    assert slots <= optimizers.SLOTS[name] * two_layers().count_params() + 8  # and a few of the whole


@pytest.mark.parametrize("name", ["sgd", "adamw", "lion", "rmsprop"])
def test_a_layer_with_a_factor_learns_as_by_a_rate_of_its_own(name):
    plain, fast = ({"learning_rate": rate, "weight_decay": 0.1} for rate in (0.01, 0.05))
    both, _ = updated(name, {"second": 5.0}, **plain)
    for mine, alone in zip(both, (*updated(name, **plain)[0][:2], *updated(name, **fast)[0][2:]), strict=True):
        np.testing.assert_allclose(mine, alone, rtol=1e-5)


def test_frozen_layers_have_no_slots_and_those_behind_have_their_own_factors():
    model = two_layers(frozen=True)
    before = model.get_weights()
    optimizer = make_optimizer(Recipe(optimizer="adamw", weight_decay=0.5), model, {"first": 0.1, "second": 7.0})
    optimizer.build(model.trainable_variables)
    optimizer.apply([tf.ones((4, 2)), tf.ones(2)], model.trainable_variables)
    after = model.get_weights()
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(after[:2], before[:2], strict=True))
    np.testing.assert_allclose(after[2], before[2] * (1 - 7e-3 * 0.5) - 7e-3, rtol=1e-4)  # Adam's first step is one of the rate
    assert len(optimizer.variables) == 2 + 2 * 2


def test_rates_of_layers_fall_by_blocks_from_the_last_on():
    rates = layer_rates("B-pool", 0.5, 10.0)
    assert rates["predictions"] == 10
    assert [rates[f"block{block}_{kind}2"] for block in (5, 4, 1) for kind in ("conv", "bn")] == [2**-1] * 2 + [2**-2] * 2 + [
        2**-5
    ] * 2
    assert set(layer_rates("D", 1.0, 1.0).values()) == {1.0}
    net = models.build_vgg("D", input_shape=(32, 32, 3), width=0.02, classes=3, batch_norm=True)
    assert {layer.name for layer in net.layers if layer.weights} <= set(layer_rates("D", 0.5, 1.0))


def test_the_papers_sgd_is_as_it_was_where_nothing_is_asked():
    optimizer = make_optimizer(Recipe(), two_layers(), {"first": 1.0, "second": 1.0})
    assert type(optimizer) is SGD
    assert (optimizer.l2, optimizer.momentum, float(optimizer.learning_rate)) == (5e-4, 0.9, np.float32(0.01))


def test_a_bias_that_batch_norm_takes_off_stays():
    """Its gradient is rounding alone, of which AdamW would make whole steps, on each layout others."""
    model = models.build_vgg("A", input_shape=(32, 32, 3), width=0.02, classes=3, batch_norm=True)
    model.get_layer("block2_bn1").trainable = False  # takes off its own mean, whatever the bias is
    optimizer = make_optimizer(Recipe(optimizer="adamw"), model, {})
    optimizer.build(model.trainable_variables)
    optimizer.apply([tf.ones(variable.shape) for variable in model.trainable_variables], model.trainable_variables)
    biases = {layer.name: layer.bias.numpy() for layer in model.layers if hasattr(layer, "bias")}
    assert {name for name, bias in biases.items() if bias.any()} == {"block2_conv1", "fc1", "fc2", "predictions"}
