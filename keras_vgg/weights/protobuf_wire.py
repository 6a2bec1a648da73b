"""Scans protobuf's wire format in the open file, for messages too big to parse: protobuf copies every array twice."""

import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Protobuf's wire types. Caffe does not use groups, 3 and 4."""

_SIZES = {VARINT: 0, FIXED64: 8, BYTES: 0, FIXED32: 4}
_HEAD = 20  # bytes of the longest tag and length


class DamagedError(Exception):
    """Describes damage in the bytes; the caller adds the file and the layer."""


class Field(NamedTuple):
    """Position of a field in the file: its tag at `start`, its payload in [begin, end)."""

    number: int
    wire_type: int
    start: int
    begin: int
    end: int


class Wire:
    """The fields of an open file in protobuf's wire format. Methods raise only `DamagedError`.

    Attributes:
        size: size of the file in bytes.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self.size = os.fstat(file.fileno()).st_size

    def read(self, begin: int, end: int) -> bytes:
        """Reads a range of the file."""
        if end > self.size:
            raise self._truncated()
        self._file.seek(begin)
        return self._file.read(end - begin)

    def fields(self, begin: int, end: int | None = None) -> Iterator[Field]:
        """Yields the fields of the message in a range; without `end`, to the end of the file.

        The last field is yielded even if the file ends within it, so that an error can name its layer.
        """
        position = begin
        while position < (self.size if end is None else end):
            field = self._field(position)
            if end is not None and field.end > end:
                raise DamagedError(f"the field at byte {position:,} runs beyond its message")
            yield field
            position = field.end
        if position > self.size:
            raise self._truncated()

    def _field(self, start):
        if start >= self.size:
            raise self._truncated()
        head = self.read(start, min(start + _HEAD, self.size))
        tag, used = self._varint(start, head, 0)
        number, wire_type = tag >> 3, tag & 7
        if wire_type not in _SIZES or not 0 < number < 1 << 29:
            raise DamagedError(f"there is no field at byte {start:,}")
        if wire_type == VARINT:
            _, after = self._varint(start, head, used)
            return Field(number, wire_type, start, start + used, start + after)
        size = _SIZES[wire_type]
        if wire_type == BYTES:
            size, used = self._varint(start, head, used)
        return Field(number, wire_type, start, start + used, start + used + size)

    def _varint(self, start, head, at):
        value = 0
        for index, byte in enumerate(head[at : at + 10]):
            value |= (byte & 127) << 7 * index
            if byte < 128:
                return value, at + index + 1
        raise self._truncated() if len(head) < at + 10 else DamagedError(f"there is no field at byte {start:,}")

    def _truncated(self):
        return DamagedError(f"the file is truncated at byte {self.size:,}")
