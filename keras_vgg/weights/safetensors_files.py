"""Reads and writes `.safetensors`, the format of timm and of Hugging Face's mirrors."""

import json
import pathlib

import ml_dtypes
import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.support import extras, files
from keras_vgg.weights.prefixes import without_prefix
from keras_vgg.weights.stored_array import StoredArray, raw_array

_KEY = "keras_vgg"
_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}


def read_safetensors(path: str | pathlib.Path) -> tuple[dict[str, StoredArray], str | None]:
    """Returns the floating-point arrays of the file, and the text that `write_safetensors` stored with them.

    Integers and scalars (such as PyTorch's batch counts in batch norm) and a common prefix of all names are dropped.

    Raises:
        InputError: if the file is damaged or contains something else, or if the library is not installed.
    """
    with extras.needed("safetensors"):
        from safetensors import SafetensorError, safe_open
    try:
        with safe_open(path, framework="numpy") as file:  # checks that header and file are complete
            text = (file.metadata() or {}).get(_KEY)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or not a safetensors file: {error}. Fetch or copy it again.") from error
    arrays = {
        name: raw_array(path, name, start, shape, _DTYPES[dtype])
        for name, (start, shape, dtype) in _header(path).items()
        if shape and dtype in _DTYPES
    }
    return without_prefix(arrays), text


def _header(path) -> dict[str, tuple[int, tuple[int, ...], str]]:
    # The library maps the file into memory, where every page read counts as ours; so arrays are read by their offset instead.
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {name: (8 + length + fact["data_offsets"][0], tuple(fact["shape"]), fact["dtype"]) for name, fact in header.items()}


def write_safetensors(path: str | pathlib.Path, arrays, text: str | None) -> None:
    """Writes arrays as `.safetensors`.

    Args:
        path: the file to write.
        arrays: `(name, shape, read)` of each array.
        text: stored in the file's metadata, for `read_safetensors`.
    """
    with extras.needed("safetensors"):
        from safetensors import SafetensorError
        from safetensors.numpy import save_file
    values = {name: np.ascontiguousarray(read()) for name, _, read in arrays}
    with files.replacing(path) as beside:
        beside.touch()
        rights = beside.stat().st_mode
        try:
            save_file(values, beside, metadata={_KEY: text} if text else None)
        except SafetensorError as error:  # also for errors of the file system, such as a full disk
            raise OSError(str(error)) from error
        beside.chmod(rights)  # as for any new file; the library would restrict it to its owner
