"""Passes of nets over the images of a split, on one device or several."""

import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.inference import batches
from keras_vgg.inference.batches import MAX_PIXELS
from keras_vgg.inference.images import Images
from keras_vgg.inference.row_cache import RowCache
from keras_vgg.inference.views import CENTER, DENSE, Views
from keras_vgg.mixed_precision import multiply_adds, precision_of
from keras_vgg.support import half_precision
from keras_vgg.support.counts import counted
from keras_vgg.support.progress import Progress

BATCH = 32
"""Default batch size at the network's resolution."""


_MEGA = 1e6


class RowNetwork(Protocol):
    """The interface that `run_pass` requires of a net, such as `network.Network`.

    Attributes:
        model: the net itself.
        crop: side of its input, the unit of batch sizes.
        smallest_input: minimum of an image's shorter side in pixels.
    """

    model: keras.Model
    crop: int
    smallest_input: int

    def see(self, images, views: Views, which: np.ndarray | None = None):
        """Returns a row for each image: `(B, height, width, 3)` uint8 to `(B, width of a row)` float32.

        `which` are their indices in the split, `(B,)` int64, for nets whose query differs between images.
        """


@dataclasses.dataclass(frozen=True)
class Pass:
    """A pass to compute.

    Attributes:
        name: display name, e.g. `net D`.
        networks: the net, once per device.
        views: the views.
        store: stores the rows, and which images have one.
    """

    name: str
    networks: Sequence[RowNetwork]
    views: Views
    store: RowCache


def run_passes(passes: Sequence[Pass], images: Images, *, batch: int, stream=None) -> None:
    """Computes the missing rows of passes, one pass after another, and shows the overall progress.

    Args:
        passes: the passes.
        images: the images.
        batch: see `run_pass`.
        stream: stream for the progress display, if any.

    Raises:
        InputError: for a scale smaller than a net's input, before anything is computed.
    """
    for each in passes:
        check_scale(each.views, each.networks[0].smallest_input)
    left = [pixels_of_pass(images, each.views, each.networks[0].crop, each.store.pending) / _MEGA for each in passes]
    _advise(passes, left)
    with Progress(sum(left), stream=stream, unit="Mpixels") as progress:
        for each, pixels in zip(passes, left, strict=True):
            told = f"{each.name}, {each.views}"

            def done(pixels, told=told):
                progress.count(pixels / _MEGA)
                progress.show(told)

            if pixels and np.any(~each.store.pending):
                progress.say(f"{told}: {counted(np.sum(~each.store.pending), 'image')} already done")
            run_pass(each.networks, images, each.views, each.store, batch=batch, on_done=done)


def _advise(passes: Sequence[Pass], mega_pixels: Sequence[float]) -> None:
    """Advises a precision that would be faster here."""
    work: dict[str, float] = {}
    for each, pixels in zip(passes, mega_pixels, strict=True):
        model = each.networks[0].model
        precision = precision_of(model)
        work[precision] = work.get(precision, 0) + pixels * _MEGA * multiply_adds(model)
    for precision, operations in work.items():
        half_precision.advise(precision, operations)


def check_scale(views: Views, crop: int) -> None:
    """Raises `InputError` if Q is smaller than the net's input."""
    if views.scale < crop:
        raise InputError(f"`scales` must be at least the net's input, {crop} pixels. Received: {views.scale}.")


def pixels_of_pass(images: Images, views: Views, crop: int, pending: np.ndarray) -> int:
    """Returns the number of pixels that the net processes for pending images, to which a pass's time is proportional."""
    sizes = batches.rescaled_sizes(images.survey.sizes[pending & (images.survey.sizes[:, 0] > 0)], views.scale)
    if views.kind != DENSE:
        return len(sizes) * views.pixels(0, 0, crop)
    return int(np.sum(np.prod(sizes.astype(np.int64), axis=1))) * (2 if views.flip else 1)


def run_pass(
    networks: Sequence[RowNetwork],
    images: Images,
    views: Views,
    store: RowCache,
    *,
    batch: int = BATCH,
    on_done: Callable[[int], None] = lambda pixels: None,
) -> None:
    """Computes the rows (posteriors, features) missing from `store`, one per image, however images are batched.

    Args:
        networks: the net, once per device; they process different batches in parallel.
        images: the images.
        views: the views.
        store: stores the rows.
        batch: batch size at the network's resolution.
        on_done: called with the number of processed pixels after each batch.
    """
    crop = networks[0].crop
    check_scale(views, networks[0].smallest_input)
    _refuse_large(images, views, store)
    store.put_broken(np.flatnonzero(store.pending & (images.survey.sizes[:, 0] == 0)))
    groups = batches.group(images.survey, views, crop, batch * crop * crop, store.pending)
    if not groups:
        return
    source = iter(batches.read_batches(images.split, images.survey, views, crop, groups))
    writing = threading.Lock()

    def work(network, element, began):
        indices, places, pixels = element
        found = indices.numpy()[places.numpy()]
        rows = np.asarray(network.see(pixels, views, found)) if len(found) else None
        with writing:
            if rows is not None:
                store.put(found, rows, (time.perf_counter() - began) / len(networks))
            if (broken := np.setdiff1d(indices.numpy(), found)).size:
                store.put_broken(broken)
                images.on_broken(broken)
            height, width = pixels.shape[1:3]
            on_done(views.pixels(height, width, crop) * len(found))

    side_by_side(networks, source, work)


def side_by_side(networks: Sequence[Any], elements: Iterator[Any], work: Callable[[Any, Any, float], None]) -> None:
    """Calls `work` with a net, an element and the time when the net began to wait for it, for all elements, nets in parallel."""
    reading, stop = threading.Lock(), threading.Event()

    def work_through(network):
        while not stop.is_set():
            began = time.perf_counter()
            with reading:
                element = next(elements, None)
            if element is None:
                return
            work(network, element, began)

    if len(networks) == 1:
        work_through(networks[0])
        return
    with concurrent.futures.ThreadPoolExecutor(len(networks)) as pool:
        try:
            for finished in concurrent.futures.as_completed([pool.submit(work_through, network) for network in networks]):
                finished.result()
        finally:
            stop.set()  # an error or Ctrl-C in one ends the others after their batch


def _refuse_large(images: Images, views: Views, store: RowCache) -> None:
    if views.kind == CENTER:
        return  # only the crop is decoded
    sizes = batches.rescaled_sizes(images.survey.sizes, views.scale).astype(np.int64)
    for index in np.flatnonzero(store.pending & (np.prod(sizes, axis=1) > MAX_PIXELS)):
        height, width = sizes[index]
        images.on_refused(int(index), f"{height}x{width} pixels at Q={views.scale}, more than {MAX_PIXELS:,}")
        store.put_broken(np.array([index]))
