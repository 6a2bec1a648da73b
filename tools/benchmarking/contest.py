"""A contest: every contestant in a process of its own, one computing at a time, in alternating rounds.

Thread pools and allocators of two frameworks in one process would interfere, and a machine's clock drifts over minutes; so
contestants run in separate processes and take turns (A B C A B C …), and adjacent rounds are compared. Imports no TensorFlow and
no
PyTorch: only the processes of contestants do.
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
"""The name of the contestant that defines the limit."""

_GB = 1e9


class Settings(Protocol):
    """Common settings of all contestants; each kind of contest adds its own."""

    @property
    def batch(self) -> int:
        """Images per step."""


class Contestant(Protocol):
    """The class named by `Entry.target`, created from the entry's settings.

    Attributes:
        note: how it computes, for the table.
        processes: number of worker processes it starts in addition to its own.
    """

    note: str
    processes: int = 0

    def run(self, steps: int) -> float:
        """Processes `steps` batches and returns the seconds they took, including all asynchronous work."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A contestant before its process exists.

    Attributes:
        name: for people.
        packages: required packages.
        target: `module:Class` of the contestant.
        settings: the only argument of the class.
        environment: environment variables of its process, such as `huge_pages.ENVIRONMENT`, which `keras_vgg.fit` sets.
    """

    name: str
    packages: tuple[str, ...]
    target: str
    settings: Settings
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """Required packages that are not installed."""
        return missing(self.packages)


def missing(packages: Iterable[str]) -> list[str]:
    """Returns those of `packages` that are not installed."""
    return [package for package in packages if importlib.util.find_spec(package) is None]


@dataclasses.dataclass
class Result:
    """The result of a contestant.

    Attributes:
        name, note: of the entry and the contestant.
        ready_seconds: from the start of the process to the end of its first step: imports, building and compiling.
        rates: images per second of each round.
        peak_bytes: peak memory.
    """

    name: str
    note: str
    ready_seconds: float
    rates: list[float] = dataclasses.field(default_factory=list)
    peak_bytes: int = 0


class _Process:
    """The process of a contestant, as seen by the contest."""

    def __init__(self, entry: Entry):
        context = multiprocessing.get_context("spawn")  # a fork would inherit threads and memory
        self._connection, theirs = context.Pipe()
        self._entry = entry
        self._process = context.Process(target=_serve, args=(entry, theirs))
        began = time.perf_counter()
        with _environment(entry.environment):
            self._process.start()
        theirs.close()  # so that the pipe closes when the process ends
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
        self._process.kill()  # it has no state to lose

    @contextlib.contextmanager
    def _alive(self):
        try:
            yield
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            if code == -signal.SIGKILL:
                raise InputError(
                    f"{self._entry.name}: its process was killed, probably for lack of memory; all contestants stay in memory. "
                    "Pass a smaller --batch, fewer --peers, or --no-limit."
                ) from None
            raise RuntimeError(f"{self._entry.name}: its process ended with code {code}; see its error above.") from None


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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the contest closes the pipe, which ends this one
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # otherwise the first contestant would take the whole GPU
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

    Pages that forked processes share count in each.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    own, ended = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return unit * (own + processes * ended)


def hold(entries: list[Entry], *, rounds: int, steps: int) -> list[Result]:
    """Returns the results of all `entries`, in their order; their packages must be installed.

    Args:
        entries: the contestants.
        rounds: number of rounds; in each, every contestant runs once.
        steps: batches per contestant and round.
    """
    processes = []
    try:
        for entry in entries:  # one after the other, so that only one compiles at a time
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

    `ours/it` is the ratio of medians; `paired` is the median and range of the ratios within rounds. If the limit took part,
    `of limit` is the median ratio to its rate within rounds.
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
    """Returns the ratios of their rates within rounds, sorted."""
    return sorted(a / b for a, b in zip(one.rates, other.rates, strict=True))
