"""Reads PyTorch state dicts (.pth, .pt) without torch, in both formats that PyTorch has used since 0.1.9.

- The zip archive of torch 1.6 and later: `<prefix>/data.pkl` names the arrays, `<prefix>/data/<key>` contains one storage each.
- Before that: five pickles (a magic number, the protocol version, facts about the machine, the state dict, the keys of the
  storages), then for every key an int64 count and the raw values.

No code in a file is run (`torch_pickle`), and all its offsets and sizes are checked before use.
"""

import functools
import io
import math
import pathlib
import struct
import zipfile
from collections.abc import Callable

import ml_dtypes
import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.weights import torch_pickle
from keras_vgg.weights.prefixes import without_prefix
from keras_vgg.weights.stored_array import StoredArray, raw_array
from keras_vgg.weights.torch_tensors import ITEM_SIZE, Storage, Tensor
from keras_vgg.weights.torch_write import NOTE
from keras_vgg.weights.zip_members import check_checksum, member_offset

_FLOATS = {"Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": ml_dtypes.bfloat16}
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "module", "network", "weights")
_DEEPEST = 3
_Find = Callable[[str, Storage], StoredArray]  # the flat values of a storage; the array's name is for errors


def read_state_dict(path: str | pathlib.Path) -> dict[str, StoredArray]:
    """Returns the arrays of a state dict by name, in the file's order and layout.

    The dict may be part of a checkpoint, under one of `_WRAPPERS`; a prefix common to all names, like the "module." of
    `DataParallel`, is removed. Only arrays of floats are returned: counts (`num_batches_tracked`), scalars and empty arrays
    are dropped.

        kernel = read_state_dict("vgg16-397923af.pth")["features.0.weight"].read()  # (64, 3, 3, 3) float32

    Raises:
        InputError: if the file is not a state dict, is damaged or truncated, or requests more than tensors (none of it is run).
    """
    path = pathlib.Path(path)
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    if head.startswith(b"PK\3\4"):
        content, find = _read_zip(path)
    elif head.startswith(b"\x80"):
        content, find = _read_legacy(path)
    elif head[257:262] == b"ustar":
        raise InputError(f"{path} is in the tar format of PyTorch before 0.1.9. Load it in torch and save its state dict again.")
    else:
        raise InputError(f"{path} is not a PyTorch state dict: it starts neither like a zip archive nor like a pickle.")
    return {name: _view(find(name, tensor.storage), tensor) for name, tensor in _float_tensors(content, path).items()}


def read_note(path: str | pathlib.Path) -> str | None:
    """Returns the text that `torch_write.write_state_dict` stored with the arrays; `None` if there is none.

    Raises:
        InputError: if the file is damaged.
    """
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        entry = next((entry for entry in archive.infolist() if entry.filename.partition("/")[2] == NOTE), None)
    if entry is None:
        return None
    try:
        return _read_entry(pathlib.Path(path), entry).decode()
    except UnicodeDecodeError as error:
        raise _truncated(pathlib.Path(path), f"{entry.filename!r} is not text") from error


def _float_tensors(content, path: pathlib.Path) -> dict[str, Tensor]:
    for _ in range(_DEEPEST):  # bounded, since a dict in a pickle can contain itself
        content = next(
            (content[key] for key in _WRAPPERS if isinstance(content, dict) and isinstance(content.get(key), dict)), content
        )
    if not isinstance(content, dict):
        raise InputError(f"{path} contains no state dict, a dict of named tensors, but a {type(content).__name__}.")
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not all(name.isprintable() for name in tensors):
        raise InputError(f"{path} is damaged: the name of an array is not text. Fetch or copy it again.")
    floats = {name: tensor for name, tensor in without_prefix(tensors).items() if tensor.storage.kind in _FLOATS and tensor.shape}
    floats = {name: tensor for name, tensor in floats.items() if math.prod(tensor.shape)}
    if not floats:
        raise InputError(f"{path} contains no arrays of floats. Expected a state dict: save `model.state_dict()`.")
    return floats


def _view(flat: StoredArray, tensor: Tensor) -> StoredArray:
    """Returns the tensor as an array over its flat storage, with non-contiguous rows (channels last) made contiguous."""
    shape, strides = tensor.shape, tensor.strides

    def rows(start: int, stop: int) -> np.ndarray:
        part = (stop - start, *shape[1:])
        if stop <= start:
            return np.empty(part, flat.dtype)
        begin = tensor.offset + start * strides[0]
        values = flat.rows(begin, begin + 1 + sum((length - 1) * step for length, step in zip(part, strides, strict=True)))
        view = np.lib.stride_tricks.as_strided(values, part, [step * flat.dtype.itemsize for step in strides])
        return np.ascontiguousarray(view)

    return StoredArray(shape, flat.dtype, rows)


def _truncated(path: pathlib.Path, what: str) -> InputError:
    return InputError(f"{path} is damaged or truncated: {what}. Fetch or copy it again.")


def _read_zip(path: pathlib.Path) -> tuple[object, _Find]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
    except Exception as error:  # zipfile raises many kinds of exceptions on garbage
        raise _truncated(path, f"the zip archive has no valid directory at its end ({error})") from error
    size = path.stat().st_size
    for entry in entries.values():
        if not 0 <= entry.header_offset <= entry.header_offset + entry.compress_size <= size:
            raise _truncated(path, f"{entry.filename!r} lies beyond its end")
        if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
            raise _truncated(path, f"{entry.filename!r} has two sizes")
    pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise InputError(f"{path} is not a PyTorch state dict: a zip archive with {len(pickles)} data.pkl instead of one.")
    prefix = pickles[0].removesuffix("data.pkl")
    if prefix + "byteorder" in entries and (order := _read_entry(path, entries[prefix + "byteorder"])) != b"little":
        raise InputError(f"{path} must be in little-endian byte order. Received: {order[:20]!r}. Save it again on such a machine.")
    content = torch_pickle.load(io.BytesIO(_read_entry(path, entries[pickles[0]])), path, {})

    @functools.cache  # arrays may share a storage
    def check(key: str) -> None:
        check_checksum(path, entries[f"{prefix}data/{key}"])

    def find(name: str, storage: Storage) -> StoredArray:
        dtype, entry = np.dtype(_FLOATS[storage.kind]), entries.get(f"{prefix}data/{storage.key}")
        end = storage.start + storage.numel
        if entry is None or end * dtype.itemsize > entry.file_size:
            raise _truncated(path, f"the archive lacks the values of {name}")
        if entry.compress_type == zipfile.ZIP_STORED:
            array = raw_array(path, name, member_offset(path, entry), (end,), dtype)
            check(storage.key)
            return array
        _check_compression(path, entry)
        if entry.file_size > max(torch_pickle.MAX_BYTES, 20 * entry.compress_size):
            raise InputError(f"{path} was refused: {name} would unpack to {entry.file_size:,} bytes from {entry.compress_size:,}.")
        check(storage.key)
        unpacked = functools.cache(lambda: np.frombuffer(_unpack(path, entry, entry.file_size), dtype, end))
        return StoredArray((end,), dtype, lambda start, stop: unpacked()[start:stop])

    return content, find


def _read_entry(path: pathlib.Path, entry: zipfile.ZipInfo) -> bytes:
    """Reads an entry that is not an array."""
    if entry.file_size > torch_pickle.MAX_BYTES:
        raise InputError(
            f"{path} was refused: its {entry.filename!r} has {entry.file_size:,} bytes (limit: {torch_pickle.MAX_BYTES:,})."
        )
    if entry.compress_type != zipfile.ZIP_STORED:
        return _unpack(path, entry, entry.file_size)
    name, offset = entry.filename.rpartition("/")[2], member_offset(path, entry)
    check_checksum(path, entry)
    return raw_array(path, name, offset, (entry.file_size,), np.uint8).read().tobytes()


def _check_compression(path: pathlib.Path, entry: zipfile.ZipInfo) -> None:
    if entry.compress_type != zipfile.ZIP_DEFLATED:  # others unpack everything when only a part is read
        raise InputError(f"{path} uses a compression other than deflate. Save it again with torch.save.")


def _unpack(path: pathlib.Path, entry: zipfile.ZipInfo, size: int) -> bytes:
    _check_compression(path, entry)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(entry) as file:
            data = file.read(size)  # never more, whatever the entry contains
    except Exception as error:  # as above
        raise _truncated(path, f"{entry.filename!r} cannot be unpacked ({error})") from error
    if len(data) != size:
        raise _truncated(path, f"{entry.filename!r} has {len(data):,} bytes instead of {size:,}")
    return data


def _read_legacy(path: pathlib.Path) -> tuple[object, _Find]:
    size = path.stat().st_size
    storages: dict[str, Storage] = {}
    with open(path, "rb") as file:
        pickles = io.BytesIO(file.read(torch_pickle.MAX_BYTES))
        load = functools.partial(torch_pickle.load, pickles, path)
        if load() != _MAGIC or load() != _PROTOCOL:
            raise InputError(f"{path} is not a PyTorch state dict: it is a pickle, but not one written by torch.save.")
        if not isinstance(machine := load(), dict) or machine.get("little_endian") is not True:
            raise InputError(f"{path} must come from a little-endian machine. Save it again on one.")
        content, keys = load(storages), load()
        if not isinstance(keys, list) or not all(isinstance(key, str) and key in storages for key in keys):
            raise _truncated(path, "its list of storages is malformed")
        end, offsets = pickles.tell(), {}
        for key in keys:
            file.seek(end)
            count, numel, item_size = file.read(8), storages[key].numel, ITEM_SIZE[storages[key].kind]
            offsets[key], end = end + 8, end + 8 + numel * item_size
            if end > size or count != struct.pack("<q", numel):
                raise _truncated(path, f"a storage of {numel:,} values should end at byte {end:,}, but the file has {size:,}")

    def find(name: str, storage: Storage) -> StoredArray:
        if storage.key not in offsets:
            raise _truncated(path, f"the values of {name} are missing")
        return raw_array(path, name, offsets[storage.key], (storage.start + storage.numel,), _FLOATS[storage.kind])

    return content, find
