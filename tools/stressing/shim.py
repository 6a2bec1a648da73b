"""The shim beside this file: compiled, loaded into this process, armed in a child."""

import ctypes
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

_LOADED = "KERAS_VGG_STRESS_SHIM"
COMPILER = shutil.which("gcc")


def restart_with() -> None:
    """Starts this program anew with the shim under it, unless it is there already; does not return then.

    Raises:
        OSError: without a compiler.
    """
    if _LOADED in os.environ:
        return
    if not COMPILER:
        raise OSError("gcc is missing, which compiles what lets writes fail")
    library = pathlib.Path(tempfile.mkdtemp(prefix="stress-shim-"), "shim.so")
    source = pathlib.Path(__file__).with_name("shim.c")
    subprocess.run([COMPILER, "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    os.environ |= {"LD_PRELOAD": str(library), _LOADED: str(library)}
    os.execv(sys.executable, [sys.executable, *sys.argv])


def unlink() -> None:
    """Removes the compiled file, which stays loaded; children of children do without it."""
    path = pathlib.Path(os.environ[_LOADED])
    shutil.rmtree(path.parent, ignore_errors=True)
    os.environ.pop("LD_PRELOAD", None)


def arm(folder: pathlib.Path, *, nth: int = 0, error: int = 0, lasting: bool = False, log: int = -1) -> None:
    """Begins to count calls below `folder`; the `nth` fails with the errno `error`, and with `lasting` all after it.

    Args:
        folder: absolute.
        nth: from 1; 0 lets none fail.
        error: the errno.
        lasting: as on a disk that stays full.
        log: a file descriptor that gets a line `call path` for each.
    """
    library = ctypes.CDLL(os.environ[_LOADED])
    library.stress_arm(os.fsencode(folder), ctypes.c_long(nth), error, ctypes.c_long(lasting), log)
