"""Improved precision and recall of two sets of images, from features written to disk as they are computed."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from keras_vgg import configs
from keras_vgg.data.split import Split, joined
from keras_vgg.descriptors.descriptor import DescriptorProtocol
from keras_vgg.descriptors.extraction import extract
from keras_vgg.errors import InputError
from keras_vgg.features.neighbours import NEIGHBOUR, PrecisionRecall, pairs_of, precision_recall
from keras_vgg.identity import digest_of_images
from keras_vgg.inference.code_digest import digest_of_code
from keras_vgg.inference.net_files import NetFile
from keras_vgg.inference.passes import BATCH
from keras_vgg.support.counts import counted
from keras_vgg.support.progress import Progress

LAYER = "fc2"
"""The layer of the paper, after its ReLU."""

_MILLION = 1e6


@dataclasses.dataclass(frozen=True)
class Compared:
    """The result of a comparison.

    Attributes:
        figures: precision and recall.
        real, generated: number of usable images in each set.
        left_out: number of unusable images.
        digests: digests of weights, images and code, by column name.
    """

    figures: PrecisionRecall
    real: int
    generated: int
    left_out: int
    digests: dict[str, str]


def compare(
    real: Split,
    generated: Split,
    source: NetFile,
    folder: pathlib.Path,
    *,
    k: int = NEIGHBOUR,
    precision: str = "float32",
    batch: int = BATCH,
    devices: Sequence[str | None] = (None,),
    say: Callable[[str], None] = print,
    stream=None,
) -> Compared:
    """Returns precision and recall from the `fc2` features of each image's center crop, of the net's input size.

    Args:
        real, generated: the images.
        source: the net, from `extraction.open_feature_source`, with its top.
        folder: folder for features, see `extraction.extract`.
        k: see `precision_recall`.
        precision: compute precision, one of `precision.PRECISIONS`.
        batch, devices, say, stream: as for `extract`.

    Raises:
        InputError: for anything the user can fix, such as sets of at most k images, before any image is read.
    """
    for split in (real, generated):
        if split.size <= k:
            raise InputError(
                f"`k` must be less than the number of images of each set. Received: k={k} for {counted(split.size, 'image')}."
            )
    side = max(source.smallest_input, configs.get_config(source.arch.split()[0]).side(1))
    protocol = DescriptorProtocol(LAYER, scales=(side,), flip=False, normalize=False, dense=False, precision=precision)
    options = {"batch": batch, "devices": devices, "say": say, "stream": stream}
    found = extract(joined([real, generated]), [source], protocol, folder, **options)
    usable = np.isfinite(found.values[:, 0])
    sets = [
        _Rows(found.values, np.flatnonzero(usable[: real.size])),
        _Rows(found.values, real.size + np.flatnonzero(usable[real.size :])),
    ]
    count, others = map(len, sets)
    with Progress(pairs_of(count, others) / _MILLION, stream=stream, unit="million pairs") as progress:

        def done(pairs):
            progress.count(pairs / _MILLION)
            progress.show("comparing features")

        figures = precision_recall(*sets, k=k, on_done=done)
    digests = {
        "nets sha256": found.digests[0],
        "images sha256": digest_of_images(found.fingerprints, np.arange(len(usable)) >= real.size),
        "code sha256": digest_of_code("keras_vgg.features.neighbours", __name__),
    }
    found.discard()
    return Compared(figures, count, others, found.left_out, digests)


class _Rows:
    """Some rows of a mapped file, mapped anew each time, since long-lived mappings count as the process's memory."""

    def __init__(self, values: np.memmap, places: np.ndarray):
        self._path, self._places = str(values.filename), places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, part: slice) -> np.ndarray:
        return np.load(self._path, mmap_mode="r")[self._places[part]]
