"""Public weights recognised by their first convolution, whose inputs are in one order of colours, of one size and around one mean.

A file may have lost the note of what its weights want, or be of a kind whose custom is another: the numbers themselves still tell.
The VGG authors' net D has been made to take images of many conventions, by turning its channels round, by factors in its first
kernels, and by terms in their biases. All are undone here on trial.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from keras_vgg.preprocessing import CAFFE, TORCH, Preprocessing

# Of the VGG authors' net D, BGR: for each filter whether red weighs more than blue; the weights' root mean square; the mean bias.
_AUTHORS_D, _ROOT_MEAN_SQUARE, _BIAS = 0x8982D43DB4968C3D, 0.2067, 0.5
# Of the same, for each filter whether it weighs more below and to the right than above and to the left, in either order of colours.
_LEANING = 0x4C4A313BBCA56FB8
_FILTERS, SHAPE = 64, (3, 3, 3, 64)
_SLACK = 4  # fine-tuning may move signs that are near zero; by chance so few never differ
_SIZE_SLACK, _MEAN_SLACK = 0.1, 10.0  # a tenth; pixel values, where the authors' own biases give 0.2

_ZEROS, _MIDDLE, _WHITE = (0.0,) * 3, (127.5,) * 3, (255.0,) * 3
_CONVENTIONS = (
    CAFFE,
    TORCH,
    Preprocessing(mean=_ZEROS),
    Preprocessing(mean=_ZEROS, std=_WHITE),  # images in 0–1
    Preprocessing(mean=CAFFE.mean, std=_WHITE),
    Preprocessing(mean=_MIDDLE, std=_MIDDLE),  # images in -1–1
)


def recognise(kernel: np.ndarray, bias: np.ndarray | None = None) -> Preprocessing | None:
    """Returns what weights want of an image that are, or were fine-tuned from, the VGG authors' net D; `None` if they are others.

    Args:
        kernel: of the first convolution, `(height, width, channels, filters)`.
        bias: of the same, `(filters,)`, by which the mean is told; `None` to go by the kernel alone.

    Returns:
        One of the usual conventions; `None` for another one, too, which `is_of_authors` tells from other weights.
    """
    for wants, blue_first in _undone(kernel):
        size = np.sqrt(np.mean(blue_first**2)) / _ROOT_MEAN_SQUARE
        if abs(size - 1) < _SIZE_SLACK and (bias is None or _fits_mean(blue_first, bias, wants)):
            return wants
    return None


def is_of_authors(kernel: np.ndarray) -> bool:
    """Whether weights are those that `recognise` looks for, whatever they want of an image.

    Args:
        kernel: as of `recognise`.
    """
    return next(_undone(kernel), None) is not None


def is_turned(kernel: np.ndarray) -> bool | None:
    """Returns whether weights of which `is_of_authors` is true are turned by 180 degrees, as for Theano; `None` for others.

    Args:
        kernel: as of `recognise`.
    """
    if not is_of_authors(kernel):
        return None
    agreeing = _agreeing(np.einsum("hw,hwcf->f", np.add.outer(range(-1, 2), range(-1, 2)), kernel), _LEANING)
    return None if _FILTERS / 4 < agreeing < 3 * _FILTERS / 4 else agreeing <= _FILTERS / 4


def _undone(kernel: np.ndarray) -> Iterator[tuple[Preprocessing, np.ndarray]]:
    """Yields conventions with the kernel as it would be in the authors', where its filters have the authors' colours then."""
    if kernel.shape != SHAPE:
        return
    for wants in (dataclasses.replace(each, bgr=bgr) for each in _CONVENTIONS for bgr in (True, False)):
        blue_first = (kernel if wants.bgr else kernel[:, :, ::-1]).astype(np.float64) / np.array(wants.std[::-1])[:, None]
        if _agreeing(np.sum(blue_first[:, :, 2] - blue_first[:, :, 0], axis=(0, 1)), _AUTHORS_D) >= _FILTERS - _SLACK:
            yield wants, blue_first


def _agreeing(values: np.ndarray, signs: int) -> int:
    return sum(sign == (signs >> bit & 1) for bit, sign in enumerate(reversed((values > 0).tolist())))


def _fits_mean(blue_first: np.ndarray, bias: np.ndarray, wants: Preprocessing) -> bool:
    # A bias has what its filter sees of the difference between the mean that is subtracted and the authors'.
    seen = blue_first.sum(axis=(0, 1))  # (3, filters)
    difference = np.linalg.lstsq(seen.T, bias.astype(np.float64) - _BIAS)[0]
    return bool(np.all(np.abs(np.array(CAFFE.mean[::-1]) + difference - wants.mean[::-1]) < _MEAN_SLACK))
