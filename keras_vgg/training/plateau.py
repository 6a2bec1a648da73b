"""The paper's learning rate schedule (Sec. 3.1) as a Keras callback that survives a restart."""

import keras


def learning_rate_of(optimizer: keras.optimizers.Optimizer) -> float:
    """The learning rate as a number, whatever strategy the optimizer was made under."""
    return float(str(optimizer.learning_rate.value.numpy()))  # 0.0003, and not the float64 nearest to a float32


class PlateauSchedule(keras.callbacks.ReduceLROnPlateau):
    """Lowers the learning rate when the validation accuracy stops improving; a few times, then it ends the run.

    "Decreased by a factor of 10 when the validation set accuracy stopped improving. In total, the learning rate was
    decreased 3 times". The plateau after the last drop sets `model.stop_training`. Keras' own callback forgets its counters
    when training begins again; this one takes them along with `state` and `restore`.

    Args:
        patience: epochs without improvement that make a plateau (the paper gives no number).
        drops: how often the rate may fall.
        factor: what it is multiplied by.
        monitor: the log to watch; larger is better.
    """

    def __init__(self, patience: int = 5, drops: int = 3, factor: float = 0.1, monitor: str = "val_accuracy"):
        super().__init__(monitor=monitor, factor=factor, patience=patience, mode="max", min_delta=0.0)
        self.drops = drops
        self.dropped = 0
        self._restored = False

    def on_train_begin(self, logs=None):
        """Starts afresh, unless a state was restored."""
        if not self._restored:
            super().on_train_begin(logs)
            self.dropped = 0
        self._restored = False

    def on_epoch_end(self, epoch, logs=None):
        """Watches the validation accuracy; lowers the rate or ends the run at a plateau."""
        optimizer = self.model.optimizer
        rate = learning_rate_of(optimizer)
        if self.dropped == self.drops:
            self.min_lr = rate  # from here on Keras sees plateaus and lowers nothing
        super().on_epoch_end(epoch, logs)
        if learning_rate_of(optimizer) < rate:
            self.dropped += 1
        elif self.wait >= self.patience:
            self.model.stop_training = True

    def state(self) -> dict:
        """What must be kept to go on as if never stopped; plain JSON values."""
        return {"best": self.best, "wait": self.wait, "cooldown_counter": self.cooldown_counter, "dropped": self.dropped}

    def restore(self, state: dict) -> None:
        """Takes up a `state`; the next `on_train_begin` keeps it."""
        for name, value in state.items():
            setattr(self, name, value)
        self._restored = True
