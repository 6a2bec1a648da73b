"""Sets up a training run from a recipe and trains it."""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple

import keras
import tensorflow as tf

from keras_vgg import class_names, configs, models, preprocessing, transfer
from keras_vgg.data import class_weights, color, trained_on
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.order import Layout
from keras_vgg.errors import InputError
from keras_vgg.identity import digest_of_net, short
from keras_vgg.mixed_precision import set_precision
from keras_vgg.preprocessing import Preprocessing
from keras_vgg.recipe import Recipe, to_toml
from keras_vgg.recipe_bounds import BALANCED
from keras_vgg.support import extras, files, half_precision
from keras_vgg.support.counts import counted
from keras_vgg.support.determinism import op_determinism
from keras_vgg.support.xla import convolutions_prefer_xla
from keras_vgg.tasks import get_task
from keras_vgg.tasks.task import Task
from keras_vgg.training import checkpoint, freezing, outlook
from keras_vgg.training.agreement import Agreement
from keras_vgg.training.callbacks import Callbacks, KerasCallbacks
from keras_vgg.training.cluster import make_cluster
from keras_vgg.training.layer_rates import layer_rates
from keras_vgg.training.micro_batch import choose as choose_micro_batch
from keras_vgg.training.optimizer import make_optimizer
from keras_vgg.training.run_folder import RunFolder
from keras_vgg.training.trainer import Trainer
from keras_vgg.training.worker_facts import worker_facts


def train(wanted: Recipe, folder: RunFolder, callbacks: Sequence[keras.callbacks.Callback] = ()) -> None:
    """Trains `wanted` in `folder` to the end of the run, resuming from its last checkpoint if there is one.

    Args:
        wanted: the recipe to train.
        folder: the run folder; claimed here by the chief.
        callbacks: as `callbacks.checked` returns them.

    Raises:
        InputError: for any error that the user can fix.
        keras_vgg.training.trainer.Stopped: on SIGTERM or Ctrl-C, after saving.
    """
    extras.require("train")
    with _precision(wanted.precision, wanted.tf32):
        _train(wanted, folder, callbacks)


@contextlib.contextmanager
def _precision(policy: str, tf32: bool):
    """Sets Keras' dtype policy and TensorFlow's use of TF32 for a while and restores the caller's afterwards."""
    before, had_tf32 = keras.config.dtype_policy(), tf.config.experimental.tensor_float_32_execution_enabled()
    keras.config.set_dtype_policy(policy)
    tf.config.experimental.enable_tensor_float_32_execution(tf32)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(had_tf32)
        keras.config.set_dtype_policy(before)


def _train(wanted: Recipe, folder: RunFolder, callbacks: Sequence[keras.callbacks.Callback]) -> None:
    recipe, frozen = wanted, freezing.frozen_layers(wanted.arch, wanted.freeze)
    cluster = make_cluster(recipe.strategy, recipe.replicas, recipe.communication)
    say = print if cluster.is_chief else lambda *args: None
    with Agreement(cluster) as agreement:
        if cluster.is_chief:
            folder.claim()
        resuming = folder.state.exists()
        if recipe.init_from and not resuming:
            transfer.find_model(recipe.init_from)  # reports a wrong path before the dataset is opened
        dataset, task = _open(recipe, sys.stdout if cluster.is_chief else None, say)
        kept = checkpoint.read_values(folder.state) if resuming else None
        micro_batch = choose_micro_batch(recipe, dataset.train.size, task.units, cluster, kept, say)
        source = _source(recipe, recipe.init_from, task) if recipe.init_from and not resuming else None
        begun_from = source and source.digest
        if not cluster.is_alone:
            resumed = folder if resuming else None
            agreement.reach(worker_facts(recipe, cluster, dataset, task, micro_batch, resumed, begun_from, callbacks))
    keras.utils.set_random_seed(recipe.seed % 2**32)  # after a net was loaded, whose initializers draw seeds
    jit = recipe.uses_jit(task.units, convolutions_prefer_xla())
    deterministic = recipe.uses_deterministic_ops(jit, bool(tf.config.list_physical_devices("GPU")))
    say(
        f"training: {cluster.description}; batches of {recipe.batch_size} in micro-batches of {micro_batch} per replica, "
        f"{recipe.precision}{' in TF32' if recipe.tf32 else ''}, XLA {'on' if jit else 'off'}"
        f"{', deterministic ops' if deterministic else ''}"
    )
    if cluster.is_chief:
        epochs = recipe.epochs - (kept["position"]["epoch"] if kept else 0)
        work = outlook.work_of(recipe, task.units, (dataset.train.size, dataset.validation.size), epochs, frozen)
        half_precision.advise(recipe.precision, work.total, or_else="" if recipe.tf32 else "--tf32")
        outlook.tell(recipe, work, cluster, say)
    colors = _colors(recipe, dataset, folder, resuming)
    with cluster.strategy.scope():
        model = models.build_vgg(
            recipe.arch,
            input_shape=(recipe.crop, recipe.crop, 3),
            classes=task.units,
            dropout=recipe.dropout,
            width=recipe.width,
            batch_norm=recipe.batch_norm,
            initializer=_initializer(recipe),
            classifier_activation=task.activation,
        )
        set_precision(model, recipe.precision)  # the same policies as when the saved net is opened in this precision
        class_names.adopt(model, task.outputs)
        last = model.get_layer("predictions")
        last.set_weights(task.start(last.get_weights(), recipe.seed))
        num_frozen = freezing.freeze(model, frozen)
        rates = layer_rates(recipe.arch, recipe.layer_rate_decay, recipe.head_rate)
        optimizer = make_optimizer(recipe, model, rates)
    say(f"model: net {recipe.net}, {model.count_params():,} parameters{f', {num_frozen:,} of them frozen' if frozen else ''}")
    given = Preprocessing(mean=colors.mean)
    if source:  # before the trainer, which starts to write files
        names = transfer.Classes(task.outputs, source.outputs)
        transferred = transfer.init_from(model, source.net, wants=given, classes=names)
        say(f"from {recipe.init_from} ({short(source.digest)})\n{source.known}\n{transferred}")
        freezing.check_copied(frozen, transferred.left_random)
    layout = Layout(recipe.batch_size, micro_batch, cluster.replicas)
    told = Callbacks()
    if callbacks:
        epochs, steps = recipe.epochs, layout.steps(dataset.train.size)
        told = KerasCallbacks(callbacks, model, optimizer, task, dataset.target, epochs=epochs, steps=steps)
    trainer = Trainer(model, optimizer, recipe, layout, jit, task, dataset, colors, given, cluster, folder, begun_from, told)
    if resuming:
        say(f"resuming {folder.path} at {trainer.restore()}")
    if cluster.is_chief:  # only now, so that earlier failures leave no files behind
        files.write_text(folder.recipe, to_toml(wanted))
        files.write_text(folder.classes, "".join(f"{name}\n" for name in dataset.classes))
        trained_on.write_note(folder.data, dataset.description, dataset.training_digest)
        files.write_text(folder.colors, json.dumps(dataclasses.asdict(colors), indent=2) + "\n")
    with op_determinism(True) if deterministic else contextlib.nullcontext():
        trainer.run()


def _open(recipe: Recipe, stream: IO[str] | None, say: Callable) -> tuple[Dataset, Task]:
    """Opens the dataset, with its progress on `stream`, and says what is in it; returns it and the task."""
    task_class = get_task(recipe.task)
    dataset = task_class.open(recipe.dataset, limit_images=recipe.limit_images, stream=stream)
    weights = _class_weights(recipe, dataset)
    task = task_class.of_recipe(recipe, dataset.classes, weights)
    sizes = f"{dataset.train.size} + {dataset.validation.size} images, {counted(len(dataset.classes), 'class')}"
    say(f"data: {dataset.description}, {sizes}")
    for note in dataset.training_notes:
        say(note)
    if weights:
        least, most = (f"{weight:.3g} ({dataset.classes[weights.index(weight)]})" for weight in (min(weights), max(weights)))
        say(f"class weights: {least} to {most}")
    return dataset, task


def _initializer(recipe: Recipe) -> str | keras.initializers.Initializer:
    if recipe.init_deviation == configs.GAUSSIAN_DEVIATION:
        return recipe.init
    return keras.initializers.RandomNormal(stddev=recipe.init_deviation)


class _Source(NamedTuple):
    """A net that a run starts from.

    Attributes:
        net: the net.
        known: a description of its preprocessing and its origin.
        outputs: its output names; `None` if they are unknown, and empty if unnamed outputs cannot be those of the task.
        digest: its digest.
    """

    net: keras.Model
    known: str
    outputs: tuple[str, ...] | None
    digest: str


def _source(recipe: Recipe, path: str, task: Task) -> _Source:
    net, facts = transfer.load_model(path), transfer.facts_of(path)
    origin = facts.origin  # for recognized weights, more specific than the model
    if recipe.init_preprocessing:
        preprocessing.remember(net, preprocessing.BY_NAME[recipe.init_preprocessing])
        origin = preprocessing.GIVEN
    if origin is None or not preprocessing.is_known(net):
        raise InputError(
            f"`init_from` must record its input preprocessing. Received: {path}, which does not; "
            "pass --init-preprocessing caffe or torch."
        )
    theirs = facts.outputs() or (None if task.outputs == task.classes else ())
    known = preprocessing.statement(preprocessing.of_weights(net), origin)
    return _Source(net, known, theirs, digest_of_net(net))


def _class_weights(recipe: Recipe, dataset: Dataset) -> tuple[float, ...] | None:
    if recipe.class_weights is None:
        return None
    if recipe.class_weights == BALANCED:
        return class_weights.balanced(dataset.train.labels(), len(dataset.classes))
    return class_weights.read(recipe.class_weights, dataset.classes)


def _colors(recipe: Recipe, dataset: Dataset, folder: RunFolder, resuming: bool) -> color.ColorStatistics:
    if recipe.color_statistics == "imagenet":
        return color.IMAGENET
    if resuming and folder.colors.exists():  # measuring again would give the same but read all images
        with contextlib.suppress(ValueError, TypeError):  # damaged, e.g. by a power failure
            return color.ColorStatistics(**files.read_json(folder.colors, dict))
    return color.measure(dataset.train, scale=recipe.test_scale, crop=recipe.crop)
