"""Ordinary Keras callbacks in a run: called when `Model.fit` calls them, with what it gives them."""

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
"""What a recipe has in the place of callbacks that would change what is trained."""

_WATCHING = (keras.callbacks.EarlyStopping, keras.callbacks.ModelCheckpoint)


class Callbacks:
    """What the loop tells of its course. Here nobody hears it: a run without callbacks spends nothing on them.

    Epochs, weight updates and batches of the validation count from 0. Figures are those of `Task.figures`.

    Attributes:
        are_there: whether there are callbacks.
    """

    are_there = False

    @property
    def stop(self) -> bool:
        """Whether a callback has ended the run."""
        return False

    def train_begins(self) -> None:
        """Is called once, before anything is trained."""

    def train_ends(self) -> None:
        """Is called once, after everything is saved; not where a signal or an error ends the run."""

    def epoch_begins(self, epoch: int) -> None:
        """Is called before an epoch, also where a resumed run goes on within it."""

    def epoch_ends(self, epoch: int, train: Figures, validation: Figures) -> None:
        """Is called after an epoch's validation."""

    def update_begins(self, step: int) -> None:
        """Is called before a weight update."""

    def update_ends(self, step: int, so_far: Callable[[], Figures]) -> None:
        """Is called after it; `so_far` gives the figures of the epoch so far."""

    def validation_begins(self) -> None:
        """Is called before a validation."""

    def validation_ends(self, figures: Figures) -> None:
        """Is called after it."""

    def validation_batch_begins(self, batch: int) -> None:
        """Is called before a batch of the validation."""

    def validation_batch_ends(self, batch: int, so_far: Callable[[], Figures]) -> None:
        """Is called after it; `so_far` gives the figures of the validation so far."""


class KerasCallbacks(Callbacks):
    """Keras' callbacks, with a compiled model of the same layers as the one that is trained.

    A model of its own, so that the run's own models are saved without an optimizer. Its weights are those that are trained and,
    while a validation and the end of an epoch are told, those that are tested.

    Args:
        callbacks: as `checked` returns them.
        model, optimizer: what is trained.
        task: what it is trained to tell.
        target: shape and dtype of an example's target.
        epochs: most epochs of the run.
        steps: weight updates of an epoch.

    Raises:
        InputError: for a callback that watches a figure that there is not, or does not say whether more is better.
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
        # Metrics are made when they are first used, and whoever watches one asks it whether more is better.
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
        """Gives the learning rate, and raises `InputError` if it is another one afterwards: a resumed run would not know of it."""
        before = learning_rate_of(self._optimizer)
        yield before
        if (after := learning_rate_of(self._optimizer)) != before:
            raise InputError(
                "Callbacks must leave the learning rate alone: the recipe's `schedule` sets it, for a resumed run too. "
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
                    f"`mode` of {type(callback).__name__} must be 'max' or 'min' where it watches {callback.monitor}: Keras cannot "
                    "tell whether more of it is better. Received: 'auto'."
                )


def checked(callbacks) -> list[keras.callbacks.Callback]:
    """Returns callbacks, as `Model.fit` takes them, as a list.

    Raises:
        InputError: for something else, or a callback whose work is the recipe's.
    """
    found = keras.tree.flatten(callbacks) if callbacks else []
    for callback in found:
        if not isinstance(callback, keras.callbacks.Callback):
            raise InputError(f"`callbacks` must be instances of keras.callbacks.Callback. Received: {callback!r:.100}.")
        for refused, instead in _INSTEAD.items():
            if isinstance(callback, refused):
                raise InputError(
                    f"`callbacks` cannot hold {type(callback).__name__}, of whose state a resumed run would know nothing. "
                    f"The recipe has {instead} in its place."
                )
    return found
