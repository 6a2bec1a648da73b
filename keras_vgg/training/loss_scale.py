"""Loss scaling for float16, whose gradients would otherwise underflow."""

import dataclasses

_LARGEST = 2.0**24


@dataclasses.dataclass
class LossScale:
    """A loss scale that halves when gradients overflow and doubles after `growth_steps` updates without overflow.

    It is a factor on the mean loss over a whole batch, however that is split: each example's loss is multiplied by `of_example`,
    so its gradients are the same in micro-batches of any size, and so is their overflow.

    Attributes:
        value: factor on the mean loss.
        good_steps: updates since the last change.
        growth_steps: updates without overflow before it doubles; 0 keeps it fixed without checks.
        batch_size: examples of a whole batch. It is 1 without scaling, and in checkpoints of versions that scaled the sum.
    """

    value: float = 1.0
    good_steps: int = 0
    growth_steps: int = 0
    batch_size: int = 1

    @classmethod
    def for_precision(cls, precision: str, batch_size: int) -> "LossScale":
        """Returns a dynamic scale for `mixed_float16`, otherwise a fixed scale of 1: bfloat16 has the range of float32."""
        return cls(value=2.0**15, growth_steps=2000, batch_size=batch_size) if precision == "mixed_float16" else cls()

    @property
    def is_dynamic(self) -> bool:
        """Whether gradients must be checked before an update."""
        return self.growth_steps > 0

    @property
    def is_smallest(self) -> bool:
        """Whether the scale cannot be halved further."""
        return self.value <= 1.0

    @property
    def of_example(self) -> float:
        """Factor on the loss of each example of a batch."""
        return self.value / self.batch_size

    def adjust(self, finite: bool) -> None:
        """Adjusts the scale by whether the gradients of an update were finite."""
        if not finite:
            self.value, self.good_steps = max(1.0, self.value / 2), 0
        else:
            self.good_steps += 1
            if self.good_steps == self.growth_steps:
                self.value, self.good_steps = min(_LARGEST, self.value * 2), 0
