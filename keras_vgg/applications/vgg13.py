"""The nets of 13 weight layers: B, and B with batch normalisation, and what goes with them, as in `keras.applications`."""

from keras_vgg.applications.building import Application, as_function
from keras_vgg.applications.imagenet_utils import decode_predictions, preprocess_input

__all__ = ["VGG13", "VGG13BN", "decode_predictions", "preprocess_input"]

VGG13 = as_function(Application("VGG13", "B").build)
"""Net B of Table 1."""
VGG13BN = as_function(Application("VGG13BN", "B", batch_norm=True).build)
"""Net B of Table 1 with batch normalisation, as in torchvision."""
