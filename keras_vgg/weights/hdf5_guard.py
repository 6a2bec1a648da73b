"""Bounds what a damaged HDF5 file can do: it is first walked through by another process, which may hang or crash in our place.

libhdf5 loops for ever on some damage and ends the process on other. The other process is kept for the next file.
"""

import atexit
import json
import pathlib
import selectors
import subprocess
import sys
import threading

from keras_vgg.errors import InputError

SECONDS = 20
"""As long may a file take: a sound one takes milliseconds, since its arrays are not read."""

_SCRIPT = pathlib.Path(__file__).with_name("hdf5_child.py")
_lock = threading.Lock()
_sound: set[tuple] = set()
_child: subprocess.Popen | None = None


def check_hdf5(path: str | pathlib.Path, start: int | None = None, size: int | None = None) -> None:
    """Sees to it that an HDF5 file, or the part of a file that is one, can be read without harm.

    Args:
        path: the file.
        start: where the part begins; `None` for the whole file.
        size: of the part, in bytes.

    Raises:
        InputError: if it cannot.
    """
    path = pathlib.Path(path).absolute()
    facts = path.stat()
    size = facts.st_size if size is None else size
    key = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, start, size)
    with _lock:
        if key in _sound:
            return
        told = _ask([str(path), start, size])
        if told is None:
            _sound.add(key)
            return
        _end()  # a library that met damage is not asked again
    raise InputError(f"{path} is damaged or truncated: {told}. Fetch or copy it again.")


def _ask(request: list) -> str | None:
    global _child
    if _child is None or _child.poll() is not None:
        command = [sys.executable, "-I", str(_SCRIPT), json.dumps(sys.path)]
        _child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    requests, answers = _child.stdin, _child.stdout
    assert requests is not None  # pipes, as was asked for
    assert answers is not None
    try:
        requests.write(json.dumps(request) + "\n")
        requests.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(answers, selectors.EVENT_READ)
            if not selector.select(SECONDS):
                return f"reading it does not come to an end within {SECONDS} s"
        answer = answers.readline()
    except BrokenPipeError:
        answer = ""
    return json.loads(answer) if answer else "it makes the HDF5 library crash"


def _end() -> None:
    global _child
    if _child is not None:
        _child.kill()
        _child.communicate()
        _child = None


atexit.register(_end)
