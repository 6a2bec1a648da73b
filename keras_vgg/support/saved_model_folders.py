"""Which SavedModels a folder contains, by the names in it. Imports no TensorFlow."""

import os
import pathlib

GRAPH = "saved_model.pb"
"""The file that makes a folder a SavedModel."""

CARD = "model_card.json"
"""The file that describes a SavedModel exported by `keras_vgg`."""

_VARIABLES = "variables"  # the folder of variables, and the stem of the files in it
_MOST = 2**63  # versions are int64 in TensorFlow Serving's messages


def versions_in(folder: str | os.PathLike[str]) -> dict[int, pathlib.Path]:
    """Returns the SavedModels in a folder by version, in order; none if it is not a folder.

    They are folders whose name is a number and that contain `saved_model.pb`, as in TensorFlow Serving. A folder that is a
    SavedModel itself has the version in its name, else version 1.
    """
    folder = pathlib.Path(folder)
    if is_saved_model(folder):
        number = _number(folder.absolute().name)
        return {1 if number is None else number: folder}
    entries = folder.iterdir() if folder.is_dir() else ()
    found = {number: entry for entry in entries if (number := _number(entry.name)) is not None and is_saved_model(entry)}
    return dict(sorted(found.items()))


def is_saved_model(folder: pathlib.Path) -> bool:
    """Whether a folder is a SavedModel."""
    return (folder / GRAPH).is_file()


def found_at(path: str | os.PathLike[str]) -> pathlib.Path | None:
    """Returns the SavedModel, or the folder of versions, that a path is or lies in; `None` if there is none."""
    path = pathlib.Path(path)
    if versions_in(path):
        return path
    above = path.absolute().parents
    if path.name == GRAPH:
        folder = above[0]
    elif path.name == _VARIABLES or (above[0].name == _VARIABLES and path.name.startswith(f"{_VARIABLES}.")):
        folder = above[0 if path.name == _VARIABLES else 1]
    else:
        return None  # other files beside may be weights
    return folder if is_saved_model(folder) else None


def _number(name: str) -> int | None:
    return int(name) if name.isascii() and name.isdigit() and int(name) < _MOST else None
