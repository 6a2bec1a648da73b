import keras
import numpy as np

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
