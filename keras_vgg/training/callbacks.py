"""Keras callbacks in a run, called at the same points and with the same arguments as by `Model.fit`."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from keras_vgg.errors import InputError
from keras_vgg.tasks.task import LOSS, Task
from keras_vgg.training.plateau import learning_rate_of

Figures = Mapping[str, float]

_INSTEAD = {
    keras.callbacks.ReduceLROnPlateau: "`schedule` 'plateau' with `patience`, `factor` and `drops`",
    keras.callbacks.LearningRateScheduler: "`schedule` 'constant', 'step' or 'cosine' with `learning_rate` and `warmup_epochs`",
    keras.callbacks.SwapEMAWeights: "`ema_momentum`",
    keras.callbacks.BackupAndRestore: "the run folder's checkpoint, with `checkpoint_minutes`",
}
"""Recipe fields that replace callbacks which would change the training."""

_WATCHING = (keras.callbacks.EarlyStopping, keras.callbacks.ModelCheckpoint)


class Callbacks:
    """Hooks that the training loop calls. This base class does nothing, at no cost for a run without callbacks.

    Epochs, weight updates and validation batches count from 0. Metrics are those of `Task.figures`.

    Attributes:
        are_there: whether there are any callbacks.
    """

    are_there = False

    @property
    def stop(self) -> bool:
        """Whether a callback has ended the run."""
        return False

    def train_begins(self) -> None:
        """Called once, before training."""

    def train_ends(self) -> None:
        """Called once, after everything is saved; not called if a signal or an error ends the run."""

    def epoch_begins(self, epoch: int) -> None:
        """Called before an epoch, also if a resumed run continues within it."""

    def epoch_ends(self, epoch: int, train: Figures, validation: Figures) -> None:
        """Called after the validation of an epoch."""

    def update_begins(self, step: int) -> None:
        """Called before a weight update."""

    def update_ends(self, step: int, so_far: Callable[[], Figures]) -> None:
        """Called after a weight update; `so_far` returns the metrics of the epoch so far."""

    def validation_begins(self) -> None:
        """Called before validation."""

    def validation_ends(self, figures: Figures) -> None:
        """Called after validation."""

    def validation_batch_begins(self, batch: int) -> None:
        """Called before a validation batch."""

    def validation_batch_ends(self, batch: int, so_far: Callable[[], Figures]) -> None:
        """Called after a validation batch; `so_far` returns the metrics of the validation so far."""


class KerasCallbacks(Callbacks):
    """Calls Keras callbacks with a compiled model that shares the layers of the trained one.

    The model is separate so that the run saves its own models without an optimizer. Its weights are the trained ones and, during
    validation and at the end of an epoch, the tested ones.

    Args:
        callbacks: as `checked` returns them.
        model, optimizer: those of the run.
        task: the task.
        target: shape and dtype of an example's target.
        epochs: maximum number of epochs of the run.
        steps: weight updates per epoch.

    Raises:
        InputError: for a callback that monitors an unknown metric, or one whose direction Keras cannot infer.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        task: Task,
        target: tf.TensorSpec,
        *,
        epochs: int,
        steps: int,
    ):
        self.are_there = any(not isinstance(callback, keras.callbacks.History) for callback in callbacks)
        self._check_watched(callbacks, task)
        self._model, self._optimizer = keras.Model(model.input, model.output, name=model.name), optimizer
        self._model.compile(optimizer=optimizer, auto_scale_loss=False, **task.compile_arguments())
        # Metrics are created on first use, and callbacks that monitor one ask it for its direction.
        targets, outputs = tf.zeros((1, *target.shape), target.dtype), tf.zeros((1, *model.output_shape[1:]))
        self._model.compute_metrics(None, targets, outputs, None)
        self._model.reset_metrics()
        self._logs: dict[str, float] = {}
        self._list = keras.callbacks.CallbackList(list(callbacks), model=self._model, verbose=0, epochs=epochs, steps=steps)

    @property
    def stop(self) -> bool:
        """Whether a callback has set `model.stop_training`."""
        return self._model.stop_training

    def train_begins(self):
        """Calls `on_train_begin`."""
        self._model.stop_training = False
        with self._rate_is_left_alone():
            self._list.on_train_begin()

    def train_ends(self):
        """Calls `on_train_end`."""
        self._list.on_train_end(self._logs)

    def epoch_begins(self, epoch):
        """Calls `on_epoch_begin`."""
        with self._rate_is_left_alone():
            self._list.on_epoch_begin(epoch)

    def epoch_ends(self, epoch, train, validation):
        """Calls `on_epoch_end` with `loss`, …, `val_loss`, …, and the epoch's `learning_rate`."""
        self._logs = {**train, **{f"val_{name}": value for name, value in validation.items()}}
        with self._rate_is_left_alone() as rate:
            self._logs["learning_rate"] = rate
            self._list.on_epoch_end(epoch, self._logs)

    def update_begins(self, step):
        """Calls `on_train_batch_begin`."""
        if self.are_there:
            with self._rate_is_left_alone():
                self._list.on_train_batch_begin(step)

    def update_ends(self, step, so_far):
        """Calls `on_train_batch_end`."""
        if self.are_there:
            with self._rate_is_left_alone():
                self._list.on_train_batch_end(step, dict(so_far()))

    def validation_begins(self):
        """Calls `on_test_begin`."""
        self._list.on_test_begin()

    def validation_ends(self, figures):
        """Calls `on_test_end`."""
        self._list.on_test_end(dict(figures))

    def validation_batch_begins(self, batch):
        """Calls `on_test_batch_begin`."""
        if self.are_there:
            self._list.on_test_batch_begin(batch)

    def validation_batch_ends(self, batch, so_far):
        """Calls `on_test_batch_end`."""
        if self.are_there:
            self._list.on_test_batch_end(batch, dict(so_far()))

    @contextlib.contextmanager
    def _rate_is_left_alone(self):
        """Yields the learning rate; raises `InputError` if it has changed afterwards, which a resumed run could not reproduce."""
        before = learning_rate_of(self._optimizer)
        yield before
        if (after := learning_rate_of(self._optimizer)) != before:
            raise InputError(
                "Callbacks must not change the learning rate, which the recipe's `schedule` sets. "
                f"Received: one that changed it from {before:g} to {after:g}."
            )

    @staticmethod
    def _check_watched(callbacks, task: Task) -> None:
        figures = task.figures(dict.fromkeys(task.sums, 0.0), 1.0)
        judged = {LOSS, *(metric.name for metric in task.compile_arguments().get("metrics", ()))}
        known = [*figures, *(f"val_{name}" for name in {**figures, task.monitor: 0.0}), "learning_rate"]
        for callback in callbacks:
            if not isinstance(callback, _WATCHING):
                continue
            if callback.monitor not in known:
                raise InputError(
                    f"`monitor` of {type(callback).__name__} must be one of {', '.join(known)}. Received: {callback.monitor!r}."
                )
            if callback.mode == "auto" and callback.monitor.removeprefix("val_") not in judged:
                raise InputError(
                    f"`mode` of {type(callback).__name__} must be 'max' or 'min' to monitor {callback.monitor}: Keras cannot "
                    "infer its direction. Received: 'auto'."
                )


def checked(callbacks) -> list[keras.callbacks.Callback]:
    """Returns the callbacks, given as for `Model.fit`, as a list.

    Raises:
        InputError: for other objects, or a callback whose work the recipe does.
    """
    found = keras.tree.flatten(callbacks) if callbacks else []
    for callback in found:
        if not isinstance(callback, keras.callbacks.Callback):
            raise InputError(f"`callbacks` must be instances of keras.callbacks.Callback. Received: {callback!r:.100}.")
        for refused, instead in _INSTEAD.items():
            if isinstance(callback, refused):
                raise InputError(
                    f"`callbacks` cannot include {type(callback).__name__}, whose state a resumed run would lose. "
                    f"Use {instead} of the recipe instead."
                )
    return found
