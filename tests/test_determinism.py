"""Deterministic ops are a choice of their own, and do not make the input serial, which is in order by itself."""

import contextlib
import itertools
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from logical_clusters import make_cluster
from run_folders import outcome
from tensorflow.python.framework.config import is_op_determinism_enabled

from keras_vgg import fit, training
from keras_vgg.data.order import Layout
from keras_vgg.data.split import Split
from keras_vgg.errors import InputError
from keras_vgg.recipe import Recipe
from keras_vgg.support.determinism import op_determinism
from keras_vgg.tasks.classification import Classification
from keras_vgg.training.feed import training_feed

TASK = Classification(("a", "b"))


@pytest.mark.parametrize(
    ("fields", "gpus", "expected"),
    [
        # A large net: XLA where there are GPUs, which then are not deterministic.
        ({}, True, (True, False)),
        ({"jit": False}, True, (False, True)),
        ({"jit": False, "deterministic": False}, True, (False, False)),
        ({"deterministic": True}, True, (False, True)),
        ({"deterministic": False}, True, (True, False)),
        # A small one: no XLA.
        ({"crop": 32}, True, (False, True)),
        ({"crop": 32, "deterministic": False}, True, (False, False)),
        # CPUs are deterministic without it, and with XLA.
        ({"jit": False}, False, (False, False)),
        ({"jit": True}, False, (True, False)),
        ({"deterministic": True}, False, (False, True)),
    ],
)
def test_xla_and_determinism_are_two_choices(fields, gpus, expected):
    recipe = Recipe(**fields)
    jit = recipe.uses_jit(1000, prefers_xla=True)
    assert (jit, recipe.uses_deterministic_ops(jit, gpus)) == expected


def test_both_are_refused_at_once():
    with pytest.raises(
        InputError, match=r"`deterministic` must be used without `jit`, since XLA has no deterministic gradient of max"
    ):
        fit.main(["--jit", "--deterministic"])


def test_it_lasts_for_a_block_only():
    assert not is_op_determinism_enabled()
    with op_determinism(True):
        assert is_op_determinism_enabled()
        with contextlib.suppress(ZeroDivisionError), op_determinism(False):
            assert not is_op_determinism_enabled()
            _ = 1 / 0
        assert is_op_determinism_enabled()
    assert not is_op_determinism_enabled()


def images_that_meet(meeting):
    """Images so large that they are not kept decoded. The first two are read at the same time, or `meeting` breaks."""
    encoded = [tf.io.encode_png(np.full((70, 70, 3), extra, np.uint8)).numpy() for extra in range(8)]
    reads = itertools.count()

    def meet(index):
        if next(reads) and index < 2:  # not the very first, which looks at the size
            meeting.wait(30)
        return encoded[index % 8]

    def read(index):
        image = tf.numpy_function(meet, [index], tf.string, stateful=False)
        return tf.ensure_shape(image, []), tf.cast(index % 2, tf.int32)

    return Split(16, read, lambda index: f"image {index}")


@pytest.mark.parametrize("replicas", [1, 2])
def test_with_deterministic_ops_images_are_still_read_in_parallel_and_in_order(monkeypatch, replicas):
    monkeypatch.setattr("keras_vgg.randomness.epoch_order", lambda number, **state: np.arange(number))
    recipe, cluster = Recipe(crop=32, scale=32, batch_size=16), make_cluster(replicas)

    def batches():
        meeting = threading.Barrier(2)
        split, layout = images_that_meet(meeting), Layout(16, 1, replicas)  # a micro-batch is one image
        feed = training_feed(split, TASK, recipe, layout, cluster, epoch=0, step=0)
        local = cluster.strategy.experimental_local_results
        found = [[local(value) for value in next(feed)] for _ in range(16 // replicas)]
        assert not meeting.broken
        return found

    with op_determinism(True):
        deterministic = batches()
    for ours, theirs in zip(deterministic, batches(), strict=True):
        for value, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(value, other)


class Seen(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.enabled = []

    def on_train_batch_end(self, batch, logs=None):
        self.enabled.append(is_op_determinism_enabled())

    on_test_batch_end = on_train_batch_end


SMALL = {"width": 0.02, "crop": 32, "jitter": (32, 40), "batch_size": 50, "limit_images": 100, "epochs": 1}


@pytest.mark.usefixtures("colors_measured_once")
def test_a_run_has_it_from_its_first_update_to_its_end_and_the_same_bits_each_time(tmp_path, capsys):
    folders = [tmp_path / name for name in ("plain", "first", "second")]
    for folder in folders:
        seen = Seen()
        deterministic = folder.name != "plain" or None
        training.fit(Recipe(**SMALL, deterministic=deterministic), workdir=folder, callbacks=[seen])
        assert set(seen.enabled) == {bool(deterministic)}
        assert not is_op_determinism_enabled()
        assert ("XLA off, deterministic ops" in capsys.readouterr().out) == bool(deterministic)
    plain, first, second = map(outcome, folders)
    assert first == second
    for ours, theirs in zip(first[0], plain[0], strict=True):  # another order of some sums
        np.testing.assert_allclose(np.frombuffer(ours, np.float32), np.frombuffer(theirs, np.float32), rtol=1e-4, atol=1e-5)


def test_a_run_may_go_on_without_it(tmp_path, capsys):
    arguments = ["--width", "0.02", "--crop", "32", "--scale", "32", "--limit-images", "20", "--workdir", str(tmp_path / "run")]
    fit.main([*arguments, "--epochs", "1", "--deterministic"])
    fit.main([*arguments, "--epochs", "2", "--no-deterministic"])
    first, second = capsys.readouterr().out.split("resuming")
    assert "deterministic ops" in first
    assert "deterministic ops" not in second
