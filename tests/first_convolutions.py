"""First convolutions, made to take images that are otherwise preprocessed."""

import numpy as np

from keras_vgg.preprocessing import CAFFE


def made_to_take(wants, kernel, bias):
    """First convolution of the authors' made to see images preprocessed as `wants` says as it saw its own."""
    mean, std = (np.array(values)[::-1] for values in (wants.mean, wants.std))  # blue, green, red
    bias = bias + np.einsum("hwcf,c->f", kernel, mean - CAFFE.mean[::-1])
    kernel = kernel * std[:, None]
    return kernel if wants.bgr else kernel[:, :, ::-1], bias
