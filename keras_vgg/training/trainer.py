"""The training loop: epochs of weight updates and validation, checkpoints, and graceful stops.

A run is determined by its `RunState`, the schedule, the weights and the velocities; every checkpoint contains all of them. Data
and dropout are functions of this state alone, so a resumed run is identical to one that was never stopped, if devices
are the same: on CPUs, also their number of cores, which determines the order of sums.
"""

import dataclasses
import time
from typing import Any

import keras
import tensorflow as tf

from keras_vgg import optimizers
from keras_vgg.data.color import ColorStatistics
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.order import Layout
from keras_vgg.errors import InputError
from keras_vgg.preprocessing import Preprocessing
from keras_vgg.recipe import Recipe
from keras_vgg.support.counts import counted
from keras_vgg.support.progress import Progress, duration
from keras_vgg.tasks.task import LOSS, Task
from keras_vgg.training import checks
from keras_vgg.training.callbacks import Callbacks
from keras_vgg.training.cluster import Cluster
from keras_vgg.training.feed import Feed, training_feed, validation_feed, validation_view
from keras_vgg.training.loss_scale import LossScale
from keras_vgg.training.mixing import Mixing
from keras_vgg.training.pictures import ValidationPictures
from keras_vgg.training.run_folder import RunFolder
from keras_vgg.training.run_state import RunState
from keras_vgg.training.run_writer import RunWriter
from keras_vgg.training.schedule import make_schedule
from keras_vgg.training.signals import StopRequest
from keras_vgg.training.step import StepSettings, TrainingStep
from keras_vgg.training.totals import Totals
from keras_vgg.training.weight_average import WeightAverage


class Stopped(Exception):  # noqa: N818  (not an error but a request)
    """The run was stopped and saved, by `signal` or, if that is `None`, because another worker was asked to stop."""

    def __init__(self, signal):
        super().__init__(signal)
        self.signal = signal


class Trainer:
    """Trains a model by a recipe and maintains its run folder.

    Args:
        model, optimizer: created in the cluster's strategy scope.
        recipe: the run.
        layout: how batches are split into micro-batches.
        jit: whether to compile with XLA.
        task: the task.
        dataset: the dataset.
        colors: color statistics of the training set.
        preprocessing: the preprocessing of the model's inputs.
        cluster: the cluster to train on.
        folder: the run folder.
        begun_from: digest of the net that the weights were copied from; `None` for random weights.
        callbacks: called during the run; by default none.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        recipe: Recipe,
        layout: Layout,
        jit: bool,
        task: Task,
        dataset: Dataset,
        colors: ColorStatistics,
        preprocessing: Preprocessing,
        cluster: Cluster,
        folder: RunFolder,
        begun_from: str | None = None,
        callbacks: Callbacks | None = None,
    ):
        self._begun_from, self._callbacks = begun_from, callbacks or Callbacks()
        self._recipe, self._task, self._dataset, self._cluster, self._folder = recipe, task, dataset, cluster, folder
        self._layout, self._steps = layout, layout.steps(dataset.train.size)
        self._average = WeightAverage(model, recipe.ema_momentum, cluster.strategy)
        settings = StepSettings(
            preprocessing=preprocessing,
            colors=colors if recipe.color else None,
            seed=recipe.seed,
            jit=jit,
            clip_norm=recipe.clip_norm,
            norm_group=recipe.norm_group,
            mixing=Mixing(recipe.mixup, recipe.cutmix, recipe.seed) if recipe.mixup or recipe.cutmix else None,
        )
        self._step = TrainingStep(
            model, optimizer, cluster.strategy, task, settings, average=self._average, validation_size=dataset.validation.size
        )
        variables = [variable.value for variable in (*model.variables, *optimizer.variables)] + self._average.variables
        title = f"net {recipe.net}, {dataset.description}"
        self._writer = RunWriter(folder, cluster, model, variables, preprocessing, task, title)
        if cluster.is_chief:
            checks.check_disk(folder, model.count_params(), optimizers.SLOTS[recipe.optimizer])
        self._pictures = None
        if task.draws and cluster.is_chief:
            view = validation_view(task, recipe)
            self._pictures = ValidationPictures(model, preprocessing, task, dataset.validation, view)
        self._schedule = make_schedule(recipe, optimizer, self._steps)
        self._loss_scale = LossScale.for_precision(recipe.precision, recipe.batch_size)
        self._state = RunState()

    def restore(self) -> str:
        """Resumes the run from its last checkpoint; returns the epoch and step as text."""
        values = self._writer.restore()
        checks.check_data(values["data"], self._data_facts(), self._folder)
        checks.check_class_weights(values, {"class_weights": self._class_weights}, self._folder)
        # Runs of versions with only the plateau schedule stored its state in two places.
        self._schedule.restore(
            values["schedule"] if "schedule" in values else values["plateau"] | {"ended": values["stop_training"]}
        )
        self._loss_scale = LossScale(**values["loss_scale"])
        state = self._state = RunState.from_values(values["position"])
        self._begun_from = values.get("begun_from")
        place = f"epoch {state.epoch + 1}, step {state.step} of {self._steps}"
        with self._average.in_place():
            best_is_gone = self._writer.mend_models(state)
        if best_is_gone:
            if self._is_over:
                raise InputError(f"{self._folder.best} is missing, and no epoch is left to replace it. Restore a copy.")
            state.forget_best()
            place += f"; {self._folder.best} is missing: the best of the remaining epochs will replace it"
        return place

    def run(self) -> None:
        """Trains to the end of the run.

        Raises:
            Stopped: on SIGTERM, SIGHUP or Ctrl-C, after saving.
            InputError: if training diverges, too many images are broken, or the disk is full.
        """
        state, size = self._state, self._dataset.train.size
        done = state.epoch * size + min(state.step * self._recipe.batch_size, size)
        self._progress = Progress(self._recipe.epochs * size, done, self._writer.stream, may_end_early=True)
        self._began = time.monotonic() - state.seconds
        self._training = training_feed(
            self._dataset.train, self._task, self._recipe, self._layout, self._cluster, epoch=state.epoch, step=state.step
        )
        self._validation: Feed | None = None  # created at first use, so as not to delay the first update
        with StopRequest("saving") as self._stop:
            self._train_to_the_end()
            self._finish()  # takes only seconds, so a stop request need not interrupt it
        self._average.keep()
        self._callbacks.train_ends()

    def _train_to_the_end(self):
        try:
            with self._progress:
                self._callbacks.train_begins()
                while not self._is_over and not self._callbacks_stop():
                    self._train_epoch()
                    with self._average.in_place():
                        self._finish_epoch(self._validate())
                    self._save()
                    self._write_broken()
        except Stopped:
            self._save()
            with self._average.in_place():
                self._writer.save_models(improved=False)
            raise
        except checks.DivergedError:
            self._state.seconds = time.monotonic() - self._began
            self._writer.give_up(self._state, self._outcome("diverged", finished=False))
            raise
        finally:
            self._write_broken()
            del self._training, self._validation  # ends their threads now, not when the traceback is freed
            self._writer.close()

    def _train_epoch(self):
        state = self._state
        self._callbacks.epoch_begins(state.epoch)
        while state.step < self._steps:
            self._callbacks.update_begins(state.step)
            self._schedule.before_update(self._iterations)
            totals = self._train_step()
            state.totals += totals
            state.step += 1
            figures = self._figures(totals) | {"learning_rate": self._learning_rate}
            self._writer.write_update(self._iterations, figures)
            state.far = state.far + 1 if checks.is_far(self._task, figures[LOSS]) else 0
            rate = self._learning_rate
            checks.check_far(state.far, figures[LOSS], self._task, self._recipe, self._folder, learning_rate=rate)
            self._check_broken("train", state.totals.broken, self._training)
            if totals.stop:  # all workers see it at the same step
                raise Stopped(self._stop.signal)
            self._callbacks.update_ends(state.step - 1, lambda: self._figures(state.totals))
            if self._callbacks_stop():
                return
            if state.step < self._steps and self._writer.seconds_since_save > 60 * self._recipe.checkpoint_minutes:
                self._save()

    def _train_step(self) -> Totals:
        """Performs one weight update and returns its totals."""
        scale = tf.constant(self._loss_scale.of_example)
        left = min(self._recipe.batch_size, self._dataset.train.size - self._state.step * self._recipe.batch_size)
        for number in range(self._layout.micro_steps(self._dataset.train.size, self._state.step)):
            self._step.accumulate(next(self._training), scale, first=number == 0)
            self._stop_if_alone()
            taken = min(self._layout.micro_batch * self._cluster.replicas, left)  # the last micro-batch may be partly empty
            self._progress.count(taken)
            left -= taken
            self._show()
        sums, is_good = self._step.take_sums(stop=bool(self._stop)), True
        if self._loss_scale.is_dynamic:
            is_good = bool(self._step.gradients_are_finite())  # of the whole batch, on all workers
        if is_good:
            self._step.update(self._step.examples_in(sums), scale)
        # Only now, so that a GPU has the update to work on while this thread prepares the next batch.
        totals = self._checked(self._step.read(sums), self._state.step + 1)
        if self._loss_scale.is_dynamic:
            if not is_good:
                checks.check_loss_scale(self._loss_scale, self._recipe, self._folder, **self._place(self._state.step + 1))
                self._state.skipped += 1
            self._loss_scale.adjust(is_good)  # a lower scale applies from the next batch on
        return totals

    def _checked(self, totals: Totals, step: int) -> Totals:
        checks.check_loss(totals.sums[LOSS], self._recipe, self._folder, **self._place(step))
        return totals

    def _place(self, step: int) -> dict[str, Any]:
        return {"epoch": self._state.epoch + 1, "step": step, "learning_rate": self._learning_rate}

    def _figures(self, totals: Totals) -> dict[str, float]:
        return self._task.figures(totals.sums, totals.examples)

    def _validate(self) -> Totals:
        size = self._dataset.validation.size
        one_pass = dataclasses.replace(self._layout, batch_size=size)
        if self._validation is None:
            validation, epoch = self._dataset.validation, self._state.epoch
            self._validation = validation_feed(validation, self._task, self._recipe, self._layout, self._cluster, epoch=epoch)
        self._callbacks.validation_begins()
        for number in range(one_pass.micro_steps(size, 0)):
            self._callbacks.validation_batch_begins(number)
            self._step.evaluate(next(self._validation))
            self._callbacks.validation_batch_ends(number, lambda: self._figures(self._step.so_far()))
            self._stop_if_alone()
            # The remaining time is estimated from training images, so validation images are not counted.
            self._progress.show(f"epoch {self._state.epoch + 1}/{self._recipe.epochs}  validation")
        totals = self._checked(self._step.validation_totals(stop=bool(self._stop)), self._steps)
        if totals.stop:
            raise Stopped(self._stop.signal)
        self._check_broken("validation", totals.broken, self._validation)
        return totals

    def _finish_epoch(self, validation: Totals):
        state, task = self._state, self._task
        train, val = self._figures(state.totals), self._figures(validation)
        if validation.rows is not None:
            val |= task.row_figures(validation.rows)
        self._callbacks.validation_ends(val)
        if state.step < self._steps:  # a callback ended the run within the epoch, which a later run resumes
            self._callbacks.epoch_ends(state.epoch, train, val)
            self._writer.save_models(improved=False)
            return
        epoch = state.epoch + 1
        row: dict[str, Any] = {"epoch": epoch, "step": self._iterations, "learning_rate": self._learning_rate}
        row |= task.to_columns(train) | {f"val_{name}": value for name, value in task.to_columns(val).items()}
        row |= {"broken_images": int(state.totals.broken), "skipped_updates": state.skipped, "net sha256": self._writer.digest()}
        improved = state.finish_epoch(row, val[task.monitor])
        self._writer.write_epoch(state.history)
        if self._pictures:
            self._writer.write_pictures(self._pictures.draw(), epoch)
        told = f"epoch {epoch:>3}  {task.epoch_line.format(**row)}  learning rate {row['learning_rate']:.2g}"
        if skipped := row["skipped_updates"]:
            told += f"  {counted(skipped, 'update')} skipped, loss scale {self._loss_scale.value:g}"
        is_best = improved and not checks.is_far(task, row[f"val_{LOSS}"])
        self._progress.say(f"{told}{'  best so far' if is_best else ''}")
        if warning := checks.loss_warning(task, row[LOSS], row[f"val_{LOSS}"], self._recipe, row["learning_rate"]):
            self._progress.say(warning)
        self._callbacks.epoch_ends(epoch - 1, train, val)
        self._schedule.after_epoch(epoch - 1, val[task.monitor])
        self._writer.save_models(improved)

    def _finish(self):
        place = f"everything is in {self._folder.path}"
        if not self._is_over:
            place += "; a callback ended the run, repeat the call to resume it"
        if not self._state.history:
            self._progress.say(place)
            return
        by = self._recipe.schedule if self._schedule.ended else "epochs"
        self._writer.finish(self._state, self._outcome(by if self._is_over else "callback", finished=self._is_over))
        best = format(self._state.best_figure, self._task.monitor_format)
        self._progress.say(f"done in {duration(self._state.seconds)}: best {self._task.monitor_name} {best}; {place}")

    def _outcome(self, ended_by: str, *, finished: bool) -> dict:
        """Returns the facts about the run for `summary.json`, apart from those of its net."""
        return {
            "finished": finished,
            "arch": self._recipe.arch,
            "batch_norm": self._recipe.batch_norm,
            "ended_by": ended_by,
            "seconds": round(self._state.seconds, 1),
            "images_per_second": round(self._images_per_second, 2),
            "micro_batch": self._layout.micro_batch,
            "replicas": self._cluster.replicas,
            "init_from_sha256": self._begun_from,
        }

    @property
    def _images_per_second(self) -> float:
        """Speed of this process or, if it had nothing left to do, of the whole run."""
        done = self._state.epoch * self._dataset.train.size
        return self._progress.images_per_second or done / max(self._state.seconds, 1e-9)

    def _save(self):
        self._state.seconds = time.monotonic() - self._began
        values = {
            "position": self._state.to_values(),
            "schedule": self._schedule.state(),
            "loss_scale": dataclasses.asdict(self._loss_scale),
            "micro_batch": self._layout.micro_batch,
            "replicas": self._cluster.replicas,
            "data": self._data_facts(),
            "class_weights": self._class_weights,
            "begun_from": self._begun_from,
            "experiment": self._recipe.experiment(),
        }
        self._writer.save(values, self._state.history)

    def _data_facts(self) -> dict:
        dataset = self._dataset
        return {"sizes": [dataset.train.size, dataset.validation.size], "classes": list(dataset.classes)}

    @property
    def _class_weights(self) -> list[float] | None:
        return list(self._task.class_weights) if self._task.class_weights else None

    def _write_broken(self):
        feeds = {"train": self._training, "validation": self._validation}
        self._writer.write_broken({name: feed.broken for name, feed in feeds.items() if feed})

    def _callbacks_stop(self) -> bool:
        """Whether callbacks have ended the run on any worker, which all workers must agree on."""
        if self._cluster.is_alone or not self._callbacks.are_there:
            return self._callbacks.stop
        return self._step.totals(stop=self._callbacks.stop).stop > 0

    def _stop_if_alone(self):
        # A single worker need not finish the current update or validation: a resumed run repeats it.
        if self._stop and self._cluster.is_alone:
            raise Stopped(self._stop.signal)

    def _check_broken(self, split, broken, feed):
        checks.check_broken(split, broken, feed.size, feed.broken.rows(), self._recipe, self._folder)

    def _show(self):
        totals = self._state.totals
        so_far = f"  {self._task.update_line.format(**self._figures(totals))}" if totals.examples else ""
        self._progress.show(
            f"epoch {self._state.epoch + 1}/{self._recipe.epochs}  step {self._state.step + 1}/{self._steps}{so_far}"
        )

    @property
    def _is_over(self) -> bool:
        return self._schedule.ended or self._state.epoch == self._recipe.epochs

    @property
    def _iterations(self) -> int:
        return self._state.epoch * self._steps + self._state.step

    @property
    def _learning_rate(self) -> float:
        return self._schedule.rate
