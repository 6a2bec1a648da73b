"""The nets with 16 weight layers (D, C, D with batch normalization) and their utilities, as in `keras.applications`."""

from keras_vgg.applications.building import Application, as_function
from keras_vgg.applications.imagenet_utils import decode_predictions, preprocess_input

__all__ = ["VGG16", "VGG16BN", "VGG16C", "decode_predictions", "preprocess_input"]

VGG16 = as_function(Application("VGG16", "D").build)
"""Net D of Table 1."""
VGG16C = as_function(Application("VGG16C", "C").build)
"""Net C of Table 1."""
VGG16BN = as_function(Application("VGG16BN", "D", batch_norm=True).build)
"""Net D of Table 1 with batch normalization, as in torchvision."""
