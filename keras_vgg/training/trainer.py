"""The loop of a run: epochs of weight updates and validation, checkpoints, and stopping well.

Everything that the rest of a run depends on is in its `RunState`, the schedule, the weights and the velocities; all of it is
in every checkpoint. Data and dropout are functions of the position alone, so that a resumed run is the run that was never
stopped.
"""

import dataclasses
import time

import keras
import tensorflow as tf

from keras_vgg.data.color import ColorStatistics
from keras_vgg.data.order import Layout
from keras_vgg.data.split import Dataset
from keras_vgg.errors import InputError
from keras_vgg.preprocessing import Preprocessing
from keras_vgg.recipe import Recipe
from keras_vgg.support.progress import Progress, duration
from keras_vgg.training import checks
from keras_vgg.training.cluster import Cluster
from keras_vgg.training.feed import training_feed, validation_feed
from keras_vgg.training.loss_scale import LossScale
from keras_vgg.training.plateau import PlateauSchedule, learning_rate_of
from keras_vgg.training.run_folder import RunFolder
from keras_vgg.training.run_state import RunState
from keras_vgg.training.run_writer import RunWriter
from keras_vgg.training.signals import StopRequest
from keras_vgg.training.step import Totals, TrainingStep


class Stopped(Exception):  # noqa: N818  (no error: what was asked for)
    """The run was asked to stop and its state is saved; `signal` asked, or another worker's if it is `None`."""

    def __init__(self, signal):
        super().__init__(signal)
        self.signal = signal


class Trainer:
    """Trains a model as a recipe says and keeps its run folder.

    The schedule sees it as its Keras model: it has `optimizer` and `stop_training`.

    Args:
        model, optimizer: made in the cluster's strategy scope.
        recipe: the run, with `micro_batch` a number.
        dataset: what to train on.
        colors: colours of the training set.
        preprocessing: what the model is given of an image.
        cluster: where to train.
        folder: the run folder.
        begun_from: digest of the net that the weights were copied from; `None` of random ones.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        recipe: Recipe,
        dataset: Dataset,
        colors: ColorStatistics,
        preprocessing: Preprocessing,
        cluster: Cluster,
        folder: RunFolder,
        begun_from: str | None = None,
    ):
        self._begun_from = begun_from
        self.optimizer, self.stop_training = optimizer, False
        self._recipe, self._dataset, self._cluster, self._folder = recipe, dataset, cluster, folder
        self._layout = Layout(recipe.batch_size, recipe.micro_batch, cluster.replicas)
        self._steps = self._layout.steps(dataset.train.size)
        self._step = TrainingStep(
            model,
            optimizer,
            cluster.strategy,
            preprocessing=preprocessing,
            colors=colors if recipe.color else None,
            seed=recipe.seed,
            jit=recipe.jit,
        )
        title = f"net {recipe.arch}, {dataset.description}"
        self._writer = RunWriter(folder, cluster, model, [*model.variables, *optimizer.variables], preprocessing, title)
        if cluster.is_chief:
            checks.check_disk(folder, model.count_params())
        self._plateau = PlateauSchedule(recipe.patience)
        self._plateau.set_model(self)
        self._loss_scale = LossScale.for_precision(recipe.precision)
        self._position = RunState()

    def restore(self) -> str:
        """Takes up the run where its last checkpoint left it; returns the place in words."""
        values = self._writer.restore()
        checks.check_data(values["data"], self._data_facts(), self._folder)
        self._plateau.restore(values["plateau"])
        self._loss_scale = LossScale(**values["loss_scale"])
        self.stop_training = values["stop_training"]
        position = self._position = RunState.from_values(values["position"])
        self._begun_from = values.get("begun_from")
        place = f"epoch {position.epoch + 1}, step {position.step} of {self._steps}"
        if self._writer.mend_models(position):
            if self.stop_training or position.epoch == self._recipe.epochs:
                raise InputError(f"{self._folder.best} is gone, and no epoch is left to take its place: put back a copy.")
            position.forget_best()
            place += f"; {self._folder.best} is gone: the best of the epochs to come takes its place"
        return place

    def run(self) -> None:
        """Trains to the end of the run.

        Raises:
            Stopped: on SIGTERM, SIGHUP or Ctrl-C, after saving.
            InputError: if training diverges, too many images are broken, or the disk is full.
        """
        position, size = self._position, self._dataset.train.size
        done = position.epoch * size + min(position.step * self._recipe.batch_size, size)
        self._progress = Progress(self._recipe.epochs * size, done, self._writer.stream, may_end_early=True)
        self._began = time.monotonic() - position.seconds
        self._plateau.on_train_begin()
        self._training = training_feed(
            self._dataset.train, self._recipe, self._layout, self._cluster, epoch=position.epoch, step=position.step
        )
        self._validation = validation_feed(self._dataset.validation, self._recipe, self._layout, self._cluster)
        with StopRequest("saving") as self._stop:
            self._train_to_the_end()
            self._finish()  # which takes seconds: a wish to stop is granted by coming to the end

    def _train_to_the_end(self):
        try:
            with self._progress:
                while self._position.epoch < self._recipe.epochs and not self.stop_training:
                    self._train_epoch()
                    self._finish_epoch(self._validate())
        except Stopped:
            self._save()
            self._writer.save_models(improved=False)
            raise
        finally:
            self._write_broken()
            self._training = self._validation = None  # ends their threads now, not whenever a traceback is forgotten
            self._writer.close()

    def _train_epoch(self):
        position = self._position
        while position.step < self._steps:
            totals = self._train_step()
            position.totals += totals
            position.step += 1
            figures = totals.means() | {"learning_rate": self._learning_rate}
            self._writer.write_events("train", self._iterations, figures)
            self._check_broken("train", position.totals.broken, self._training)
            if totals.stop:  # all workers learn of it at the same step
                raise Stopped(self._stop.signal)
            if position.step < self._steps and self._writer.seconds_since_save > 60 * self._recipe.checkpoint_minutes:
                self._save()

    def _train_step(self) -> Totals:
        """Makes one weight update and returns its figures."""
        scale = tf.constant(self._loss_scale.value)
        left = min(self._recipe.batch_size, self._dataset.train.size - self._position.step * self._recipe.batch_size)
        for number in range(self._layout.micro_steps(self._dataset.train.size, self._position.step)):
            self._step.accumulate(next(self._training), scale, first=number == 0)
            self._stop_if_alone()
            taken = min(self._layout.micro_batch * self._cluster.replicas, left)  # the last micro-batch may be partly empty
            self._progress.count(taken)
            left -= taken
            self._show()
        totals = self._totals(self._position.step + 1)
        if self._loss_scale.is_dynamic:
            finite = bool(self._step.gradients_are_finite())
            self._loss_scale.adjust(finite)
            if not finite:  # a lower scale begins with the next batch
                return totals
        if totals.examples:  # else every image of the batch was broken
            self._step.update(tf.constant(totals.examples, tf.float32) * scale)
        return totals

    def _totals(self, step: int) -> Totals:
        """Returns the figures since the last call, over all workers, each of which learns here whether another should stop."""
        totals = self._step.totals(stop=bool(self._stop))
        rate = self._learning_rate
        checks.check_loss(totals.loss, self._recipe, self._folder, epoch=self._position.epoch + 1, step=step, learning_rate=rate)
        return totals

    def _validate(self) -> Totals:
        size = self._dataset.validation.size
        one_pass = dataclasses.replace(self._layout, batch_size=size)
        for _ in range(one_pass.micro_steps(size, 0)):
            self._step.evaluate(next(self._validation))
            self._stop_if_alone()
            # What is left is told in training images, so that these are not counted.
            self._progress.show(f"epoch {self._position.epoch + 1}/{self._recipe.epochs}  validation")
        totals = self._totals(self._steps)
        if totals.stop:
            raise Stopped(self._stop.signal)
        self._check_broken("validation", totals.broken, self._validation)
        return totals

    def _finish_epoch(self, validation: Totals):
        position = self._position
        row, improved = position.finish_epoch(
            validation, step=self._iterations, learning_rate=self._learning_rate, digest=self._writer.digest()
        )
        figures = {name: value for name, value in row.items() if name not in ("epoch", "step", "net sha256")}
        self._writer.write_events("epoch", row["epoch"], figures)
        self._progress.say(
            f"epoch {row['epoch']:>3}  loss {row['loss']:.4f}  top-1 error {row['top1_error']:.2%}  "
            f"val loss {row['val_loss']:.4f}  val top-1 {row['val_top1_error']:.2%}  top-5 {row['val_top5_error']:.2%}  "
            f"rate {row['learning_rate']:.2g}{'  best so far' if improved else ''}"
        )
        losses, classes = (row["loss"], row["val_loss"]), len(self._dataset.classes)
        if warning := checks.stuck_warning(*losses, classes, self._recipe.init, row["learning_rate"]):
            self._progress.say(warning)
        self._plateau.on_epoch_end(row["epoch"] - 1, {"val_accuracy": validation.means()["accuracy"]})
        self._writer.save_models(improved)
        self._save()
        self._write_broken()

    def _finish(self):
        facts = {
            "arch": self._recipe.arch,
            "ended_by": "plateau" if self.stop_training else "epochs",
            "seconds": round(self._position.seconds, 1),
            "images_per_second": round(self._progress.images_per_second, 2),
            "micro_batch": self._layout.micro_batch,
            "replicas": self._cluster.replicas,
            "init_from_sha256": self._begun_from,
        }
        self._writer.finish(self._position.history, self._position.best, facts)
        self._progress.say(
            f"done in {duration(self._position.seconds)}: best validation accuracy {self._position.best_accuracy:.2%}; "
            f"everything is in {self._folder.path}"
        )

    def _save(self):
        self._position.seconds = time.monotonic() - self._began
        values = {
            "position": self._position.to_values(),
            "plateau": self._plateau.state(),
            "loss_scale": dataclasses.asdict(self._loss_scale),
            "stop_training": self.stop_training,
            "micro_batch": self._layout.micro_batch,
            "data": self._data_facts(),
            "begun_from": self._begun_from,
            "experiment": self._recipe.experiment(),
        }
        self._writer.save(values, self._position.history)

    def _data_facts(self) -> dict:
        dataset = self._dataset
        return {"sizes": [dataset.train.size, dataset.validation.size], "classes": list(dataset.classes)}

    def _write_broken(self):
        self._writer.write_broken({"train": self._training.broken.rows(), "validation": self._validation.broken.rows()})

    def _stop_if_alone(self):
        # A lone worker need not finish the update or validation it is in: it will do it again from the last one completed.
        if self._stop and self._cluster.is_alone:
            raise Stopped(self._stop.signal)

    def _check_broken(self, split, broken, feed):
        checks.check_broken(split, broken, feed.size, feed.broken.rows(), self._recipe, self._folder)

    def _show(self):
        means = self._position.totals.means()
        so_far = f"  loss {means['loss']:.4f}  accuracy {means['accuracy']:.2%}" if self._position.totals.examples else ""
        self._progress.show(
            f"epoch {self._position.epoch + 1}/{self._recipe.epochs}  step {self._position.step + 1}/{self._steps}{so_far}"
        )

    @property
    def _iterations(self) -> int:
        return self._position.epoch * self._steps + self._position.step

    @property
    def _learning_rate(self) -> float:
        return learning_rate_of(self.optimizer)
