"""A Keras layer that prepares plain images of any size for a net: resized, cropped, preprocessed."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_vgg import resizing
from keras_vgg.configs import TRAINING_SIZE
from keras_vgg.errors import InputError
from keras_vgg.preprocessing.wants import Preprocessing, for_model


@keras.saving.register_keras_serializable("keras_vgg")
class ImageTransform(keras.layers.Layer):
    """Rescales images to smallest side Q, takes the center crop and preprocesses it, like `evaluate --protocol center`.

    The pixels are bit for bit those that `keras_vgg` itself computes from the same input. (While decoding, it also reduces JPEGs
    of at least twice the target size, which a layer cannot do.) The layer precedes a net in a `keras.Sequential`, is saved with
    it, and works in `Dataset.map`. Images in a batch have the same size.

    Args:
        size: Q, the smallest side in pixels, at least `crop`.
        crop: side of the square crop.
        preprocessing: preprocessing of the net's weights, also as a dict of `mean`, `std` and `bgr`; `None` keeps RGB in 0–255.
        name, dtype, trainable: as for any layer; there is nothing to train.

    Raises:
        InputError: for sizes out of range, or an invalid preprocessing.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_vgg import models, preprocessing
        >>> net = models.build_vgg("A", input_shape=(64, 64, 3), classes=10, width=1 / 16)
        >>> preprocessing.remember(net, preprocessing.TORCH)  # known for a loaded net
        >>> transform = preprocessing.ImageTransform.for_model(net)
        >>> transform.size, transform.crop
        (73, 64)
        >>> images = np.zeros((2, 100, 150, 3), np.uint8)  # RGB, 0 to 255, of any size
        >>> keras.Sequential([transform, net])(images).shape
        TensorShape([2, 10])
    """

    def __init__(
        self,
        size: int = 256,
        crop: int = 224,
        preprocessing: Preprocessing | Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = False,
    ):
        super().__init__(name=name, dtype=dtype, trainable=trainable, autocast=False)  # half precision would round pixels
        if not 1 <= crop <= size:
            raise InputError(f"`size` and `crop` must satisfy 1 <= crop <= size. Received: size={size}, crop={crop}.")
        if isinstance(preprocessing, Mapping):
            try:
                preprocessing = Preprocessing(**preprocessing)
            except (TypeError, ValueError) as error:
                raise InputError(
                    f"`preprocessing` must have mean, std and bgr. Received: preprocessing={preprocessing!r:.100}."
                ) from error
        if not isinstance(preprocessing, Preprocessing | None):
            raise InputError(
                "`preprocessing` must be a Preprocessing, such as `keras_vgg.preprocessing.for_model(model)`. "
                f"Received: preprocessing={preprocessing!r:.100}."
            )
        self.size, self.crop, self.preprocessing = size, crop, preprocessing
        self.supports_jit = False  # XLA has no resizing with averaging

    @classmethod
    def for_model(cls, model: keras.Model, *, size: int | None = None, name: str | None = None) -> "ImageTransform":
        """Returns the layer that prepares images for `model`.

        Args:
            model: a net with known preprocessing, see `preprocessing.for_model`.
            size: Q; by default 8/7 of the net's input size, e.g. 256 for 224.
            name: name of the layer.

        Raises:
            InputError: if the preprocessing is unknown, or the net's input is not square.
        """
        crop, width = model.input_shape[1:3]
        if crop != width:
            raise InputError(f"Expected a net for square images, channels last. Received: {model.name!r} for {model.input_shape}.")
        crop = crop or TRAINING_SIZE  # for nets that take any size
        return cls(size or round(crop * 8 / 7), crop, for_model(model), name=name)

    def call(self, images):
        """Maps `(B, height, width, 3)` or `(height, width, 3)`, RGB in 0–255 of any dtype, to `(…, crop, crop, 3)` floats."""
        images = tf.convert_to_tensor(images)
        if images.shape.rank not in (3, 4) or images.shape[-1] != 3:
            raise InputError(
                "Expected images (B, height, width, 3) or (height, width, 3). Received: "
                f"{images.shape}; set an unknown shape with tf.ensure_shape."
            )
        batch = images if images.shape.rank == 4 else images[tf.newaxis]
        height, width = tf.unstack(tf.shape(batch)[1:3])
        place = resizing.place(height, width, self.size, 0.5, 0.5, self.crop)
        crops = tf.ensure_shape(resizing.cut(batch, place), [None, self.crop, self.crop, 3])
        outputs = self.preprocessing(crops) if self.preprocessing else tf.cast(crops, tf.float32)
        return tf.cast(outputs if images.shape.rank == 4 else outputs[0], self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Returns the shape of the crops."""
        return (*input_shape[:-3], self.crop, self.crop, 3)

    def get_config(self):
        """Returns sizes and preprocessing, for saving."""
        wants = dataclasses.asdict(self.preprocessing) if self.preprocessing else None
        return super().get_config() | {"size": self.size, "crop": self.crop, "preprocessing": wants}
