"""Every call of a command that writes, failing once with each errno: exit 2, one line, nothing lost, nothing left beside."""

import dataclasses
import errno
import os
import pathlib
import random
import re
from collections.abc import Callable

from stressing import outcome, shim, zygote
from stressing.commands import Command
from stressing.results import Results

ERRORS = ("ENOSPC", "EDQUOT", "EIO")
COLUMNS = ("command", "call", "error", "what", "path", "outcome", "told")
KEY = 3
_LONGEST = 30.0  # seconds, and ten times what an undisturbed run took: more is a hang


@dataclasses.dataclass(frozen=True)
class Undisturbed:
    """A run in which no call fails.

    Attributes:
        calls: `(name, path)` of each writing call, in order.
        left: what it leaves, as `outcome.of` tells it.
        said: the lines that it says.
        seconds: how long it took.
    """

    calls: list[tuple[str, str]]
    left: dict[str, str]
    said: set[str]
    seconds: float


def undisturbed(command: Command, work: pathlib.Path) -> Undisturbed:
    """Runs a command in which no call fails."""
    log = work.with_name(f"{work.name}.calls")
    command.new_folder(work)
    ended = zygote.run(command.main, command.argv, work, prepare=lambda: _arm(work, log), timeout=10 * _LONGEST)
    if ended.code:
        raise RuntimeError(f"{command.name} fails undisturbed: {ended.errors[-2000:]}")
    calls = [(name, path) for name, _, path in (line.partition(" ") for line in log.read_text().splitlines())]
    log.unlink()
    return Undisturbed(calls, outcome.of(work), set(_lines(ended.errors)), ended.seconds)


def _arm(work: pathlib.Path, log: pathlib.Path | None = None, **failing) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if log else -1
    shim.arm(work.resolve(), log=descriptor, **failing)


def run(
    commands: list[Command], work: pathlib.Path, results: Results, *, count: int | None, seed: int, lasting: bool, say: Callable
):
    """Lets calls fail and enters the outcomes.

    Args:
        commands: which.
        work: an empty folder for the trials.
        results: gets a row for each.
        count: so many calls of a command, drawn so that each kind of call on each file comes early; `None` takes all.
        seed: of that draw.
        lasting: whether later calls fail as well, as on a disk that stays full.
        say: called with lines for people.
    """
    for command in commands:
        usual = undisturbed(command, work)
        calls = usual.calls
        numbers = sorted(_drawn(calls, random.Random(seed))[:count])
        say(f"{command.name}: {len(calls)} calls, {len(numbers)} of them tried with {len(ERRORS)} errors each")
        for number in numbers:
            for name in ERRORS:
                if results.has(command.name, number, name):
                    continue
                what, path = calls[number - 1]
                found, told = _trial(command, work, usual, number, name, lasting)
                results.add(command.name, number, name, what, path, found, told)
                if found.startswith("fault"):
                    say(f"{command.name} {number} {name} {what} {path}: {found}: {told}")


def _drawn(calls: list[tuple[str, str]], generator: random.Random) -> list[int]:
    """Returns the numbers of all calls, from 1, in an order in which the calls of each kind on each file take turns."""
    groups: dict[tuple[str, str], list[int]] = {}
    for number, (what, path) in enumerate(calls, start=1):
        groups.setdefault((what, re.sub(r"[0-9a-f]{6,}|\d+", "#", path)), []).append(number)
    for group in groups.values():
        generator.shuffle(group)
    turns = [(turn, generator.random(), number) for group in groups.values() for turn, number in enumerate(group)]
    return [number for *_, number in sorted(turns)]


def _trial(command: Command, work: pathlib.Path, usual: Undisturbed, number: int, name: str, lasting: bool) -> tuple[str, str]:
    error, wanted = getattr(errno, name), usual.left
    longest = _LONGEST + 10 * usual.seconds
    command.new_folder(work)
    before = outcome.of(work)
    failing = {"nth": number, "error": error, "lasting": lasting}
    ended = zygote.run(command.main, command.argv, work, prepare=lambda: _arm(work, **failing), timeout=longest)
    told = "\n".join(line for line in _lines(ended.errors) if line not in usual.said)  # beside notes and progress
    if ended.code is None:
        return "fault: hang", told[-300:]
    if ended.code < 0:
        return f"fault: signal {-ended.code}", told[-300:]
    if left := outcome.left_beside(work):
        return "fault: left beside", f"{left} {told[-300:]}"
    found = outcome.of(work)
    if ended.code == 0:
        if found != wanted:
            return "fault: success with other files", _difference(found, wanted)
        return ("succeeded, a line said" if told or name in ended.output else "succeeded, all whole"), told[-300:]
    if "Traceback" in told or ended.code != 2:
        return f"fault: exit {ended.code}", told[-300:]
    if len(told.splitlines()) != 1:
        return "fault: not one line", told[-600:]
    if os.strerror(error) not in told:
        return "fault: reason not named", told
    if lost := [path for path in before if found.get(path) not in (before[path], wanted[path])]:
        return "fault: lost", f"{lost} {told}"
    again = zygote.run(command.main, command.argv, work, timeout=longest)
    if again.code != 0:  # `None` after a hang
        return "fault: cannot be run again", again.errors[-300:]
    if (after := outcome.of(work)) != wanted or outcome.left_beside(work):
        return "fault: run again, it ends otherwise", _difference(after, wanted)
    return "one line, nothing lost", told


def _lines(errors: str) -> list[str]:
    return [line for line in errors.splitlines() if line.strip() and "[0m" not in line]  # what Keras colours is its progress


def _difference(found: dict, wanted: dict) -> str:
    return ", ".join(name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name))
