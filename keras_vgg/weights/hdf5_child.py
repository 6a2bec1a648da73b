"""Checks HDF5 files listed on standard input in a separate process, which a damaged file may hang or crash.

Runs as a script; needs only h5py. Each input line is JSON `[path, start, size]`; each output line is JSON, `null` or the problem.
"""

import io
import json
import math
import sys


def main() -> None:
    """Checks files until standard input ends."""
    sys.path[:] = json.loads(sys.argv[1])
    import resource

    import h5py

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**31, most))
    for line in sys.stdin:
        path, start, size = json.loads(line)
        try:
            with open(path, "rb") as file:
                member = file if start is None else _Window(file, start, size)
                with h5py.File(path if start is None else member, "r") as opened:
                    _walk(h5py, opened, size, set())
            told = None
        except Exception as error:  # h5py raises many kinds of exceptions on damage
            told = str(error).split("\n")[0] or type(error).__name__
        print(json.dumps(told), flush=True)


class _Window(io.RawIOBase):
    def __init__(self, file, start, size):
        self._file, self._start, self._size, self._place = file, start, size, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def readinto(self, buffer):
        self._file.seek(self._start + self._place)
        count = self._file.readinto(memoryview(buffer)[: max(0, self._size - self._place)])
        self._place += count
        return count


def _walk(h5py, group, size, seen) -> None:
    """Accesses all that a reader does: members and attributes of every group, shape and type of every array, and chunks."""
    address = h5py.h5o.get_info(group.id).addr
    if address in seen:
        return
    seen.add(address)
    for name in group.attrs:
        group.attrs[name]
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue  # the reader refuses other links
        item = group[name]
        if isinstance(item, h5py.Group):
            _walk(h5py, item, size, seen)
        elif isinstance(item, h5py.Dataset):
            for attribute in item.attrs:
                item.attrs[attribute]
            _check(item, size)


def _check(dataset, size) -> None:
    if dataset.external or dataset.is_virtual or dataset.shape is None:
        return
    stored = math.prod(dataset.shape) * dataset.dtype.itemsize
    if stored > (size if dataset.chunks is None else 1000 * size):
        raise ValueError(f"{dataset.name} of shape {dataset.shape} does not fit in the file")
    if dataset.chunks:
        for chunk in dataset.iter_chunks():
            dataset[chunk]
    elif stored and (offset := dataset.id.get_offset()) is not None and offset + dataset.id.get_storage_size() > size:
        raise ValueError(f"{dataset.name} lies beyond the end of the file")


if __name__ == "__main__":
    main()
