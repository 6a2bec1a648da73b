"""The ground truth of a test: classes and boxes of images, in the units of their dataset."""

import dataclasses

import numpy as np

from keras_vgg.data.boxes.targets import COUNT_AT, FIRST, FRAME, HEADER, LABEL_AT
from keras_vgg.identity import digest_of_images
from keras_vgg.inference.batches import Survey


@dataclasses.dataclass(frozen=True)
class Truth:
    """The ground truth of images.

    Attributes:
        labels: `(N,)` int64, class indices of the dataset; -1 for unreadable images.
        boxes: `(N, most, 4)` float64, edges, padded with NaN. They may extend beyond the image.
        sizes: `(N, 2)` float64, width and height of the images in the same units: those of the annotation, which may differ from
            the file's.
    """

    labels: np.ndarray
    boxes: np.ndarray
    sizes: np.ndarray

    @property
    def frames(self) -> np.ndarray:
        """`(N, 4)` float64: factors from edges in fractions of the images to their units."""
        return np.tile(self.sizes, 2)


def digest_of_boxed(survey: Survey) -> str:
    """Returns the SHA-256, in hexadecimal, of a survey's images with their classes and boxes."""
    return digest_of_images(survey.fingerprints, survey.labels.astype("<f4").view("<i4"))


def truth_of(survey: Survey) -> Truth:
    """Returns the ground truth in a survey's targets; an unreadable image has no box, so its guesses are wrong."""
    targets = survey.labels.astype(np.float64)
    is_read = survey.sizes[:, 0] > 0
    counts = np.where(is_read, targets[:, HEADER, COUNT_AT], 0)
    boxes = targets[:, FIRST:]
    boxes[np.arange(boxes.shape[1]) >= counts[:, None]] = np.nan
    told = targets[:, FRAME, 2:]
    sizes = np.where((told > 0).all(axis=1, keepdims=True), told, survey.sizes[:, ::-1])
    return Truth(np.where(is_read, targets[:, HEADER, LABEL_AT], -1).astype(np.int64), boxes, sizes)
