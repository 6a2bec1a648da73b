"""Where a run stands: with the weights, all that the rest of it depends on."""

import dataclasses

from keras_vgg.training.step import Totals


@dataclasses.dataclass
class RunState:
    """Where a run stands.

    Attributes:
        epoch: epochs completed, validation included.
        step: weight updates completed in the epoch that runs.
        totals: training figures of the epoch so far.
        history: rows of `log.csv`.
        best_accuracy: highest validation accuracy so far.
        best_from: epochs completed when `best.keras` was last lost: of those, none is the best.
        seconds: time spent so far, over all processes.
    """

    epoch: int = 0
    step: int = 0
    totals: Totals = dataclasses.field(default_factory=Totals)
    history: list[dict] = dataclasses.field(default_factory=list)
    best_accuracy: float = -1.0
    best_from: int = 0
    seconds: float = 0.0

    def to_values(self) -> dict:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_values(cls, values: dict) -> "RunState":
        """The position that `to_values` told."""
        return cls(**values | {"totals": Totals(**values["totals"])})

    @property
    def best(self) -> dict | None:
        """The row of the best epoch, the one of `best.keras`; `None` before there is one."""
        return min(self.history[self.best_from :], key=lambda row: row["val_top1_error"], default=None)

    def forget_best(self) -> None:
        """Lets an epoch to come be the best, whatever was before."""
        self.best_accuracy, self.best_from = -1.0, self.epoch

    def finish_epoch(self, validation: Totals, *, step: int, learning_rate: float, digest: str) -> tuple[dict, bool]:
        """Enters the epoch in the history.

        Args:
            validation: figures of the net as it is now.
            step: weight updates since the beginning.
            learning_rate: of the epoch.
            digest: of the net as it is now.

        Returns:
            The new row of `log.csv` and whether its validation accuracy is the best so far.
        """
        train, val = self.totals.means(), validation.means()
        row = {"epoch": self.epoch + 1, "step": step, "learning_rate": learning_rate}
        for prefix, means in (("", train), ("val_", val)):
            row[f"{prefix}loss"] = means["loss"]
            row[f"{prefix}top1_error"] = 1 - means["accuracy"]
            row[f"{prefix}top5_error"] = 1 - means["top5_accuracy"]
        row["broken_images"] = int(self.totals.broken)
        row["net sha256"] = digest
        self.history.append(row)
        improved = val["accuracy"] > self.best_accuracy
        self.best_accuracy = max(val["accuracy"], self.best_accuracy)
        self.epoch, self.step, self.totals = self.epoch + 1, 0, Totals()
        return row, improved
