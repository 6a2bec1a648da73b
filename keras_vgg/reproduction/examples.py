"""Example images for the report: those that every net gets wrong, and heat maps of the best net."""

import base64
import dataclasses
import io

import numpy as np
import tensorflow as tf

from keras_vgg.data.dataset import Dataset
from keras_vgg.data.split import Split
from keras_vgg.evaluation.metrics import first_guesses
from keras_vgg.evaluation.prediction import rescaled
from keras_vgg.evaluation.results import Posteriors
from keras_vgg.evaluation.single import thumbnail
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.reproduction.study import Study
from keras_vgg.reproduction.tables import Measured
from keras_vgg.reproduction.work_folder import WorkFolder
from keras_vgg.support import extras, plot_style

HARDEST, SEEN = 12, 6
_SIDE = 128  # pixels of a picture's shorter side


@dataclasses.dataclass
class Hardest:
    """Finds the images that all nets get wrong, row by row, so that only the posteriors of one row are in memory at a time.

    Attributes:
        labels: `(images,)` true classes.
        wrong: `(images,)` bool: whether every net was wrong so far.
        readable: `(images,)` bool: whether every net could read it.
        right: `(images,)` sums of the posteriors of the true class.
        guesses: `(images, classes)` number of nets that predicted each class.
        nets: number of nets, of every row and seed.
    """

    labels: np.ndarray
    wrong: np.ndarray
    readable: np.ndarray
    right: np.ndarray
    guesses: np.ndarray
    nets: int = 0

    @classmethod
    def among(cls, posteriors: Posteriors) -> "Hardest":
        """Returns an instance without any net, for the images of `posteriors`."""
        count, classes = posteriors.values.shape
        everything = np.ones(count, bool)
        return cls(posteriors.labels, everything, everything.copy(), np.zeros(count), np.zeros((count, classes), np.int32))

    def add(self, row: Measured) -> None:
        """Counts the nets of a row."""
        places = np.arange(len(self.labels))
        for posteriors in row.posteriors:
            guesses, read = first_guesses(posteriors.values), posteriors.is_read
            self.wrong &= guesses != self.labels
            self.readable &= read
            self.right[read] += posteriors.values[places[read], self.labels[read]]
            self.guesses[places[read], guesses[read]] += 1
            self.nets += 1

    def pictures(self, split: Split) -> list[dict]:
        """Returns for each class the image with the lowest posteriors of the true class.

        Args:
            split: the images.

        Returns:
            At most `HARDEST`, the least likely first, each with `place`, `picture` (PNG, base64), `right`, `guess` (the
            prediction of most nets) and their `share`.
        """
        found: dict[int, dict] = {}
        candidates = np.flatnonzero(self.wrong & self.readable)
        for place in candidates[np.argsort(self.right[candidates], kind="stable")].tolist():
            right, guess = int(self.labels[place]), int(self.guesses[place].argmax())
            if len(found) < HARDEST and right not in found:
                picture, share = _png(thumbnail(split, place, _SIDE)), float(self.guesses[place, guess]) / self.nets
                found[right] = {"place": place, "picture": picture, "right": right, "guess": guess, "share": share}
        return [*found.values()]


def seen(study: Study, work: WorkFolder, training: str, found: Measured, dataset: Dataset) -> list[dict]:
    """Returns heat maps of a net: Grad-CAM of the true class, for its most confident images of different classes.

    Args:
        study, work: contain the net, that of the first seed.
        training: its name.
        found: a row of that net alone.
        dataset: contains the images.

    Returns:
        At most `SEEN`, each with `picture` (PNG, base64: the image, and next to it the same under the map), `right`, `posterior`.
    """
    network = open_net_file(str(work.run(training, 0))).load()
    posteriors, split = found.posteriors[0], dataset.split(study.split)
    scale = max(found.row.row.scales[0] or (network.crop,))
    sure = posteriors.values[np.arange(len(posteriors.labels)), posteriors.labels]
    sure = np.where(posteriors.is_read, sure, -1.0)
    chosen = [np.flatnonzero(posteriors.labels == label) for label in range(len(dataset.classes))]
    best = [int(images[sure[images].argmax()]) for images in chosen if images.size and sure[images].max() >= 0]
    pictures = []
    for place in sorted(best, key=lambda each: -sure[each])[:SEEN]:
        label = int(posteriors.labels[place])
        pixels = rescaled(_encoded(split, place), scale, told=split.name_of(place))
        heat = network.grad_cam(pixels[np.newaxis], label)[0][0].numpy()
        pictures.append({"picture": _png(_under(pixels, heat)), "right": label, "posterior": float(sure[place])})
    return pictures


def _encoded(split: Split, place: int) -> bytes:
    return split.read(tf.constant(place, tf.int64))[0].numpy()


def _under(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Puts an image and the same under a heat map side by side, `(height, 2 * width, 3)` uint8."""
    with extras.needed("paper"):
        from matplotlib import colormaps

    height, width = pixels.shape[:2]
    smooth = tf.image.resize(heat[..., np.newaxis] / max(float(heat.max()), 1e-12), (height, width), "bicubic").numpy()[..., 0]
    colors = 255 * colormaps[plot_style.HEAT](np.clip(smooth, 0, 1))[..., :3]
    return np.concatenate([pixels, (0.45 * pixels + 0.55 * colors).astype(np.uint8)], axis=1)


def _png(pixels: np.ndarray) -> str:
    with extras.needed("paper"):
        from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
