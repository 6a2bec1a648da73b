"""What a net says of images that lie in files: posteriors, and where in the image it sees a class."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import TextIO

import numpy as np
import tensorflow as tf

from keras_vgg import preprocessing
from keras_vgg.data import images as image_ops
from keras_vgg.data.split import files
from keras_vgg.errors import InputError
from keras_vgg.evaluation.results import mean_over
from keras_vgg.identity import digest_of_image
from keras_vgg.inference.batches import CHANGED, MAX_PIXELS, fingerprint
from keras_vgg.inference.images import look_through
from keras_vgg.inference.network import Network
from keras_vgg.inference.passes import BATCH, Pass, run_passes
from keras_vgg.inference.row_cache import PassStore
from keras_vgg.inference.views import Views
from keras_vgg.mixed_precision import precision_of
from keras_vgg.precision import noted
from keras_vgg.support.image_files import printable


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Posteriors of image files.

    Attributes:
        paths: the files.
        posteriors: `(N, classes)` float32; NaN for those that could not be used.
        problems: `{index: reason}` of those.
        digests: `{index: SHA-256}` of the others' content.
    """

    paths: tuple[str, ...]
    posteriors: np.ndarray
    problems: dict[int, str]
    digests: dict[int, str]


def predict(
    network: Network, paths: Sequence[str], passes: Sequence[Views], *, batch: int = BATCH, stream: TextIO | None = None
) -> Predictions:
    """Returns the mean posteriors of images over all passes; images of like shape go through the net together.

    Args:
        network: the net.
        paths: image files.
        passes: what is looked at.
        batch: images of the net's own size whose pixels go through it at a time.
        stream: where progress is shown, if anywhere.

    Raises:
        InputError: for a scale smaller than the net's input, or a net whose posteriors are not finite.
    """
    # Named by their places: two names that are not UTF-8 may be told alike.
    split = dataclasses.replace(files(list(paths), np.zeros(len(paths), np.int32)), name_of=str)
    images, unusable = look_through(split, stream=stream)
    stores = [PassStore.in_memory(len(paths), network.classes) for _ in passes]
    to_run = [Pass(network.model.name, [network], views, store) for views, store in zip(passes, stores, strict=True)]
    run_passes(to_run, images, batch=batch, stream=stream)
    problems = {int(place): reason for place, reason in unusable.rows()}
    digests = {}
    for place in sorted(set(range(len(paths))) - set(problems)):
        if found := _digest_of(paths[place], images.survey.fingerprints[place]):
            digests[place] = found
        else:
            problems[place] = CHANGED
    return Predictions(tuple(paths), mean_over([store.posteriors for store in stores]), problems, digests)


def _digest_of(path: str, known: int) -> str | None:
    """Returns the digest of an image file; `None` if it is not any more what it was when it was looked at."""
    try:
        encoded = pathlib.Path(path).read_bytes()
    except OSError:
        return None
    return digest_of_image(encoded) if int(fingerprint(tf.constant(encoded))) == known else None


def settings_of(network: Network, passes: Sequence[Views]) -> dict:
    """Returns how images are looked at in passes of one kind at several scales, as JSON can write it."""
    (kind, flip) = {(each.kind, each.flip) for each in passes}.pop()
    wants = dataclasses.asdict(preprocessing.for_model(network.model))
    looked = {"kind": kind, "scales": [each.scale for each in passes], "flip": flip}
    looked |= {"average": network.average, "pooling": network.pooling, "preprocessing": wants}
    return looked | noted(precision_of(network.model))


SCORES, GRAD_CAM = "scores", "grad-cam"
HEATMAPS = (SCORES, GRAD_CAM)
"""What a heatmap shows: posteriors at every place of the dense score map, or the Grad-CAM of the last convolution."""

MAX_WHOLE_PIXELS = 2**26
"""Most pixels of an image that is taken at its own size, to be drawn."""


@dataclasses.dataclass(frozen=True)
class Heatmap:
    """Where a net sees a class.

    Attributes:
        image: `(height, width, 3)` uint8, rescaled to Q.
        values: `(rows, columns)` float32, in 0–1: posteriors, or Grad-CAM in shares of its largest place.
        centres: for rows and columns, the pixel of `image` at the centre of what the first looks at, and pixels to the next.
        digest: SHA-256 of the image file's content.
        kind: one of `HEATMAPS`.
    """

    image: np.ndarray
    values: np.ndarray
    centres: tuple[tuple[float, int], tuple[float, int]]
    digest: str
    kind: str = SCORES


def see(network: Network, path: str, scale: int, label: int, kind: str = SCORES) -> Heatmap:
    """Returns where a net sees a class in a whole image at scale Q, looked at densely, without its mirror image.

    Raises:
        InputError: if the image cannot be read, or is too large at this scale.
    """
    if kind == SCORES and not network.has_score_map:
        raise InputError(
            "Expected a net that tells classes at every place of a map. Received: one whose head sees the whole map at once; "
            "give --heatmap-of grad-cam."
        )
    image, digest = read_image(path, scale)
    if kind == GRAD_CAM:
        found, centres = network.grad_cam(image[np.newaxis], label)
        values = found[0].numpy()
        values = values / max(values.max(), np.finfo(np.float32).tiny)  # nowhere: zeros
    else:
        values = network.score_map(image[np.newaxis])[0, ..., label].numpy()
        centres = ((network.window / 2, network.stride),) * 2
    return Heatmap(image, values, centres, digest, kind)


def read_image(path: str, scale: int) -> tuple[np.ndarray, str]:
    """Returns an image file's pixels rescaled to Q, `(height, width, 3)` uint8, RGB, and the SHA-256 of its content.

    Raises:
        InputError: if the image cannot be read, or is too large at this scale.
    """
    encoded = read_encoded(path)
    return rescaled(encoded, scale, told=path), digest_of_image(encoded)


def read_encoded(path: str) -> bytes:
    """Returns the content of an image file; `InputError` if it cannot be read."""
    try:
        return tf.io.read_file(os.fsencode(path)).numpy()
    except tf.errors.OpError as error:
        raise _no_image(path, error) from error


def rescaled(encoded: bytes, scale: int | None, *, told: str) -> np.ndarray:
    """Returns an encoded image's pixels rescaled to Q, or as they are for `None`: `(height, width, 3)` uint8, RGB.

    Args:
        encoded: an image as `data.formats` lists them.
        scale: the smallest side Q.
        told: the image's path, for messages.

    Raises:
        InputError: if it is damaged, or is too large at this scale.
    """
    most = MAX_WHOLE_PIXELS if scale is None else MAX_PIXELS
    try:
        size = image_ops.encoded_size(encoded)
        if scale is not None:
            size = image_ops.rescaled_size(size[0], size[1], scale)
        height, width = map(int, size)
        if height * width > most:
            at, remedy = (f" at Q={scale}", "; give a smaller --scales") if scale else ("", "")
            raise InputError(f"{printable(told)} has {height}x{width} pixels{at}, more than {most:,}{remedy}.")
        return image_ops.decode_whole(encoded, size).numpy()
    except tf.errors.OpError as error:
        raise _no_image(told, error) from error


def _no_image(path: str, error: tf.errors.OpError) -> InputError:
    return InputError(f"Expected an image. Received: {printable(path)} ({error.message.splitlines()[0][:200]}).")
