"""Reads uncompressed members of zip archives in place, without unpacking them, after checking them against their checksums."""

import io
import pathlib
import struct
import zipfile
import zlib

from keras_vgg.errors import InputError

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, …, length of the name, length of the extra field
_ENCRYPTED, _UTF8 = 0x1, 0x800
_AT_ONCE = 2**20
_UNCHECKED = 0  # the checksum that PyTorch writes when its checksums are turned off


def member_offset(path: str | pathlib.Path, info: zipfile.ZipInfo) -> int:
    """Returns the offset in bytes of an uncompressed member's data in the archive.

    Raises:
        InputError: if the member is not where the archive's directory says.
    """
    name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER.size + len(name))
    if not header.startswith(b"PK\3\4") or header[_LOCAL_HEADER.size :] != name or info.flag_bits & _ENCRYPTED:
        raise InputError(f"{path} is damaged: {info.filename!r} is not where the archive says. Fetch or copy it again.")
    _, name_length, extra_length = _LOCAL_HEADER.unpack(header[: _LOCAL_HEADER.size])
    return info.header_offset + _LOCAL_HEADER.size + name_length + extra_length


def check_checksum(path: str | pathlib.Path, info: zipfile.ZipInfo) -> None:
    """Reads a whole member once and compares it with its checksum, as unpacking would.

    Flipped bits would otherwise pass for weights. A gigabyte takes a fraction of a second, and is then in the system's cache.

    Raises:
        InputError: if they differ, or a compressed member cannot be unpacked.
    """
    try:
        if info.compress_type != zipfile.ZIP_STORED:
            with (
                zipfile.ZipFile(path) as archive,
                archive.open(info) as file,
            ):  # which compares, and never unpacks more than is declared
                while file.read(_AT_ONCE):
                    pass
            return
        found, buffer = 0, memoryview(bytearray(_AT_ONCE))
        with Window(path, member_offset(path, info), info.file_size) as window:
            while count := window.readinto(buffer):
                found = zlib.crc32(buffer[:count], found)
    except InputError:
        raise
    except Exception as error:  # zipfile raises many kinds of exceptions on garbage
        raise InputError(f"{path} is damaged: {info.filename!r} cannot be read ({error}). Fetch or copy it again.") from error
    if info.CRC not in (found, _UNCHECKED):
        raise InputError(f"{path} is damaged: {info.filename!r} does not match its checksum. Fetch or copy it again.")


class Window(io.RawIOBase):
    """A read-only file of the bytes `[start, start + size)` of another file."""

    def __init__(self, path: str | pathlib.Path, start: int, size: int):
        self._file, self._start, self._size, self._place = open(path, "rb", buffering=0), start, size, 0

    def readable(self):
        """Returns `True`."""
        return True

    def seekable(self):
        """Returns `True`."""
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        """Moves within the window."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def readinto(self, buffer):
        """Fills `buffer` from the position in the window, at most to its end."""
        count = max(0, min(len(buffer), self._size - self._place))
        self._file.seek(self._start + self._place)
        done = self._file.readinto(memoryview(buffer)[:count])
        self._place += done
        return done

    def close(self):
        """Closes the file."""
        self._file.close()
        super().close()
