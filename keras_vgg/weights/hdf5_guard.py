"""Limits the harm of a damaged HDF5 file: another process checks it first, and hangs or crashes in place of this one.

libhdf5 loops forever on some damage and ends the process on other. The other process is kept for the next file.
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
"""Time limit per file: an intact one takes milliseconds, since its arrays are not read."""

_SCRIPT = pathlib.Path(__file__).with_name("hdf5_child.py")
_lock = threading.Lock()
_sound: set[tuple] = set()
_child: subprocess.Popen | None = None


def check_hdf5(path: str | pathlib.Path, start: int | None = None, size: int | None = None) -> None:
    """Checks that an HDF5 file, or an HDF5 file embedded in another, can be read safely.

    Args:
        path: the file.
        start: offset of the embedded file in bytes; `None` for the whole file.
        size: size of the embedded file in bytes.

    Raises:
        InputError: if it cannot be read.
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
        _end()  # the library is not used again after it met damage
    raise InputError(f"{path} is damaged or truncated: {told}. Fetch or copy it again.")


def _ask(request: list) -> str | None:
    global _child
    if _child is None or _child.poll() is not None:
        command = [sys.executable, "-I", str(_SCRIPT), json.dumps(sys.path)]
        _child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    requests, answers = _child.stdin, _child.stdout
    assert requests is not None  # pipes, as requested
    assert answers is not None
    try:
        requests.write(json.dumps(request) + "\n")
        requests.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(answers, selectors.EVENT_READ)
            if not selector.select(SECONDS):
                return f"reading it did not finish within {SECONDS} s"
        answer = answers.readline()
    except BrokenPipeError:
        answer = ""
    return json.loads(answer) if answer else "it crashes the HDF5 library"


def _end() -> None:
    global _child
    if _child is not None:
        _child.kill()
        _child.communicate()
        _child = None


atexit.register(_end)
