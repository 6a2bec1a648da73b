"""One pass of a net over the images of a split, on one device or several."""

import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from keras_vgg.data.split import Split
from keras_vgg.errors import InputError
from keras_vgg.evaluation import batches
from keras_vgg.evaluation.batches import MAX_PIXELS, Survey
from keras_vgg.evaluation.network import Network
from keras_vgg.evaluation.store import PassStore
from keras_vgg.evaluation.views import CENTER, DENSE, Views

BATCH = 32
"""Images of the net's own size whose pixels go through the net at a time, by default."""


@dataclasses.dataclass(frozen=True)
class Images:
    """The images of an evaluation.

    Attributes:
        split: where they are read.
        survey: their sizes and labels.
        on_broken: called with the indices of images that cannot be read.
        on_refused: called with the index of an image that is too large at a scale, and the reason.
    """

    split: Split
    survey: Survey
    on_broken: Callable[[np.ndarray], None]
    on_refused: Callable[[int, str], None]


def check_scale(views: Views, crop: int) -> None:
    """Raises `InputError` if Q is smaller than the net's input."""
    if views.scale < crop:
        raise InputError(f"`scales` must be at least the net's input, {crop} pixels. Received: {views.scale}.")


def pixels_of_pass(images: Images, views: Views, crop: int, pending: np.ndarray) -> int:
    """Pixels that go through the net for the images that are pending: what the time of a pass goes with."""
    sizes = batches.rescaled_sizes(images.survey.sizes[pending & (images.survey.sizes[:, 0] > 0)], views.scale)
    if views.kind != DENSE:
        return len(sizes) * views.pixels(0, 0, crop)
    return int(np.sum(np.prod(sizes.astype(np.int64), axis=1))) * (2 if views.flip else 1)


def run_pass(
    networks: Sequence[Network],
    images: Images,
    views: Views,
    store: PassStore,
    *,
    batch: int = BATCH,
    on_done: Callable[[int], None] = lambda pixels: None,
) -> None:
    """Computes the posteriors that `store` does not have yet; every image counts once, however they are grouped.

    Args:
        networks: the net, once for each device; they work side by side on different batches.
        images: the images.
        views: what is looked at.
        store: where posteriors go.
        batch: images of the net's own size whose pixels go through at a time.
        on_done: called with the pixels that were seen, after each batch.
    """
    crop = networks[0].crop
    check_scale(views, crop)
    _refuse_large(images, views, store)
    store.put_broken(np.flatnonzero(store.pending & (images.survey.sizes[:, 0] == 0)))
    groups = batches.group(images.survey, views, crop, batch * crop * crop, store.pending)
    if not groups:
        return
    source = iter(batches.read_batches(images.split, images.survey, views, crop, groups))
    reading, writing, stop = threading.Lock(), threading.Lock(), threading.Event()

    def work(network):
        while not stop.is_set():
            began = time.perf_counter()
            with reading:
                element = next(source, None)
            if element is None:
                return
            indices, places, pixels = element
            found = indices.numpy()[places.numpy()]
            posteriors = network.posteriors(pixels, views.kind, flip=views.flip).numpy() if len(found) else None
            with writing:
                if posteriors is not None:
                    store.put(found, posteriors, (time.perf_counter() - began) / len(networks))
                if (broken := np.setdiff1d(indices.numpy(), found)).size:
                    store.put_broken(broken)
                    images.on_broken(broken)
                on_done(views.pixels(*pixels.shape[1:3], crop) * len(found))

    if len(networks) == 1:
        work(networks[0])
        return
    with concurrent.futures.ThreadPoolExecutor(len(networks)) as pool:
        try:
            for finished in concurrent.futures.as_completed([pool.submit(work, network) for network in networks]):
                finished.result()
        finally:
            stop.set()  # what ends one, an error or Ctrl-C, ends the others after their batch


def _refuse_large(images: Images, views: Views, store: PassStore) -> None:
    if views.kind == CENTER:
        return  # nothing but the crop is decoded
    sizes = batches.rescaled_sizes(images.survey.sizes, views.scale).astype(np.int64)
    for index in np.flatnonzero(store.pending & (np.prod(sizes, axis=1) > MAX_PIXELS)):
        height, width = sizes[index]
        images.on_refused(int(index), f"{height}x{width} pixels at Q={views.scale}, more than {MAX_PIXELS:,}")
        store.put_broken(np.array([index]))
