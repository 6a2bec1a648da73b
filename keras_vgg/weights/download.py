"""Fetching public files into Keras' own folder of models, where a file is used only if its hash is right.

Whatever a killed process, a broken line or another process leaves there never passes for a whole file. A file put there by
hand is as good as one that was fetched. What is shown meanwhile goes to standard error, which leaves standard output to results.
"""

import contextlib
import errno
import hashlib
import http.client
import os
import pathlib
import socket
import sys
import tempfile
import threading
import urllib.error

import keras

from keras_vgg.errors import InputError
from keras_vgg.support import leftovers
from keras_vgg.weights.catalogue import CATALOGUE, Entry, File

_TIMEOUT_SECONDS = 30.0  # without a byte
_DEAD_SECONDS = 3600.0  # well past the timeout: nobody elsewhere writes any more to a file that did not change for so long
_BESIDE = ".fetching-"
_FALLBACK = pathlib.Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir(), ".keras")  # Keras' choice
_LOCK = threading.Lock()  # the timeout of sockets and standard output are the whole process's


def fetch(file: File, *, argument: str | None = "weights") -> pathlib.Path:
    """Returns the path of `file` in Keras' folder of models, fetching it if it is not there yet.

    The folder is `$KERAS_HOME/models`, by default `~/.keras/models`. Without the right to write there a file in it is still
    used, but a new one goes where Keras puts its own then: `/tmp/.keras/models`.

    Args:
        file: what is wanted.
        argument: where the caller's users may give a file of their own in its place; `None` where they cannot.

    >>> from keras_vgg.weights import catalogue
    >>> from keras_vgg.weights.download import fetch
    >>> fetch(catalogue.find("D", "imagenet").file)  # doctest: +SKIP
    PosixPath('/home/me/.keras/models/vgg16_weights_tf_dim_ordering_tf_kernels.h5')

    Raises:
        InputError: if it cannot be had; tells what to fetch by hand and where to put it.
    """
    with _LOCK:
        return _fetch(file, argument)


def recognise(path: pathlib.Path) -> Entry | None:
    """Returns which public weights a file is, by its name and its hash; `None` if it is none of them."""
    return next((entry for entry in CATALOGUE if entry.file.name == path.name and not _what_is_wrong(path, entry.file)), None)


def _fetch(file, argument):
    home = pathlib.Path(os.path.abspath(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras")))
    for folder in dict.fromkeys((home / "models", _writable(home) / "models")):
        path = folder / file.name
        if os.path.isfile(path):  # False, too, where the folder may not be looked into
            wrong = _what_is_wrong(path, file)
            if not wrong:
                return path
            print(f"{path} is incomplete or another file ({wrong}); fetching it again.", file=sys.stderr, flush=True)
    try:
        _download(file, path)
    except _FetchError as error:
        other = f", or give that file as `{argument}`" if argument else ""
        raise InputError(
            f"Could not fetch {file.url} ({error}). Fetch it on a machine with network and put it at {path}{other}."
        ) from error
    return path


class _FetchError(Exception):
    """Why a file could not be fetched, in a few words."""


def _writable(home):
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # a full disk is no lack of rights: it is told once the file is to be written
        return home if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else _FALLBACK
    return home if os.access(home, os.W_OK) else _FALLBACK


def _what_is_wrong(path, file):
    """Says in which way the file at `path` is not the one that `file` promises; "" if it is."""
    algorithm, _, expected = file.hash.partition(":")
    try:
        with open(path, "rb") as opened:
            received = hashlib.file_digest(opened, algorithm).hexdigest()
    except OSError as error:
        raise InputError(f"Could not read {path}: {error.strerror or error}. Mend its rights or remove it.") from error
    if received.startswith(expected):
        return ""
    more = "…" if len(expected) < len(received) else ""
    sizes = f"{path.stat().st_size} bytes" + (f" instead of {file.size}" if file.size else "")
    return f"{algorithm} expected {expected}{more}, received {received}, {sizes}"


def _download(file, path):
    """Fetches `file` to `path`, which changes only once the whole is there; leaves nothing else behind, come what may."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # What killed processes had fetched: half a gigabyte that nobody would look for.
        leftovers.remove_dead(path.parent, _BESIDE, seconds=_DEAD_SECONDS)
        # A folder of its own for every process: workers that start together and share the cache often have the same id.
        with tempfile.TemporaryDirectory(prefix=f"{_BESIDE}{leftovers.owner()}-", dir=path.parent) as beside:
            fetched = _get_file(file, beside)
            if wrong := _what_is_wrong(fetched, file):
                raise _FetchError(f"{wrong}; not kept")
            os.replace(fetched, path)
    except OSError as error:  # of the file system: those of the network are _FetchError by now
        raise _FetchError(f"could not write to {path.parent}: {error.strerror or error}") from error


class _Shown:
    """Standard error for Keras' progress bar, which leaves its line open where it breaks off."""

    def __init__(self):
        self._last = "\n"

    def write(self, text):
        self._last = text[-1:] or self._last
        return sys.stderr.write(text)

    def end_line(self):
        if self._last != "\n":
            self.write("\n")

    def __getattr__(self, name):
        return getattr(sys.stderr, name)


def _get_file(file, folder):
    # Keras calls urlretrieve, which knows no timeout but that of all sockets.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    shown = _Shown()
    try:
        with contextlib.redirect_stdout(shown):
            return pathlib.Path(keras.utils.get_file(file.name, origin=file.url, cache_subdir=folder))
    except Exception as error:
        shown.end_line()
        # Keras raises a bare Exception in place of an error of urllib, which says more.
        cause = error.__context__ if type(error) is Exception else error
        if not isinstance(cause, (OSError, http.client.HTTPException)):
            raise
        raise _FetchError(_reason(cause)) from error
    finally:
        socket.setdefaulttimeout(before)


def _reason(error):
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    if isinstance(error, TimeoutError):
        return f"timed out, not a byte for {_TIMEOUT_SECONDS:g} s"
    if isinstance(error, urllib.error.URLError):
        return _reason(error.reason) if isinstance(error.reason, Exception) else str(error.reason)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
