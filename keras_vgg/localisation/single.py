"""Locates the objects of the most probable classes in one image: from a photograph to boxes in pixels (Appendix A)."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_vgg.data import images as image_ops
from keras_vgg.errors import InputError
from keras_vgg.evaluation.metrics import best_first
from keras_vgg.evaluation.prediction import read_encoded, rescaled
from keras_vgg.identity import digest_of_image
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.inference.views import DENSE
from keras_vgg.localisation.boxes import clipped
from keras_vgg.localisation.finder import Finder, open_finder
from keras_vgg.localisation.guessing import guess
from keras_vgg.localisation.scoring import MOST_GUESSES
from keras_vgg.precision import FLOAT32
from keras_vgg.support import extras


class Located(NamedTuple):
    """A guess of a class and its box.

    Attributes:
        label: name of the class; "" for a localiser with one box for all, without a classifier.
        score: the class score times the share of the localiser's boxes merged into this one, in 0–1; see `guessing.guess`.
        box: edges `x_min, y_min, x_max, y_max` in pixels of the image, within it.
    """

    label: str
    score: float
    box: tuple[float, float, float, float]


class Seen(NamedTuple):
    """The guesses for an image.

    Attributes:
        guesses: the best first.
        size: width and height of the image in pixels.
        digest: SHA-256 of the file.
    """

    guesses: list[Located]
    size: tuple[int, int]
    digest: str


class Locator:
    """A classifier that predicts the classes of an image, and a localiser that predicts their boxes.

    Both evaluate whole images, as in the paper's test (Table 9): by default each at its own scale, the classifier with mirror
    images if it was trained with them, the localiser without.

    Args:
        classifier: a run folder of `keras_vgg.fit`, or a weight file.
        localiser: the same for a net trained with `--task localisation`; with per-class regression, it must have all classes of
            the classifier.
        scales: smallest sides Q for the classifier, whose posteriors are averaged.
        localiser_scales: smallest sides Q for the localiser, whose boxes are combined.
        flip: whether both use mirror images, too.
        merge_threshold: maximum match score of merged boxes; by default that of `merging_settings.Merging`.
        pooling: rounding of odd sizes, `"floor"` or `"ceil"`.
        precision: compute precision of both, one of `precision.PRECISIONS`.

    Raises:
        InputError: if a net is missing, or the two are incompatible.

    Example:
        >>> from keras_vgg.localisation import Locator
        >>> locator = Locator("runs/flowers17", "runs/flowers17-pcr")  # doctest: +SKIP
        >>> for label, score, (x_min, y_min, x_max, y_max) in locator.locate("photo.jpg"):  # doctest: +SKIP
        ...     print(f"{label} ({score:.0%}) from {x_min:.0f}, {y_min:.0f} to {x_max:.0f}, {y_max:.0f}")
        iris (93%) from 12, 30 to 180, 200
    """

    def __init__(
        self,
        classifier: str | os.PathLike[str],
        localiser: str | os.PathLike[str],
        *,
        scales: Sequence[int] | None = None,
        localiser_scales: Sequence[int] | None = None,
        flip: bool | None = None,
        merge_threshold: float | None = None,
        pooling: str = "floor",
        precision: str = FLOAT32,
    ):
        extras.require("boxes")
        source = open_net_file(os.fspath(classifier))
        self._network = source.load(pooling=pooling, precision=precision)
        self.classes = source.class_names(self._network.classes)
        self._scales = tuple(dict.fromkeys(scales or (max(source.default_scale, self._network.crop),)))
        self._flip = source.flip if flip is None else flip
        self._finder = open_finder(
            os.fspath(localiser),
            self.classes,
            scales=localiser_scales,
            flip=bool(flip),
            pooling=pooling,
            merge_threshold=merge_threshold,
            precision=precision,
        )

    def locate(self, image: str | os.PathLike[str] | np.ndarray, *, most: int = MOST_GUESSES) -> list[Located]:
        """Returns at most `most` guesses of classes and boxes in an image, the best first.

        EXIF orientation is ignored, as in training.

        Args:
            image: an image file, or pixels `(height, width, 3)` uint8, RGB.
            most: at least 1.

        Raises:
            InputError: if it is not a readable image, or too large at a scale.
        """
        told = "pixels" if isinstance(image, np.ndarray) else os.fspath(image)
        encoded = _encoded(image) if isinstance(image, np.ndarray) else read_encoded(told)
        views = [rescaled(encoded, scale, told=told) for scale in self._scales]
        each = [self._network.posteriors(view[np.newaxis], DENSE, flip=self._flip).numpy()[0] for view in views]
        return see(self._finder, encoded, np.mean(each, axis=0), self.classes, most=most, told=told).guesses


def see(
    finder: Finder,
    encoded: bytes,
    posteriors: np.ndarray,
    classes: Sequence[str],
    *,
    label: int | None = None,
    most: int = MOST_GUESSES,
    told: str,
) -> Seen:
    """Returns the boxes of an image's most probable classes.

    Args:
        finder: the localiser.
        encoded: the image.
        posteriors: `(classes,)` posteriors of the image.
        classes: class names.
        label: the only class to locate; by default the most probable ones.
        most: maximum number of guesses.
        told: the image's path, for messages.

    Raises:
        InputError: if it is not a readable image, or too large at a scale.
    """
    labels = best_first(posteriors, finder.merging.classes) if label is None else np.array([label])
    views = [rescaled(encoded, scale, told=told) for scale in finder.scales]
    height, width = image_ops.encoded_size(encoded).numpy().tolist()
    guessed = guess(finder.boxes(views, labels), labels, posteriors[labels].astype(np.float64), finder.merging, most)
    edges = clipped(guessed.boxes * [width, height, width, height], (width, height))
    guesses = [
        Located(classes[label], float(score), (float(x_min), float(y_min), float(x_max), float(y_max)))
        for label, score, (x_min, y_min, x_max, y_max) in zip(guessed.labels, guessed.ratings, edges, strict=True)
    ]
    return Seen(guesses, (width, height), digest_of_image(encoded))


def _encoded(pixels: np.ndarray) -> bytes:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3 or not pixels.size:
        raise InputError(f"Expected pixels (height, width, 3) uint8. Received: {pixels.shape} {pixels.dtype}.")
    return tf.io.encode_png(pixels).numpy()
