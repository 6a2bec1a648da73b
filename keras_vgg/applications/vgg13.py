"""The nets of 13 weight layers: B, and B with batch normalisation, and what goes with them, as in `keras.applications`."""

from keras_vgg.applications.building import application
from keras_vgg.applications.imagenet_utils import decode_predictions, preprocess_input

__all__ = ["VGG13", "VGG13BN", "decode_predictions", "preprocess_input"]

VGG13 = application("VGG13", "B")
VGG13BN = application("VGG13BN", "B", batch_norm=True)
