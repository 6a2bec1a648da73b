"""Where a run stands: with the weights, all that the rest of it depends on."""

import dataclasses

from keras_vgg.training.totals import Totals


@dataclasses.dataclass
class RunState:
    """Where a run stands.

    Attributes:
        epoch: epochs completed, validation included.
        step: weight updates completed in the epoch that runs.
        totals: training figures of the epoch so far.
        history: rows of `log.csv`.
        best_figure: the best figure of a validation so far, the larger the better; `None` before there is one.
        best_epoch: its epoch, from 1, that of `best.keras`; 0 before there is one.
        seconds: time spent so far, over all processes.
    """

    epoch: int = 0
    step: int = 0
    totals: Totals = dataclasses.field(default_factory=Totals)
    history: list[dict] = dataclasses.field(default_factory=list)
    best_figure: float | None = None
    best_epoch: int = 0
    seconds: float = 0.0

    def to_values(self) -> dict:
        """Plain JSON values."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {"totals": self.totals.to_values()}

    @classmethod
    def from_values(cls, values: dict) -> "RunState":
        """The state that `to_values` told."""
        values = _of_version_0_1(values) if "best_accuracy" in values else values
        return cls(**values | {"totals": Totals.from_values(values["totals"])})

    @property
    def best(self) -> dict | None:
        """The row of the best epoch, the one of `best.keras`; `None` before there is one."""
        return self.history[self.best_epoch - 1] if self.best_epoch else None

    def forget_best(self) -> None:
        """Lets an epoch to come be the best, whatever was before."""
        self.best_figure, self.best_epoch = None, 0

    def finish_epoch(self, row: dict, figure: float) -> bool:
        """Enters an epoch in the history, and begins the next.

        Args:
            row: of `log.csv`.
            figure: of the validation, the larger the better.

        Returns:
            Whether the figure is the best so far.
        """
        self.history.append(row)
        self.epoch, self.step, self.totals = self.epoch + 1, 0, Totals()
        if improved := self.best_figure is None or figure > self.best_figure:
            self.best_figure, self.best_epoch = figure, self.epoch
        return improved


def _of_version_0_1(values: dict) -> dict:
    """Returns the values of a run begun before there were other tasks: the best was found again by its row."""
    values = dict(values)
    accuracy, begin = values.pop("best_accuracy"), values.pop("best_from")
    best = min(values["history"][begin:], key=lambda row: row["val_top1_error"], default=None)
    return values | {"best_figure": accuracy if best else None, "best_epoch": best["epoch"] if best else 0}
