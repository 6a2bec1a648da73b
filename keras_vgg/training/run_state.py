"""Progress of a run: together with the weights, everything that the rest of the run depends on."""

import dataclasses

from keras_vgg.training.totals import Totals


@dataclasses.dataclass
class RunState:
    """Progress of a run.

    Attributes:
        epoch: completed epochs, validation included.
        step: completed weight updates of the current epoch.
        totals: training totals of the current epoch.
        skipped: updates of the current epoch that were skipped because their gradients overflowed.
        far: successive updates, up to the last one, whose loss was that of a diverged net.
        history: rows of `log.csv`.
        best_figure: best validation metric so far, larger is better; `None` before the first.
        best_epoch: epoch of `best_figure` and of `best.keras`, from 1; 0 before the first.
        seconds: time spent so far, over all processes.
    """

    epoch: int = 0
    step: int = 0
    totals: Totals = dataclasses.field(default_factory=Totals)
    history: list[dict] = dataclasses.field(default_factory=list)
    best_figure: float | None = None
    best_epoch: int = 0
    seconds: float = 0.0
    skipped: int = 0
    far: int = 0

    def to_values(self) -> dict:
        """Returns the state as plain JSON values."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {"totals": self.totals.to_values()}

    @classmethod
    def from_values(cls, values: dict) -> "RunState":
        """Returns the state from the values of `to_values`."""
        values = _of_version_0_1(values) if "best_accuracy" in values else values
        return cls(**values | {"totals": Totals.from_values(values["totals"])})

    @property
    def best(self) -> dict | None:
        """The row of the best epoch, that of `best.keras`; `None` before the first."""
        return self.history[self.best_epoch - 1] if self.best_epoch else None

    def forget_best(self) -> None:
        """Resets the best epoch, so that the next epoch becomes the best."""
        self.best_figure, self.best_epoch = None, 0

    def finish_epoch(self, row: dict, figure: float) -> bool:
        """Adds an epoch to the history and starts the next.

        Args:
            row: its row of `log.csv`.
            figure: its validation metric, larger is better.

        Returns:
            Whether the metric is the best so far.
        """
        self.history.append(row)
        self.epoch, self.step, self.totals, self.skipped = self.epoch + 1, 0, Totals(), 0
        if improved := self.best_figure is None or figure > self.best_figure:
            self.best_figure, self.best_epoch = figure, self.epoch
        return improved


def _of_version_0_1(values: dict) -> dict:
    """Converts the values of runs from before there were other tasks, which did not store the best epoch."""
    values = dict(values)
    accuracy, begin = values.pop("best_accuracy"), values.pop("best_from")
    best = min(values["history"][begin:], key=lambda row: row["val_top1_error"], default=None)
    return values | {"best_figure": accuracy if best else None, "best_epoch": best["epoch"] if best else 0}
