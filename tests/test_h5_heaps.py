import struct
import zipfile

import h5py
import pytest

from keras_vgg import transfer
from keras_vgg.errors import InputError
from keras_vgg.weights import keras_files
from keras_vgg.weights.h5_heaps import check_heaps


def write(path):
    """Writes a file with a text in a global heap; returns where its free space begins."""
    with h5py.File(path, "w") as file:
        file.attrs["0"] = "é" * 10
    content = path.read_bytes()
    start = content.index(b"GCOL")
    place = start + 16
    while struct.unpack_from("<H", content, place)[0]:
        place += 16 + -(-struct.unpack_from("<Q", content, place + 8)[0] // 8) * 8
    return place


def patch(path, place, values):
    content = bytearray(path.read_bytes())
    content[place : place + len(values)] = values
    path.write_bytes(content)


def test_whole_files_pass(tmp_path):
    for texts in (0, 1, 3, 500):
        with h5py.File(tmp_path / f"{texts}.h5", "w") as file:
            for number in range(texts):
                file.attrs[str(number)] = "é" * 10
        check_heaps(tmp_path / f"{texts}.h5")
    (tmp_path / "empty").write_bytes(b"")
    check_heaps(tmp_path / "empty")


def test_heaps_in_which_hdf5_would_not_end_are_refused(tmp_path):
    path = tmp_path / "a.weights.h5"
    patch(path, write(path) + 8, bytes(8))  # a free space of size 0
    with zipfile.ZipFile(tmp_path / "a.weights.h5.keras", "w") as archive:
        archive.write(path, "model.weights.h5")
    with pytest.raises(InputError, match="has no end"):
        transfer.load_model(tmp_path / "a.weights.h5.keras")
    for read in (check_heaps, keras_files.is_legacy, keras_files.read_h5, transfer.load_model):
        with pytest.raises(InputError, match=r"a\.weights\.h5 is damaged: the heap of texts at byte \d+ has no end"):
            read(path)
