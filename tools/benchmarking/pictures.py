"""The images of all contestants: random pixels for nets, JPEG files for pipelines. Imports no framework."""

import dataclasses
import itertools
import pathlib
from typing import ClassVar

import numpy as np
from PIL import Image

from keras_vgg.errors import InputError
from keras_vgg.precision import FLOAT32

CLASSES = 1000
LEARNING_RATE = 1e-4
"""Small: random labels cannot be learned, and a net that diverges computes with infinities."""

_SUFFIXES = {".jpg", ".jpeg"}
_NOISE = 22.0  # standard deviation; makes a 500x375 JPEG of quality 90 about 100 KB, as in ImageNet
_QUALITY = 90


@dataclasses.dataclass(frozen=True)
class NetSettings:
    """Common settings of the contestants that run a net.

    Attributes:
        arch: net of Table 1.
        crop: side of the images.
        batch: images per step.
        steps: number of batches; step `i` of a round takes batch `i`.
        jit: whether ours is compiled with XLA; `None` leaves it to `keras_vgg`.
        precision: Keras' dtype policy; peers of other frameworks compute in the same.
        micro_batches: micro-batches per weight update, whose gradients are accumulated.
    """

    arch: str
    crop: int
    batch: int
    steps: int
    jit: bool | None
    precision: str = FLOAT32
    micro_batches: int = 1
    classes: ClassVar[int] = CLASSES
    width: ClassVar[float] = 1.0

    @property
    def micro_batch(self) -> int:
        """Images per micro-batch."""
        return self.batch // self.micro_batches

    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns `(steps * batch, crop, crop, 3)` uint8 RGB and `(steps * batch,)` int32 labels, the same in every call."""
        random = np.random.default_rng(0)
        shape = (self.steps * self.batch, self.crop, self.crop, 3)
        return random.integers(0, 256, shape, np.uint8), random.integers(0, CLASSES, shape[0], np.int32)


@dataclasses.dataclass(frozen=True)
class FolderSettings:
    """Common settings of the contestants that train a narrow net on small images, from files to weight updates.

    Attributes:
        folder: class folders of images of `scale` by `scale` pixels.
        arch, width: net of Table 1, and the factor on all its filters.
        crop: side of the crops.
        scale: side of the images.
        batch: images per step.
        precision: Keras' dtype policy.
    """

    folder: str
    arch: str
    width: float
    crop: int
    scale: int
    batch: int
    precision: str = FLOAT32
    micro_batches: ClassVar[int] = 1

    @property
    def micro_batch(self) -> int:
        """Images of a micro-batch, which is the whole batch."""
        return self.batch

    @property
    def classes(self) -> int:
        """Number of class folders."""
        folder = pathlib.Path(self.folder)
        train = folder / "train"
        return sum(each.is_dir() for each in (train if train.is_dir() else folder).iterdir())


GENERATOR = (32, 32)
"""Filters of the convolutions of a small generator, without its last one, which has three."""


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """Common settings of the contestants that train a generator with a perceptual loss.

    Attributes:
        crop: side of the images.
        batch: images per step.
        steps: number of batches; step `i` of a round takes batch `i`.
        jit: whether ours is compiled with XLA; `None` leaves it to Keras.
    """

    crop: int
    batch: int
    steps: int
    jit: bool | None = None

    def batches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns pairs of batches, `(batch, crop, crop, 3)` float32 in [0, 1], RGB, the same in every call."""
        random, shape = np.random.default_rng(0), (self.batch, self.crop, self.crop, 3)
        return [(random.random(shape, np.float32), random.random(shape, np.float32)) for _ in range(self.steps)]


@dataclasses.dataclass(frozen=True)
class ReadingSettings:
    """Common settings of the pipelines.

    Attributes:
        paths: JPEG files; read in random order, endlessly.
        crop: side of the crop.
        jitter: smallest and largest S.
        batch: images per step.
        warm_up: batches that are read without timing at the start of every round: they start threads and processes and bring the
            buffers to a steady state, so that nothing made before the clock started is counted.
    """

    paths: tuple[str, ...]
    crop: int
    jitter: tuple[int, int]
    batch: int
    warm_up: int


def find_jpegs(places: list[str], at_least: int) -> tuple[str, ...]:
    """Returns the JPEG files among and below `places`, repeated as a whole until there are `at_least`.

    Raises:
        InputError: if a place is missing or there is no JPEG.
    """
    found = []
    for place in map(pathlib.Path, places):
        if not place.exists():
            raise InputError(f"`images` must name JPEG files or folders of them. Received: {place}, which does not exist.")
        candidates = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
        found += [str(path) for path in candidates if path.suffix.lower() in _SUFFIXES]
    if not found:
        raise InputError(f"`images` must name JPEG files or folders of them. Received: none in {', '.join(places)}.")
    return tuple(itertools.chain.from_iterable(itertools.repeat(found, -(-at_least // len(found)))))


def make_jpegs(folder: str, number: int) -> tuple[str, ...]:
    """Writes `number` JPEGs of the size of ImageNet's (about 500x375, 100 KB) and returns their paths.

    Smooth random colors with added noise: the noise stands in for texture and makes the decoder work as hard.
    """
    random = np.random.default_rng(0)
    noise = random.normal(0, _NOISE, (1024, 1024, 3)).astype(np.float32)
    paths = []
    for index in range(number):
        sides = (500, int(random.integers(333, 418)))
        width, height = sides if random.random() < 0.75 else sides[::-1]
        colours = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
        top, left = random.integers(0, 1024 - 500, 2)
        pixels = np.asarray(colours, np.float32) + noise[top : top + height, left : left + width]
        paths.append(str(pathlib.Path(folder, f"{index:06}.jpg")))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(paths[-1], quality=_QUALITY)
    return tuple(paths)
