"""Training in mixed_float16: which updates are skipped does not depend on the layout, is told, and ends a run that goes nowhere."""

import contextlib
import dataclasses
import json
import pathlib
import sys

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from logical_clusters import make_cluster

from keras_vgg import models, training
from keras_vgg.data import color, datasets, order
from keras_vgg.errors import InputError
from keras_vgg.preprocessing import Preprocessing
from keras_vgg.recipe import Recipe
from keras_vgg.tasks.classification import Classification
from keras_vgg.training import checkpoint
from keras_vgg.training.feed import training_feed
from keras_vgg.training.loss_scale import LossScale
from keras_vgg.training.optimizer import make_optimizer
from keras_vgg.training.step import StepSettings, TrainingStep

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tools"))

import layouts

pytestmark = pytest.mark.usefixtures("colors_measured_once")

RECIPE = Recipe(jitter=(32, 48), crop=32, batch_size=32, seed=3, precision="mixed_float16", width=0.04)
EXAMPLES, UPDATES = 90, 12
TOO_LARGE = 2.0**22
"""A loss scale at which the gradients of this net overflow, in the sums over a batch before those over a micro-batch."""


@pytest.fixture(scope="module")
def dataset():
    return datasets.open_dataset("digits", limit_images=EXAMPLES)


@pytest.fixture
def half():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def train(dataset, replicas, micro_batch):
    """Returns the kernels, and which updates were skipped."""
    cluster, layout = make_cluster(replicas), order.Layout(RECIPE.batch_size, micro_batch, replicas)
    colors = color.measure(dataset.train, scale=RECIPE.test_scale, crop=RECIPE.crop)
    keras.utils.set_random_seed(0)
    with cluster.strategy.scope():
        model = models.build_vgg("A", input_shape=(32, 32, 3), classes=10, width=RECIPE.width)
        optimizer = make_optimizer(RECIPE, model, {})
    task = Classification(dataset.classes)
    settings = StepSettings(Preprocessing(colors.mean), colors=colors, seed=RECIPE.seed)
    step = TrainingStep(model, optimizer, cluster.strategy, task, settings)
    feed = training_feed(dataset.train, task, RECIPE, layout, cluster, epoch=0, step=0)
    scale = dataclasses.replace(LossScale.for_precision(RECIPE.precision, RECIPE.batch_size), value=TOO_LARGE)
    skipped = []
    for number in range(UPDATES):
        factor = tf.constant(scale.of_example)
        for micro_step in range(layout.micro_steps(EXAMPLES, number % layout.steps(EXAMPLES))):
            step.accumulate(next(feed), factor, first=micro_step == 0)
        examples = step.totals().examples
        finite = bool(step.gradients_are_finite())
        scale.adjust(finite)
        if finite:
            step.update(tf.constant(examples, tf.float32), factor)
        else:
            skipped.append(number)
    return [variable.numpy() for variable in model.trainable_variables if len(variable.shape) > 1], skipped


@pytest.mark.slow
def test_every_layout_skips_the_same_updates(dataset, half):
    """And the kernels agree but for rounding, by at most a tenth."""
    kernels, skipped = train(dataset, 1, 32)
    assert 3 <= len(skipped) < UPDATES
    for replicas, micro_batch in ((1, 4), (3, 11), (4, 8)):
        of_layout, skipped_there = train(dataset, replicas, micro_batch)
        assert skipped_there == skipped
        for ours, theirs in zip(of_layout, kernels, strict=True):
            assert np.linalg.norm(ours - theirs) <= 0.1 * np.linalg.norm(theirs)


def test_a_scale_is_of_the_mean_over_a_batch():
    """With a scale of the sum, the gradients of a batch of 256 would begin 256 times as large, and overflow."""
    assert [LossScale.for_precision("mixed_float16", batch).of_example * batch for batch in (1, 32, 256)] == [2.0**15] * 3
    assert LossScale.for_precision("mixed_bfloat16", 256) == LossScale.for_precision("float32", 256) == LossScale()
    assert LossScale().of_example == 1


def test_it_halves_to_one_and_doubles_after_a_while():
    scale = LossScale(4.0, growth_steps=2, batch_size=8)
    seen = []
    for finite in (False, True, True, True, False, False, False):
        scale.adjust(finite)
        seen.append((scale.value, scale.is_smallest))
    assert [value for value, _ in seen] == [2, 2, 4, 4, 2, 1, 1]
    assert [smallest for _, smallest in seen] == [False] * 5 + [True] * 2


STEEP = Recipe(
    **{"width": 0.02, "crop": 32, "jitter": (32, 40), "batch_size": 40, "limit_images": 120, "epochs": 1, "jit": False},
    **{"init": "gaussian", "init_deviation": 0.39, "learning_rate": 1e-12, "precision": "mixed_float16"},
)
"""Large kernels, and so large gradients, which the learning rate keeps as they are."""


def test_skipped_updates_are_counted_and_a_run_that_only_skips_is_ended(tmp_path, capsys):
    folder = tmp_path / "run"
    training.fit(STEEP, workdir=folder)
    shown = capsys.readouterr().out
    assert "3 updates skipped, loss scale 4096" in shown  # of 3
    assert pd.read_csv(folder / "log.csv").skipped_updates.tolist() == [3]
    longer = dataclasses.replace(STEEP, epochs=2)
    with changed(folder) as values:
        values["loss_scale"]["value"] = 2.0
        values["loss_scale"]["batch_size"] = 1  # as in the checkpoints of versions that scaled the sum
    wanted = r"The gradients overflow float16 at epoch 2, step 2, although the loss scale has fallen to 1 \(.*\)\. Start a new"
    with pytest.raises(InputError, match=wanted) as caught:
        training.fit(longer, workdir=folder)
    told = str(caught.value)
    assert "--precision float32 or mixed_bfloat16" in told
    assert "--init glorot" in told
    assert json.loads((folder / "summary.json").read_text())["ended_by"] == "diverged"


@contextlib.contextmanager
def changed(folder):
    """Gives the values of a run's checkpoint, and writes them with what was changed."""
    arrays, values = checkpoint.load(folder / "state.zip")
    yield values
    checkpoint.save(folder / "state.zip", arrays, values)


def test_a_run_of_an_earlier_version_goes_on_with_its_scale(tmp_path):
    """Its checkpoint has no batch size, and neither counts skipped updates."""
    folder = tmp_path / "run"
    training.fit(dataclasses.replace(STEEP, init_deviation=0.1), workdir=folder)
    with changed(folder) as values:
        values["loss_scale"] = {"value": 256.0, "good_steps": 3, "growth_steps": 2000}
        del values["position"]["skipped"], values["position"]["far"], values["position"]["history"][0]["skipped_updates"]
    training.fit(dataclasses.replace(STEEP, init_deviation=0.1, epochs=2), workdir=folder)
    _, values = checkpoint.load(folder / "state.zip")
    assert values["loss_scale"] == {"value": 256.0, "good_steps": 6, "growth_steps": 2000, "batch_size": 1}
    assert pd.read_csv(folder / "log.csv").skipped_updates.tolist() == [0, 0]


def test_the_tool_compares_layouts_with_the_whole_batch():
    """In float32, where they agree; the last row has another learning rate."""
    whole, halves, other = layouts.compare("float32", [(2, 16)], 1)
    assert whole == ("float32", 1, 32, 0, 0.0, "")
    assert halves[:4] == ("float32", 2, 16, 0)
    assert 0 < halves.kernels < 1e-6
    assert 0 < other.kernels < 1e-6
    with pytest.raises(InputError, match=r"`--updates` must be from 1 to 44"):
        layouts.main(["--updates", "45"])
