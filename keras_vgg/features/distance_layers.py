"""The layers of perceptual distances, in float32: pooling without aliasing, and comparisons of activations."""

import keras
import numpy as np
from keras import ops

from keras_vgg.features.data_format import channel_axis, channels_last

_TINY = 1e-10  # added to the norm of activations at a position, as in LPIPS
_POOLED = 1e-12  # added to the mean square of activations, as in DISTS
_PIXELS = 3  # channels of the images themselves
_STABLE = 1e-6  # C1 and C2 of DISTS, as in structural similarity


@keras.saving.register_keras_serializable("keras_vgg")
class HannPooling2D(keras.layers.Layer):
    """The root mean square under a 3x3 Hann window with stride 2 (Ding et al. 2020, Sec. 3.1).

    Unlike max pooling, it does not alias. `(B, h, w, C)` to `(B, ⌈h / 2⌉, ⌈w / 2⌉, C)`, in Keras' image data format.
    """

    def build(self, input_shape):
        """Creates the window; called by Keras."""
        hann = np.array([0.5, 1.0, 0.5]) / 2
        channels = input_shape[channel_axis()]
        self._window = np.tile(np.outer(hann, hann)[:, :, None, None], (1, 1, channels, 1)).astype(np.float32)

    def call(self, inputs):
        """Pools the inputs."""
        last = channel_axis() == -1
        around = [(0, 0), (1, 1), (1, 1), (0, 0)] if last else [(0, 0), (0, 0), (1, 1), (1, 1)]
        squares = ops.square(ops.cast(inputs, "float32"))  # which overflow half precision
        means = ops.depthwise_conv(ops.pad(squares, around), self._window, strides=2, padding="valid")
        return ops.cast(ops.sqrt(means + _POOLED), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Returns the shape with half the height and width, rounded up."""
        axis = channel_axis() % 4
        return tuple(side if place in (0, axis) or side is None else -(-side // 2) for place, side in enumerate(input_shape))


class Comparison(keras.layers.Layer):
    """Compares two batches of images and their activations of several layers, in float32 whatever their dtype.

    Args:
        channels: number of channels of each layer's activations.
        value_range: `(low, high)` of the images.
        **kwargs: as for any Keras layer.
    """

    def __init__(self, channels, value_range, **kwargs):
        super().__init__(**({"dtype": "float32", "trainable": False} | kwargs))
        self.channels, self.value_range = tuple(channels), tuple(value_range)

    def compute_output_spec(self, images, others, activations, other_activations):
        """Returns the spec of one distance per pair of images."""
        return keras.KerasTensor((images.shape[0],), "float32")

    def get_config(self):
        """Returns the arguments, for saving."""
        return super().get_config() | {"channels": self.channels, "value_range": self.value_range}


@keras.saving.register_keras_serializable("keras_vgg")
class UnitDistance(Comparison):
    """The LPIPS distance: weighted squared differences of unit-norm activations, averaged over positions (Zhang et al. 2018).

    Positions where an image has no activation are compared as zeros, with zero gradient.

    Args:
        channels, value_range: as for `Comparison`.
        spatial: whether to output a map at the size of the images, the sum of the layers' bilinearly resized maps, rather than
            the mean over positions.
        **kwargs: as for any Keras layer.
    """

    def __init__(self, channels, value_range, spatial: bool = False, **kwargs):
        super().__init__(channels, value_range, **kwargs)
        self.spatial = spatial
        self.linear = [
            self.add_weight(shape=(size,), initializer="ones", name=f"linear{place}") for place, size in enumerate(self.channels)
        ]

    def call(self, images, others, activations, other_activations):
        """`(B, height, width, 3)` twice and two lists of `(B, h, w, C)` to `(B,)`, or `(B, height, width)` if `spatial`."""
        total = 0.0
        for weights, first, second in zip(self.linear, activations, other_activations, strict=True):
            apart = ops.square(_unit(_maps(first)) - _unit(_maps(second)))
            distances = ops.matmul(apart, ops.reshape(weights, (-1, 1)))  # (B, h, w, 1)
            if self.spatial:
                size = ops.shape(channels_last(images))[1:3]
                total += ops.image.resize(distances, size, "bilinear", data_format="channels_last")[..., 0]
            else:
                total += ops.mean(distances, axis=(1, 2, 3))
        return total

    def compute_output_spec(self, images, others, activations, other_activations):
        """Returns the spec of the result of `call`."""
        if not self.spatial:
            return super().compute_output_spec(images, others, activations, other_activations)
        shape = list(images.shape)
        del shape[channel_axis()]
        return keras.KerasTensor(shape, "float32")

    def get_config(self):
        """Returns the arguments, for saving."""
        return super().get_config() | {"spatial": self.spatial}


@keras.saving.register_keras_serializable("keras_vgg")
class TextureDistance(Comparison):
    """The DISTS distance: one minus the weighted similarity of channels in mean and (co)variance (Ding et al. 2020, eq. 6–8).

    Args:
        channels, value_range, **kwargs: as for `Comparison`.
    """

    def __init__(self, channels, value_range, **kwargs):
        super().__init__(channels, value_range, **kwargs)
        size = _PIXELS + sum(self.channels)
        self.alpha, self.beta = (self.add_weight(shape=(size,), initializer="ones", name=name) for name in ("alpha", "beta"))

    def call(self, images, others, activations, other_activations):
        """`(B, height, width, 3)` twice and two lists of `(B, h, w, C)` to `(B,)`."""
        low, high = self.value_range
        pixels, other_pixels = ((ops.cast(each, "float32") - low) / (high - low) for each in (images, others))
        means, structures = [], []
        for first, second in zip([pixels, *activations], [other_pixels, *other_activations], strict=True):
            first, second = _maps(first), _maps(second)
            mean, other = _over_places(first), _over_places(second)
            first, second = first - mean[:, None, None], second - other[:, None, None]
            # One minus the similarity (2ab + C) / (a² + b² + C), in closed form: the subtraction would lose all digits for nearly
            # equal images.
            means.append(ops.square(mean - other) / (ops.square(mean) + ops.square(other) + _STABLE))
            variances = _over_places(ops.square(first) + ops.square(second))
            structures.append(_over_places(ops.square(first - second)) / (variances + _STABLE))
        unlike = ops.concatenate(means, axis=1) * self.alpha + ops.concatenate(structures, axis=1) * self.beta
        return ops.sum(unlike, axis=1) / (ops.sum(self.alpha) + ops.sum(self.beta))


def _over_places(maps):
    # Over rows, then over columns: a float32 sum over all positions at once loses two digits.
    return ops.mean(ops.mean(maps, axis=2), axis=1)


def _unit(activations):
    squares = ops.sum(ops.square(activations), axis=-1, keepdims=True)
    is_zero = squares == 0  # where the square root has no gradient
    lengths = ops.sqrt(ops.where(is_zero, 1.0, squares))
    return activations * ops.where(is_zero, 0.0, 1 / (lengths + _TINY))


def _maps(activations):
    return channels_last(ops.cast(activations, "float32"))
