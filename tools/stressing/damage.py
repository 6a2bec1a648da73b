"""Ways in which a file is damaged: by a disk, a broken line, or somebody who means harm. Pure functions of bytes and chance."""

import random
import struct
import zlib

_HUGE = (2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**63 - 1, 2**64 - 1)
_HEAD = 4096  # bytes at either end, where formats keep their lengths
_PNG = b"\x89PNG\r\n\x1a\n"


def flip(content: bytearray, generator: random.Random) -> None:
    """Changes one to eight bytes."""
    for _ in range(generator.choice((1, 1, 1, 2, 8))):
        content[_place(content, generator)] ^= generator.randrange(1, 256)


def zeros(content: bytearray, generator: random.Random) -> None:
    """Sets a run of up to 4,096 bytes to zero, as a sector that was never written."""
    start = _place(content, generator)
    length = min(generator.choice((1, 4, 16, 512, 4096)), len(content) - start)
    content[start : start + length] = bytes(length)


def truncate(content: bytearray, generator: random.Random) -> None:
    """Cuts the end off."""
    del content[generator.randrange(len(content)) :]


def double(content: bytearray, generator: random.Random) -> None:
    """Repeats a block of up to 4,096 bytes, so that all behind it moves."""
    start = _place(content, generator)
    block = content[start : start + generator.choice((1, 8, 512, 4096))]
    content[start:start] = block


def lengthen(content: bytearray, generator: random.Random) -> None:
    """Puts a huge number where a length or an offset may stand, in either byte order."""
    size, huge = generator.choice((1, 2, 4, 8)), generator.choice(_HUGE)
    start = min(_place(content, generator), max(0, len(content) - size))
    content[start : start + size] = (huge % 2 ** (8 * size)).to_bytes(size, generator.choice(("little", "big")))


WAYS = (flip, zeros, truncate, double, lengthen)


def damaged(content: bytes, generator: random.Random) -> tuple[str, bytes]:
    """Returns the kind of damage drawn and the damaged content; for half of the PNGs, the checksums of the chunks are corrected."""
    way = generator.choice(WAYS)
    changed = bytearray(content)
    way(changed, generator)
    if content.startswith(_PNG) and generator.random() < 0.5:
        _mend_checksums(changed)
    return way.__name__, bytes(changed)


def _place(content: bytearray, generator: random.Random) -> int:
    # A third of all at the head, a third at the tail, where the formats have their tables; else anywhere.
    where = generator.randrange(3)
    if where == 0:
        return generator.randrange(min(_HEAD, len(content)))
    if where == 1:
        return len(content) - 1 - generator.randrange(min(_HEAD, len(content)))
    return generator.randrange(len(content))


def _mend_checksums(png: bytearray) -> None:
    place = len(_PNG)
    while place + 12 <= len(png):
        length = struct.unpack_from(">I", png, place)[0]
        end = place + 8 + length
        if end + 4 > len(png):
            return
        struct.pack_into(">I", png, end, zlib.crc32(png[place + 4 : end]))
        place = end + 4
