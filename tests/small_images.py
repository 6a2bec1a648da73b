"""Small random images as arrays, encoded, in folders and in data sets."""

import io

import numpy as np
from PIL import Image

from keras_vgg.data import split as splits
from keras_vgg.data.dataset import Dataset

CLASSES = tuple("abcdefg")
SHAPES = [  # many of one shape at Q=40, some of their own; grey, wide, tall, tiny
    *[(50, 70, 3, "JPEG"), (70, 50, 3, "PNG"), (40, 40, 1, "PNG"), (33, 150, 3, "JPEG"), (150, 40, 1, "JPEG"), (8, 9, 3, "PNG")],
    *[(50, 70, 3, "PNG"), (100, 140, 3, "JPEG"), (25, 35, 1, "PNG"), (70, 50, 3, "JPEG"), (50, 70, 1, "PNG"), (8, 9, 3, "PNG")],
]


def encode(height, width, channels, kind, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(buffer, kind)
    return buffer.getvalue()


ENCODED = [encode(*shape, seed) for seed, shape in enumerate(SHAPES)]
LABELS = np.arange(len(ENCODED)) % len(CLASSES)
TRUNCATED = ENCODED[0][: len(ENCODED[0]) // 2]  # its header is whole


def images(height=32, width=32, number=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, height, width, 3)).astype(np.uint8)


def pixels(height=40, width=None, number=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, height, width or height, 3), dtype=np.uint8)


def mirrored(batch):
    return batch[:, :, ::-1]


def write_images(folder, encoded=ENCODED, labels=LABELS):
    """Writes a folder of class folders, which has the images for validation and one a class for training."""
    for name in CLASSES:
        (folder / "train" / name).mkdir(parents=True)
        (folder / "train" / name / "0.png").write_bytes(ENCODED[5])
    for number, (content, label) in enumerate(zip(encoded, labels, strict=True)):
        (folder / "val" / CLASSES[label]).mkdir(parents=True, exist_ok=True)
        (folder / "val" / CLASSES[label] / f"{number:03}.jpg").write_bytes(content)
    return folder


def dataset(encoded=ENCODED, labels=LABELS):
    split = splits.in_memory(list(encoded), labels, "test")
    return Dataset({"train": split, "validation": split}, CLASSES, "a test")
