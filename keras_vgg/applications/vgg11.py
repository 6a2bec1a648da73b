"""The nets of 11 weight layers: A, A-LRN, and A with batch normalisation, and what goes with them, as in `keras.applications`."""

from keras_vgg.applications.building import application
from keras_vgg.applications.imagenet_utils import decode_predictions, preprocess_input

__all__ = ["VGG11", "VGG11BN", "VGG11LRN", "decode_predictions", "preprocess_input"]

VGG11 = application("VGG11", "A")
VGG11LRN = application("VGG11LRN", "A-LRN")
VGG11BN = application("VGG11BN", "A", batch_norm=True)
