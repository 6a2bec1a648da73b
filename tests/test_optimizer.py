import keras
import numpy as np
import pytest

from keras_vgg.training.optimizer import SGD


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
