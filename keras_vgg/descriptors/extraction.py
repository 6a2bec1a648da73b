"""Descriptors of any number of images from any number of nets, in bounded memory.

Features are written to disk as they are computed, like an evaluation's posteriors: the same call again resumes a killed one and
gives identical bits. Only the metadata of images (name, size, label) is held in memory for all of them.
"""

import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import keras_vgg
from keras_vgg.data.split import Split
from keras_vgg.descriptors import network
from keras_vgg.descriptors.descriptor import DescriptorProtocol, descriptors
from keras_vgg.errors import InputError
from keras_vgg.identity import digest_of_copies, digest_of_images
from keras_vgg.inference.batches import Survey
from keras_vgg.inference.code_digest import digest_of_code
from keras_vgg.inference.images import LIST, look_through
from keras_vgg.inference.net_files import NetFile, open_net_file
from keras_vgg.inference.passes import BATCH, Pass, check_scale, run_passes
from keras_vgg.inference.row_cache import DONE, RowCache, rows_at_once, write_header
from keras_vgg.inference.views import Views
from keras_vgg.precision import noted
from keras_vgg.support import files
from keras_vgg.support.counts import counted

NOT_FINITE = "the net's features are not finite: it overflowed"


@dataclasses.dataclass(frozen=True)
class Extracted:
    """Descriptors of a split's images.

    Attributes:
        values: `(N, D)` float32, a memory-mapped file; NaN rows for images that could not be used.
        labels: `(N,)` int64, -1 for unreadable images.
        names: `(N,)` str, of the images.
        problems: `{name: reason}` of the images that could not be used.
        left_out: number of those images; a listing may name one twice.
        fingerprints: `(N,)` int64 of the images (`batches.Survey`), by which they are compared.
        digests: of each net, as loaded (`identity.digest_of_net`).
    """

    values: np.memmap
    labels: np.ndarray
    names: np.ndarray
    problems: dict[str, str]
    left_out: int
    fingerprints: np.ndarray
    digests: tuple[str, ...]

    def discard(self) -> None:
        """Removes the file that `values` is mapped from; the underlying features stay."""
        if isinstance(self.values, np.memmap) and self.values.filename:
            with contextlib.suppress(OSError):  # a leftover only costs disk space
                pathlib.Path(self.values.filename).unlink(missing_ok=True)


def open_feature_source(run_or_file: str, *, preprocessing: str | None = None) -> NetFile:
    """Finds a net, with or without its top, and its metadata, without loading it.

    Args:
        run_or_file: a run folder of `keras_vgg.fit`, or a weight file of any format.
        preprocessing: `"caffe"` or `"torch"`, if the file does not record its input preprocessing.

    Raises:
        InputError: if there is no such net.
    """
    return open_net_file(run_or_file, preprocessing=preprocessing, needs_top=False)


def extract(
    split: Split,
    sources: Sequence[NetFile],
    protocol: DescriptorProtocol,
    folder: pathlib.Path,
    *,
    batch: int = BATCH,
    devices: Sequence[str | None] = (None,),
    known: Survey | None = None,
    say: Callable[[str], None] = print,
    stream=None,
) -> Extracted:
    """Computes the descriptors of a split's images; those of several nets are stacked.

    Args:
        split: the images.
        sources: the nets, from `open_feature_source`.
        protocol: the descriptor.
        folder: for features, under `passes/` and `descriptors/`, and for the list of images that could not be used,
            `broken_images.csv`. It may be shared by any number of splits, nets and protocols; existing features are reused.
        batch: batch size at the network's resolution.
        devices: where nets compute, a copy on each; `None` for TensorFlow's default.
        known: what was read of the images before, to avoid reading them again.
        say: called with lines to print.
        stream: where progress is shown, if anywhere.

    Raises:
        InputError: for user errors, such as a layer that a net does not have, before any image is read.

    Example:
        >>> import pathlib
        >>> from keras_vgg.data.datasets import open_dataset
        >>> from keras_vgg.descriptors.descriptor import DescriptorProtocol
        >>> from keras_vgg.descriptors.extraction import extract, open_feature_source
        >>> dataset = open_dataset("folder:flowers17")  # doctest: +SKIP
        >>> source = open_feature_source("runs/flowers17")  # doctest: +SKIP
        >>> protocol = DescriptorProtocol(scales=(72, 104))
        >>> found = extract(dataset.train, [source], protocol, pathlib.Path("descriptors"))  # doctest: +SKIP
        >>> found.values.shape  # doctest: +SKIP
        (1224, 1024)
    """
    if not sources:
        raise InputError("Expected at least one net. Received: none.")
    # All of them now, so that an error with the last one is not raised hours later.
    networks = [load_networks(source, protocol, devices) for source in sources]
    # Digests of loaded nets, not of files, which `fit` may have replaced by now.
    digests = [digest_of_copies([each.model for each in nets], source.path) for source, nets in zip(sources, networks, strict=True)]
    views = [_views(source, protocol) for source in sources]
    images, unusable = look_through(split, known=known, stream=stream)
    files.remove_leftovers(folder / "passes")  # rows that a killed process had half written
    files.remove_leftovers(folder / "descriptors")
    passes = []
    for source, nets, digest, of_net in zip(sources, networks, digests, views, strict=True):
        for one in of_net:
            depends_on = ["features", digest, protocol.layer, dataclasses.astuple(one), protocol.pooling]
            facts = {"net": str(source.path), "net sha256": digest, "layer": protocol.layer, "views": str(one)}
            facts |= noted(protocol.precision)
            store = RowCache(folder / "passes", depends_on, images.survey.fingerprints, nets[0].width, facts)
            passes.append(Pass(f"net {source.name}", nets, one, store))
    run_passes(passes, images, batch=batch, stream=stream)
    stores = iter([each.store for each in passes])
    values, not_finite = _write(folder, [[next(stores) for _ in of_net] for of_net in views], protocol)
    unusable.refused.update(dict.fromkeys(not_finite, NOT_FINITE))
    if not_finite:
        such = f"such as {split.name_of(not_finite[0])}"
        say(f"features of {counted(len(not_finite), 'image')} are not finite, {such}: the net overflowed")
    labels, fingerprints = images.survey.labels.astype(np.int64), images.survey.fingerprints
    told = {"nets sha256": " + ".join(digests), "images sha256": digest_of_images(fingerprints, labels)}
    with files.telling(folder / LIST):
        number = unusable.write(folder, told | {"code sha256": digest_of_code()})
    if number:
        say(f"{counted(number, 'image')} could not be used: {folder / LIST}")
    names = np.array([split.name_of(index) for index in range(split.size)])
    return Extracted(values, labels, names, dict(unusable.rows()), number, fingerprints, tuple(digests))


def load_networks(
    source: NetFile, protocol: DescriptorProtocol, devices: Sequence[str | None] = (None,)
) -> list[network.FeatureNetwork]:
    """Loads a net for a protocol, once for each device.

    Raises:
        InputError: if the net cannot be loaded, has no such layer or unknown preprocessing, or a scale is too small.
    """
    options: dict[str, Any] = {"dense": protocol.dense, "pooling": protocol.pooling, "precision": protocol.precision}
    networks = [network.load(source, protocol.layer, device=device, **options) for device in devices]
    for each in _views(source, protocol):
        check_scale(each, networks[0].smallest_input)
    return networks


def facts_of(sources: Sequence[NetFile], digests: Sequence[str], protocol: DescriptorProtocol) -> dict:
    """Returns what a descriptor file records about nets and protocol, serializable as JSON.

    Args:
        sources: the nets.
        digests: of each, from `Extracted.digests`.
        protocol: the descriptor.
    """
    nets = [
        {
            "net": source.arch,
            "path": str(source.path),
            "sha256": digest,
            "preprocessing": source.preprocessing,
            "scales": [views.scale for views in _views(source, protocol)],
            "flip": all(views.flip for views in _views(source, protocol)),
        }
        for source, digest in zip(sources, digests, strict=True)
    ]
    flips = {net["flip"] for net in nets}
    flip = flips.pop() if len(flips) == 1 else None  # for all nets, if they agree
    told = dataclasses.asdict(protocol) | {
        "flip": flip,
        "nets": nets,
        "keras_vgg": keras_vgg.__version__,
        "code sha256": digest_of_code(),
    }
    del told["precision"]  # recorded only if it is not the default
    return told | noted(protocol.precision)


def _views(source: NetFile, protocol: DescriptorProtocol) -> tuple[Views, ...]:
    return protocol.views(source.default_scale, source.flip)


def _write(folder: pathlib.Path, stores: list[list[RowCache]], protocol: DescriptorProtocol):
    """Computes descriptors from the stored features, in chunks of rows.

    Returns:
        The descriptors as a mapped file, and the indices of images with features in every pass that are not finite.
    """
    keys = [[store.key for store in by_scale] for by_scale in stores]
    key = hashlib.sha256(f"{keys} {protocol.combine} {protocol.normalize}".encode()).hexdigest()[:16]
    path = folder / "descriptors" / f"{key}.npy"
    files.make_folder(path.parent)

    def rows(start, stop):
        return descriptors([[store.rows[start:stop] for store in by_scale] for by_scale in stores], protocol)

    count, width = len(stores[0][0].state), rows(0, 1).shape[1]
    at_once, not_finite = rows_at_once((width,)), []
    with files.replacing(path) as beside, open(beside, "wb") as file:
        write_header(file, (count, width), np.dtype(np.float32))
        for start in range(0, count, at_once):
            part = rows(start, start + at_once)
            file.write(part)
            done = np.all([store.state[start : start + at_once] == DONE for by_scale in stores for store in by_scale], axis=0)
            not_finite += [start + int(row) for row in np.flatnonzero(done & np.isnan(part[:, 0]))]
    return np.load(path, mmap_mode="r"), not_finite
