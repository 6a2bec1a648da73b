"""Loss scaling for float16, whose gradients would otherwise underflow."""

import dataclasses

_LARGEST = 2.0**24


@dataclasses.dataclass
class LossScale:
    """A loss scale that halves when gradients overflow and doubles after `growth_steps` updates without overflow.

    Attributes:
        value: factor on the loss.
        good_steps: updates since the last change.
        growth_steps: updates without overflow before it doubles; 0 keeps it fixed without checks.
    """

    value: float = 1.0
    good_steps: int = 0
    growth_steps: int = 0

    @classmethod
    def for_precision(cls, precision: str) -> "LossScale":
        """Returns a dynamic scale for `mixed_float16`, otherwise a fixed scale of 1: bfloat16 has the range of float32."""
        return cls(value=2.0**15, growth_steps=2000) if precision == "mixed_float16" else cls()

    @property
    def is_dynamic(self) -> bool:
        """Whether gradients must be checked before an update."""
        return self.growth_steps > 0

    def adjust(self, finite: bool) -> None:
        """Adjusts the scale by whether the gradients of an update were finite."""
        if not finite:
            self.value, self.good_steps = max(1.0, self.value / 2), 0
        else:
            self.good_steps += 1
            if self.good_steps == self.growth_steps:
                self.value, self.good_steps = min(_LARGEST, self.value * 2), 0
