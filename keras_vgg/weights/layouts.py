"""Conversion between Keras' weight layout and that of PyTorch, Caffe and old Keras: NumPy permutations that change no value.

| weights            | PyTorch, Caffe                                    | Keras                          |
|--------------------|---------------------------------------------------|--------------------------------|
| convolution        | (out, in, height, width)                          | (height, width, in, out)       |
| FC layer           | (out, in)                                         | (in, out)                      |
| fc1's inputs       | the last feature map flattened as C x H x W       | flattened as H x W x C         |

The positions of a feature map keep their order, row by row; they need not form a square.
Some files store FC layers as convolutions (timm, fully convolutional Caffe nets): (out, in, height, width), whose
flattened rows are those of the FC layer. `keras_makers` describes the layouts of Keras before version 3.
"""

import numpy as np


def conv_to_keras(kernel: np.ndarray) -> np.ndarray:
    """(out, in, height, width) to (height, width, in, out)."""
    return kernel.transpose(2, 3, 1, 0)


def conv_from_keras(kernel: np.ndarray) -> np.ndarray:
    """(height, width, in, out) to (out, in, height, width)."""
    return kernel.transpose(3, 2, 0, 1)


def turn(kernel: np.ndarray) -> np.ndarray:
    """Rotates (height, width, in, out) by 180 degrees: between convolution (Theano) and correlation (all others)."""
    return kernel[::-1, ::-1]


def fc_to_keras(matrix: np.ndarray, places: int = 1) -> np.ndarray:
    """(out, in) or (out, in, height, width) to (in, out).

    Args:
        matrix: the weights, or some rows of them, which become columns.
        places: height times width of the feature map that was flattened into `in`; 1 after another FC layer.
    """
    units = matrix.shape[0]
    return matrix.reshape(units, -1, places).transpose(2, 1, 0).reshape(-1, units)


def fc_from_keras(kernel: np.ndarray, places: int = 1) -> np.ndarray:
    """(in, out) to (out, in); `places` as for `fc_to_keras`."""
    units = kernel.shape[1]
    return kernel.reshape(places, -1, units).transpose(2, 1, 0).reshape(units, -1)
