"""Who works on which example when: plain arithmetic on indices.

A weight update takes `batch_size` examples in the order of the epoch; they are dealt out to `replicas` in micro-batches. A
place that no example fills (in the last, smaller batch) holds `PADDING`.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np

from keras_vgg import randomness

PADDING = -1
_INDICES = 2**32  # that a key can tell apart, see `randomness.example_key`


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
    num_examples: int,
    layout: Layout,
    *,
    seed: int,
    epoch: int,
    step: int,
    my_replicas: range,
    epochs: int | None = None,
    balance: np.ndarray | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields `(epoch, indices)` for each micro-batch of one worker, without end, starting at `step` of `epoch`.

    Args:
        my_replicas: the worker's replicas among all of them; their micro-batches come in turn.
        epochs: rows of later epochs are empty: what reads ahead at the end of a run has nothing left to read.
        balance: labels of the examples where epochs are to be those of `balanced_order`; else every example comes once.
    """
    while epochs is None or epoch < epochs:
        if balance is None:
            order = randomness.epoch_order(num_examples, seed=seed, epoch=epoch)
        else:
            order = balanced_order(balance, seed=seed, epoch=epoch)
        for current in range(step, layout.steps(num_examples)):
            for dealt in layout.deal(order, current):
                yield from ((epoch, dealt[replica]) for replica in my_replicas)
        epoch, step = epoch + 1, 0
    yield from _empty_rows(layout)


def balanced_order(labels: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of an epoch that has every class as often, give or take one, and as many examples as there are.

    A small class has its examples several times, of a large one some wait for another epoch; which they are is drawn anew each
    epoch. Of `n` examples, `i` comes as `i`, again as `n + i`, then as `2n + i`, …: what is random about it is another each time.

    Args:
        labels: `(n,)` whole numbers; examples of a negative one have no class and are left out.
        seed, epoch: what the order is a function of.

    Returns:
        `(n,)` int64.
    """
    state, n = randomness.epoch_state(seed, epoch), len(labels)
    kept = np.flatnonzero(labels >= 0)
    by_class = kept[np.argsort(labels[kept], kind="stable")]
    classes = np.split(by_class, np.unique(labels[by_class], return_index=True)[1][1:])
    drawn = []
    for place, number in enumerate(state.permutation(len(classes))):  # the first ones have what does not divide evenly
        members, quota = classes[number], n // len(classes) + (place < n % len(classes))
        rounds = [state.permutation(members) + again % (_INDICES // n) * n for again in range(-(-quota // len(members)))]
        drawn += [each[: quota - len(members) * again] for again, each in enumerate(rounds)]
    return state.permutation(np.concatenate(drawn)).astype(np.int64)


def validation_rows(
    num_examples: int, layout: Layout, *, my_replicas: range, passes: int | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields `(0, indices)` for each micro-batch of one worker, every example once a pass, without end.

    Args:
        my_replicas: as for `training_rows`.
        passes: rows of later passes are empty.
    """
    everything = dataclasses.replace(layout, batch_size=num_examples)
    dealt = everything.deal(np.arange(num_examples), 0)
    for _ in itertools.count() if passes is None else range(passes):
        for places in dealt:
            yield from ((0, places[replica]) for replica in my_replicas)
    yield from _empty_rows(layout)


def _empty_rows(layout: Layout) -> Iterator[tuple[int, np.ndarray]]:
    return itertools.repeat((0, np.full(layout.micro_batch, PADDING, np.int64)))
