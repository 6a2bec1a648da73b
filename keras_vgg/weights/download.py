"""Downloads public files into Keras' models folder and uses a file there only if its hash matches.

Files left incomplete by a killed process, a broken connection or another process are never used. A file placed there by
hand is as good as a download. Progress goes to standard error, so that standard output contains results only.
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

_TIMEOUT_SECONDS = 30.0  # without receiving a byte
_DEAD_SECONDS = 3600.0  # well past the timeout: no other machine still writes to a file unchanged for so long
_BESIDE = ".fetching-"
_FALLBACK = pathlib.Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir(), ".keras")  # Keras' choice
_LOCK = threading.Lock()  # the socket timeout and standard output belong to the whole process


def fetch(file: File, *, argument: str | None = "weights") -> pathlib.Path:
    """Returns the path of `file` in Keras' models folder, downloading it if it is missing.

    The folder is `$KERAS_HOME/models`, by default `~/.keras/models`. Without write permission its files are still used, but
    a new one goes to Keras' fallback, `/tmp/.keras/models`.

    Args:
        file: the file to return.
        argument: name of the argument that accepts a user's own file instead; `None` if there is none.

    >>> from keras_vgg.weights import catalogue
    >>> from keras_vgg.weights.download import fetch
    >>> fetch(catalogue.find("D", "imagenet").file)  # doctest: +SKIP
    PosixPath('/home/me/.keras/models/vgg16_weights_tf_dim_ordering_tf_kernels.h5')

    Raises:
        InputError: if it cannot be downloaded; the message tells what to download by hand and where to put it.
    """
    with _LOCK:
        return _fetch(file, argument)


def recognise(path: pathlib.Path) -> Entry | None:
    """Returns the public weights that a file contains, by its name and hash; `None` for any other file."""
    return next((entry for entry in CATALOGUE if entry.file.name == path.name and not _what_is_wrong(path, entry.file)), None)


def _fetch(file, argument):
    home = pathlib.Path(os.path.abspath(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras")))
    for folder in dict.fromkeys((home / "models", _writable(home) / "models")):
        path = folder / file.name
        if os.path.isfile(path):  # also False in a folder without read permission
            wrong = _what_is_wrong(path, file)
            if not wrong:
                return path
            print(f"{path} is incomplete or a different file ({wrong}); downloading it again.", file=sys.stderr, flush=True)
    try:
        _download(file, path)
    except _FetchError as error:
        other = f", or pass that file as `{argument}`" if argument else ""
        raise InputError(
            f"Could not download {file.url} ({error}). Download it on a machine with network access and put it at {path}{other}."
        ) from error
    return path


class _FetchError(Exception):
    """The reason why a download failed, in a few words."""


def _writable(home):
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # a full disk is no lack of permissions: it is reported when the file is written
        return home if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else _FALLBACK
    return home if os.access(home, os.W_OK) else _FALLBACK


def _what_is_wrong(path, file):
    """Describes how the file at `path` differs from what `file` promises; "" if it does not."""
    algorithm, _, expected = file.hash.partition(":")
    try:
        with open(path, "rb") as opened:
            received = hashlib.file_digest(opened, algorithm).hexdigest()
    except OSError as error:
        raise InputError(f"Could not read {path}: {error.strerror or error}. Fix its permissions or delete it.") from error
    if received.startswith(expected):
        return ""
    more = "…" if len(expected) < len(received) else ""
    sizes = f"{path.stat().st_size} bytes" + (f" instead of {file.size}" if file.size else "")
    return f"{algorithm} expected {expected}{more}, received {received}, {sizes}"


def _download(file, path):
    """Downloads `file` to `path`, replacing it only once complete; leaves nothing else behind in any case."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Downloads of killed processes: up to half a gigabyte that nobody would look for.
        leftovers.remove_dead(path.parent, _BESIDE, seconds=_DEAD_SECONDS)
        # Each process has its own folder: workers that start together and share the cache often have the same id.
        with tempfile.TemporaryDirectory(prefix=f"{_BESIDE}{leftovers.owner()}-", dir=path.parent) as beside:
            fetched = _get_file(file, beside)
            if wrong := _what_is_wrong(fetched, file):
                raise _FetchError(f"{wrong}; discarded")
            os.replace(fetched, path)
    except OSError as error:  # of the file system: network errors are _FetchError by now
        raise _FetchError(f"could not write to {path.parent}: {error.strerror or error}") from error


class _Shown:
    """Standard error for Keras' progress bar, which does not end its line when interrupted."""

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
    # Keras calls urlretrieve, which has no timeout except the default of all sockets.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    shown = _Shown()
    try:
        with contextlib.redirect_stdout(shown):
            return pathlib.Path(keras.utils.get_file(file.name, origin=file.url, cache_subdir=folder))
    except Exception as error:
        shown.end_line()
        # Keras raises a bare Exception in place of urllib's error, which is more specific.
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
        return f"timed out, no data for {_TIMEOUT_SECONDS:g} s"
    if isinstance(error, urllib.error.URLError):
        return _reason(error.reason) if isinstance(error.reason, Exception) else str(error.reason)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
