"""The nets of 16 weight layers: D, C, and D with batch normalisation, and what goes with them, as in `keras.applications`."""

from keras_vgg.applications.building import application
from keras_vgg.applications.imagenet_utils import decode_predictions, preprocess_input

__all__ = ["VGG16", "VGG16BN", "VGG16C", "decode_predictions", "preprocess_input"]

VGG16 = application("VGG16", "D")
VGG16C = application("VGG16C", "C")
VGG16BN = application("VGG16BN", "D", batch_norm=True)
