"""Narrow nets whose weights tell images apart."""

import numpy as np

from keras_vgg import preprocessing
from keras_vgg.models import build_vgg
from keras_vgg.preprocessing import CAFFE

WANTS = preprocessing.Preprocessing(mean=(120, 110, 100), std=(60, 60, 60), bgr=True)


def net(arch="A", *, side=32, classes=7, seed=1, width=0.05, **options):
    """A narrow net whose posteriors differ from image to image."""
    model = build_vgg(arch, input_shape=(side, side, 3), width=width, classes=classes, **options)
    random = np.random.default_rng(seed)
    for variable in model.weights:
        size = variable.shape[:-1]
        scale = (4 if "predictions" in variable.path else 2) / np.prod(size) if size else 0.1
        variable.assign(random.normal(size=variable.shape) * scale**0.5)
    preprocessing.remember(model, WANTS)
    return model


def fill(model, bias=0.3):
    """Gives a model weights with which posteriors differ from image to image and from place to place."""
    random = np.random.default_rng(1)
    for variable in model.weights:
        kind, shape = variable.path.split("/")[-1], variable.shape
        if kind == "kernel":  # He's initialisation keeps activations at their size; classes get clear scores
            value = random.normal(size=shape) * ((4 if "predictions" in variable.path else 2) / np.prod(shape[:-1])) ** 0.5
        elif kind in ("gamma", "moving_variance"):
            value = random.uniform(0.6, 1.4, shape)
        else:
            value = random.normal(size=shape) * bias
        variable.assign(value)
    return model


def filled_net(arch="A", *, input_shape=(32, 32, 3), bias=0.3, **options):
    return fill(build_vgg(arch, input_shape=input_shape, width=0.05, classes=7, **options), bias)


def net_without_top(arch="D", wants=CAFFE, **options):
    """A narrow net with weights for pixels, and what they want."""
    model = filled_net(arch, input_shape=(None, None, 3), include_top=False, **options)
    if wants == CAFFE:  # tens of units come in, as they do from the authors' weights
        kernel = model.get_layer("block1_conv1").kernel
        kernel.assign(kernel / 50)
    preprocessing.remember(model, wants)
    return model
