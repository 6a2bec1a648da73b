"""Public weights recognised by their first convolution, whose inputs are in one order of colours and of one size.

A file may have lost the note of what its weights want, or be of a kind whose custom is another: the numbers themselves still tell.
"""

import dataclasses

import numpy as np

from keras_vgg.preprocessing import CAFFE, Preprocessing

# Of the VGG authors' net D, BGR: for each filter whether red weighs more than blue, and the weights' root mean square.
_AUTHORS_D, _ROOT_MEAN_SQUARE = 0x8982D43DB4968C3D, 0.2067
# Of the same, for each filter whether it weighs more below and to the right than above and to the left, in either order of colours.
_LEANING = 0x4C4A313BBCA56FB8
_FILTERS, _SLACK = 64, 4  # fine-tuning may move signs that are near zero; by chance so few never differ


def recognise(kernel: np.ndarray) -> Preprocessing | None:
    """Returns what weights want of an image that are, or were fine-tuned from, the VGG authors' net D; `None` if they are others.

    Args:
        kernel: of the first convolution, `(height, width, channels, filters)`.
    """
    if kernel.shape != (3, 3, 3, _FILTERS):
        return None
    kernel = kernel.astype(np.float64)
    if not abs(np.sqrt(np.mean(kernel**2)) / _ROOT_MEAN_SQUARE - 1) < 0.1:  # another size: another deviation, or other weights
        return None
    agreeing = _agreeing(np.sum(kernel[:, :, 2] - kernel[:, :, 0], axis=(0, 1)), _AUTHORS_D)
    if agreeing >= _FILTERS - _SLACK:
        return CAFFE
    if agreeing <= _SLACK:  # all the other way round
        return dataclasses.replace(CAFFE, bgr=False)
    return None


def is_turned(kernel: np.ndarray) -> bool | None:
    """Returns whether weights that `recognise` knows are turned by 180 degrees, as for Theano; `None` if it does not know them.

    Args:
        kernel: as of `recognise`.
    """
    if recognise(kernel) is None:
        return None
    agreeing = _agreeing(np.einsum("hw,hwcf->f", np.add.outer(range(-1, 2), range(-1, 2)), kernel), _LEANING)
    return None if _FILTERS / 4 < agreeing < 3 * _FILTERS / 4 else agreeing <= _FILTERS / 4


def _agreeing(values: np.ndarray, signs: int) -> int:
    return sum(sign == (signs >> bit & 1) for bit, sign in enumerate(reversed((values > 0).tolist())))
