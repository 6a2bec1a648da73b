"""The nets with 11 weight layers (A, A-LRN, A with batch normalization) and their utilities, as in `keras.applications`."""

from keras_vgg.applications.building import Application, as_function
from keras_vgg.applications.imagenet_utils import decode_predictions, preprocess_input

__all__ = ["VGG11", "VGG11BN", "VGG11LRN", "decode_predictions", "preprocess_input"]

VGG11 = as_function(Application("VGG11", "A").build)
"""Net A of Table 1."""
VGG11LRN = as_function(Application("VGG11LRN", "A-LRN").build)
"""Net A-LRN of Table 1."""
VGG11BN = as_function(Application("VGG11BN", "A", batch_norm=True).build)
"""Net A of Table 1 with batch normalization, as in torchvision."""
