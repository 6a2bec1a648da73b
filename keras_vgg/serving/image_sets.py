"""Images to quantize and measure a file with: center crops of the net's input size at its test scale."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
import tensorflow as tf

from keras_vgg.data import images as decoding
from keras_vgg.data.dataset import ALL, Dataset
from keras_vgg.data.datasets import open_dataset
from keras_vgg.data.sets import TRAIN
from keras_vgg.data.split import LABEL, Split, files
from keras_vgg.errors import InputError
from keras_vgg.identity import digest_of_images
from keras_vgg.inference import batches
from keras_vgg.inference.images import Images, Unusable, look_through
from keras_vgg.inference.passes import BATCH
from keras_vgg.inference.views import Views
from keras_vgg.support.counts import counted
from keras_vgg.support.image_files import find_images

CALIBRATION_IMAGES = 300
"""Default number of calibration images."""

_KINDS = ("digits", "folder:", "csv:", "tfds:", "wds:", "voc:")
_TOLD = 5


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A set of images, already checked.

    Attributes:
        description: one line for people.
        images: the images.
        unusable: unusable images, as far as is known.
        labels: `(N,)` int64, true classes as class numbers of the data, -1 where unknown.
    """

    description: str
    images: Images
    unusable: Unusable
    labels: np.ndarray

    def facts(self, used: np.ndarray) -> dict:
        """Returns the entry on the card for the images at indices `used`."""
        known = self.images.survey.subset(used)
        return {
            "data": self.description,
            "images": len(used),
            "images sha256": digest_of_images(known.fingerprints, self.labels[used]),
            "not used": [" - ".join(row) for row in self.unusable.rows()],
        }

    def readable(self, views: Views, crop: int) -> np.ndarray:
        """Returns the indices of images whose crops can be decoded; the others are added to the unusable ones.

        Raises:
            InputError: if there are none.
        """
        survey, found = self.images.survey, []
        groups = batches.group(survey, views, crop, BATCH * crop * crop, np.ones(len(self.labels), bool))
        for indices, places, _ in batches.read_batches(self.images.split, survey, views, crop, groups):
            found.append(indices.numpy()[places.numpy()])
            if (broken := np.setdiff1d(indices.numpy(), found[-1])).size:
                self.images.on_broken(broken)
        if not (read := np.sort(np.concatenate(found))).size:
            name, reason = self.unusable.rows()[0]
            raise InputError(
                f"Expected readable images. Received: {self.description}, none of which is readable; {name}: {reason}."
            )
        return read

    def tell_unusable(self, say: Callable[[str], None]) -> None:
        """Reports the unusable images."""
        rows = self.unusable.rows()
        for name, reason in rows[:_TOLD]:
            say(f"skipped {name}: {reason}")
        if len(rows) > _TOLD:
            say(f"skipped {len(rows) - _TOLD} more; the card lists them")


def open_calibration(spec: str, most: int, *, stream=None) -> ImageSet:
    """Returns up to `most` calibration images, spread evenly: from the training set if there is one, otherwise from all images.

    Args:
        spec: a dataset (`folder:PATH`, `csv:FILE`, …), or a folder, glob or file of images without labels.
        most: maximum number, at least 1; every call returns the same images.
        stream: where to show progress, if anywhere.

    Raises:
        InputError: if none is readable, or as `open_dataset`.
    """
    if most < 1:
        raise InputError(f"`calibration_images` must be at least 1. Received: {most}.")
    if spec.startswith(_KINDS):
        dataset = open_dataset(spec)
        split, description = dataset.split(TRAIN if TRAIN in dataset.splits else ALL), dataset.description
    else:
        paths = list(find_images([spec]))
        split, description = files(paths, np.full(len(paths), -1)), f"{counted(len(paths), 'image file')}"
    chosen = np.unique(np.linspace(0, split.size - 1, min(most, split.size)).round().astype(np.int64))
    return _looked_through("calibrate", spec, description, split.subset(chosen), stream)


def open_labelled(dataset: Dataset, which: str, spec: str, *, stream=None) -> ImageSet:
    """Returns the images of a split to measure errors on.

    Args:
        dataset: with one class per image.
        which: the split.
        spec: the name under which the dataset was opened.
        stream: where to show progress, if anywhere.

    Raises:
        InputError: if none is readable.
    """
    return _looked_through("labelled", spec, f"{dataset.description}, {which}", dataset.split(which), stream)


def check_labels(dataset: Dataset) -> None:
    """Raises `InputError` if images do not have exactly one class each."""
    if dataset.target != LABEL:
        raise InputError(f"`labelled` must have one class per image. Received: {dataset.description}, with any number.")


def _looked_through(argument: str, spec: str, description: str, split: Split, stream) -> ImageSet:
    images, unusable = look_through(split, stream=stream)
    if len(images.survey.unread) == split.size:
        name, reason = unusable.rows()[0]
        raise InputError(
            f"`{argument}` must have readable images. Received: {spec}, none of {split.size} readable; {name}: {reason}."
        )
    labels = images.survey.labels
    return ImageSet(description, images, unusable, labels if labels.ndim == 1 else np.full(split.size, -1))


class Crops(Sequence[np.ndarray]):
    """Center crops `(1, crop, crop, 3)` float32 in 0–255 in a fixed order, each decoded on access.

    Args:
        split: the images.
        indices: indices of the crops, all readable.
        scale: the smallest side that images are rescaled to.
        crop: side of the crops.
        on_read: called after each crop is decoded.
    """

    def __init__(self, split: Split, indices: np.ndarray, scale: int, crop: int, on_read: Callable[[], None] = lambda: None):
        self._split, self._indices, self._scale, self._crop, self._on_read = split, indices, scale, crop, on_read

    def counted(self, on_read: Callable[[], None]) -> "Crops":
        """Returns the same crops, which call `on_read` whenever one is decoded."""
        return Crops(self._split, self._indices, self._scale, self._crop, on_read)

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, place: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, place: slice) -> "Crops": ...
    def __getitem__(self, place):
        if isinstance(place, slice):
            return Crops(self._split, self._indices[place], self._scale, self._crop, self._on_read)
        encoded, _ = self._split.read(tf.constant(self._indices[place], tf.int64))
        pixels = decoding.decode_view(encoded, self._scale, 0.5, 0.5, tf.constant(False), self._crop)
        self._on_read()
        return pixels.numpy()[np.newaxis].astype(np.float32)
