"""Trials in forked children, many in each: a crash, a hang or a glut of memory is put down to the one trial that was under way.

A child writes a line before each trial and one behind it. Where it dies, the trials behind go on in a new child. What hangs is
tried twice, since a machine that is busy with other things can stand still for once.
"""

import os
import pathlib
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence

from keras_vgg.errors import InputError

LONGEST = 30.0  # seconds without a line: more is a hang
MOST_MEMORY = 2 * 2**30  # bytes
_POLL = 0.05
_HANG = "fault: hang"
_SETTING_UP = 300.0  # seconds


def run(trials: Sequence, prepare: Callable[[], Callable], enter: Callable, *, folder: pathlib.Path, size: int) -> None:
    """Makes the trials in children.

    Args:
        trials: what is tried; printable, and one line each.
        prepare: called in each child first; returns `attempt(trial) -> outcome`, where raising `InputError` is a refusal.
        enter: called with `(trial, outcome, told)` for each.
        folder: for what the children write.
        size: trials of one child.
    """
    trials, hung = list(trials), None
    while trials:
        begun, fault = _child(trials[:size], prepare, enter, folder)
        if not begun:
            raise RuntimeError(f"a child ended before its first trial: {_said(folder)}")
        last = trials[begun - 1]
        if fault == _HANG and last != hung:
            hung, begun = last, begun - 1
        elif fault:
            enter(last, fault, _said(folder))
        trials = trials[begun:]


def _child(trials: list, prepare, enter, folder: pathlib.Path) -> tuple[int, str]:
    """Runs one child and enters its outcomes; returns how many trials were begun and the fault that ended the last, if one did."""
    log = folder / "log"
    log.write_bytes(b"")
    child = os.fork()
    if child == 0:
        _live(trials, prepare, log, folder / "stderr")
    try:
        fault = _watch(child, log)
    except BaseException:  # the tool is stopped
        os.kill(child, signal.SIGKILL)
        raise
    lines = log.read_text().splitlines()
    finished = [line.split("\t", 2)[1:] for line in lines if line.startswith("end\t")]
    for trial, (outcome, told) in zip(trials, finished, strict=False):
        enter(trial, outcome, told)
    begun = lines.count("begin")
    return begun, fault if begun > len(finished) or not begun else ""


def _said(folder: pathlib.Path) -> str:
    return (folder / "stderr").read_text(errors="replace").strip()[-300:].replace("\n", " | ")


def _watch(child: int, log: pathlib.Path) -> str:
    """Waits for the child to end, and ends it where it hangs or takes too much; returns what went wrong."""
    written, since = 0, time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return f"fault: signal {-code}" if code < 0 else f"fault: exit {code}" if code else ""
        if log.stat().st_size != written:
            written, since = log.stat().st_size, time.monotonic()
        late = time.monotonic() - since > (LONGEST if written else _SETTING_UP)
        glutted = written and _resident(child, "VmRSS") > MOST_MEMORY
        if late or glutted:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return _HANG if late else "fault: memory"
        time.sleep(_POLL)


def _live(trials, prepare, log, errors) -> None:
    """The child's whole life."""
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        attempt = prepare()
        with open(log, "a", buffering=1) as lines:
            for trial in trials:
                pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
                print("begin", file=lines)
                outcome, told = _outcome(attempt, trial)
                if _resident(os.getpid(), "VmHWM") > MOST_MEMORY:
                    outcome = "fault: memory"
                print("end", outcome, told.replace("\n", " | ")[:300], sep="\t", file=lines)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _outcome(attempt, trial) -> tuple[str, str]:
    try:
        return attempt(trial), ""
    except InputError as error:
        told = str(error)
        return ("refused in one line" if len(told.splitlines()) == 1 else "fault: not one line"), told
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return "fault: traceback", f"{type(error).__name__}: {error} ({pathlib.Path(last.filename).name}:{last.lineno})"


def _resident(process: int, which: str) -> int:
    """Returns a figure of a process's memory in bytes, 0 once it has ended."""
    try:
        lines = pathlib.Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{which}:")), 0)
