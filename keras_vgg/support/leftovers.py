"""Names of temporary files and folders that identify their process, and removal of those left behind by dead processes.

A name contains the boot ID, the process namespace (of a container), the process ID and its start time: on the same machine and in
the same namespace these tell for sure whether the process is alive. For other names, as on a shared disk, only their age tells.
"""

import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import time

DEAD_SECONDS = 24 * 3600.0
_OWNER = re.compile(r"([0-9a-f]{12})-(\d+)-(\d+)[.-]")  # where, process, start time


def owner() -> str:
    """Returns a string that identifies this process, to be put after a prefix and before a dot or a hyphen."""
    return f"{_where()}-{os.getpid()}-{_began(os.getpid())}"


def remove_dead(folder: pathlib.Path, prefix: str, *, seconds: float = DEAD_SECONDS) -> None:
    """Removes what dead processes left in a folder.

    Args:
        folder: need not exist.
        prefix: of the names, followed by `owner()`.
        seconds: age at which leftovers of unknown processes count as dead.
    """
    with contextlib.suppress(OSError):  # the folder may not exist
        for path in [pathlib.Path(entry) for entry in os.scandir(folder) if entry.name.startswith(prefix)]:
            with contextlib.suppress(OSError):  # another process may be removing it too
                if _is_dead(path, path.name.removeprefix(prefix), seconds):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_dead(path: pathlib.Path, name: str, seconds: float) -> bool:
    said = _OWNER.match(name)
    if not said or said[1] != _where() or not int(said[3]):
        return time.time() - _last_change(path) > seconds
    import psutil

    process = int(said[2])
    # Another process may have the number by now. The start is in ticks, since `psutil`'s `create_time` moves with the clock.
    return not psutil.pid_exists(process) or _began(process) not in (0, int(said[3]))


def _last_change(path: pathlib.Path) -> float:
    within = list(path.iterdir()) if path.is_dir() else []  # a folder's own time does not change while a file in it grows
    return max(each.stat().st_mtime for each in within or [path])


def _where() -> str:
    """Returns 12 hexadecimal digits for the boot ID and this process's namespace; zeros if unknown."""
    try:
        start = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text()
        return hashlib.sha256(f"{start}{os.readlink('/proc/self/ns/pid')}".encode()).hexdigest()[:12]
    except OSError:  # not Linux
        return "0" * 12


def _began(process: int) -> int:
    """Returns the start time of a process, in clock ticks since boot; 0 if unknown, -1 if it has ended."""
    try:
        state = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return -1 if state[0] == "Z" else int(state[19])  # a zombie keeps its number until its parent asks for it
    except (OSError, IndexError, ValueError):
        return 0
