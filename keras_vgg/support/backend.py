"""Checks that Keras uses the TensorFlow backend, which this package requires.

Keras takes its backend from the environment variable KERAS_BACKEND, else from `keras.json` in `~/.keras` (or in KERAS_HOME), and
cannot change it after the import.
"""

import importlib.machinery
import json
import os
import pathlib
import re
import sys
from collections.abc import Sequence

from keras_vgg.errors import InputError

_OURS, _VARIABLE = "tensorflow", "KERAS_BACKEND"
_IMPORTS_KERAS = re.compile(r"^(?:import|from) keras\b", re.MULTILINE)


class BackendError(InputError, ImportError):
    """Keras is configured for another backend than TensorFlow."""


def require_tensorflow() -> None:
    """Checks that Keras uses, or will use, the TensorFlow backend.

    Raises:
        BackendError: if it is set to another backend; the message says where, and what to do.
    """
    name, where, remedy = _setting()
    if name != _OURS:
        raise BackendError(f"keras_vgg requires the TensorFlow backend, but {where} sets Keras to {name!r}; {remedy}.")


def require_for(name: str, path: Sequence[str] | None) -> None:
    """Checks the same before the module `name` of a package with that path is imported, if it imports Keras.

    Raises:
        BackendError: as `require_tensorflow`, before anything fails within Keras, or later.
    """
    if _setting()[0] == _OURS:
        return
    spec = importlib.machinery.PathFinder.find_spec(name, path)
    if spec and spec.origin and _IMPORTS_KERAS.search(pathlib.Path(spec.origin).read_text(encoding="utf-8")):
        require_tensorflow()


def _setting() -> tuple[str, str, str]:
    """Returns the backend, where it is set, and how to select TensorFlow."""
    keras = sys.modules.get("keras")
    if keras is not None and hasattr(keras, "config"):  # else it is not imported, or just being imported
        return keras.config.backend(), "an earlier import in this program", f"set {_VARIABLE}={_OURS} before anything imports Keras"
    if name := os.environ.get(_VARIABLE):
        return name, f"the environment variable {_VARIABLE}", f"set {_VARIABLE}={_OURS}, or unset it"
    file = pathlib.Path(os.environ.get("KERAS_HOME") or pathlib.Path("~/.keras").expanduser(), "keras.json")
    try:
        name = json.loads(file.read_text(encoding="utf-8")).get("backend", _OURS)
    except (OSError, ValueError, AttributeError):  # missing, or not a valid configuration of Keras
        name = _OURS
    return name, str(file), f'set {_VARIABLE}={_OURS}, or "backend": "{_OURS}" in that file'
