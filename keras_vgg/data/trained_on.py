"""What a run folder says of the data that it was trained on. Imports no TensorFlow."""

import json
import pathlib

from keras_vgg.errors import InputError
from keras_vgg.support import files

DATA = "data.json"
"""The file that says it."""

_DIGEST = "training sha256"
_MADE_AGAIN = "The command of keras_vgg.fit that began the run makes it again."


def write_note(path: pathlib.Path, description: str, training_digest: str) -> None:
    """Notes a data set's description and `Dataset.training_digest`."""
    files.write_text(path, json.dumps({"description": description, _DIGEST: training_digest}, indent=2) + "\n")


def read_training_digest(run: pathlib.Path) -> str | None:
    """Returns `training_digest` of the data that a run folder was trained on; `None` if an earlier version left no note of it.

    Raises:
        InputError: for a note that is damaged.
    """
    path = run / DATA
    if not path.exists():
        return None
    try:
        return str(files.read_json(path, dict)[_DIGEST])
    except (ValueError, KeyError) as error:
        raise InputError(f"Expected what keras_vgg.fit noted of its data. Received: {path} ({error}). {_MADE_AGAIN}") from error
