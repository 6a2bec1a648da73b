"""Temporary files and folders named after the process that writes them, and which of them dead processes left behind.

A name says the machine's start, the process namespace (of a container), the process and when it began: whoever shares these can
tell for sure whether it still lives. Of names from elsewhere, as on a shared disk, only their age tells.
"""

import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import time

DEAD_SECONDS = 24 * 3600.0
_OWNER = re.compile(r"([0-9a-f]{12})-(\d+)-(\d+)[.-]")  # where, process, when it began


def owner() -> str:
    """Returns what names this process, to be put behind a prefix and followed by a dot or a hyphen."""
    return f"{_where()}-{os.getpid()}-{_began(os.getpid())}"


def remove_dead(folder: pathlib.Path, prefix: str, *, seconds: float = DEAD_SECONDS) -> None:
    """Removes what dead processes left in a folder.

    Args:
        folder: need not be there.
        prefix: of the names, which is followed by `owner()`.
        seconds: age from which what cannot be told otherwise counts as dead.
    """
    with contextlib.suppress(OSError):  # there is no such folder
        for path in [pathlib.Path(entry) for entry in os.scandir(folder) if entry.name.startswith(prefix)]:
            with contextlib.suppress(OSError):  # another process is about the same
                if _is_dead(path, path.name.removeprefix(prefix), seconds):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_dead(path: pathlib.Path, name: str, seconds: float) -> bool:
    said = _OWNER.match(name)
    if not said or said[1] != _where() or not int(said[3]):
        return time.time() - _last_change(path) > seconds
    import psutil

    process = int(said[2])
    # Its start in ticks and not `psutil`'s `create_time`, which moves with the clock: another one may have got the number.
    return not psutil.pid_exists(process) or _began(process) not in (0, int(said[3]))


def _last_change(path: pathlib.Path) -> float:
    within = list(path.iterdir()) if path.is_dir() else []  # a folder's own time stands still while a file in it grows
    return max(each.stat().st_mtime for each in within or [path])


def _where() -> str:
    """Returns 12 hexadecimal digits for the machine's start and this process's namespace; all zero where there is no telling."""
    try:
        start = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text()
        return hashlib.sha256(f"{start}{os.readlink('/proc/self/ns/pid')}".encode()).hexdigest()[:12]
    except OSError:  # no Linux
        return "0" * 12


def _began(process: int) -> int:
    """Returns when a process began, in clock ticks since the machine's start; 0 where there is no telling, -1 if it ended."""
    try:
        state = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return -1 if state[0] == "Z" else int(state[19])  # a zombie keeps its number until its parent asks for it
    except (OSError, IndexError, ValueError):
        return 0
