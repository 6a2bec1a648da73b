"""ReaL labels of ImageNet's validation images (Beyer et al. 2020, "Are we done with ImageNet?"): all classes that annotators saw.

`real.json` of github.com/google-research/reassessed-imagenet contains a list of classes for each of the 50,000 images, in the
order of their names; classes are numbers in the order of WordNet ids. A predicted class is correct if it is any of an image's
classes. Images without classes, where annotators found none that fits, do not count.
"""

import dataclasses
import hashlib
import os
import re
from collections.abc import Sequence

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.evaluation.results import REAL_DIGEST, Posteriors
from keras_vgg.inference.class_labels import IMAGENET_CLASSES, imagenet_classes, is_imagenet
from keras_vgg.support import strict_json
from keras_vgg.support.paths import path_of

IMAGES = 50_000
_NAME = re.compile(r"ILSVRC2012_val_(\d{8})(?!\d)")
_ID = re.compile(r"n\d{8}")


@dataclasses.dataclass(frozen=True)
class RealLabels:
    """All classes that annotators saw in ImageNet's validation images.

    Attributes:
        labels: `(50000, most)` int64, the classes of each image, padded with -1.
        sha256: of the file.
    """

    labels: np.ndarray
    sha256: str

    def of_images(self, names: Sequence[str]) -> np.ndarray:
        """Returns the rows of `labels` for image names such as `val/n01440764/ILSVRC2012_val_00000293.JPEG`.

        Raises:
            InputError: for a name without a number from 1 to 50000.
        """
        found = [_NAME.search(name) for name in names]
        numbers = np.array([int(each[1]) if each else 0 for each in found], np.int64)
        if (wrong := np.flatnonzero((numbers < 1) | (numbers > IMAGES))).size:
            raise InputError(
                f"ReaL labels require ImageNet's validation images, whose file names have a number, as in "
                f"ILSVRC2012_val_00000001.JPEG. Received: {wrong.size} of {len(names)} without one, such as {names[wrong[0]]}."
            )
        return self.labels[numbers - 1]

    def measure(self, result: Posteriors, of_images: np.ndarray) -> Posteriors:
        """Returns a result with the ReaL labels of its images, as its own class indices, and the digest of their file.

        Args:
            result: posteriors of the images.
            of_images: what the method `of_images` returned for the images.

        Raises:
            InputError: if its classes are not ImageNet's.
        """
        columns = np.append(columns_of(result.classes), -1)  # -1 stays -1
        return dataclasses.replace(result, real=columns[of_images], facts=result.facts | {REAL_DIGEST: self.sha256})


def columns_of(classes: tuple[str, ...]) -> np.ndarray:
    """Returns the net's index of each of ImageNet's 1,000 classes, `(1000,)` int64; -2 for classes that the net lacks.

    Raises:
        InputError: if the net's classes are not recognizable as ImageNet's.
    """
    if is_imagenet(classes):
        return np.arange(IMAGENET_CLASSES)
    if not all(map(_ID.fullmatch, classes)):
        raise InputError(
            "ReaL labels require a net with ImageNet's 1,000 classes. Received: one with other classes, or other names: "
            f"{len(classes)} from {classes[0]} to {classes[-1]}; pass their WordNet ids with --classes FILE."
        )
    ids = sorted(classes) if len(classes) == IMAGENET_CLASSES else [wordnet_id for wordnet_id, _ in imagenet_classes()]
    place = {name: label for label, name in enumerate(classes)}
    return np.array([place.get(name, -2) for name in ids])


def read_real_labels(path: str | os.PathLike[str]) -> RealLabels:
    """Reads the labels in a file such as `real.json`.

    Raises:
        InputError: if it is missing, or not a list of 50,000 lists of classes.
    """
    try:
        content = path_of(path).read_bytes()
        lists = strict_json.parse(content)
    except (OSError, ValueError) as error:
        raise InputError(
            f"Expected ReaL labels, real.json of google-research/reassessed-imagenet. Received: {path} ({error})."
        ) from error
    if not isinstance(lists, list) or len(lists) != IMAGES or not all(map(_is_list_of_classes, lists)):
        told = f"{len(lists)} entries" if isinstance(lists, list) and len(lists) != IMAGES else "something else"
        raise InputError(
            f"Expected a list of {IMAGES} lists of classes from 0 to {IMAGENET_CLASSES - 1}. Received: {path} with {told}."
        )
    labels = np.full((IMAGES, max(map(len, lists))), -1, np.int64)
    for row, classes in zip(labels, lists, strict=True):
        row[: len(classes)] = classes
    return RealLabels(labels, hashlib.sha256(content).hexdigest())


def _is_list_of_classes(entry) -> bool:
    return isinstance(entry, list) and all(type(label) is int and 0 <= label < IMAGENET_CLASSES for label in entry)
