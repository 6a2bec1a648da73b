"""Figures of any number of examples, as sums that can be added up however a batch was cut."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Totals:
    """Sums over examples.

    Attributes:
        sums: what the task sums, by name.
        examples: number of examples.
        broken: number of images that could not be read.
        stop: number of workers that were asked to stop.
        rows: of a validation, what the task keeps of each example, `(examples, row_length)` float32; `None` otherwise.
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
        """Plain JSON values, without the rows."""
        return self.sums | {"examples": self.examples, "broken": self.broken, "stop": self.stop}

    @classmethod
    def from_values(cls, values: dict[str, float]) -> "Totals":
        """The totals that `to_values` told."""
        sums = dict(values)
        counts = {name: sums.pop(name) for name in ("examples", "broken", "stop")}
        return cls(sums, **counts)
