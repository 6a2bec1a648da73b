"""A contest: every contestant in a process of its own, one computing at a time, in alternating rounds.

Thread pools and allocators of two frameworks in one process disturb each other, and a machine's clock drifts over minutes;
so contestants live apart and take turns (A B C A B C …), and what is compared are rounds that lie side by side. Imports no
TensorFlow and no PyTorch: only the processes of contestants do.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import multiprocessing
import os
import resource
import signal
import statistics
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

import pandas as pd

from keras_vgg.errors import InputError
from keras_vgg.support.entry import import_tensorflow

LIMIT = "limit"
"""The name of the contestant that others are shown as shares of."""

_GB = 1e9


class Settings(Protocol):
    """What every contestant is told; of each kind of contest more."""

    @property
    def batch(self) -> int:
        """Images per step."""


class Contestant(Protocol):
    """What `Entry.target` names: a class made from the entry's settings.

    Attributes:
        note: how it computes, for the table.
        processes: worker processes that it starts besides its own.
    """

    note: str
    processes: int = 0

    def run(self, steps: int) -> float:
        """Does `steps` batches of work and returns the seconds they took, everything computed."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A contestant before its process exists.

    Attributes:
        name: what people call it.
        packages: what must be installed for it.
        target: `module:Class` of the contestant.
        settings: the only argument of the class.
        environment: what its process finds in its environment, such as `huge_pages.ENVIRONMENT`, with which `keras_vgg.fit` starts.
    """

    name: str
    packages: tuple[str, ...]
    target: str
    settings: Settings
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """Packages it needs that are not installed."""
        return missing(self.packages)


def missing(packages: Iterable[str]) -> list[str]:
    """Returns those of `packages` that are not installed."""
    return [package for package in packages if importlib.util.find_spec(package) is None]


@dataclasses.dataclass
class Result:
    """What a contestant did.

    Attributes:
        name, note: as said by the entry and the contestant.
        ready_seconds: from the start of the process to the end of its first step: imports, building and compiling.
        rates: images per second of each round.
        peak_bytes: most memory that it held at a time.
    """

    name: str
    note: str
    ready_seconds: float
    rates: list[float] = dataclasses.field(default_factory=list)
    peak_bytes: int = 0


class _Process:
    """The process of a contestant, seen from the contest."""

    def __init__(self, entry: Entry):
        context = multiprocessing.get_context("spawn")  # a fork would inherit threads and memory
        self._connection, theirs = context.Pipe()
        self._entry = entry
        self._process = context.Process(target=_serve, args=(entry, theirs))
        began = time.perf_counter()
        with _environment(entry.environment):
            self._process.start()
        theirs.close()  # so that its end of the pipe closes with the process
        with self._alive():
            note = self._connection.recv()
        self.result = Result(entry.name, note, time.perf_counter() - began)

    def run(self, steps: int) -> None:
        with self._alive():
            self._connection.send(steps)
            seconds, self.result.peak_bytes = self._connection.recv()
        self.result.rates.append(steps * self._entry.settings.batch / seconds)

    def close(self) -> None:
        self._connection.close()
        self._process.join(timeout=10)
        self._process.kill()  # nothing to lose there

    @contextlib.contextmanager
    def _alive(self):
        try:
            yield
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            if code == -signal.SIGKILL:
                raise InputError(
                    f"{self._entry.name}: its process was killed, as happens when memory runs out; contestants stay in memory "
                    "side by side. Give a smaller --batch, fewer --peers, or --no-limit."
                ) from None
            raise RuntimeError(f"{self._entry.name}: its process ended with code {code}; its error stands above.") from None


@contextlib.contextmanager
def _environment(values: Mapping[str, str]):
    before = dict(os.environ)
    os.environ |= values
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def _serve(entry: Entry, connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the contest closes the pipe, which ends this process
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # or the first contestant would take the whole GPU
    if "tensorflow" in entry.packages:
        import_tensorflow()
    module, _, name = entry.target.partition(":")
    contestant = getattr(importlib.import_module(module), name)(entry.settings)
    contestant.run(1)
    connection.send(contestant.note)
    while True:
        try:
            steps = connection.recv()
        except EOFError:
            return
        connection.send((contestant.run(steps), peak_bytes(contestant.processes)))


def peak_bytes(processes: int = 0) -> int:
    """Returns the peak resident memory of this process, plus `processes` times that of the largest process it has ended.

    Pages that forked processes share are counted in each.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    own, ended = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return unit * (own + processes * ended)


def hold(entries: list[Entry], *, rounds: int, steps: int) -> list[Result]:
    """Returns the results of all `entries`, whose packages must be installed, in their order.

    Args:
        entries: the contestants.
        rounds: number of rounds; in each, every contestant runs once.
        steps: batches that a contestant computes in a round.
    """
    processes = []
    try:
        for entry in entries:  # one after the other: compiling too is only for one at a time
            processes.append(_Process(entry))
        for _ in range(rounds):
            for process in processes:
                process.run(steps)
    finally:
        for process in processes:
            process.close()
    return [process.result for process in processes]


def table(results: list[Result]) -> str:
    """Returns the results as an aligned table, with the ratios of the first contestant to each other one.

    `ours/it` is the ratio of medians; `paired` has the median and the range of the ratios within rounds. Where the limit took part,
    `of limit` is the median share of its rate within rounds.
    """
    ours = results[0]
    limit = next((result for result in results if result.name == LIMIT), None)
    rows = []
    for result in results:
        ratios = _ratios(ours, result)
        share = {"of limit": f"{statistics.median(_ratios(result, limit)):.0%}"} if limit else {}
        rows.append(
            {
                "contestant": result.name,
                "images/s": f"{statistics.median(result.rates):.4g}",
                **share,
                "min": f"{min(result.rates):.4g}",
                "max": f"{max(result.rates):.4g}",
                "peak GB": f"{result.peak_bytes / _GB:.2f}",
                "ready s": f"{result.ready_seconds:.0f}",
                "ours/it": "" if result is ours else f"{statistics.median(ours.rates) / statistics.median(result.rates):.2f}",
                "paired": "" if result is ours else f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
                "note": result.note,
            }
        )
    return pd.DataFrame(rows).to_string(index=False)


def _ratios(one: Result, other: Result) -> list[float]:
    """Returns the ratios of their rates within rounds, from the smallest on."""
    return sorted(a / b for a, b in zip(one.rates, other.rates, strict=True))
