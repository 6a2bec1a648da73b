"""The nets with 13 weight layers (B, B with batch normalization) and their utilities, as in `keras.applications`."""

from keras_vgg.applications.building import Application, as_function
from keras_vgg.applications.imagenet_utils import decode_predictions, preprocess_input

__all__ = ["VGG13", "VGG13BN", "decode_predictions", "preprocess_input"]

VGG13 = as_function(Application("VGG13", "B").build)
"""Net B of Table 1."""
VGG13BN = as_function(Application("VGG13BN", "B", batch_norm=True).build)
"""Net B of Table 1 with batch normalization, as in torchvision."""
