"""Frozen layers keep their weights bit for bit, cost no gradients, and change nothing else about an update."""

import collections
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from logical_clusters import make_cluster

from keras_vgg import models
from keras_vgg.data.pipeline import MicroBatch
from keras_vgg.errors import InputError
from keras_vgg.preprocessing import Preprocessing
from keras_vgg.tasks.classification import Classification
from keras_vgg.training import freezing
from keras_vgg.training.forward import training_forward
from keras_vgg.training.freezing import frozen_layers
from keras_vgg.training.optimizer import SGD
from keras_vgg.training.step import StepSettings, TrainingStep

pytestmark = pytest.mark.usefixtures("colors_measured_once")

D_BLOCKS_1_TO_3 = ["block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2", "block3_conv1", "block3_conv2", "block3_conv3"]

# --- Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "freeze", "expected"),
    [
        ("D", None, []),
        ("D", "block1-block3", D_BLOCKS_1_TO_3),
        ("D", "block1_conv1", ["block1_conv1"]),
        ("A", "block4", ["block4_conv1", "block4_conv2"]),
        ("A", "fc1, block1 ,block2_conv1", ["block1_conv1", "block2_conv1", "fc1"]),  # in the order of the net
        ("D", "block2_conv2-block3_conv2", D_BLOCKS_1_TO_3[3:6]),
        ("D", "block1-block2_conv1", D_BLOCKS_1_TO_3[:3]),
        ("D", "block2_conv2 - block3", D_BLOCKS_1_TO_3[3:]),
        ("D", "block1-block2,block2-block3", D_BLOCKS_1_TO_3),
        ("A-LRN", "block1-block1", ["block1_conv1"]),
        ("B", "block5_conv2-fc2", ["block5_conv2", "fc1", "fc2"]),
    ],
)
def test_names_blocks_and_ranges(arch, freeze, expected):
    assert frozen_layers(arch, freeze) == tuple(expected)


@pytest.mark.parametrize(("arch", "number"), [("A", 8), ("A-LRN", 8), ("B", 10), ("C", 13), ("D", 13), ("E", 16)])
def test_all_convolutions(arch, number):
    assert len(frozen_layers(arch, "convolutions")) == number
    assert frozen_layers(arch, "convolutions") == frozen_layers(arch, "block1-block5")


@pytest.mark.parametrize(
    ("arch", "freeze", "told"),
    [
        ("D", "blok1", "of net D that have weights. Received: 'blok1'; did you mean block1,"),
        ("D", "block1-block6", "Received: 'block6'; did you mean block"),
        ("A", "block3,block1_conv2", "of net A .*Received: 'block1_conv2'; did you mean block5_conv2"),
        ("D", "block5_pool", "that have weights. Received: 'block5_pool'"),
        ("D", "head", "Received: 'head'; available: block1 … block5, convolutions, fc1, fc2, predictions"),
        ("D", "", "Received: ''"),
        ("D", "block1,", "Received: ''"),
        ("D", "block4-block1", "from one layer to a later one. Received: 'block4-block1'"),
        ("D", "fc1,block3-block2_conv2", "from one layer to a later one. Received: 'block3-block2_conv2'"),
        ("D", "block1-block2-block3", "from one layer to a later one. Received: 'block1-block2-block3'"),
        (
            "D",
            "block1-predictions",
            "must leave at least one layer to train. Received: 'block1-predictions', which freezes all of net D",
        ),
        ("A", "convolutions,fc1-predictions", "must leave at least one layer to train"),
    ],
)
def test_a_mistake_is_told_in_one_line(arch, freeze, told):
    with pytest.raises(InputError, match=told) as caught:
        frozen_layers(arch, freeze)
    assert "\n" not in str(caught.value)


def test_what_init_from_left_random_cannot_be_frozen():
    freezing.check_copied(["block1_conv1"], {"fc1": "needs shape (2, 2)"})
    with pytest.raises(InputError, match=r"Received: block1_conv2, fc1, left as initialized \(not copied from the source\)"):
        freezing.check_copied(
            ["block1_conv1", "block1_conv2", "fc1"], {"fc1": "needs shape", "block1_conv2": "not copied from the source"}
        )


# --- Updates --------------------------------------------------------------------------------------------------------------

FROZEN = ("block1_conv1", "block2_conv1", "block4_conv1")  # the last stands between layers that learn
PREPROCESSING = Preprocessing((120.0, 110.0, 100.0))
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3)).astype("uint8")
LABELS = np.arange(24, dtype="int32") % 5


def batch_of(examples):
    return MicroBatch(
        tf.constant(IMAGES[examples]),
        tf.constant(LABELS[examples]),
        tf.constant(examples, tf.int64),
        tf.ones(len(examples)),
        tf.constant(0.0),
    )


def make(frozen, replicas=1, jit=False, **options):
    cluster = make_cluster(replicas)
    keras.utils.set_random_seed(1)
    with cluster.strategy.scope():
        model = models.build_vgg("A", input_shape=(32, 32, 3), classes=5, width=0.05, **options)
        freezing.freeze(model, frozen)
        optimizer = SGD(0.01, l2=0.1)  # an L2 that would show
    task, settings = Classification(tuple("abcde")), StepSettings(PREPROCESSING, seed=2, jit=jit)
    step = TrainingStep(model, optimizer, cluster.strategy, task, settings)
    return cluster, model, optimizer, step


def train(frozen, *, replicas=1, micro_batch=24, jit=False, updates=3, **options):
    """Returns `{layer: weights}` before and after some updates on the 24 images."""
    cluster, model, _, step = make(frozen, replicas, jit, **options)
    before = weights_of(model)
    for _ in range(updates):
        for first in range(0, 24, micro_batch * replicas):

            def value(context, first=first):
                start = first + context.replica_id_in_sync_group * micro_batch
                return batch_of(np.arange(start, start + micro_batch))

            batch = cluster.strategy.experimental_distribute_values_from_function(value) if replicas > 1 else value(_First)
            step.accumulate(batch, tf.constant(1.0), first=first == 0)
        step.update(tf.constant(step.totals().examples, tf.float32), tf.constant(1.0))
    return before, weights_of(model)


class _First:
    replica_id_in_sync_group = 0


def weights_of(model):
    return {layer.name: [np.array(value) for value in layer.get_weights()] for layer in model.layers if layer.weights}


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture(scope="module")
def reference():
    return train(FROZEN)


def assert_only_frozen_stayed(before, after):
    assert {name for name in before if same(before[name], after[name])} == set(FROZEN)


def test_frozen_weights_stay_bit_for_bit_and_all_others_move(reference):
    assert_only_frozen_stayed(*reference)


@pytest.mark.parametrize(("replicas", "micro_batch", "jit"), [(1, 8, False), (2, 6, True), (4, 3, False)])
def test_weights_do_not_depend_on_the_layout(reference, replicas, micro_batch, jit):
    before, after = train(FROZEN, replicas=replicas, micro_batch=micro_batch, jit=jit)
    assert_only_frozen_stayed(before, after)
    for name, values in after.items():
        for ours, theirs in zip(values, reference[1][name], strict=True):
            assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs), name


@pytest.fixture(scope="module")
def one_update_of_all():
    return train((), updates=1)


@pytest.mark.parametrize("freeze", ["block1-block4", "block1,block3_conv1,fc1"])
def test_the_first_update_of_what_learns_is_that_of_the_whole_net(one_update_of_all, freeze):
    frozen = frozen_layers("A", freeze)
    before, after = train(frozen, updates=1)
    for name in before:
        assert same(before[name], one_update_of_all[0][name])
        assert same(after[name], before[name] if name in frozen else one_update_of_all[1][name]), name


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(precision):
    keras.config.set_dtype_policy(precision)
    try:
        before, after = train(FROZEN)
    finally:
        keras.config.set_dtype_policy("float32")
    assert_only_frozen_stayed(before, after)


def backward_convolutions(frozen):
    """Gradients of kernels in the graph of an update, and the numbers that momentum remembers."""
    _, _, optimizer, step = make(frozen)
    graph = step._gradients_of.get_concrete_function(batch_of(np.arange(4)), tf.constant(1.0)).graph
    kinds = collections.Counter(operation.type for operation in graph.get_operations())
    return kinds["Conv2DBackpropFilter"], sum(math.prod(velocity.shape) for velocity in optimizer.momentums)


def test_the_backward_pass_ends_at_the_first_layer_that_learns():
    model = models.build_vgg("A", input_shape=(32, 32, 3), classes=5, width=0.05)
    sizes = {layer.name: layer.count_params() for layer in model.layers}
    assert backward_convolutions(()) == (8, model.count_params())
    for freeze, convolutions in [("block1-block4", 2), ("convolutions", 0), ("block1-block5_conv1", 1)]:
        frozen = frozen_layers("A", freeze)
        assert backward_convolutions(frozen) == (convolutions, model.count_params() - sum(sizes[name] for name in frozen))


def test_freeze_counts_what_it_freezes():
    model = models.build_vgg("A", input_shape=(32, 32, 3), classes=5, batch_norm=True, width=0.05)
    assert freezing.freeze(model, ["block1_conv1", "fc2"]) == sum(
        model.get_layer(name).count_params() for name in ("block1_conv1", "block1_bn1", "fc2")
    )
    assert {layer.name for layer in model.layers if not layer.trainable} == {"block1_conv1", "block1_bn1", "fc2"}


def test_frozen_batch_norm_keeps_its_statistics():
    before, after = train(FROZEN, batch_norm=True)
    kept = {*FROZEN, "block1_bn1", "block2_bn1", "block4_bn1"}
    assert {name for name in before if same(before[name], after[name])} == kept
    moved = [name for name in before if "_bn" in name and name not in kept]
    assert all(not np.array_equal(before[name][2], after[name][2]) for name in moved)  # their moving means


def test_frozen_batch_norm_normalises_by_its_statistics():
    model = models.build_vgg("A", input_shape=(32, 32, 3), classes=5, batch_norm=True, width=0.05, dropout=0.0)
    images = PREPROCESSING(IMAGES)

    def trained_with():
        return training_forward(model, images, tf.range(24, dtype=tf.int64), tf.ones(24), seed=0, norm_group=24)[0]

    expected = model(images, training=False)
    assert np.abs(trained_with() - expected).max() > 1e-3
    freezing.freeze(model, frozen_layers("A", "convolutions"))
    np.testing.assert_allclose(trained_with(), expected, rtol=1e-5)
