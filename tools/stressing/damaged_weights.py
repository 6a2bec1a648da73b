"""A tiny net in every kind of weight file, to be damaged, and the reader that the commands use."""

import hashlib
import io
import pathlib
import pickle
import random
import struct
import sys
import zipfile
from collections.abc import Callable

import numpy as np

from stressing import damage

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests"))  # for caffe_writer

BATCH = 50  # files of one child
READERS = ("load_model",)
_MEMBERS = {".keras": ("model.weights.h5", "config.json"), ".pth": ("archive/data.pkl",)}
"""Members of archives that are damaged within a whole archive, whose checksums would tell of it otherwise."""

_NAMES = {
    ".keras": "net.keras", "run folder": "run/best.keras", ".weights.h5": "net.weights.h5", ".h5": "net.h5", ".pth": "net.pth",
    ".pth, legacy": "net.pth", ".safetensors": "net.safetensors", ".caffemodel": "net.caffemodel",
    ".caffemodel, V1": "net.caffemodel",
}  # fmt: skip
KINDS = (*_NAMES, *(f"{kind}: {member}" for kind, members in _MEMBERS.items() for member in members))


def write_samples(folder: pathlib.Path) -> None:
    """Writes the net in every kind; a child's work, as it needs TensorFlow."""
    import caffe_writer
    import keras

    from keras_vgg.models import build_vgg
    from keras_vgg.weights import saving, weight_file
    from keras_vgg.weights.torch_files import read_state_dict

    keras.utils.set_random_seed(0)
    saving.save_model(build_vgg("A", width=0.02, classes=10, input_shape=(32, 32, 3)), folder / ".keras")
    (folder / "run folder").write_bytes((folder / ".keras").read_bytes())
    for kind in (".weights.h5", ".h5", ".pth", ".safetensors"):
        # A file whose name is a suffix alone has none for pathlib, so that it is given another one meanwhile.
        saving.save_weights(weight_file.open_weights(_named(folder, ".keras")), folder / f"net{kind}")
        (folder / f"net{kind}").rename(folder / kind)
    (folder / ".pth, legacy").write_bytes(_legacy((folder / ".pth").read_bytes()))
    arrays = [array.read() for array in read_state_dict(folder / ".pth").values()]
    pairs = [list(pair) for pair in zip(arrays[::2], arrays[1::2], strict=True)]
    convolutions = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "conv4_1", "conv4_2", "conv5_1", "conv5_2")
    layers = dict(zip((*convolutions, "fc6", "fc7", "fc8"), pairs, strict=True))
    caffe_writer.write_caffemodel(folder / ".caffemodel", layers, legacy=False)
    caffe_writer.write_caffemodel(folder / ".caffemodel, V1", layers, legacy=True)


def draw(samples: pathlib.Path, generator: random.Random) -> tuple[str, str, bytes]:
    """Returns a kind, how it was damaged, and the damaged file."""
    kind = generator.choice(KINDS)
    container, _, member = kind.partition(": ")
    content = (samples / container).read_bytes()
    if not member:
        return kind, *damage.damaged(content, generator)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    way, members[member] = damage.damaged(members[member], generator)
    return kind, way, _zip(members)


def make_readers(samples: pathlib.Path, work: pathlib.Path) -> dict[str, Callable]:
    """Returns `{reader: read(kind, content) -> digest of what it gives}`."""
    from keras_vgg.transfer import load_model

    def read(kind: str, content: bytes) -> str:
        import keras

        path = work / _NAMES[kind.partition(": ")[0]]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        model = load_model(path.parent if kind == "run folder" else path)
        digest = hashlib.sha256(model.name.encode())
        for array in model.get_weights():
            digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        keras.backend.clear_session()
        return digest.hexdigest()

    return {"load_model": read}


def undamaged(samples: pathlib.Path, kind: str) -> bytes:
    """Returns the sample of a kind as it is."""
    return (samples / kind.partition(": ")[0]).read_bytes()


def _named(folder: pathlib.Path, kind: str) -> pathlib.Path:
    path = folder / f"net{kind}"
    path.write_bytes((folder / kind).read_bytes())
    return path


def _zip(members: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return archive.getvalue()


def _legacy(content: bytes) -> bytes:
    """Returns a `.pth` file in the format before PyTorch 1.6."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        keys = sorted(name.rsplit("/", 1)[1] for name in archive.namelist() if "/data/" in name)
        storages = [archive.read(f"archive/data/{key}") for key in keys]
        description = archive.read("archive/data.pkl")
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})]
    numbers = [struct.pack("<q", len(storage) // 4) + storage for storage in storages]
    return b"".join([*head, description, pickle.dumps(keys, 2), *numbers])
