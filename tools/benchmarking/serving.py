"""Images/s of an exported `classify`: one request with many photographs against as many requests with one."""

import dataclasses
import pathlib
import time

import numpy as np
from PIL import Image

from benchmarking import contest, pictures
from benchmarking.apart import apart
from keras_vgg.support import entry

_LIKE = (500, 375)  # pixels, width and height, as in most of ImageNet's photographs
_QUALITY = 90


@dataclasses.dataclass(frozen=True)
class Net:
    """The exported net.

    Attributes:
        arch, width: the net, with random weights, 1,000 classes and an input of 224 pixels.
        precision: compute precision, one of `keras_vgg.precision.PRECISIONS`.
        dense: whether it sees whole images rather than their center crop.
        scales: Q, without mirror images.
    """

    arch: str
    width: float
    precision: str
    dense: bool
    scales: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Settings:
    """The task of both contestants.

    Attributes:
        folder: folder of the version that is queried.
        paths: the images of a step.
    """

    folder: str
    paths: tuple[str, ...]

    @property
    def batch(self) -> int:
        """Images per step."""
        return len(self.paths)


class Together:
    """One request with all images."""

    processes = 0
    _at_once: int | None = None

    def __init__(self, settings: Settings):
        import tensorflow as tf

        self._loaded = tf.saved_model.load(settings.folder)  # its functions hold only weak references to it
        self._classify = self._loaded.signatures["classify"]
        encoded = [pathlib.Path(path).read_bytes() for path in settings.paths]
        size = self._at_once or len(encoded)
        self._requests = [tf.constant(encoded[start : start + size]) for start in range(0, len(encoded), size)]
        self.note = f"{len(self._requests)} requests of {size}"

    def run(self, steps: int) -> float:
        """As `contest.Contestant`."""
        began = time.perf_counter()
        for _ in range(steps):
            for request in self._requests:
                answer = self._classify(images=request)
                if not np.isfinite(answer["scores"].numpy()).all():
                    raise RuntimeError(f"no result for an image: {answer['error'].numpy()}")
        return time.perf_counter() - began


class Singly(Together):
    """As many requests with one image each, one after another."""

    _at_once = 1


def tables(net: Net, paths: tuple[str, ...], folder: str, *, rounds: int, steps: int):
    """Yields titles and tables of the comparison, for photographs of one shape and for the original ones.

    Args:
        net: the net.
        paths: JPEG files, the images of a request.
        folder: folder for the export and copies of the images.
        rounds, steps: see `contest.hold`.
    """
    version = apart(_export, net, folder)
    for told, images in (("the same shape", _alike(paths, folder)), ("different shapes", paths)):
        settings = Settings(version, images)
        contestants = {"together": Together, "singly": Singly}
        entries = [
            contest.Entry(name, ("tensorflow",), f"benchmarking.serving:{contestant.__name__}", settings)
            for name, contestant in contestants.items()
        ]
        yield f"{len(images)} photographs of {told}", contest.table(contest.hold(entries, rounds=rounds, steps=steps))


def _alike(paths: tuple[str, ...], folder: str) -> tuple[str, ...]:
    made = [str(pathlib.Path(folder, f"alike-{number:03}.jpg")) for number in range(len(paths))]
    for path, copy in zip(paths, made, strict=True):
        Image.open(path).convert("RGB").resize(_LIKE, Image.Resampling.BILINEAR).save(copy, quality=_QUALITY)
    return tuple(made)


def _export(net: Net, folder: str) -> str:
    entry.import_tensorflow()
    import keras

    from keras_vgg import preprocessing
    from keras_vgg.models import build_vgg
    from keras_vgg.saved_model import export_saved_model

    keras.utils.set_random_seed(0)
    model = build_vgg(net.arch, width=net.width)
    preprocessing.remember(model, preprocessing.TORCH)
    exported = export_saved_model(
        model,
        pathlib.Path(folder, "vgg"),
        labels=[f"class {label}" for label in range(pictures.CLASSES)],
        dense=net.dense,
        scales=net.scales,
        flip=False,
        precision=net.precision,
        check=False,
    )
    return str(exported.path)
