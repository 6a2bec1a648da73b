"""Recognizes public weights, and the preprocessing they need, from their first convolution.

A file may have lost the record of its preprocessing, or differ from what is usual for its format, but the values show it: color
order, scale and mean of the inputs. The VGG authors' net D has been adapted to many conventions, by reversing its channels,
scaling its first kernels and shifting their biases. All of these are undone here by trial.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from keras_vgg.preprocessing import CAFFE, TORCH, Preprocessing

# VGG authors' net D, BGR: for each filter whether red weighs more than blue; the root mean square of the weights; the mean bias.
_AUTHORS_D, _ROOT_MEAN_SQUARE, _BIAS = 0x8982D43DB4968C3D, 0.2067, 0.5
# Likewise, for each filter whether it weighs more below and to the right than above and to the left, in either color order.
_LEANING = 0x4C4A313BBCA56FB8
_FILTERS, SHAPE = 64, (3, 3, 3, 64)
_SLACK = 4  # fine-tuning may flip values near zero; other weights never differ in so few by chance
_SIZE_SLACK, _MEAN_SLACK = 0.1, 10.0  # relative; in pixel values (the authors' own biases give 0.2)

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
    """Returns the preprocessing of weights that are, or were fine-tuned from, the VGG authors' net D; `None` for other weights.

    Args:
        kernel: kernel of the first convolution, `(height, width, channels, filters)`.
        bias: its bias, `(filters,)`, which determines the mean; `None` to use the kernel only.

    Returns:
        One of the usual conventions; `None` also for any other one, which `is_of_authors` distinguishes from other weights.
    """
    for wants, blue_first in _undone(kernel):
        size = np.sqrt(np.mean(blue_first**2)) / _ROOT_MEAN_SQUARE
        if abs(size - 1) < _SIZE_SLACK and (bias is None or _fits_mean(blue_first, bias, wants)):
            return wants
    return None


def is_of_authors(kernel: np.ndarray) -> bool:
    """Returns whether weights are those that `recognise` looks for, whatever their preprocessing.

    Args:
        kernel: as for `recognise`.
    """
    return next(_undone(kernel), None) is not None


def is_turned(kernel: np.ndarray) -> bool | None:
    """Returns whether weights for which `is_of_authors` is true are rotated by 180 degrees, as for Theano; `None` for others.

    Args:
        kernel: as for `recognise`.
    """
    if not is_of_authors(kernel):
        return None
    agreeing = _agreeing(np.einsum("hw,hwcf->f", np.add.outer(range(-1, 2), range(-1, 2)), kernel), _LEANING)
    return None if _FILTERS / 4 < agreeing < 3 * _FILTERS / 4 else agreeing <= _FILTERS / 4


def _undone(kernel: np.ndarray) -> Iterator[tuple[Preprocessing, np.ndarray]]:
    """Yields conventions, each with the kernel converted to the authors', whose filters then match the authors' in color."""
    if kernel.shape != SHAPE:
        return
    for wants in (dataclasses.replace(each, bgr=bgr) for each in _CONVENTIONS for bgr in (True, False)):
        blue_first = (kernel if wants.bgr else kernel[:, :, ::-1]).astype(np.float64) / np.array(wants.std[::-1])[:, None]
        if _agreeing(np.sum(blue_first[:, :, 2] - blue_first[:, :, 0], axis=(0, 1)), _AUTHORS_D) >= _FILTERS - _SLACK:
            yield wants, blue_first


def _agreeing(values: np.ndarray, signs: int) -> int:
    return sum(sign == (signs >> bit & 1) for bit, sign in enumerate(reversed((values > 0).tolist())))


def _fits_mean(blue_first: np.ndarray, bias: np.ndarray, wants: Preprocessing) -> bool:
    # A bias contains its filter's response to the difference between the subtracted mean and the authors'.
    seen = blue_first.sum(axis=(0, 1))  # (3, filters)
    difference = np.linalg.lstsq(seen.T, bias.astype(np.float64) - _BIAS)[0]
    return bool(np.all(np.abs(np.array(CAFFE.mean[::-1]) + difference - wants.mean[::-1]) < _MEAN_SLACK))
