"""`.safetensors`, the format of timm and of Hugging Face's mirrors."""

import pathlib

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from keras_vgg import files
from keras_vgg.errors import InputError
from keras_vgg.weights.stored import StoredArray

_KEY = "keras_vgg"
_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}


def read_safetensors(path: str | pathlib.Path) -> tuple[dict[str, StoredArray], str | None]:
    """Returns the floating-point arrays of the file, and the text that `write_safetensors` put with them.

    Integers and scalars (PyTorch counts batches in batch norm) are left out.

    Raises:
        InputError: for a file that is damaged or holds something else.
    """
    try:
        file = safe_open(path, framework="numpy")
        arrays = {name: _stored(path, name, file) for name in file.keys()}  # noqa: SIM118 (no mapping)
        return {name: array for name, array in arrays.items() if array}, (file.metadata() or {}).get(_KEY)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged, or no safetensors file: {error}. Fetch or copy it again.") from error


def _stored(path, name: str, file) -> StoredArray | None:
    part = file.get_slice(name)
    shape = tuple(part.get_shape())
    if not shape or part.get_dtype() not in _DTYPES:
        return None

    def rows(start: int, stop: int) -> np.ndarray:
        try:
            return part[start:stop]
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is damaged: {name} cannot be read ({error}). Fetch or copy it again.") from error

    return StoredArray(shape, np.dtype(_DTYPES[part.get_dtype()]), rows)


def write_safetensors(path: str | pathlib.Path, arrays, text: str | None) -> None:
    """Writes arrays as `.safetensors`.

    Args:
        path: where to.
        arrays: `(name, shape, read)` of each array.
        text: is kept in the file's metadata, for `read_safetensors`.
    """
    values = {name: np.ascontiguousarray(read()) for name, _, read in arrays}
    with files.replacing(path) as beside:
        beside.touch()
        rights = beside.stat().st_mode
        save_file(values, beside, metadata={_KEY: text} if text else None)
        beside.chmod(rights)  # as any new file; the library would leave it to its owner alone
