"""Writes PyTorch state dicts (.pth) without torch, in the zip format of torch 1.6 and later."""

import math
import pathlib
import struct
import zipfile
from collections.abc import Callable, Iterable

import numpy as np

from keras_vgg.support import files

NOTE = "extra/keras_vgg.json"  # where torch keeps extra files, which `torch.load` ignores
_ALIGNMENT = 64


def write_state_dict(
    path: str | pathlib.Path, arrays: Iterable[tuple[str, tuple[int, ...], Callable[[], np.ndarray]]], text: str | None = None
) -> None:
    """Writes a state dict of float32 arrays that `torch.load(path, weights_only=True)` loads; equal arrays give equal files.

        write_state_dict("net.pth", [("fc.bias", (10,), lambda: np.zeros(10, np.float32))])

    Args:
        path: the file to write or replace.
        arrays: `(name, shape, read)` of every array; `read()` is called once, in order, and its array released before the next.
        text: stored with them as one of torch's extra files (`extra/keras_vgg.json`), for `torch_files.read_note`.

    Raises:
        InputError: if the file system refuses; `path` is then unchanged.
        ValueError: if two arrays have the same name, or an array differs from its declared shape or is not float32.
    """
    arrays = list(arrays)
    if len({name for name, _, _ in arrays}) < len(arrays):
        raise ValueError("Every array must have a unique name.")
    with files.replacing(path) as beside, zipfile.ZipFile(beside, "w") as archive:
        _write_entry(archive, "data.pkl", _pickle((name, shape) for name, shape, _ in arrays))
        _write_entry(archive, "byteorder", b"little")
        for index, (name, shape, read) in enumerate(arrays):
            values = read()
            if values.shape != tuple(shape) or values.dtype != np.float32:
                raise ValueError(
                    f"{name} must be a float32 array of shape {tuple(shape)}. Received: {values.dtype} {values.shape}."
                )
            _write_entry(archive, f"data/{index}", values.astype("<f4", copy=False).reshape(-1).view(np.uint8).data)
            del values  # before the next one is read
        _write_entry(archive, "version", b"3\n")
        if text is not None:
            _write_entry(archive, NOTE, text.encode())


def _write_entry(archive: zipfile.ZipFile, name: str, data) -> None:
    """Writes an entry uncompressed and aligned to 64 bytes, as torch does, so that torch can map it into memory."""
    entry = zipfile.ZipInfo(f"archive/{name}", date_time=(1980, 1, 1, 0, 0, 0))
    is_big = len(data) >= 2**30
    header = 30 + len(entry.filename) + (20 if is_big else 0)  # 20: the sizes in 64 bits
    assert archive.fp  # the archive is open
    padding = -(archive.fp.tell() + header) % _ALIGNMENT
    if padding:
        padding += _ALIGNMENT if padding < 4 else 0  # an extra field has a header of 4 bytes: torch's "FB" and the length
        entry.extra = b"FB" + struct.pack("<H", padding - 4) + b"Z" * (padding - 4)
    with archive.open(entry, "w", force_zip64=is_big) as file:
        file.write(data)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _int(value: int) -> bytes:
    return b"J" + struct.pack("<i", value) if value < 2**31 else b"\x8a\x08" + struct.pack("<q", value)


def _tuple(items: Iterable[bytes]) -> bytes:
    return b"(" + b"".join(items) + b"t"


def _pickle(arrays: Iterable[tuple[str, tuple[int, ...]]]) -> bytes:
    """Returns the pickle of a state dict of float32 arrays `(name, shape)`; the i-th storage has the key `str(i)`."""
    empty = b"ccollections\nOrderedDict\n)R"
    parts = [b"\x80\x02", empty, b"("]
    for index, (name, shape) in enumerate(arrays):
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        storage = [_text("storage"), b"ctorch\nFloatStorage\n", _text(str(index)), _text("cpu"), _int(math.prod(shape))]
        view = [_int(0), _tuple(map(_int, shape)), _tuple(map(_int, strides)), b"\x89", empty]
        parts += [_text(name), b"ctorch._utils\n_rebuild_tensor_v2\n", _tuple([_tuple(storage) + b"Q", *view]), b"R"]
    return b"".join([*parts, b"u."])
