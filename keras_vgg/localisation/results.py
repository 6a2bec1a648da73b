"""The guesses of a row: their scores, and their file."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from keras_vgg.localisation.scoring import MOST_GUESSES, LocalisationScore, score
from keras_vgg.localisation.truth import Truth
from keras_vgg.support import files


@dataclasses.dataclass(frozen=True)
class Localised:
    """Guessed boxes for the images of a dataset.

    Attributes:
        labels: `(N, 5)` int64, classes of the guesses, the best first; -1 for none.
        boxes: `(N, 5, 4)` float64, their edges in the units of `truth`; NaN for none.
        ratings: `(N, 5)` float64, see `guessing.guess`; NaN for none.
        truth: the ground truth, its labels as indices into `classes`.
        images: `(N,)` names of the images.
        classes: class names in label order.
        facts: columns of the table, and digests, as in `evaluation.results.Posteriors`; also `class known`.
        blacklist: `(N,)` bool, images to ignore.
        above: whether the IoU must be above one half.
    """

    labels: np.ndarray
    boxes: np.ndarray
    ratings: np.ndarray
    truth: Truth
    images: np.ndarray
    classes: tuple[str, ...]
    facts: dict
    blacklist: np.ndarray
    above: bool = False

    @property
    def score(self) -> LocalisationScore:
        """The score. An unreadable image has no true box, and counts as an error."""
        nowhere = np.zeros((1, 4))
        true = np.where((self.truth.labels < 0)[:, None, None], nowhere, self.truth.boxes)
        return score(self.labels, self.boxes, self.truth.labels, true, self.blacklist, above=self.above)

    def save(self, path: pathlib.Path) -> None:
        """Writes everything into an `.npz` file."""
        stored: dict[str, Any] = {f"fact_{name}": np.array(value) for name, value in self.facts.items()}
        stored |= {name: getattr(self, name) for name in ("labels", "boxes", "ratings", "images", "blacklist")}
        stored |= {"true_labels": self.truth.labels, "true_boxes": self.truth.boxes, "sizes": self.truth.sizes}
        with files.replacing(path) as beside:
            np.savez(beside, classes=np.array(self.classes), **stored)


def empty(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns labels, boxes and ratings of images without guesses."""
    shape = (count, MOST_GUESSES)
    return np.full(shape, -1, np.int64), np.full((*shape, 4), np.nan), np.full(shape, np.nan)
