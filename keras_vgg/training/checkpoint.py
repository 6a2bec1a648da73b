"""Checkpoints: the state of a run in one file of arrays and plain values, written atomically."""

import contextlib
import hashlib
import json
import pathlib
import zipfile

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.support import files

_VALUES = "values.json"


def save(path: pathlib.Path, arrays: list[np.ndarray], values: dict) -> None:
    """Writes `arrays` and `values` (plain JSON) to `path`, replacing it atomically."""
    with files.replacing(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_VALUES, json.dumps(values))
        for number, array in enumerate(arrays):
            with archive.open(f"{number}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)


def load(path: pathlib.Path) -> tuple[list[np.ndarray], dict]:
    """Returns the arrays and values of a checkpoint and verifies the checksums of the archive.

    Raises:
        InputError: if the file is damaged.
    """
    with _opened(path) as archive:
        values = json.loads(archive.read(_VALUES))
        arrays = []
        for number in range(len(archive.namelist()) - 1):
            with archive.open(f"{number}.npy") as file:
                arrays.append(np.lib.format.read_array(file, allow_pickle=False))
        return arrays, values


def read_values(path: pathlib.Path) -> dict:
    """Returns the plain values of the checkpoint at `path` without its arrays; raises the errors of `load`."""
    with _opened(path) as archive:
        return json.loads(archive.read(_VALUES))


def digest(path: pathlib.Path) -> str:
    """Returns the hexadecimal SHA-256 of the checksums of arrays and values, without reading them; raises the errors of `load`."""
    with _opened(path) as archive:
        listed = sorted((entry.filename, entry.CRC) for entry in archive.infolist())
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


@contextlib.contextmanager
def _opened(path):
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except Exception as error:  # damaged files can raise anything in zipfile and NumPy
        raise InputError(f"Checkpoint {path} is damaged ({error}). Delete it to restart the run from the beginning.") from error
