"""What a run folder records about its dataset. Imports no TensorFlow."""

import json
import pathlib

from keras_vgg.errors import InputError
from keras_vgg.support import files

DATA = "data.json"
"""The file that records it."""

_DIGEST = "training sha256"
_MADE_AGAIN = "Run the keras_vgg.fit command of this run again to restore it."


def write_note(path: pathlib.Path, description: str, training_digest: str) -> None:
    """Records a dataset's description and `Dataset.training_digest`."""
    files.write_text(path, json.dumps({"description": description, _DIGEST: training_digest}, indent=2) + "\n")


def read_training_digest(run: pathlib.Path) -> str | None:
    """Returns `training_digest` of the dataset of a run folder; `None` if an earlier version did not record it.

    Raises:
        InputError: if the file is damaged.
    """
    path = run / DATA
    if not path.exists():
        return None
    try:
        return str(files.read_json(path, dict)[_DIGEST])
    except (ValueError, KeyError) as error:
        raise InputError(f"Expected the dataset record of keras_vgg.fit. Received: {path} ({error}). {_MADE_AGAIN}") from error
