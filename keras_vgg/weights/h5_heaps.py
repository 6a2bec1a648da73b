"""Whether the heaps of an HDF5 file can be walked: in a damaged one the HDF5 library goes round for ever, and nothing can stop it.

Texts of variable length lie in global heaps. Each is a head and then objects, one behind the other; free space is the object of
number 0. HDF5 1.14 and 2.0 take a free space of size 0 for one that ends where it begins. (HDF5 File Format, III.E)
"""

import mmap
import struct

from keras_vgg.errors import InputError

_SIGNATURE = b"GCOL"
_HEAD = struct.Struct("<4sB3xQ")  # signature, version, size of the whole heap
_OBJECT = struct.Struct("<HH4xQ")  # number, references, size of what follows, of free space with these 16 bytes


def check_heaps(path) -> None:
    """Raises `InputError` for a file with a global heap in which HDF5 would not come to an end.

    Args:
        path: a file of HDF5, or one that holds such a file uncompressed.
    """
    with open(path, "rb") as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file
            return
        with content:
            start = content.find(_SIGNATURE)
            while start >= 0:
                if _is_endless(content, start):
                    raise InputError(f"{path} is damaged: the heap of texts at byte {start} has no end. Fetch or copy it again.")
                start = content.find(_SIGNATURE, start + 1)


def _is_endless(content: mmap.mmap, start: int) -> bool:
    if start + _HEAD.size > len(content):
        return False
    _, version, size = _HEAD.unpack_from(content, start)
    place, end = start + _HEAD.size, min(start + size, len(content))
    if version != 1:
        return False
    while place + _OBJECT.size <= end:
        number, _, size = _OBJECT.unpack_from(content, place)
        step = (size if number == 0 else _OBJECT.size + size + -size % 8) % 2**64
        if step == 0:
            return True
        place += step
    return False
