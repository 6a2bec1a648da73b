"""A localiser prepared for testing: from uint8 images to boxes in fractions of them, on one device (Appendix A)."""

import functools

import keras
import tensorflow as tf

from keras_vgg import preprocessing
from keras_vgg.data.images import Geometry
from keras_vgg.errors import InputError
from keras_vgg.fully_convolutional import stride_of, to_fully_convolutional
from keras_vgg.inference.network import PIXELS
from keras_vgg.kernel_copies import KernelCopies
from keras_vgg.regression import BOX, PCR

_LABELS = tf.TensorSpec([None, None], tf.int32)


class Localiser:
    """Predicts boxes for views of images of the same shape.

    In dense evaluation, each position of the last layer's map predicts a box relative to its window of the image.

    Args:
        model: a localiser of `keras_vgg.fit`, with known preprocessing.
        regression: `"scr"` or `"pcr"`.
        pooling: rounding of odd sizes in dense views, `"floor"` or `"ceil"`.
        device: compute device, which should hold the model's variables; by default TensorFlow's choice.

    Attributes:
        model, regression: as given.
        kernel_copies: as for `Network`.
        crop: side of the net's input.
        smallest_input: minimum of an image's shorter side in pixels.
        stride: pixels between neighboring positions of the map.
        classes: number of classes with a box of their own; 1 with single-class regression.

    Raises:
        InputError: if the model is not of this kind.
    """

    def __init__(self, model: keras.Model, regression: str, *, pooling: str = "floor", device: str | None = None):
        height, width = model.input_shape[1:3]
        if height is None or height != width:
            raise InputError(f"Expected a localiser for square inputs. Received: {model.name!r} for {height}x{width}.")
        self.model, self.regression, self._device = model, regression, device
        self.crop = self.smallest_input = height
        self.stride, self.classes = stride_of(model), model.output_shape[-1] // len(BOX) if regression == PCR else 1
        self._preprocess, self.kernel_copies = preprocessing.for_model(model), KernelCopies(model)
        self._net = to_fully_convolutional(model, activation=None, pooling=pooling, share_weights=True)
        self._functions = {
            flip: tf.function(functools.partial(self._over_flips, flip=flip), input_signature=[PIXELS, _LABELS], autograph=False)
            for flip in (False, True)
        }

    def places(self, height: int, width: int) -> int:
        """Returns the number of positions in the map of an image of this size."""
        _, rows, columns, _ = self._net.compute_output_shape((1, height, width, 3))
        return rows * columns

    def boxes(self, images, labels, *, flip: bool = False, within: bool = True):
        """Returns the boxes that each position of the map predicts for some classes.

        Args:
            images: `(B, height, width, 3)` uint8, RGB, each side at least `crop`: whole images or crops.
            labels: `(B, k)` int, class indices of the localiser; ignored with single-class regression.
            flip: whether to predict boxes from mirror images, too.
            within: whether to clip boxes to the images, as suits whole ones; boxes of a crop may extend beyond it.

        Returns:
            `(B, places, k, 4)` float32, `x_min, y_min, x_max, y_max` in fractions of the images; one for all classes (`k` is 1)
            with single-class regression. `places` are the map's positions, row by row, then those of the mirror image.
        """
        with tf.device(self._device):
            found = self._functions[flip](images, tf.cast(labels, tf.int32))
            return tf.clip_by_value(found, 0.0, 1.0) if within else found

    def trace_boxes(self, images, labels, flip: bool):
        """Like `boxes` for whole images of any dtype in 0–255, to be called while tracing a larger graph."""
        return tf.clip_by_value(self._over_flips(images, labels, flip), 0.0, 1.0)

    def _over_flips(self, images, labels, flip: bool):
        found = self._boxes(images, labels)
        if not flip:
            return found
        x_min, y_min, x_max, y_max = tf.unstack(self._boxes(tf.reverse(images, [2]), labels), axis=-1)
        return tf.concat([found, tf.stack([1 - x_max, y_min, 1 - x_min, y_max], axis=-1)], axis=1)

    def _outputs(self, images):
        """Returns the net's outputs at each position: `(B, rows, columns, units)`."""
        with self.kernel_copies.scope():
            return self._net(self._preprocess(images), training=False)

    def _boxes(self, images, labels):
        outputs = tf.cast(self._outputs(images), tf.float32)
        shape = tf.shape(outputs)
        told = tf.reshape(outputs, [shape[0], shape[1] * shape[2], self.classes, len(BOX)])
        if self.regression == PCR:
            told = tf.gather(told, labels, axis=2, batch_dims=1)
        centres, sizes = told[..., :2], tf.maximum(told[..., 2:], 0.0)
        edges = tf.concat([centres - sizes / 2, centres + sizes / 2], axis=-1) * float(self.crop)
        rows, columns = tf.meshgrid(tf.range(shape[1]), tf.range(shape[2]), indexing="ij")
        corners = self.stride * tf.reshape(tf.stack([rows, columns], axis=-1), [-1, 1, 2])  # (places, 1, 2)
        windows = tf.concat([corners, tf.fill(tf.shape(corners), self.crop)], axis=-1)
        size = tf.shape(images)[1:3]
        in_image = Geometry(size, windows, tf.constant(False), self.crop).boxes_in_image(edges)
        return in_image / tf.cast(tf.gather(size, [1, 0, 1, 0]), tf.float32)
