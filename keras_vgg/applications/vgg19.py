"""The nets of 19 weight layers: E, and E with batch normalisation, and what goes with them, as in `keras.applications`."""

from keras_vgg.applications.building import application
from keras_vgg.applications.imagenet_utils import decode_predictions, preprocess_input

__all__ = ["VGG19", "VGG19BN", "decode_predictions", "preprocess_input"]

VGG19 = application("VGG19", "E")
VGG19BN = application("VGG19BN", "E", batch_norm=True)
