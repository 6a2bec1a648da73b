"""The nets with 19 weight layers (E, E with batch normalization) and their utilities, as in `keras.applications`."""

from keras_vgg.applications.building import Application, as_function
from keras_vgg.applications.imagenet_utils import decode_predictions, preprocess_input

__all__ = ["VGG19", "VGG19BN", "decode_predictions", "preprocess_input"]

VGG19 = as_function(Application("VGG19", "E").build)
"""Net E of Table 1."""
VGG19BN = as_function(Application("VGG19BN", "E", batch_norm=True).build)
"""Net E of Table 1 with batch normalization, as in torchvision."""
