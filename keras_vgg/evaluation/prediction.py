"""Predictions for image files: posteriors, and heatmaps of where a net sees a class."""

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
        posteriors: `(N, classes)` float32; NaN for unusable images.
        problems: `{index: reason}` of the unusable images.
        digests: `{index: SHA-256}` of the other files.
    """

    paths: tuple[str, ...]
    posteriors: np.ndarray
    problems: dict[int, str]
    digests: dict[int, str]


def predict(
    network: Network, paths: Sequence[str], passes: Sequence[Views], *, batch: int = BATCH, stream: TextIO | None = None
) -> Predictions:
    """Returns the mean posteriors of images over all passes; images of the same shape are batched.

    Args:
        network: the net.
        paths: image files.
        passes: the views.
        batch: batch size at the network's resolution.
        stream: stream for the progress display, if any.

    Raises:
        InputError: for a scale smaller than the net's input, or a net whose posteriors are not finite.
    """
    # Named by index, since two names that are not UTF-8 may print alike.
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
    """Returns the digest of an image file; `None` if the file has changed since it was evaluated."""
    try:
        encoded = pathlib.Path(path).read_bytes()
    except OSError:
        return None
    return digest_of_image(encoded) if int(fingerprint(tf.constant(encoded))) == known else None


def settings_of(network: Network, passes: Sequence[Views]) -> dict:
    """Returns the JSON-serializable settings of passes of one kind at several scales."""
    (kind, flip) = {(each.kind, each.flip) for each in passes}.pop()
    wants = dataclasses.asdict(preprocessing.for_model(network.model))
    looked = {"kind": kind, "scales": [each.scale for each in passes], "flip": flip}
    looked |= {"average": network.average, "pooling": network.pooling, "preprocessing": wants}
    return looked | noted(precision_of(network.model))


SCORES, GRAD_CAM = "scores", "grad-cam"
HEATMAPS = (SCORES, GRAD_CAM)
"""Kinds of heatmap: posteriors at each position of the dense score map, or Grad-CAM of the last convolution."""

MAX_WHOLE_PIXELS = 2**26
"""Maximum number of pixels of an image that is drawn at its own size."""


@dataclasses.dataclass(frozen=True)
class Heatmap:
    """Where a net sees a class.

    Attributes:
        image: `(height, width, 3)` uint8, rescaled to Q.
        values: `(rows, columns)` float32, in 0–1: posteriors, or Grad-CAM relative to its maximum.
        centres: for rows and columns, the pixel of `image` at the center of the first window, and the stride in pixels.
        digest: SHA-256 of the image file.
        kind: one of `HEATMAPS`.
    """

    image: np.ndarray
    values: np.ndarray
    centres: tuple[tuple[float, int], tuple[float, int]]
    digest: str
    kind: str = SCORES


def see(network: Network, path: str, scale: int, label: int, kind: str = SCORES) -> Heatmap:
    """Returns a dense heatmap of a class for a whole image at scale Q, without its mirror image.

    Raises:
        InputError: if the image cannot be read, or is too large at this scale.
    """
    if kind == SCORES and not network.has_score_map:
        raise InputError(
            "Expected a net with a score map. Received: one whose head takes the whole feature map at once; pass "
            "--heatmap-of grad-cam."
        )
    image, digest = read_image(path, scale)
    if kind == GRAD_CAM:
        found, centres = network.grad_cam(image[np.newaxis], label)
        values = found[0].numpy()
        values = values / max(values.max(), np.finfo(np.float32).tiny)  # all zeros stay zeros
    else:
        values = network.score_map(image[np.newaxis])[0, ..., label].numpy()
        centres = ((network.window / 2, network.stride),) * 2
    return Heatmap(image, values, centres, digest, kind)


def read_image(path: str, scale: int) -> tuple[np.ndarray, str]:
    """Returns an image file's pixels rescaled to Q, `(height, width, 3)` uint8, RGB, and the file's SHA-256.

    Raises:
        InputError: if the image cannot be read, or is too large at this scale.
    """
    encoded = read_encoded(path)
    return rescaled(encoded, scale, told=path), digest_of_image(encoded)


def read_encoded(path: str) -> bytes:
    """Returns the bytes of an image file; `InputError` if it cannot be read."""
    try:
        return tf.io.read_file(os.fsencode(path)).numpy()
    except tf.errors.OpError as error:
        raise _no_image(path, error) from error


def rescaled(encoded: bytes, scale: int | None, *, told: str) -> np.ndarray:
    """Returns an encoded image's pixels rescaled to Q, or unscaled for `None`: `(height, width, 3)` uint8, RGB.

    Args:
        encoded: an image in one of `data.formats`.
        scale: the smallest side Q.
        told: the image's path, for messages.

    Raises:
        InputError: if it is damaged, or too large at this scale.
    """
    most = MAX_WHOLE_PIXELS if scale is None else MAX_PIXELS
    try:
        size = image_ops.encoded_size(encoded)
        if scale is not None:
            size = image_ops.rescaled_size(size[0], size[1], scale)
        height, width = map(int, size)
        if height * width > most:
            at, remedy = (f" at Q={scale}", "; pass a smaller --scales") if scale else ("", "")
            raise InputError(f"{printable(told)} has {height}x{width} pixels{at}, more than {most:,}{remedy}.")
        return image_ops.decode_whole(encoded, size).numpy()
    except tf.errors.OpError as error:
        raise _no_image(told, error) from error


def _no_image(path: str, error: tf.errors.OpError) -> InputError:
    return InputError(f"Expected an image. Received: {printable(path)} ({error.message.splitlines()[0][:200]}).")
