"""Pictures of single images for the report: those that every net gets wrong, and where the best net looks."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_vgg.data.dataset import Dataset
from keras_vgg.data.split import Split
from keras_vgg.evaluation.prediction import rescaled
from keras_vgg.evaluation.single import thumbnail
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.reproduction.study import Study
from keras_vgg.reproduction.tables import Measured
from keras_vgg.reproduction.work_folder import WorkFolder
from keras_vgg.support import extras

HARDEST, SEEN = 12, 6
_SIDE = 128  # pixels of a picture's shorter side


def hardest(rows: Sequence[Measured], dataset: Dataset, split: str) -> list[dict]:
    """Returns images that all rows' nets get wrong with every seed, of each class the one whose right class they think least of.

    Args:
        rows: of single nets, tested on the same images.
        dataset: holds the images.
        split: which of them were tested.

    Returns:
        At most `HARDEST`, the least likely first, each with `place`, `picture` (PNG, base64), `right`, `guess` (what most nets say)
        and `share` of them.
    """
    every = [posteriors for row in rows for posteriors in row.posteriors]
    guesses = np.stack([posteriors.values.argmax(1) for posteriors in every])
    labels = every[0].labels
    wrong = np.flatnonzero((guesses != labels).all(0))
    right = np.mean([posteriors.values[wrong, labels[wrong]] for posteriors in every], axis=0)
    found: list[dict] = []
    for place in wrong[np.argsort(right, kind="stable")]:
        if len(found) == HARDEST or labels[place] in {each["right"] for each in found}:
            continue
        counts = np.bincount(guesses[:, place], minlength=len(dataset.classes))
        guess = int(counts.argmax())
        found.append(
            {
                "place": int(place),
                "picture": _png(thumbnail(dataset.split(split), int(place), _SIDE)),
                "right": int(labels[place]),
                "guess": guess,
                "share": counts[guess] / len(guesses),
            }
        )
    return found


def count_wrong_for_all(rows: Sequence[Measured]) -> int:
    """Returns how many images all rows' nets get wrong with every seed."""
    return int(np.logical_and.reduce([row.wrong(1).all(0) for row in rows]).sum())


def seen(study: Study, work: WorkFolder, training: str, found: Measured, dataset: Dataset) -> list[dict]:
    """Returns where a net looks: Grad-CAM of the right class, of images of different classes that it is surest of.

    Args:
        study, work: where the net lies, that of the first seed.
        training: its name.
        found: a row of that net alone.
        dataset: holds the images.

    Returns:
        At most `SEEN`, each with `picture` (PNG, base64: the image, and beside it the same under the map), `right`, `posterior`.
    """
    network = open_net_file(str(work.run(training, 0))).load()
    posteriors, split = found.posteriors[0], dataset.split(study.split)
    scale = max(found.row.row.scales[0] or (_SIDE,))
    sure = posteriors.values[np.arange(len(posteriors.labels)), posteriors.labels]
    chosen = [np.flatnonzero(posteriors.labels == label) for label in range(len(dataset.classes))]
    best = [int(images[sure[images].argmax()]) for images in chosen if images.size]
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
    colors = 255 * colormaps["inferno"](np.clip(smooth, 0, 1))[..., :3]
    return np.concatenate([pixels, (0.45 * pixels + 0.55 * colors).astype(np.uint8)], axis=1)


def _png(pixels: np.ndarray) -> str:
    with extras.needed("paper"):
        from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
