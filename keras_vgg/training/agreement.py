"""Has all workers of a run compare what it depends on, and end together if they differ.

Otherwise workers with another seed, recipe or copy of the data would sum unlike gradients, and workers with another number of
updates or another net would wait for each other forever. So workers compare before they create the first variable, which
TensorFlow sends from the first worker to the others.
"""

import collections
import contextlib
import itertools
import json
import sys
import threading
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from keras_vgg.errors import InputError
from keras_vgg.support.counts import counted
from keras_vgg.training.cluster import Cluster

_GROUP = 2**30  # of collectives of their own; a strategy numbers its groups from 1
_instances = itertools.count(1)
_PATIENCE = 5.0  # seconds
_TOLD_WORKERS, _TOLD_ITEMS = 3, 5


class Agreement:
    """Context manager around the preparations of a run; within it, each worker calls `reach` once.

    If a worker fails before, by an exception, the others end too. A single worker agrees with itself.

    Args:
        cluster: the workers.
    """

    def __init__(self, cluster: Cluster):
        self._cluster = cluster
        self._is_settled = cluster.is_alone

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, Exception) and not self._is_settled:
            why = str(error) or type(error).__name__
            late = threading.Timer(_PATIENCE, _say_that_it_waits, [why])  # the others may index a large dataset first
            late.start()
            try:
                with contextlib.suppress(InputError):  # the others may have failed too, or have left
                    self._compare({"failed": why})
            finally:
                late.cancel()

    def reach(self, items: Mapping[str, str]) -> None:
        """Returns once all workers have called it with the same items.

        Args:
            items: what must be the same on all workers, by name, in the order in which differences are reported.

        Raises:
            InputError: on every worker, if items differ or a worker has failed.
        """
        if not self._is_settled:
            self._compare({"items": [[name, str(value)] for name, value in items.items()]})

    def _compare(self, statement: dict):
        self._is_settled = True
        try:
            statements = [json.loads(each) for each in _gather(json.dumps(statement).encode(), self._cluster)]
        except tf.errors.OpError as error:
            raise InputError(
                f"Lost contact with another worker before training began ({' '.join(error.message.split())}). See its output, and "
                "start all workers again."
            ) from error
        if told := difference(statements, self._cluster.addresses):
            with contextlib.suppress(tf.errors.OpError):  # none leaves before all have received the statements
                _gather(b"left", self._cluster)
            raise InputError(told)


def _say_that_it_waits(why: str) -> None:
    print(f"cannot start: {' '.join(why.split())}; waiting for the other workers, to end them too", file=sys.stderr, flush=True)


def difference(statements: list[dict], addresses: tuple[str, ...]) -> str | None:
    """Returns which workers differ from the others, and in what; `None` if they agree.

    Args:
        statements: of each worker, `{"items": [[name, value], …]}`, or `{"failed": message}` if it cannot train.
        addresses: their addresses.
    """
    failed = {number: statement["failed"] for number, statement in enumerate(statements) if "failed" in statement}
    if failed:
        return _joined([f"{_named(number, addresses)} cannot start: {why}" for number, why in failed.items()])
    texts = [json.dumps(statement) for statement in statements]
    usual = texts.index(collections.Counter(texts).most_common(1)[0][0])  # the first of them, if no statement is the commonest
    odd = [number for number, text in enumerate(texts) if text != texts[usual]]
    if not odd:
        return None
    expected = dict(statements[usual]["items"])
    told = _joined(
        [
            f"{_named(number, addresses)} differs from worker {usual + 1} in {_items(dict(statements[number]['items']), expected)}"
            for number in odd
        ]
    )
    return f"{told}. Start all workers with the same command and the same data."


def _named(number: int, addresses) -> str:
    return f"worker {number + 1} ({addresses[number]})"


def _items(received: dict[str, str], expected: dict[str, str]) -> str:
    names = [name for name in {**expected, **received} if received.get(name) != expected.get(name)]
    told = [f"{name}: {received.get(name, 'nothing')}, not {expected.get(name, 'nothing')}" for name in names[:_TOLD_ITEMS]]
    more = len(names) - len(told)
    return ", ".join(told) + (f", and {counted(more, 'other item')}" if more else "")


def _joined(told: list[str]) -> str:
    more = len(told) - _TOLD_WORKERS
    joined = "; ".join(told[:_TOLD_WORKERS]) + (f"; and {counted(more, 'other worker')}" if more > 0 else "")
    return joined[0].upper() + joined[1:]


def _gather(statement: bytes, cluster: Cluster) -> list[bytes]:
    """Returns the statements of all workers, in their order; fails on all if one of them is lost."""
    lengths = _gather_rows(np.array([len(statement)], np.int32), cluster).ravel().tolist()
    padded = statement.ljust(-(-max(lengths) // 4) * 4, b"\0")
    rows = _gather_rows(np.frombuffer(padded, np.int32), cluster)  # the operation gathers no bytes
    return [row.tobytes()[:length] for row, length in zip(rows, lengths, strict=True)]


def _gather_rows(row: np.ndarray, cluster: Cluster) -> np.ndarray:
    # Not by the strategy, whose groups presuppose as many replicas on every worker.
    with tf.device("CPU:0"):
        gathered = tf.raw_ops.CollectiveGatherV2(
            input=row[np.newaxis],
            group_size=len(cluster.addresses),
            group_key=_GROUP,
            instance_key=next(_instances),
            ordering_token=[],
            communication_hint="ring",
        )
    return gathered.numpy()
