"""Feature extraction with a net: from uint8 images to a layer's activations, averaged over all positions, on one device."""

import difflib
import functools
import itertools

import keras
import tensorflow as tf

from keras_vgg import preprocessing
from keras_vgg.errors import InputError
from keras_vgg.fully_convolutional import smallest_side, to_fully_convolutional
from keras_vgg.inference.net_files import NetFile
from keras_vgg.inference.network import PIXELS
from keras_vgg.inference.tracing import mean_over_places, over_flips, up_to_layer
from keras_vgg.inference.views import Views
from keras_vgg.kernel_copies import KernelCopies
from keras_vgg.precision import FLOAT32

WITHOUT_TOP = 224
"""Image side that defines batch sizes if a net has no input size."""


class FeatureNetwork:
    """Features of images of equal shape: a layer's activations, averaged over positions and mirror images (Appendix B).

    Args:
        model: a VGG net with or without its top, whose preprocessing is known.
        layer: name of a layer; `fc1`, `fc2` and `predictions` are applied as convolutions.
        dense: whether to use whole images of any size, or crops of the net's input size, as in training.
        pooling: rounding of odd sizes in whole images, `"floor"` or `"ceil"`.
        name: name of the net in messages.
        device: where it computes; by default TensorFlow's choice. The model's variables should be there.

    Attributes:
        model: the model, whose variables are shared.
        crop: side of the net's input, which defines batch sizes.
        smallest_input: minimum shorter side of images in pixels, before crops are taken.
        width: channels of the layer: the length of a row of features.

    Raises:
        InputError: if the model has no such layer, or is not a VGG net.
    """

    def __init__(
        self,
        model: keras.Model,
        layer: str,
        *,
        dense: bool = True,
        pooling: str = "floor",
        name: str | None = None,
        device: str | None = None,
    ):
        has_top = any(isinstance(each, keras.layers.Dense) for each in model.layers)
        if pooling != "floor" and not has_top:
            raise InputError(f"`pooling` {pooling} needs a net with its top. Received: {name or model.name} without top.")
        if not (dense or has_top):
            raise InputError(f"The center crop needs a net with its top. Received: {name or model.name} without top.")
        # Crops are pooled as in training, regardless of the rounding for whole images.
        net = to_fully_convolutional(model, pooling=pooling if dense else "floor", share_weights=True) if has_top else model
        before_top = _maps(model)
        known = [each.name for each in net.layers[1:]] if has_top else before_top
        _check_layer(layer, known, name or model.name, has_top)
        self.crop = (model.input_shape[1] if has_top else None) or WITHOUT_TOP
        sees_small = dense and layer in before_top
        self.smallest_input = smallest_side(model) if sees_small else max(filter(None, model.input_shape[1:3]))
        self._net = up_to_layer(net, layer)
        self.model, self._preprocess, self._device = model, preprocessing.for_model(model), device
        self._kernel_copies = KernelCopies(model)
        self.width = self._net.output_shape[-1]
        # Signatures without sizes: one graph for images of every shape.
        self._functions = {
            flip: tf.function(functools.partial(self._trace, flip=flip), input_signature=[PIXELS], autograph=False)
            for flip in (False, True)
        }

    def see(self, images, views: Views, which=None):
        """Returns the features of images, `(B, height, width, 3)` uint8, RGB, to `(B, width)` float32."""
        with tf.device(self._device):
            return self._functions[views.flip](images)

    def _trace(self, images, flip: bool):
        with self._kernel_copies.scope():
            return over_flips(functools.partial(mean_over_places, self._net, self._preprocess), images, flip)


def load(source: NetFile, layer: str, *, device: str | None = None, precision: str = FLOAT32, **options) -> FeatureNetwork:
    """Loads a net onto a device for the features of one of its layers, in a given precision; options as for `FeatureNetwork`.

    Raises:
        InputError: if it cannot be loaded, has no such layer, or its preprocessing is not known.
    """
    model = source.load_model(device, precision=precision)
    with tf.device(device):
        return FeatureNetwork(model, layer, name=str(source.path), device=device, **options)


def _maps(model: keras.Model) -> list[str]:
    """Returns the names of the leading layers that output maps."""
    are_maps = itertools.takewhile(lambda layer: len(layer.output.shape) == 4, model.layers)
    return [layer.name for layer in are_maps if not isinstance(layer, keras.layers.InputLayer)]


def _check_layer(layer: str, known: list[str], name: str, has_top: bool) -> None:
    if layer not in known:
        near = difflib.get_close_matches(layer, known, 3, cutoff=0.4) or known[-3:]
        told = "" if has_top else " (without top)"
        raise InputError(f"The net {name}{told} has no layer {layer!r}; similar names: {', '.join(near)}.")
