"""Damaged files through the package's readers: refused in one line or read, without a crash, a hang or a glut of memory."""

import functools
import pathlib
import random
from collections.abc import Callable

from stressing import batches, damaged_images, damaged_weights
from stressing.results import Results

COLUMNS = ("what", "number", "reader", "kind", "damage", "outcome", "told")
KEY = 3
SUBJECTS = {"weights": damaged_weights, "images": damaged_images}


def run(subjects: list[str], work: pathlib.Path, results: Results, *, count: int, seed: int, say: Callable) -> None:
    """Damages `count` files of each subject and enters what each reader makes of them.

    Args:
        subjects: out of `SUBJECTS`.
        work: an empty folder for the trials.
        results: gets a row for each.
        count: so many files.
        seed: of what is drawn; a file is a function of it and its number.
        say: called with lines for people.
    """
    for name in subjects:
        subject, samples, folder = SUBJECTS[name], work / f"{name}-samples", work / name
        samples.mkdir(parents=True)
        folder.mkdir()
        wanted = _read_undamaged(subject, samples, folder, say)
        drawn = functools.partial(_draw, subject, samples, seed)
        trials = [
            (number, reader) for number in range(count) for reader in subject.READERS if not results.has(name, number, reader)
        ]
        say(f"{name}: {len(trials)} readings of {count} damaged files to go")

        def enter(trial, outcome, told, name=name, drawn=drawn):
            number, reader = trial
            kind, way, _ = drawn(number)
            results.add(name, number, reader, kind, way, outcome, told)
            if outcome.startswith("fault"):
                say(f"{name} {number} {reader} ({kind}, {way}): {outcome}: {told}")

        batches.run(
            trials, functools.partial(_prepare, subject, samples, folder, drawn, wanted), enter, folder=folder, size=subject.BATCH
        )


def _draw(subject, samples: pathlib.Path, seed: int, number: int) -> tuple[str, str, bytes]:
    return subject.draw(samples, random.Random(f"{seed} {number}"))


def _prepare(subject, samples: pathlib.Path, folder: pathlib.Path, drawn: Callable, wanted: dict) -> Callable:
    readers = subject.make_readers(samples, folder)
    for kind, reader in wanted:  # graphs are traced now, which takes long
        readers[reader](kind, subject.undamaged(samples, kind))

    def attempt(trial) -> str:
        number, reader = trial
        kind, _, content = drawn(number)
        return "read the same" if readers[reader](kind, content) == wanted.get((kind, reader)) else "read otherwise"

    return attempt


def _read_undamaged(subject, samples: pathlib.Path, folder: pathlib.Path, say: Callable) -> dict[tuple[str, str], str]:
    """Writes the samples and returns `{(kind, reader): digest}`; of those that a reader refuses even whole, nothing."""
    found = {}

    def prepare():
        subject.write_samples(samples)
        readers = subject.make_readers(samples, folder)
        return lambda trial: f"read {readers[trial[1]](trial[0], subject.undamaged(samples, trial[0]))}"

    def enter(trial, outcome, told):
        if outcome.startswith("fault"):
            raise RuntimeError(f"{trial}: {outcome}: {told}")
        if outcome.startswith("read "):
            found[trial] = outcome.removeprefix("read ")
        else:
            say(f"{trial[0]} is refused by {trial[1]} even whole: {told}")

    trials = [(kind, reader) for kind in subject.KINDS for reader in subject.READERS]
    batches.run(trials, prepare, enter, folder=folder, size=len(trials))
    return found
