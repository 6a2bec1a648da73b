"""Perceptual distances of pairs of images, written to disk as they are computed."""

import dataclasses
import pathlib
import threading
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_vgg.comparison.pairs import Pairs
from keras_vgg.descriptors.extraction import NOT_FINITE
from keras_vgg.errors import InputError
from keras_vgg.features.distances import digest_of_distance
from keras_vgg.identity import digest_of_images
from keras_vgg.inference import batches
from keras_vgg.inference.code_digest import digest_of_code
from keras_vgg.inference.images import LIST, Images, look_through
from keras_vgg.inference.network import PIXELS
from keras_vgg.inference.passes import BATCH, side_by_side
from keras_vgg.inference.row_cache import BROKEN, DONE, RowCache
from keras_vgg.support import files
from keras_vgg.support.counts import counted, none_could
from keras_vgg.support.progress import Progress

SMALLEST = 16
"""Minimum side for an output of at least one position after four poolings."""

_SIDE = 224  # image side in the unit of batch sizes
_MIX = np.int64(0x9E3779B97F4A7C15 - 2**64)  # odd, so that products are unique to the first image


@dataclasses.dataclass(frozen=True)
class Distances:
    """The distances of all pairs.

    Attributes:
        values: `(pairs,)` float64; NaN for unusable pairs.
        left_out: number of unusable images.
        digests: digests of weights, images and code, by column name.
    """

    values: np.ndarray
    left_out: int
    digests: dict[str, str]


def measure(
    pairs: Pairs,
    name: str,
    models: Sequence[keras.Model],
    folder: pathlib.Path,
    *,
    batch: int = BATCH,
    devices: Sequence[str | None] = (None,),
    say: Callable[[str], None] = print,
    stream=None,
) -> Distances:
    """Returns the distance of each pair, at the original size of its images.

    Args:
        pairs: the images.
        name: display name of the distance.
        models: models of `features.lpips_model` or `dists_model` for images in 0–255, the same one on each device.
        folder: folder for distances, in `passes/`, which are not computed again, and for the list of unusable images,
            `broken_images.csv`.
        batch: batch size at 224×224 pixels, counting both images of a pair.
        devices: devices of the models; `None` leaves the placement to TensorFlow.
        say: called with lines to print.
        stream: stream for the progress display, if any.

    Raises:
        InputError: if no pair is usable.
    """
    (digest,) = {digest_of_distance(model) for model in models}
    images, unusable = look_through(pairs.split, stream=stream)
    code = digest_of_code("keras_vgg.features.distances", __name__)
    digests = {
        "nets sha256": digest,
        "images sha256": digest_of_images(images.survey.fingerprints, images.survey.labels),
        "code sha256": code,
    }
    files.remove_leftovers(folder / "passes")
    first, second = np.split(images.survey.fingerprints, 2)
    facts = {"distance": name, "net sha256": digest}
    store = RowCache(folder / "passes", ["distance", digest, code], first * _MIX + second, 1, facts)
    _refuse(images, store)
    networks = [_PairNetwork(model, device) for model, device in zip(models, devices, strict=True)]
    _run(networks, images, store, name, batch * _SIDE**2 // 2, stream)
    values = store.rows[:, 0].astype(np.float64)
    overflowed = np.flatnonzero((store.state == DONE) & ~np.isfinite(values))
    values[overflowed] = np.nan
    unusable.refused.update(dict.fromkeys(overflowed.tolist(), NOT_FINITE))
    with files.telling(folder / LIST):
        left_out = unusable.write(folder, digests)
    if left_out:
        say(f"{counted(left_out, 'image')} could not be used: {folder / LIST}")
    if np.isnan(values).all():
        told = none_could(len(values), "pair of images", "be used", "pairs of images")
        raise InputError(f"{told.capitalize()}; {folder / LIST} lists the reasons.")
    return Distances(values, left_out, digests)


def _refuse(images: Images, store: RowCache) -> None:
    """Skips pairs that cannot be compared, and reports the image responsible."""
    first, second = np.split(images.survey.sizes.astype(np.int64), 2)
    count = len(first)
    for pair in np.flatnonzero(store.pending):
        sizes = first[pair], second[pair]
        if any(size[0] == 0 for size in sizes):  # already reported
            pass
        elif np.any(sizes[0] != sizes[1]):
            images.on_refused(int(pair) + count, f"{_told(sizes[1])} pixels, but its partner has {_told(sizes[0])}")
        elif min(sizes[0]) < SMALLEST:
            images.on_refused(int(pair), f"{_told(sizes[0])} pixels, but the net requires at least {SMALLEST}x{SMALLEST}")
        elif np.prod(sizes[0]) > batches.MAX_PIXELS:
            images.on_refused(int(pair), f"{_told(sizes[0])} pixels, more than {batches.MAX_PIXELS:,}")
        else:
            continue
        store.put_broken(np.array([pair]))


def _told(size) -> str:
    return f"{size[0]}x{size[1]}"


class _PairNetwork:
    """A distance prepared for pairs of images of equal size, on one device."""

    def __init__(self, model: keras.Model, device: str | None):
        self._model, self._device = model, device
        self._see = tf.function(lambda first, second: model([first, second]), input_signature=[PIXELS] * 2, autograph=False)

    def see(self, first, second) -> np.ndarray:
        """`(B, height, width, 3)` uint8 twice to `(B,)` float32."""
        with tf.device(self._device):
            return self._see(first, second).numpy()


def _run(networks: Sequence[_PairNetwork], images: Images, store: RowCache, name: str, pixels: int, stream) -> None:
    able, count = np.flatnonzero(store.state != BROKEN), len(store.state)
    groups = batches.of_like_shape(able, images.survey.sizes[able], lambda height, width: height * width, pixels, store.pending)
    source = batches.read_as_they_are(images.split, images.survey, [np.concatenate([each, each + count]) for each in groups])
    pending, writing = int(store.pending.sum()), threading.Lock()
    with Progress(pending, stream=stream, unit="pairs") as progress:
        if pending < len(able):
            progress.say(f"{name}: {counted(len(able) - pending, 'pair')} already done")

        def work(network, element, began):
            indices, places, pixels = (each.numpy() for each in element)
            wanted, found = indices[: len(indices) // 2], indices[places]
            whole = wanted[np.isin(wanted, found) & np.isin(wanted + count, found)]
            first, second = (pixels[np.searchsorted(found, each)] for each in (whole, whole + count))
            values = network.see(first, second) if len(whole) else np.zeros(0, np.float32)
            with writing:
                store.put(whole, values[:, np.newaxis], (time.perf_counter() - began) / len(networks))
                if (lost := np.setdiff1d(indices, found)).size:
                    store.put_broken(np.setdiff1d(wanted, whole))
                    images.on_broken(lost)
                progress.count(len(wanted))
                progress.show(name)

        if groups:
            side_by_side(networks, iter(source), work)
