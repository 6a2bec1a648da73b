"""SIGKILL at random instants of a command, which is started again until it is done: the end is that of an undisturbed run."""

import pathlib
import random
from collections.abc import Callable

from stressing import outcome, zygote
from stressing.commands import Command
from stressing.results import Results

COLUMNS = ("command", "chain", "kills", "outcome", "told")
KEY = 2
_LONGEST_CHAIN = 5  # kills, after which a command may come to its end


def run(commands: list[Command], work: pathlib.Path, results: Results, *, count: int, seed: int, say: Callable) -> None:
    """Kills each command `count` times and enters the outcomes; arguments as of `writes.run`.

    A chain of up to five kills falls on the same folder. Each is drawn uniformly over the time of an undisturbed run.
    """
    for command in commands:
        done = sum(int(row[2]) for row in results.rows if row[0] == command.name)
        chains = sum(row[0] == command.name for row in results.rows)
        if done >= count:
            continue
        command.new_folder(work)
        undisturbed = zygote.run(command.main, command.argv, work, timeout=300)
        if undisturbed.code:
            raise RuntimeError(f"{command.name} fails undisturbed: {undisturbed.errors[-2000:]}")
        wanted = outcome.of(work)
        say(f"{command.name}: {undisturbed.seconds:.1f} s undisturbed, {count - done} kills to go")
        while done < count:
            found, told, kills = _chain(
                command, work, wanted, undisturbed.seconds, random.Random(f"{seed} {command.name} {chains}")
            )
            results.add(command.name, chains, kills, found, told)
            done, chains = done + kills, chains + 1
            if found.startswith("fault"):
                say(f"{command.name} chain {chains - 1}: {found}: {told}")


def _chain(command: Command, work: pathlib.Path, wanted: dict, seconds: float, generator: random.Random) -> tuple[str, str, int]:
    command.new_folder(work)
    kills = 0
    while kills < _LONGEST_CHAIN:
        ended = zygote.run(command.main, command.argv, work, kill_after=generator.uniform(0, seconds))
        if not ended.killed:
            break
        kills += 1
    else:
        ended = zygote.run(command.main, command.argv, work, timeout=300)
    if ended.code != 0:  # `None` after a hang
        return f"fault: ended with {ended.code}", ended.errors[-300:], kills
    if command.name == "export":  # each start that comes to its end makes a version, a killed one perhaps the one before
        wanted = {**wanted, **{name: digest for name, digest in outcome.of(work).items() if not name.startswith("served/1/")}}
    if left := outcome.left_beside(work):
        return "fault: left beside", ", ".join(left), kills
    if (found := outcome.of(work)) != wanted:
        names = sorted({*found, *wanted})
        return "fault: other files", ", ".join(name for name in names if found.get(name) != wanted.get(name)), kills
    return "as undisturbed", "", kills
