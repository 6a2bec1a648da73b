"""Which replica processes which example when: plain arithmetic on indices.

A weight update uses `batch_size` examples in the order of the epoch; they are distributed to `replicas` in micro-batches. Unused
places in the last, smaller batch contain `PADDING`.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np

from keras_vgg import randomness

PADDING = -1
_INDICES = 2**32  # distinguishable by a key, see `randomness.example_key`


@dataclasses.dataclass(frozen=True)
class Layout:
    """How batches are divided.

    Attributes:
        batch_size: examples per weight update.
        micro_batch: examples per replica at a time.
        replicas: number of replicas over all workers.
    """

    batch_size: int
    micro_batch: int
    replicas: int

    def steps(self, num_examples: int) -> int:
        """Number of weight updates in an epoch."""
        return math.ceil(num_examples / self.batch_size)

    def micro_steps(self, num_examples: int, step: int) -> int:
        """Number of micro-batches per replica in `step` of an epoch; fewer in a smaller last step."""
        batch = min(self.batch_size, num_examples - step * self.batch_size)
        return math.ceil(batch / (self.micro_batch * self.replicas))

    def deal(self, order: np.ndarray, step: int) -> np.ndarray:
        """Returns the examples of `step`: `(micro-steps, replicas, micro_batch)` int64 with `PADDING` after the last."""
        batch = order[step * self.batch_size : (step + 1) * self.batch_size]
        shape = (self.micro_steps(len(order), step), self.replicas, self.micro_batch)
        places = np.full(math.prod(shape), PADDING, np.int64)
        places[: len(batch)] = batch
        return places.reshape(shape)


def even_share(batch_size: int, replicas: int, *, at_most: int, group: int = 1) -> int:
    """Returns the micro-batch that divides a batch evenly over replicas and as few rounds of micro-batches as possible.

    Args:
        batch_size: examples per weight update.
        replicas: number of replicas.
        at_most: the largest micro-batch, unless a group is larger.
        group: the micro-batch is a multiple of it.

    >>> from keras_vgg.data.order import even_share
    >>> even_share(128, 3, at_most=64), even_share(128, 3, at_most=42)
    (43, 22)
    """
    groups, most = math.ceil(batch_size / group), max(1, at_most // group)
    rounds = math.ceil(groups / (replicas * most))
    return group * math.ceil(groups / (replicas * rounds))


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
        my_replicas: the worker's replicas among all; their micro-batches alternate.
        epochs: rows of later epochs are empty, so that prefetching at the end of a run reads nothing.
        balance: labels of the examples for epochs of `balanced_order`; else every example occurs once.
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
    """Returns the order of an epoch with equally many examples of every class, up to one, and as many examples as the dataset.

    Examples of small classes are repeated, and some of large classes wait for another epoch; they are drawn anew each epoch. Of
    `n` examples, `i` occurs first as `i`, then as `n + i`, `2n + i`, …: its randomness differs each time.

    Args:
        labels: `(n,)` integers; examples with a negative label have no class and are skipped.
        seed, epoch: determine the order.

    Returns:
        `(n,)` int64.
    """
    state, n = randomness.epoch_state(seed, epoch), len(labels)
    kept = np.flatnonzero(labels >= 0)
    by_class = kept[np.argsort(labels[kept], kind="stable")]
    classes = np.split(by_class, np.unique(labels[by_class], return_index=True)[1][1:])
    drawn = []
    for place, number in enumerate(state.permutation(len(classes))):  # the first ones get the remainder
        members, quota = classes[number], n // len(classes) + (place < n % len(classes))
        rounds = [state.permutation(members) + again % (_INDICES // n) * n for again in range(-(-quota // len(members)))]
        drawn += [each[: quota - len(members) * again] for again, each in enumerate(rounds)]
    return state.permutation(np.concatenate(drawn)).astype(np.int64)


def validation_rows(
    num_examples: int, layout: Layout, *, my_replicas: range, passes: int | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields `(0, indices)` for each micro-batch of one worker, every example once per pass, without end.

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
