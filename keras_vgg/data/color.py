"""Mean color and principal components of a training set (Sec. 2.1; Krizhevsky's color shift, Sec. 3.1)."""

import dataclasses

import numpy as np
import tensorflow as tf

from keras_vgg import randomness
from keras_vgg.data import images
from keras_vgg.data.split import Split
from keras_vgg.data.untuned import arrays
from keras_vgg.errors import InputError
from keras_vgg.support.cores import CORES

SAMPLED_IMAGES = 2000
SHIFT_DEVIATION = 0.1
"""Standard deviation of the coefficients of the color shift."""

_ROW = 50


@dataclasses.dataclass(frozen=True)
class ColorStatistics:
    """Colors of a training set, RGB.

    Attributes:
        mean: mean of the channels in 0–255.
        eigenvalues: of the covariance of the channels in 0–1, largest first. Krizhevsky's shift depends on the unit: it adds
            eigenvalues, which are squares, to pixels. Only with channels in 0–1 is it the slight shift that he describes.
        eigenvectors: one per row, in the order of the eigenvalues.
    """

    mean: tuple[float, float, float]
    eigenvalues: tuple[float, float, float]
    eigenvectors: tuple[tuple[float, float, float], ...]


IMAGENET = ColorStatistics(
    mean=(123.68, 116.779, 103.939),
    eigenvalues=(0.2175, 0.0188, 0.0045),
    eigenvectors=((-0.5675, -0.5808, -0.5836), (0.7192, -0.0045, -0.6948), (0.4009, -0.8140, 0.4203)),
)
"""Colors of ImageNet: the authors' mean, and the components in common use since AlexNet."""


def measure(split: Split, *, scale: int, crop: int, sampled: int = SAMPLED_IMAGES) -> ColorStatistics:
    """Measures the colors of the center crops of a fixed sample of `split`.

    Args:
        split: a training set.
        scale, crop: as in training.
        sampled: number of sampled images; all of a smaller set.

    Raises:
        InputError: if none of them can be read.
    """
    chosen = randomness.epoch_order(split.size, seed=0, epoch=2)[:sampled]
    number, total, products = 0, np.zeros(3), np.zeros((3, 3))
    for crops in arrays(_center_crops(split, chosen, scale, crop)):
        pixels = crops.reshape(-1, 3).astype(np.float64)  # integers, whose sums are exact
        number, total, products = number + len(pixels), total + pixels.sum(0), products + pixels.T @ pixels
    if not number:
        raise InputError(f"None of the {len(chosen)} sampled training images could be read, e.g. {split.name_of(0)}.")
    mean = total / number
    covariance = (products / number - np.outer(mean, mean)) / 255**2
    values, vectors = np.linalg.eigh(covariance)
    # An eigenvector's sign is arbitrary; make it the same for every LAPACK.
    vectors = vectors * np.where(vectors[np.abs(vectors).argmax(0), range(3)] < 0, -1, 1)
    return ColorStatistics(
        tuple(mean.tolist()), tuple(np.maximum(values[::-1], 0).tolist()), tuple(map(tuple, vectors.T[::-1].tolist()))
    )


@tf.autograph.experimental.do_not_convert
def _center_crops(split: Split, indices: np.ndarray, scale: int, crop: int) -> tf.data.Dataset:
    """Returns a dataset of `(n, crop, crop, 3)` uint8, the readable images."""

    def look(index):
        return images.decode_view(split.read(index)[0], scale, 0.5, 0.5, tf.constant(False), crop)

    dealt = tf.data.Dataset.from_tensor_slices(indices).map(look, num_parallel_calls=CORES)
    return dealt.ignore_errors().batch(_ROW)


def shifts(keys, statistics: ColorStatistics, *, seed: int):
    """Draws Krizhevsky's color shift for each example: the sum of components times N(0, 0.1) times eigenvalue.

    Args:
        keys: `(B,)` int64 example keys.
        statistics: the training set's colors.
        seed: the run's seed.

    Returns:
        `(B, 3)` float32, to be added to RGB channels in 0–255.
    """
    coefficients = SHIFT_DEVIATION * randomness.normal(keys, [3], seed=seed, stream=randomness.COLOR)
    scaled = coefficients * tf.constant(statistics.eigenvalues, tf.float32)
    return 255.0 * tf.matmul(scaled, tf.constant(statistics.eigenvectors, tf.float32))
