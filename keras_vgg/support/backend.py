"""That Keras computes on TensorFlow, as the nets and all that runs them here do; told in a line where it is set to another.

Keras takes its backend from the environment variable KERAS_BACKEND, else from `keras.json` in `~/.keras` (or in KERAS_HOME), and
cannot change it once it is imported.
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
    """Keras is told to compute on something else than TensorFlow."""


def require_tensorflow() -> None:
    """Sees to it that Keras computes, or will compute, on TensorFlow.

    Raises:
        BackendError: if it is set to something else; the line says where, and what to do.
    """
    name, where, remedy = _setting()
    if name != _OURS:
        raise BackendError(f"keras_vgg computes on TensorFlow, but {where} sets Keras to {name!r}; {remedy}.")


def require_for(name: str, path: Sequence[str] | None) -> None:
    """Sees to the same before the module `name` of a package with that path is imported, if it imports Keras.

    Raises:
        BackendError: as `require_tensorflow`, in place of what would go wrong within Keras, or later.
    """
    if _setting()[0] == _OURS:
        return
    spec = importlib.machinery.PathFinder.find_spec(name, path)
    if spec and spec.origin and _IMPORTS_KERAS.search(pathlib.Path(spec.origin).read_text(encoding="utf-8")):
        require_tensorflow()


def _setting() -> tuple[str, str, str]:
    """Returns the backend, where it is set, and how to set it to ours."""
    keras = sys.modules.get("keras")
    if keras is not None and hasattr(keras, "config"):  # else it is not there, or just being imported
        return keras.config.backend(), "what this program did before", f"set {_VARIABLE}={_OURS} before anything imports Keras"
    if name := os.environ.get(_VARIABLE):
        return name, f"the environment variable {_VARIABLE}", f"set {_VARIABLE}={_OURS}, or unset it"
    file = pathlib.Path(os.environ.get("KERAS_HOME") or pathlib.Path("~/.keras").expanduser(), "keras.json")
    try:
        name = json.loads(file.read_text(encoding="utf-8")).get("backend", _OURS)
    except (OSError, ValueError, AttributeError):  # not there, or nothing that Keras would take
        name = _OURS
    return name, str(file), f'set {_VARIABLE}={_OURS}, or "backend": "{_OURS}" in that file'
