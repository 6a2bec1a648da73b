"""The guesses of a row: what is right of them, and their file."""

import dataclasses
import pathlib

import numpy as np

from keras_vgg.localisation.scoring import MOST_GUESSES, LocalisationScore, score
from keras_vgg.localisation.truth import Truth
from keras_vgg.support import files


@dataclasses.dataclass(frozen=True)
class Localised:
    """What is said of where the objects of a data set's images are.

    Attributes:
        labels: `(N, 5)` int64, classes of the guesses, the best first; -1 for none.
        boxes: `(N, 5, 4)` float64, their edges in the units of `truth`; NaN for none.
        ratings: `(N, 5)` float64, see `guessing.guess`; NaN for none.
        truth: what is true, its labels by the numbers of `classes`.
        images: `(N,)` their names.
        classes: class names in label order.
        facts: columns of the table, and digests, as of `evaluation.results.Posteriors`; `class known` says so.
        blacklist: `(N,)` bool, images that do not count.
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
        """What is right. An image that cannot be read has no true box, and counts as an error."""
        nowhere = np.zeros((1, 4))
        true = np.where((self.truth.labels < 0)[:, None, None], nowhere, self.truth.boxes)
        return score(self.labels, self.boxes, self.truth.labels, true, self.blacklist, above=self.above)

    def save(self, path: pathlib.Path) -> None:
        """Writes everything into an `.npz` file."""
        facts = {f"fact_{name}": np.array(value) for name, value in self.facts.items()}
        arrays = {name: getattr(self, name) for name in ("labels", "boxes", "ratings", "images", "blacklist")}
        truth = {"true_labels": self.truth.labels, "true_boxes": self.truth.boxes, "sizes": self.truth.sizes}
        with files.replacing(path) as beside:
            np.savez(beside, classes=np.array(self.classes), **arrays, **truth, **facts)


def empty(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns labels, boxes and ratings of images without guesses."""
    shape = (count, MOST_GUESSES)
    return np.full(shape, -1, np.int64), np.full((*shape, 4), np.nan), np.full(shape, np.nan)
