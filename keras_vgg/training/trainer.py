"""The loop of a run: epochs of weight updates and validation, checkpoints, and stopping well.

Everything that the rest of a run depends on is in `Position`, the weights and the velocities; all of it is in every
checkpoint. Data and dropout are functions of the position alone, so that a resumed run is the run that was never stopped.
"""

import dataclasses
import math
import time

import keras
import numpy as np
import tensorflow as tf

from keras_vgg import files, preprocessing
from keras_vgg.data import order, pipeline
from keras_vgg.data.broken import BrokenImages
from keras_vgg.data.color import ColorStatistics
from keras_vgg.data.split import Dataset
from keras_vgg.errors import InputError
from keras_vgg.recipe import Recipe
from keras_vgg.training import checkpoint, report
from keras_vgg.training.cluster import Cluster
from keras_vgg.training.loss_scale import LossScale
from keras_vgg.training.plateau import PlateauSchedule
from keras_vgg.training.progress import Progress, duration
from keras_vgg.training.run_folder import RunFolder, free_bytes
from keras_vgg.training.signals import StopRequest
from keras_vgg.training.step import Totals, TrainingStep

_CURVES_SECONDS = 30.0
_STUCK = 0.01  # a loss within this share of ln(classes) has learnt nothing


@dataclasses.dataclass
class Position:
    """Where a run stands.

    Attributes:
        epoch: epochs completed, validation included.
        step: weight updates completed in the epoch that runs.
        totals: training figures of the epoch so far.
        history: rows of `log.csv`.
        best_accuracy: highest validation accuracy so far.
        seconds: time spent so far, all processes together.
    """

    epoch: int = 0
    step: int = 0
    totals: Totals = dataclasses.field(default_factory=Totals)
    history: list[dict] = dataclasses.field(default_factory=list)
    best_accuracy: float = -1.0
    seconds: float = 0.0


class Stopped(Exception):
    """The run was asked to stop and its state is saved; `signal` asked (of another worker, if `None`)."""

    def __init__(self, signal):
        super().__init__(signal)
        self.signal = signal


class Trainer:
    """Trains a model as a recipe says and keeps its run folder.

    Callbacks see it as Keras' model: it has `optimizer` and `stop_training`.

    Args:
        model, optimizer: made in the cluster's strategy scope.
        recipe: the run, with `micro_batch` a number.
        dataset: what to train on.
        colors: colours of the training set.
        cluster: where to train.
        folder: the run folder; only the chief writes to it.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        recipe: Recipe,
        dataset: Dataset,
        colors: ColorStatistics,
        cluster: Cluster,
        folder: RunFolder,
    ):
        self.optimizer, self.stop_training = optimizer, False
        self._model, self._recipe, self._dataset, self._cluster, self._folder = model, recipe, dataset, cluster, folder
        self._layout = order.Layout(recipe.batch_size, recipe.micro_batch, cluster.replicas)
        self._steps = self._layout.steps(dataset.train.size)
        self._preprocessing = preprocessing.Preprocessing(mean=colors.mean)
        self._step = TrainingStep(
            model,
            optimizer,
            cluster.strategy,
            preprocessing=self._preprocessing,
            colors=colors if recipe.color else None,
            seed=recipe.seed,
            jit=recipe.jit,
        )
        self._variables = [*model.variables, *optimizer.variables]
        self._plateau = PlateauSchedule(recipe.patience)
        self._plateau.set_model(self)
        self._loss_scale = LossScale.for_precision(recipe.precision)
        self._broken = {"train": BrokenImages(dataset.train), "validation": BrokenImages(dataset.validation)}
        self._position = Position()
        self._saved_at = self._drawn_at = time.monotonic()

    def restore(self) -> None:
        """Takes up the run where its last checkpoint left it."""
        arrays, values = checkpoint.load(self._folder.state)
        if [array.shape for array in arrays] != [tuple(variable.shape) for variable in self._variables]:
            raise InputError(f"Checkpoint {self._folder.state} must fit the model. Received: one of another net or number of classes.")
        for variable, array in zip(self._variables, arrays, strict=True):
            variable.assign(array)
        self._plateau.restore(values["plateau"])
        self._loss_scale = LossScale(**values["loss_scale"])
        self.stop_training = values["stop_training"]
        self._position = Position(**values["position"] | {"totals": Totals(*values["position"]["totals"])})

    def run(self) -> None:
        """Trains to the end of the run.

        Raises:
            Stopped: on SIGTERM or Ctrl-C, after saving.
            InputError: if training diverges, too many images are broken, or the disk is full.
        """
        position = self._position
        self._check_disk()
        done = position.epoch * self._dataset.train.size + min(position.step * self._recipe.batch_size, self._dataset.train.size)
        total = self._recipe.epochs * self._dataset.train.size
        self._progress = Progress(total, done) if self._cluster.is_chief else Progress(total, done, stream=None)
        self._events = report.Events(self._folder.tensorboard) if self._cluster.is_chief else None
        self._began = time.monotonic() - position.seconds
        self._plateau.on_train_begin()
        self._batches = self._training_batches()
        self._validation_batches = self._make_validation_batches()
        try:
            with StopRequest() as self._stop:
                while position.epoch < self._recipe.epochs and not self.stop_training:
                    self._train_epoch()
                    self._finish_epoch(self._validate())
        except Stopped:
            self._save()
            self._save_models(improved=False)
            raise
        finally:
            self._write_broken()
            if self._events:
                self._events.close()
        self._finish()

    @property
    def place(self) -> str:
        """Where the run stands, for people."""
        return f"epoch {self._position.epoch + 1}, step {self._position.step} of {self._steps}"

    # --- An epoch ---------------------------------------------------------------------------------------------------------

    def _train_epoch(self):
        position = self._position
        while position.step < self._steps:
            totals = self._train_step()
            position.totals += totals
            position.step += 1
            self._after_step(totals)

    def _train_step(self) -> Totals:
        """One weight update; returns its figures."""
        position = self._position
        scale = tf.constant(self._loss_scale.value)
        for _ in range(self._layout.micro_steps(self._dataset.train.size, position.step)):
            self._step.accumulate(next(self._batches), scale)
            self._stop_if_alone()
            self._progress.count(self._layout.micro_batch * self._cluster.replicas)
            self._show(position.totals)
        totals = self._step.totals(stop=bool(self._stop))
        self._check_loss(totals)
        if self._loss_scale.is_dynamic:
            finite = bool(self._step.gradients_are_finite())
            self._loss_scale.adjust(finite)
            if not finite:
                self._step.discard()
                return totals
        if totals.examples:  # else every image of the batch was broken
            self._step.update(tf.constant(totals.examples, tf.float32) * scale)
        return totals

    def _after_step(self, totals: Totals):
        number = self._iterations
        if self._events:
            self._events.step(number, totals.means() | {"learning_rate": self._learning_rate})
        self._check_broken("train", self._position.totals.broken)
        if totals.stop:  # all workers learn of it at the same step
            raise Stopped(self._stop.signal)
        if time.monotonic() - self._saved_at > 60 * self._recipe.checkpoint_minutes and self._position.step < self._steps:
            self._save()

    def _validate(self) -> Totals:
        passes = order.Layout(self._dataset.validation.size, self._layout.micro_batch, self._layout.replicas)
        for _ in range(passes.micro_steps(self._dataset.validation.size, 0)):
            self._step.evaluate(next(self._validation_batches))
            self._stop_if_alone()
        totals = self._step.totals(stop=bool(self._stop))
        if totals.stop:
            raise Stopped(self._stop.signal)
        self._check_broken("validation", totals.broken)
        return totals

    def _finish_epoch(self, validation: Totals):
        position = self._position
        means = position.totals.means() | validation.means("val_")
        row = {"epoch": position.epoch + 1, "step": self._iterations, "learning_rate": self._learning_rate}
        row |= _row(means) | {"broken_images": int(position.totals.broken)}
        position.history.append(row)
        improved = means["val_accuracy"] > position.best_accuracy
        position.best_accuracy = max(position.best_accuracy, means["val_accuracy"])
        self._report_epoch(row, improved)
        self._plateau.on_epoch_end(position.epoch, dict(means))
        position.epoch, position.step, position.totals = position.epoch + 1, 0, Totals()
        self._save_models(improved)
        self._save()

    def _report_epoch(self, row: dict, improved: bool):
        if not self._cluster.is_chief:
            return
        self._events.epoch(row["epoch"], {name: value for name, value in row.items() if name != "epoch"})
        self._progress.say(
            f"epoch {row['epoch']:>3}  loss {row['loss']:.4f}  top-1 error {row['top1_error']:.2%}  "
            f"val loss {row['val_loss']:.4f}  val top-1 {row['val_top1_error']:.2%}  top-5 {row['val_top5_error']:.2%}  "
            f"rate {row['learning_rate']:.2g}{'  best so far' if improved else ''}"
        )
        chance = math.log(len(self._dataset.classes))
        if abs(row["loss"] - chance) < _STUCK * chance and self._dataset.train.size > 1:
            self._progress.say(
                f"Warning: the loss is stuck at ln({len(self._dataset.classes)}) = {chance:.3f}, what guessing gives "
                f"(init {self._recipe.init}, rate {row['learning_rate']:.2g}). If it stays there: a deep net needs --init glorot or "
                "he, or --init-from a trained net A (Sec. 3.1); after that, try another --learning-rate."
            )

    # --- What can go wrong ------------------------------------------------------------------------------------------------

    def _stop_if_alone(self):
        # A lone worker need not finish the update or validation it is in: it will do it again from the last one completed.
        if self._stop and self._cluster.is_alone:
            raise Stopped(self._stop.signal)

    def _check_loss(self, totals: Totals):
        if math.isfinite(totals.loss):
            return
        raise InputError(
            f"The loss became {totals.loss} at epoch {self._position.epoch + 1}, step {self._position.step + 1} (learning rate "
            f"{self._learning_rate:.3g}, init {self._recipe.init}). Start anew with a lower --learning-rate, or --init glorot, or "
            f"--precision float32; the last good checkpoint is in {self._folder.path}."
        )

    def _check_broken(self, split: str, broken: float):
        size = getattr(self._dataset, split).size
        if broken > self._recipe.max_bad_fraction * size:
            rows = self._broken[split].rows()
            named = "; ".join(f"{name}: {reason}" for name, reason in rows[:5])
            raise InputError(
                f"{int(broken)} of {size} {split} images could not be read, more than --max-bad-fraction "
                f"{self._recipe.max_bad_fraction:g}: {named}{'; …' if len(rows) > 5 else ''} (all in {self._folder.broken}). "
                "Mend or remove them, or allow more."
            )

    def _check_disk(self):
        if not self._cluster.is_chief:
            return
        weights = sum(4 * math.prod(variable.shape) for variable in self._model.variables)
        needed = 5 * weights  # state (weights and velocities), best.keras, last.keras, and one of them written beside
        already = sum(path.stat().st_size for path in (self._folder.state, self._folder.best, self._folder.last) if path.exists())
        if free_bytes(self._folder.path) + already < needed:
            raise InputError(
                f"The disk of {self._folder.path} must have {needed / 1e9:.1f} GB free for checkpoints. "
                f"Received: {free_bytes(self._folder.path) / 1e9:.1f} GB; make room or give another --workdir."
            )

    # --- Saving -----------------------------------------------------------------------------------------------------------

    def _save(self):
        if not self._cluster.is_chief:
            return
        self._position.seconds = time.monotonic() - self._began
        values = {
            "position": dataclasses.asdict(self._position) | {"totals": dataclasses.astuple(self._position.totals)},
            "plateau": self._plateau.state(),
            "loss_scale": dataclasses.asdict(self._loss_scale),
            "stop_training": self.stop_training,
            "micro_batch": self._layout.micro_batch,
        }
        # What people read is written from the same history; should a kill fall between, the next epoch writes it again.
        if self._position.history:
            report.write_log(self._folder.log, self._position.history)
        checkpoint.save(self._folder.state, [np.asarray(variable) for variable in self._variables], values)
        self._write_broken()
        if self._position.history and time.monotonic() - self._drawn_at > _CURVES_SECONDS:
            self._draw()
        self._saved_at = time.monotonic()

    def _save_models(self, improved: bool):
        if not self._cluster.is_chief:
            return
        with files.replacing(self._folder.last) as beside:
            self._model.save(beside)
            preprocessing.attach(beside, self._preprocessing)
        if improved:
            with files.replacing(self._folder.best) as beside:
                beside.write_bytes(self._folder.last.read_bytes())

    def _draw(self):
        title = f"net {self._recipe.arch}, {self._dataset.description}"
        report.draw_curves(self._folder.curves, self._position.history, title)
        self._drawn_at = time.monotonic()

    def _write_broken(self):
        path = self._folder.broken
        if not self._cluster.is_chief:  # every worker sees its own images
            path = path.with_stem(f"{path.stem}-replica{self._cluster.my_replicas.start}")
        report.add_broken(path, {split: broken.rows() for split, broken in self._broken.items()})

    def _finish(self):
        if not self._cluster.is_chief:
            return
        self._draw()
        best = max(self._position.history, key=lambda row: -row["val_top1_error"])
        summary = {
            "finished": True,
            "arch": self._recipe.arch,
            "parameters": self._model.count_params(),
            "epochs": self._position.epoch,
            "ended_by": "plateau" if self.stop_training else "epochs",
            "best_epoch": best["epoch"],
            "best_val_top1_error": best["val_top1_error"],
            "best_val_top5_error": best["val_top5_error"],
            "seconds": round(self._position.seconds, 1),
            "images_per_second": round(self._progress.images_per_second, 2),
            "micro_batch": self._layout.micro_batch,
            "replicas": self._cluster.replicas,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "preprocessing": dataclasses.asdict(self._preprocessing),
        }
        self._folder.write_summary(summary)
        self._progress.say(
            f"done in {duration(self._position.seconds)}: best validation accuracy {self._position.best_accuracy:.2%} "
            f"at epoch {best['epoch']}; everything is in {self._folder.path}"
        )

    # --- Small things -----------------------------------------------------------------------------------------------------

    @property
    def _iterations(self) -> int:
        return self._position.epoch * self._steps + self._position.step

    @property
    def _learning_rate(self) -> float:
        return float(self.optimizer.learning_rate)

    def _show(self, totals: Totals):
        means = totals.means()
        so_far = f"  loss {means['loss']:.4f}  accuracy {means['accuracy']:.2%}" if totals.examples else ""
        self._progress.show(
            f"epoch {self._position.epoch + 1}/{self._recipe.epochs}  step {self._position.step + 1}/{self._steps}{so_far}"
        )

    def _training_batches(self):
        view = pipeline.View(
            self._recipe.crop, self._recipe.scales, flip=self._recipe.flip, random=True, seed=self._recipe.seed
        )
        start = {"epoch": self._position.epoch, "step": self._position.step}  # now: the rows are made ahead of training
        return self._distributed(
            self._dataset.train,
            lambda: order.training_rows(
                self._dataset.train.size, self._layout, seed=self._recipe.seed, my_replicas=self._cluster.my_replicas, **start
            ),
            view,
            self._broken["train"],
        )

    def _make_validation_batches(self):
        return self._distributed(
            self._dataset.validation,
            lambda: order.validation_rows(self._dataset.validation.size, self._layout, my_replicas=self._cluster.my_replicas),
            pipeline.View(self._recipe.crop, (self._recipe.test_scale,) * 2),
            self._broken["validation"],
        )

    def _distributed(self, split, rows, view, broken):
        def make(context):
            return pipeline.micro_batches(split, rows, self._layout.micro_batch, view, broken.report)

        return iter(self._cluster.strategy.distribute_datasets_from_function(make))


def _row(means: dict[str, float]) -> dict[str, float]:
    """Log columns from means: errors in place of accuracies."""
    return {
        f"{prefix}{name}": value
        for prefix in ("", "val_")
        for name, value in (
            ("loss", means[f"{prefix}loss"]),
            ("top1_error", 1 - means[f"{prefix}accuracy"]),
            ("top5_error", 1 - means[f"{prefix}top5_accuracy"]),
        )
    }
