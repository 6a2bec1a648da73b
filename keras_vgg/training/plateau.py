"""The paper's learning rate schedule (Sec. 3.1) as a Keras callback that survives a restart."""

import keras
import numpy as np


def learning_rate_of(optimizer: keras.optimizers.Optimizer) -> float:
    """Returns the learning rate as a number, for an optimizer of any strategy."""
    return as_float32(optimizer.learning_rate.value.numpy())


def as_float32(number) -> float:
    """Returns the shortest number that has the same float32: 0.0003 rather than the float64 value of its float32."""
    return float(str(np.float32(number)))


class PlateauSchedule(keras.callbacks.ReduceLROnPlateau):
    """Lowers the learning rate when the validation accuracy stops improving, and ends the run after a number of drops.

    "Decreased by a factor of 10 when the validation set accuracy stopped improving. In total, the learning rate was
    decreased 3 times". The plateau after the last drop sets `model.stop_training`. Keras' own callback loses its counters
    when training restarts; this one keeps them with `state` and `restore`.

    Args:
        patience: epochs without improvement that make a plateau (the paper gives no number).
        drops: number of times the learning rate may drop.
        factor: factor of a drop.
        monitor: metric to monitor; larger is better.
    """

    def __init__(self, patience: int = 5, drops: int = 3, factor: float = 0.1, monitor: str = "val_accuracy"):
        super().__init__(monitor=monitor, factor=factor, patience=patience, mode="max", min_delta=0.0)
        self.drops = drops
        self.dropped = 0
        self._restored = False

    def on_train_begin(self, logs=None):
        """Resets the counters, unless a state was restored."""
        if not self._restored:
            super().on_train_begin(logs)
            self.dropped = 0
        self._restored = False

    def on_epoch_end(self, epoch, logs=None):
        """Lowers the learning rate or ends the run if the monitored metric has reached a plateau."""
        optimizer = self.model.optimizer
        rate = learning_rate_of(optimizer)
        if self.dropped == self.drops:
            self.min_lr = rate  # from here on Keras detects plateaus without lowering the rate
        super().on_epoch_end(epoch, logs)
        if learning_rate_of(optimizer) < rate:
            self.dropped += 1
        elif self.wait >= self.patience:
            self.model.stop_training = True

    def state(self) -> dict:
        """Returns the counters for an exact resume, as plain JSON values."""
        return {"best": self.best, "wait": self.wait, "cooldown_counter": self.cooldown_counter, "dropped": self.dropped}

    def restore(self, state: dict) -> None:
        """Restores a `state`; the next `on_train_begin` keeps it."""
        for name, value in state.items():
            setattr(self, name, value)
        self._restored = True
