"""Measures the time to the first micro-batch of a listing as long as ImageNet's, and its memory."""

import io
import pathlib
import time

import numpy as np
from PIL import Image

from benchmarking.contest import peak_bytes
from benchmarking.pictures import CLASSES
from keras_vgg.support import entry

_BATCH, _MICRO_BATCH, _CROP = 256, 16, 224


def write_csv(folder: str, rows: int) -> str:
    """Writes a CSV file of `rows` fictitious images in 1,000 classes, the first of which exists, and returns its path."""
    path = pathlib.Path(folder, "listing.csv")
    with open(path, "w", encoding="utf-8") as file:
        file.write("path,label\n")
        for row in range(rows):
            label = row * CLASSES // rows
            file.write(f"train/n{label:08}/n{label:08}_{row}.JPEG,n{label:08}\n")
    _write_image(path.parent / "train/n00000000/n00000000_0.JPEG")  # listings whose first images are all missing are refused
    return str(path)


def measure(path: str) -> dict[str, float]:
    """Opens the listing at `path` in this process, which must be a fresh one, and returns seconds per stage and peak bytes.

    The images of the first micro-batch are written in between, which is not timed.
    """
    began = time.perf_counter()
    entry.import_tensorflow()
    from keras_vgg.data import datasets, order, pipeline

    imported = time.perf_counter()
    split = datasets.open_dataset(f"csv:{path}").train
    opened = time.perf_counter()
    layout = order.Layout(_BATCH, _MICRO_BATCH, replicas=1)
    row = next(order.training_rows(split.size, layout, seed=0, epoch=0, step=0, my_replicas=range(1)))
    dealt = time.perf_counter()
    for index in row[1]:
        _write_image(pathlib.Path(split.name_of(index)))
    written = time.perf_counter()
    view = pipeline.View(_CROP, (256, 512), flip=True, random=True)
    broken: list = []
    batch = next(iter(pipeline.micro_batches(split, lambda: iter([row]), _MICRO_BATCH, view, broken.extend)))
    read = time.perf_counter()
    if broken or batch.images.shape[0] != _MICRO_BATCH:
        raise RuntimeError(f"The first micro-batch must hold {_MICRO_BATCH} images. Received: {len(broken)} broken.")
    return {
        "import s": imported - began,
        "open s": opened - imported,
        "first row s": dealt - opened,
        "first micro-batch s": read - written,
        "total s": read - began - (written - dealt),
        "peak bytes": peak_bytes(),
    }


def _write_image(path: pathlib.Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((256, 256, 3), np.uint8)).save(buffer, "JPEG")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
