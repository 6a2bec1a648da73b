"""Improved precision and recall of two sets of images, by features that are kept on the disk as they come."""

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
from keras_vgg.support.progress import Progress

LAYER = "fc2"
"""The layer of the paper, after its ReLU."""

_MILLION = 1e6


@dataclasses.dataclass(frozen=True)
class Compared:
    """What was found.

    Attributes:
        figures: precision and recall.
        real, generated: how many images of either set counted.
        left_out: how many images could not be used.
        digests: of weights, images and code, by the names of their columns.
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
    """Returns precision and recall by the features of `fc2` in the centre crop of each image, as long as the net's input.

    Args:
        real, generated: the images.
        source: the net, of `extraction.open_feature_source`, with its top.
        folder: where features are kept, see `extraction.extract`.
        k: see `precision_recall`.
        precision: what the net computes in, one of `precision.PRECISIONS`.
        batch, devices, say, stream: as for `extract`.

    Raises:
        InputError: for what the user can mend, such as sets of no more than k images, before any image is read.
    """
    for split in (real, generated):
        if split.size <= k:
            raise InputError(f"`k` must be less than the number of images of each set. Received: k={k} for {split.size} images.")
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
    """Some rows of a mapped file, which is mapped anew each time: a mapping that lives on counts as the process' memory."""

    def __init__(self, values: np.memmap, places: np.ndarray):
        self._path, self._places = str(values.filename), places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, part: slice) -> np.ndarray:
        return np.load(self._path, mmap_mode="r")[self._places[part]]
