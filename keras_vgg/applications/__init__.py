"""The API of `keras.applications` for the whole family: `VGG11` … `VGG19`, `preprocess_input`, `decode_predictions`.

`VGG16` and `VGG19` have the same arguments, layers and error conditions as Keras' own. In addition: nets A, A-LRN, B, C and
the batch-norm nets; weights of every public source (`weights` below); and `keras_vgg.preprocessing.for_model` returns each
model's preprocessing, which differs between sources.
"""

from keras_vgg.applications import imagenet_utils, vgg11, vgg13, vgg16, vgg19
from keras_vgg.applications.imagenet_utils import decode_predictions, preprocess_input
from keras_vgg.applications.vgg11 import VGG11, VGG11BN, VGG11LRN
from keras_vgg.applications.vgg13 import VGG13, VGG13BN
from keras_vgg.applications.vgg16 import VGG16, VGG16BN, VGG16C
from keras_vgg.applications.vgg19 import VGG19, VGG19BN

__all__ = [
    "VGG11",
    "VGG11BN",
    "VGG11LRN",
    "VGG13",
    "VGG13BN",
    "VGG16",
    "VGG16BN",
    "VGG16C",
    "VGG19",
    "VGG19BN",
    "decode_predictions",
    "imagenet_utils",
    "preprocess_input",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
]
