"""Metrics over examples, as sums that do not depend on how a batch was split."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Totals:
    """Sums over examples.

    Attributes:
        sums: the sums of `Task.sums`, by name.
        examples: number of examples.
        broken: number of unreadable images.
        stop: number of workers that were asked to stop.
        rows: for validation, the rows that the task keeps of the examples, `(examples, row_length)` float32; `None` otherwise.
    """

    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    examples: float = 0.0
    broken: float = 0.0
    stop: float = 0.0
    rows: np.ndarray | None = None

    def __add__(self, other: "Totals") -> "Totals":
        sums = {name: self.sums.get(name, 0.0) + other.sums.get(name, 0.0) for name in self.sums | other.sums}
        return Totals(sums, self.examples + other.examples, self.broken + other.broken, self.stop + other.stop)

    def to_values(self) -> dict[str, float]:
        """Returns the totals as plain JSON values, without the rows."""
        return self.sums | {"examples": self.examples, "broken": self.broken, "stop": self.stop}

    @classmethod
    def from_values(cls, values: dict[str, float]) -> "Totals":
        """Returns the totals from the values of `to_values`."""
        sums = dict(values)
        examples, broken, stop = (sums.pop(name) for name in ("examples", "broken", "stop"))
        return cls(sums, examples, broken, stop)
