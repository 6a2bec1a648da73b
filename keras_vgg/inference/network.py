"""A net prepared for testing: from uint8 images to posteriors, on one device."""

import functools

import keras
import tensorflow as tf

from keras_vgg import preprocessing
from keras_vgg.configs import TRAINING_SIZE
from keras_vgg.errors import InputError
from keras_vgg.fully_convolutional import stride_of, to_fully_convolutional
from keras_vgg.heads import GLOBAL_POOLINGS, has_score_map
from keras_vgg.inference.grad_cam import centres, grad_cam, split_at_last_convolution
from keras_vgg.inference.tracing import mean_over_places, over_flips, up_to_layer
from keras_vgg.inference.views import CENTER, DENSE, GRID, MULTI_CROP, Views
from keras_vgg.kernel_copies import KernelCopies

SCORES = "scores"
AVERAGES = ("posteriors", SCORES)
_ACTIVATIONS = {"softmax": tf.nn.softmax, "sigmoid": tf.nn.sigmoid}
PIXELS = tf.TensorSpec([None, None, None, 3], tf.uint8)


class Network:
    """Predicts posteriors for views of images of the same shape.

    Args:
        model: a VGG net with its top, with known preprocessing, for square inputs; its classifier ends in a softmax, in logits,
            or in sigmoids for multi-label images.
        pooling: rounding of odd sizes in dense views, `"floor"` or `"ceil"`.
        average: what to average over the positions of a dense score map: `"posteriors"`, after the softmax, or `"scores"`, before
            it. The paper says "the class score map is spatially averaged" and leaves it open. Views are always averaged after it.
            A net with global pooling, such as the head `pool`, always averages scores, as the net itself does.
        device: compute device, e.g. `"GPU:1"`, which should hold the model's variables; by default TensorFlow's choice.

    Attributes:
        model: the model, whose variables are shared.
        kernel_copies: copies of the kernels in the model's compute precision.
        crop: side of the net's input.
        smallest_input: minimum of an image's shorter side in pixels.
        classes: number of classes; two if the net ends in one sigmoid, which predicts the second of them.
        activation: the function from scores to posteriors: `"softmax"`, or `"sigmoid"` for independent classes.
        average, pooling: as given; `average` is `"scores"` for a net with global pooling.
        stride: pixels between neighboring positions of the score map.
        window: side of the window of a score map position; `stride` for a net with global pooling.
        pools_globally: whether its head has global average pooling, such as `pool`, or global max pooling.
        has_score_map: whether it predicts classes at each position of a map, see `heads.has_score_map`.

    Raises:
        InputError: if the model is not of this kind.
    """

    def __init__(self, model: keras.Model, *, pooling: str = "floor", average: str = "posteriors", device: str | None = None):
        if average not in AVERAGES:
            raise InputError(f"`average` must be one of {', '.join(AVERAGES)}. Received: average={average!r}.")
        # The mean over positions of a classifier's outputs equals its output for their mean: for scores, not for posteriors.
        self.pools_globally = any(isinstance(layer, GLOBAL_POOLINGS) for layer in model.layers)
        self.has_score_map = has_score_map(model.layers)
        height, width = (each or (self.pools_globally and TRAINING_SIZE) or None for each in model.input_shape[1:3])
        if height is None or height != width:
            raise InputError(f"Expected a net for square inputs with its top. Received: {model.name!r} for {height}x{width}.")
        self.model, self.crop, self.classes = model, height, max(model.output_shape[-1], 2)
        self.smallest_input, self.stride = self.crop, stride_of(model)
        self.window = self.stride if self.pools_globally else self.crop
        self.average, self.pooling, self._device = SCORES if self.pools_globally else average, pooling, device
        self._preprocess, self.kernel_copies = preprocessing.for_model(model), KernelCopies(model)
        # Both without the classifier's own activation, which is applied here instead.
        self._dense = score_net(model, pooling=pooling, share_weights=True)
        self.activation, self._is_of_logits = _ending(model)
        self._posteriors_of = _ACTIVATIONS[self.activation]
        self._tells_two = model.output_shape[-1] == 1
        # Crops are processed as in training, however dense views round odd sizes.
        self._crop_net = self._dense if pooling == "floor" else score_net(model, share_weights=True)
        self._see = {DENSE: self._see_whole, MULTI_CROP: self._see_grid, CENTER: self._see_as_it_is}
        # Signatures without sizes: one graph for images of every shape.
        traced = functools.partial(tf.function, input_signature=[PIXELS], autograph=False)
        self._functions = {
            (kind, flip): traced(functools.partial(self.trace_posteriors, kind=kind, flip=flip))
            for kind in self._see
            for flip in (False, True)
        }
        self._score_map = traced(self.trace_score_map)

    def posteriors(self, images, kind: str, *, flip: bool):
        """Returns the mean posteriors of each image over its views.

        Args:
            images: `(B, height, width, 3)` uint8, RGB, of smallest side Q; for `"center"`, the crops themselves.
            kind: as for `views.Views`.
            flip: whether to include the mirror images, which are processed in the same batch.

        Returns:
            `(B, classes)` float32.
        """
        with tf.device(self._device):
            return self._functions[kind, flip](images)

    def see(self, images, views: Views, which=None):
        """Like `posteriors`, for `passes.run_pass`."""
        return self.posteriors(images, views.kind, flip=views.flip)

    def score_map(self, images):
        """Returns posteriors at each position of a dense net: `(B, height, width, 3)` uint8 to `(B, rows, columns, classes)`."""
        with tf.device(self._device):
            return self._score_map(images)

    def grad_cam(self, images, label: int):
        """Returns the dense Grad-CAM of a class on the last convolution, for whole images; see `grad_cam.grad_cam`.

        Args:
            images: `(B, height, width, 3)` uint8, RGB, each side at least `crop`.
            label: the class.

        Returns:
            `(B, rows, columns)` float32, and for rows and columns the pixel of the first center and the stride in pixels.
        """
        body, head = split_at_last_convolution(self._dense)
        with tf.device(self._device):
            values = grad_cam(body, head, self._preprocess(images), label)
        return values, tuple(centres(body, side) for side in images.shape[1:3])

    def own_posteriors(self, crops):
        """Returns the model's own posteriors for crops, through all of its layers: `(B, classes)` float32."""
        outputs = tf.cast(self.model(self._preprocess(crops), training=False), tf.float32)
        if self._tells_two:
            second = tf.nn.sigmoid(outputs) if self._is_of_logits else outputs
            return tf.concat([1 - second, second], axis=-1)
        return self._posteriors_of(outputs) if self._is_of_logits else outputs

    def trace_posteriors(self, images, kind: str, flip: bool):
        """Like `posteriors`, for images of any dtype in 0–255, to be called while tracing a larger graph."""
        return over_flips(self._see[kind], images, flip)

    def trace_features(self, images, kind: str, flip: bool, layer: str):
        """Returns a layer's output averaged over all positions, and over the mirror image if `flip` (Appendix B).

        To be called while tracing a larger graph.

        Args:
            images, kind, flip: as for `trace_posteriors`; `kind` is `"dense"` or `"center"`.
            layer: the layer's name, e.g. `"fc2"` or `"block5_pool"`.

        Returns:
            `(B, channels of the layer)` float32.
        """
        net = up_to_layer(self._dense if kind == DENSE else self._crop_net, layer)
        with self.kernel_copies.scope():
            return over_flips(functools.partial(mean_over_places, net, self._preprocess), images, flip)

    def channels_of(self, layer: str) -> int:
        """Returns the number of a layer's output channels: the length of its features."""
        return self._dense.get_layer(layer).output.shape[-1]

    def trace_score_map(self, images):
        """Like `score_map`, for images of any dtype in 0–255, to be called while tracing a larger graph."""
        return self._posteriors_of(self._logits(images, self._dense))

    def _logits(self, images, net):
        with self.kernel_copies.scope():
            return tf.cast(net(self._preprocess(images), training=False), tf.float32)  # (B, rows, columns, classes)

    def _see_whole(self, images):
        logits = self._logits(images, self._dense)
        if self.average == SCORES:
            return self._posteriors_of(tf.reduce_mean(logits, axis=[1, 2]))
        return tf.reduce_mean(self._posteriors_of(logits), axis=[1, 2])

    def _see_as_it_is(self, images):
        logits = self._logits(images, self._crop_net)
        return self._posteriors_of(tf.reduce_mean(logits, axis=[1, 2]) if self.pools_globally else logits[:, 0, 0])

    def _see_grid(self, images):
        shape = tf.shape(images)
        tops, lefts = (grid_offsets(shape[axis], self.crop) for axis in (1, 2))

        def row(top):  # one row of the grid at a time, to bound memory
            crops = [images[:, top : top + self.crop, lefts[i] : lefts[i] + self.crop] for i in range(GRID)]
            posteriors = self._see_as_it_is(tf.concat(crops, axis=0))  # (GRID * B, classes)
            return tf.reduce_mean(tf.reshape(posteriors, [GRID, shape[0], self.classes]), axis=0)

        rows = tf.map_fn(row, tops, fn_output_signature=tf.float32, parallel_iterations=1)  # (GRID, B, classes)
        return tf.reduce_mean(rows, axis=0)


def score_net(model: keras.Model, *, pooling: str = "floor", share_weights: bool = False) -> keras.Model:
    """Returns the fully convolutional net from preprocessed images to scores, before the final activation.

    `(B, height, width, 3)` to `(B, rows, columns, classes)`; arguments as for `to_fully_convolutional`.
    """
    net = to_fully_convolutional(model, activation=None, pooling=pooling, share_weights=share_weights)
    if net.output_shape[-1] > 1:
        return net
    return keras.Model(net.inputs, TwoScores(name="two_scores")(net.output), name=net.name)


@keras.saving.register_keras_serializable("keras_vgg")
class TwoScores(keras.layers.Layer):
    """Two class scores from one, so that their softmax is the sigmoid of the one score, for the second class."""

    def call(self, inputs):
        """`(…, 1)` to `(…, 2)`."""
        return keras.ops.concatenate([-inputs / 2, inputs / 2], axis=-1)


def _ending(model: keras.Model) -> tuple[str, bool]:
    """Returns the activation from a net's scores to posteriors, and whether the net ends in logits, before it.

    Raises:
        InputError: for any other final activation.
    """
    classifier = max(place for place, layer in enumerate(model.layers) if isinstance(layer, keras.layers.Dense))
    found = []
    for layer in model.layers[classifier:]:
        activation = getattr(layer, "activation", None)
        if isinstance(layer, keras.layers.Softmax) or activation is keras.activations.softmax:
            found.append("softmax")
        elif activation is keras.activations.sigmoid:
            found.append("sigmoid")
        elif activation not in (None, keras.activations.linear):
            raise InputError(
                "Expected a net that ends in a softmax, in sigmoids or in logits. Received: "
                f"{model.name!r}, whose layer {layer.name!r} ends in {getattr(activation, '__name__', activation)}; "
                "pass a net built with `classifier_activation` 'softmax', 'sigmoid' or None."
            )
    if model.output_shape[-1] > 1:
        return (found[0], False) if found else ("softmax", True)
    if "softmax" in found:
        raise InputError(f"Expected more than one output before a softmax. Received: {model.name!r} with one, which is always 1.")
    return "softmax", not found  # of two scores, see `TwoScores`


def grid_offsets(size, crop: int):
    """Returns the offsets of a regular grid of crops, `(GRID,)` int32: the first at 0, the last touching the end (Sec. 3.2)."""
    return tf.cast(tf.round(tf.linspace(0.0, tf.cast(size - crop, tf.float32), GRID)), tf.int32)
