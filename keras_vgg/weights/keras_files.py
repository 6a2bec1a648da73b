"""Keras' own weight files: reads and writes `.weights.h5` and `.keras`, and writes the legacy `.h5` of its public VGG weights.

Arrays are named `<layer>/<index of the variable>`, e.g. `block1_conv1/0` for a kernel and `block1_conv1/1` for its bias.
"""

import contextlib
import errno
import functools
import io
import json
import math
import os
import pathlib
import shutil
import zipfile
from collections.abc import Callable, Iterator

import h5py
import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.support import files
from keras_vgg.weights.hdf5_guard import check_hdf5
from keras_vgg.weights.stored_array import StoredArray
from keras_vgg.weights.zip_members import Window, check_checksum, member_offset

NOTE = "keras_vgg"
"""Attribute of an HDF5 file that contains the text of `kinds.note`."""

_LAYER_GROUPS = ("layers", "_layer_checkpoint_dependencies")  # in a .weights.h5 file, now and in early versions of Keras 3


def read_h5(path: str | pathlib.Path) -> tuple[dict[str, StoredArray], str | None]:
    """Returns the arrays of a `.weights.h5` file, and the text that `write_note` stored with them.

    Raises:
        InputError: if the file is damaged or contains something else.
    """
    check_hdf5(path)
    try:
        with h5py.File(path, "r") as file:
            return _arrays(file, path, lambda: h5py.File(path, "r")), file.attrs.get(NOTE)
    except InputError:
        raise
    except Exception as error:  # h5py raises many kinds of exceptions on damage
        raise InputError(f"{path} is damaged or truncated: {error}. Fetch or copy it again.") from error


def check_keras(path: str | pathlib.Path) -> tuple[int, int]:
    """Checks that the arrays of a `.keras` archive are intact and can be read safely.

    Returns:
        Offset and size in bytes of the HDF5 file that the archive contains.

    Raises:
        InputError: if they are damaged or compressed.
        Exception: of many kinds, from zipfile, if the file is not such an archive.
    """
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("model.weights.h5")
    if info.compress_type != zipfile.ZIP_STORED:
        raise InputError(f"{path}: its model.weights.h5 is compressed; re-save the model with Keras, which stores it plain.")
    check_checksum(path, info)  # first, since damage can make the HDF5 library hang
    start = member_offset(path, info)
    check_hdf5(path, start, info.file_size)
    return start, info.file_size


def read_keras(path: str | pathlib.Path) -> tuple[dict[str, StoredArray], dict]:
    """Returns the arrays of a `.keras` archive and its model's configuration.

    Raises:
        InputError: if the file is damaged or contains something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
        reopen = functools.partial(_open_member, path, *check_keras(path))
        with reopen() as file:
            return _arrays(file, path, reopen), config
    except InputError:
        raise
    except Exception as error:  # of many kinds, from h5py and zipfile
        raise InputError(f"{path} is damaged or not a .keras file: {error}. Fetch or copy it again.") from error


@contextlib.contextmanager
def _open_member(path, start: int, size: int):
    with Window(path, start, size) as window, h5py.File(window, "r") as file:
        yield file


def _arrays(file: h5py.File, path, reopen: Callable) -> dict[str, StoredArray]:
    group = next((file[name] for name in _LAYER_GROUPS if name in file), None)
    if group is None:
        raise InputError(f"{path} is an HDF5 file without Keras weights: it contains {', '.join(file) or 'nothing'}.")
    return {name: stored(path, name, dataset, file, reopen) for name, dataset in _datasets(group)}


def _datasets(group) -> Iterator[tuple[str, object]]:
    """Yields name and array of every variable of the layers, including those of nested models."""
    for folder, layer in group.items():
        variables = layer.get("vars", {})
        for number in variables:
            yield f"{variables.attrs.get('name', folder)}/{number}", variables[number]
        for nested in _LAYER_GROUPS:
            if isinstance(layer.get(nested), h5py.Group):
                yield from _datasets(layer[nested])


def stored(path, name: str, dataset, file: h5py.File, reopen: Callable) -> StoredArray:
    """Returns an array of the HDF5 file open as `file`, which `reopen` opens again; raises `InputError` for anything else."""
    # HDF5 can link to other files; untrusted weights must not read other files on the disk.
    if not isinstance(dataset, h5py.Dataset) or dataset.file != file or dataset.external or dataset.is_virtual:
        raise InputError(f"{path} was refused: {name} is a link to elsewhere, not an array.")
    if not np.issubdtype(dataset.dtype, np.floating) or dataset.ndim == 0:
        raise InputError(f"{path}: {name} must be an array of floats. Received: {dataset.dtype} of shape {dataset.shape}.")

    place = dataset.name

    def rows(start: int, stop: int) -> np.ndarray:
        try:
            with reopen() as file:  # HDF5 blocks writing to a file left open, even by an error's traceback
                return file[place][start:stop]
        except Exception as error:  # as above
            raise InputError(f"{path} is damaged: {name} cannot be read ({error}). Fetch or copy it again.") from error

    return StoredArray(dataset.shape, dataset.dtype, rows)


def write_legacy_h5(path: str | pathlib.Path, arrays, text: str | None) -> None:
    """Writes the layout of Keras' public VGG files, which `load_weights` of any Keras version and old programs read.

    Args:
        path: the file to write.
        arrays: `(layer, variable, shape, read)` in the order of the net's layers, each layer's variables together.
        text: stored with them, for `legacy_keras.read_legacy_h5`.
    """
    arrays = list(arrays)
    with files.replacing(path) as beside:
        make_room(beside, [shape for _, _, shape, _ in arrays])
        with _writing(beside, "w") as file:
            names: dict[str, list[str]] = {}
            for layer, variable, _, read in arrays:
                names.setdefault(layer, []).append(f"{layer}/{variable}:0")
                file.create_dataset(f"{layer}/{names[layer][-1]}", data=read())
            for layer, weights in names.items():
                file[layer].attrs["weight_names"] = [name.encode() for name in weights]
            file.attrs["layer_names"] = [layer.encode() for layer in names]
            file.attrs["backend"] = b"tensorflow"
            if text:
                file.attrs[NOTE] = text


def write_weights_h5(path: pathlib.Path, model) -> None:
    """Writes a Keras model's `.weights.h5`; raises `OSError` if the file system refuses.

    Keras itself would let HDF5 write to the disk, which can crash the process; a `.keras` archive contains the same bytes.
    """
    archive = path.with_name(f"{path.name}.keras")
    try:
        model.save(archive)
        with zipfile.ZipFile(archive) as members, members.open("model.weights.h5") as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target)
    finally:
        with contextlib.suppress(OSError):
            archive.unlink(missing_ok=True)


class _Remembering(io.RawIOBase):
    """A file whose writes never fail for HDF5, which could crash with a segmentation fault; `error` is the first failure."""

    def __init__(self, file: io.FileIO):
        self._file = file
        self.error: OSError | None = None

    def readinto(self, buffer) -> int:
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def write(self, data) -> int:
        view = memoryview(data).cast("B")
        rest = view
        while len(rest) and self._try(functools.partial(self._file.write, rest)):
            rest = rest[self._last :]
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        size = self._file.tell() if size is None else size
        self._try(lambda: self._file.truncate(size))
        return size

    def flush(self) -> None:
        pass  # nothing is buffered

    def _try(self, call: Callable) -> bool:
        try:
            self._last = call()
        except OSError as error:
            self.error = self.error or error
            return False
        return True


@contextlib.contextmanager
def _writing(path, mode: str):
    """Yields an HDF5 file open for writing, with `mode` `"w"` or `"r+"`; raises `OSError` if the file system refuses."""
    with open(path, "w+b" if mode == "w" else "r+b", buffering=0) as raw:
        file = _Remembering(raw)
        try:
            with h5py.File(file, mode) as opened:
                yield opened
        except Exception as error:
            raise (file.error or error) from None
        if file.error:
            raise file.error


def make_room(path: str | pathlib.Path, shapes) -> None:
    """Reserves disk space for an HDF5 file of float32 arrays, since HDF5 crashes the process on a full disk.

    Raises:
        OSError: if there is not enough space.
    """
    size = sum(4 * math.prod(shape) for shape in shapes) + 2**20  # HDF5's own data take less
    if hasattr(os, "posix_fallocate"):
        with open(path, "wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # not supported by the file system
                    raise


def write_note(path: str | pathlib.Path, text: str | None) -> None:
    """Stores `text` in a complete HDF5 file, for `read_h5`; Keras ignores it."""
    if text:
        with _writing(path, "r+") as file:
            file.attrs[NOTE] = text
