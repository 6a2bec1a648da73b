"""Content, style and perceptual losses between the activations of two images; differentiable.

All losses are means rather than sums over channels and positions, so that they do not depend on the size of images and maps. They
are computed in float32 whatever the activations' dtype: squares overflow half precision. Feature maps are in Keras' image data
format.
"""

import math
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_vgg.errors import InputError


def gram_matrix(features):
    """Returns the Gram matrix of feature maps, `G[i, j] = sum over positions of F[i] * F[j] / number of positions`.

    Gatys et al. 2016 (eq. 3) do not divide; their layer loss (eq. 4) is then a quarter of `style_loss`. Johnson et al. 2016 (eq. 3)
    also divide by the number of channels.

    Args:
        features: `(B, height, width, C)`.

    Returns:
        `(B, C, C)` float32.

    Example:
        >>> import numpy as np
        >>> from keras_vgg.features import gram_matrix
        >>> gram_matrix(np.zeros((1, 64, 64, 256), np.float32)).shape  # e.g. of relu3_3
        TensorShape([1, 256, 256])
    """
    features = ops.cast(features, "float32")
    if keras.config.image_data_format() == "channels_first":
        features = ops.transpose(features, (0, 2, 3, 1))
    shape = ops.shape(features)
    places = shape[1] * shape[2]
    rows = ops.reshape(features, (shape[0], places, shape[3]))  # (B, places, C)
    # Divided first, so that sums over many positions stay in range.
    return ops.matmul(ops.transpose(rows, (0, 2, 1)), rows / ops.cast(places, "float32"))


def content_loss(features_true, features_pred):
    """Returns the mean squared difference of two feature maps (Johnson et al. 2016, eq. 2): `(B, h, w, C)` to `(B,)`."""
    return _mean_square(ops.cast(features_true, "float32") - ops.cast(features_pred, "float32"))


def style_loss(gram_true, gram_pred):
    """Returns the mean squared difference of Gram matrices: `(B, C, C)` to `(B,)`.

    It is eq. 4 of Johnson et al. 2016, and four times eq. 4 of Gatys et al. 2016.
    """
    return _mean_square(gram_true - gram_pred)


def total_variation(images):
    """Returns the roughness of images: the mean squared difference of neighbors, down and right, `(B, h, w, 3)` to `(B,)`.

    Squared as in Mahendran & Vedaldi 2015 with beta 2; unlike absolute differences, this has a gradient everywhere.
    """
    images = ops.cast(images, "float32")
    height, width = (1, 2) if keras.config.image_data_format() == "channels_last" else (2, 3)
    return _mean_square(_differences(images, height)) + _mean_square(_differences(images, width))


def _differences(images, axis: int):
    size = ops.shape(images)[axis]
    index = [slice(None)] * 4
    later, earlier = list(index), list(index)
    later[axis], earlier[axis] = slice(1, size), slice(0, size - 1)
    return images[tuple(later)] - images[tuple(earlier)]


def _is_number(value) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _mean_square(values):
    return ops.mean(ops.square(values), axis=tuple(range(1, len(values.shape))))


@keras.saving.register_keras_serializable("keras_vgg")
class PerceptualLoss(keras.losses.Loss):
    """Perceptual loss between true and predicted images (Johnson et al. 2016), for `compile(loss=…)`.

    `sum of content[l] * content_loss + sum of style[l] * style_loss + total_variation * total_variation(y_pred)` for each image.

    Between two photographs with the authors' weights, it is about 4e5 at relu2_2, 5e5 at relu3_3 and 2e4 at relu4_3, and the
    style loss up to 1e10. `normalize_by` reduces this to 0.6 to 1.8. Without it, under the policy mixed_float16, Keras' loss
    scaling silently skips updates until its scale is low enough: see `optimizer.dynamic_scale`.

    Args:
        model: a model of `perceptual_model`, for the value range of the training images.
        content: weights of the content loss by layer, among the outputs of `model`; by default 1 for all of them, unless `style`
            is given.
        style: weights of the style loss by layer.
        style_image: `(height, width, 3)` of any size, the target style for all images, as in Johnson et al.; by default the style
            of each true image.
        total_variation: weight of the predicted image's roughness.
        normalize_by: `(B, height, width, 3)`, some training images. The content loss of each layer is divided by the mean square
            of its activations on them, the style loss by that of their Gram matrices, or of that of `style_image` if given: the
            loss of zero activations is then 1 on average, whatever the layer and the weights. There is one factor per layer,
            unlike in Gatys et al. 2016 (Sec. 2), who scale each filter to a mean of 1: before a ReLU there is no such scale.
        reduction, name: as for any Keras loss.

    Raises:
        InputError: for a layer that is not an output of `model`, weights that are not positive, a model of another kind, or
            `normalize_by` images on which a layer is zero everywhere or not finite.

    Example:
        >>> import keras
        >>> from keras_vgg.features import PerceptualLoss, perceptual_model
        >>> images = keras.random.uniform((2, 32, 32, 3), seed=0)
        >>> model = perceptual_model("D", ("relu2_2",), weights=None, preprocessing="caffe", value_range=(0, 1))
        >>> loss = PerceptualLoss(model, total_variation=0.1, normalize_by=images)
        >>> float(loss(images, images[::-1])) < 2  # on the order of 4e5 without `normalize_by`, with the authors' weights
        True
        >>> generator = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 3, padding="same")])
        >>> generator.compile("adam", loss=loss)  # y_true and y_pred: (B, height, width, 3)
    """

    def __init__(
        self,
        model: keras.Model,
        content: Mapping[str, float] | None = None,
        style: Mapping[str, float] | None = None,
        *,
        style_image: ArrayLike | None = None,
        total_variation: float = 0.0,
        normalize_by: ArrayLike | None = None,
        reduction: str = "sum_over_batch_size",
        name: str = "perceptual_loss",
    ):
        super().__init__(name=name, reduction=reduction)
        if not isinstance(getattr(model, "output", None), dict):
            raise InputError(
                f"`model` must be a model of `perceptual_model`, which outputs activations by name. Received: {model!r}."
            )
        if content is None:
            content = {} if style else dict.fromkeys(model.output, 1.0)
        self.model = model
        self.content, self.style = (dict(each) if isinstance(each, Mapping) else each for each in (content, style or {}))
        self.total_variation = total_variation
        self._check()
        self._style_grams = None
        if style_image is not None:
            if not self.style:
                raise InputError("`style_image` requires layers in `style`. Received: none; pass style={layer: weight}.")
            activations = self.model(ops.convert_to_tensor(style_image)[None])
            self._style_grams = {layer: gram_matrix(activations[layer]) for layer in self.style}
        self._content_units, self._style_units = dict.fromkeys(self.content, 1.0), dict.fromkeys(self.style, 1.0)
        if normalize_by is not None:
            self._measure_units(normalize_by)

    def _check(self):
        if not self.content and not self.style:
            raise InputError("Pass `content` or `style` weights by layer; without them there is nothing to compare.")
        for argument in ("content", "style"):
            if not isinstance(getattr(self, argument), dict):
                raise InputError(f"`{argument}` must be a dict of weights by layer. Received: {getattr(self, argument)!r}.")
            for layer, weight in getattr(self, argument).items():
                if layer not in self.model.output:
                    known = ", ".join(self.model.output)
                    raise InputError(f"`{argument}` must contain outputs of the model: {known}. Received: {layer!r}.")
                if not (_is_number(weight) and weight > 0):
                    raise InputError(f"`{argument}` weights must be positive. Received: {layer}={weight!r}.")
        if not (_is_number(self.total_variation) and self.total_variation >= 0):
            raise InputError(f"`total_variation` must be nonnegative. Received: {self.total_variation!r}.")

    def _measure_units(self, images):
        if len(np.shape(images)) != 4 or not len(images):
            raise InputError(f"`normalize_by` must be images, (B, height, width, 3). Received: shape {np.shape(images)}.")
        contents: dict[str, list] = {layer: [] for layer in self.content}
        styles: dict[str, list] = {layer: [] for layer in self.style}
        for image in images:  # one at a time, since the first layers' activations are large
            activations = self.model(ops.convert_to_tensor(image)[None])
            for layer, squares in contents.items():
                squares.append(_mean_square(ops.cast(activations[layer], "float32")))
            for layer, squares in styles.items():
                gram = gram_matrix(activations[layer]) if self._style_grams is None else self._style_grams[layer]
                squares.append(_mean_square(gram))
        for units, measured in ((self._content_units, contents), (self._style_units, styles)):
            for layer, squares in measured.items():
                units[layer] = float(np.mean([ops.convert_to_numpy(square) for square in squares]))
                if not (math.isfinite(units[layer]) and units[layer] > 0):
                    raise InputError(
                        f"`normalize_by` must be images on which each layer is finite and not zero everywhere. Received: images "
                        f"with a mean square of {units[layer]} at {layer}."
                    )

    def call(self, y_true, y_pred):
        """`(B, height, width, 3)` each to `(B,)` float32."""
        predicted = self.model(y_pred)
        true = self.model(y_true) if self.content or self._style_grams is None else {}
        loss = 0.0
        for layer, weight in self.content.items():
            loss += weight / self._content_units[layer] * content_loss(true[layer], predicted[layer])
        for layer, weight in self.style.items():
            aim = gram_matrix(true[layer]) if self._style_grams is None else self._style_grams[layer]
            loss += weight / self._style_units[layer] * style_loss(aim, gram_matrix(predicted[layer]))
        return loss + self.total_variation * total_variation(y_pred) if self.total_variation else loss

    def get_config(self):
        """Returns only name and reduction: a model trained with this loss is saved without the loss's net."""
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config):
        """Raises, since the loss's net is not in the file."""
        raise InputError(
            "A saved model lacks the net of its PerceptualLoss; load it with compile=False, and compile it with the loss."
        )
