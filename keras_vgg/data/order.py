"""Who works on which example when: plain arithmetic on indices.

A weight update takes `batch_size` examples in the order of the epoch; they are dealt out to `replicas` in micro-batches. A
place that no example fills (in the last, smaller batch) holds `PADDING`.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from keras_vgg import randomness

PADDING = -1


@dataclasses.dataclass(frozen=True)
class Layout:
    """How batches are cut.

    Attributes:
        batch_size: examples per weight update.
        micro_batch: examples that a replica takes at a time.
        replicas: replicas over all workers.
    """

    batch_size: int
    micro_batch: int
    replicas: int

    def steps(self, num_examples: int) -> int:
        """Number of weight updates in an epoch."""
        return math.ceil(num_examples / self.batch_size)

    def micro_steps(self, num_examples: int, step: int) -> int:
        """Number of micro-batches that every replica takes in `step` of an epoch; fewer in a smaller last one."""
        batch = min(self.batch_size, num_examples - step * self.batch_size)
        return math.ceil(batch / (self.micro_batch * self.replicas))

    def deal(self, order: np.ndarray, step: int) -> np.ndarray:
        """Returns the examples of `step`: `(micro-steps, replicas, micro_batch)` int64 with `PADDING` behind the last."""
        batch = order[step * self.batch_size : (step + 1) * self.batch_size]
        shape = (self.micro_steps(len(order), step), self.replicas, self.micro_batch)
        places = np.full(math.prod(shape), PADDING, np.int64)
        places[: len(batch)] = batch
        return places.reshape(shape)


def training_rows(
    num_examples: int, layout: Layout, *, seed: int, epoch: int, step: int, my_replicas: range
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields `(epoch, indices)` for each micro-batch of one worker, without end, starting at `step` of `epoch`.

    Args:
        my_replicas: the worker's replicas among all of them; their micro-batches come in turn.
    """
    while True:
        order = randomness.epoch_order(num_examples, seed=seed, epoch=epoch)
        for current in range(step, layout.steps(num_examples)):
            for dealt in layout.deal(order, current):
                yield from ((epoch, dealt[replica]) for replica in my_replicas)
        epoch, step = epoch + 1, 0


def validation_rows(num_examples: int, layout: Layout, *, my_replicas: range) -> Iterator[tuple[int, np.ndarray]]:
    """Yields `(0, indices)` for each micro-batch of one worker, every example once a pass, without end."""
    everything = dataclasses.replace(layout, batch_size=num_examples)
    dealt = everything.deal(np.arange(num_examples), 0)
    while True:
        for places in dealt:
            yield from ((0, places[replica]) for replica in my_replicas)
