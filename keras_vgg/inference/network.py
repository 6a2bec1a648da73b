"""A net made ready for testing: from uint8 images to posteriors, on one device."""

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
    """Posteriors of a net for views of images of like shape.

    Args:
        model: a VGG net with its top, whose preprocessing is known, for square inputs; its classifier ends in a soft-max, in
            logits, or in sigmoids where an image may show several classes.
        pooling: of odd sizes in dense views, `"floor"` or `"ceil"`.
        average: what is averaged over the places of a dense score map: `"posteriors"`, after the soft-max, or `"scores"`, before
            it. The paper says "the class score map is spatially averaged" and leaves it open. Views are always averaged after it.
            A net that pools globally, as with the head `pool`, has scores averaged: that is the net itself.
        device: where it computes, e.g. `"GPU:1"`; by default where TensorFlow would. The model's variables should be there.

    Attributes:
        model: the model, whose variables are shared.
        kernel_copies: of the kernels as they were, in the precision that the model computes in.
        crop: side of the net's input.
        smallest_input: images have at least so many pixels on their shorter side.
        classes: number of classes; two where the net ends in one sigmoid, which tells the second of them.
        activation: what makes posteriors of scores: `"softmax"`, or `"sigmoid"` where classes are told each for itself.
        average, pooling: as given, and `"scores"` for a net that pools globally.
        stride: pixels from one place of the score map to the next.
        window: side of the window that a place of the score map looks at; of a net that pools globally, `stride`.
        pools_globally: whether its head takes the mean over places, as `pool` does, or the largest values.
        has_score_map: whether it tells classes at every place of a map, see `heads.has_score_map`.

    Raises:
        InputError: if the model is not of this kind.
    """

    def __init__(self, model: keras.Model, *, pooling: str = "floor", average: str = "posteriors", device: str | None = None):
        if average not in AVERAGES:
            raise InputError(f"`average` must be one of {', '.join(AVERAGES)}. Received: average={average!r}.")
        # The mean over places of what a classifier makes of each is what it makes of their mean: of scores, not of posteriors.
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
        # Both without the classifier's own activation; what makes posteriors of scores is ours.
        self._dense = score_net(model, pooling=pooling, share_weights=True)
        self.activation, self._is_of_logits = _ending(model)
        self._posteriors_of = _ACTIVATIONS[self.activation]
        self._tells_two = model.output_shape[-1] == 1
        # A crop is seen as in training, whatever becomes of odd sizes on a map.
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
            flip: whether the mirror images count too; they go through the net in the same batch.

        Returns:
            `(B, classes)` float32.
        """
        with tf.device(self._device):
            return self._functions[kind, flip](images)

    def see(self, images, views: Views, which=None):
        """As `posteriors`, for `passes.run_pass`."""
        return self.posteriors(images, views.kind, flip=views.flip)

    def score_map(self, images):
        """Returns posteriors at every place of a dense net: `(B, height, width, 3)` uint8 to `(B, rows, columns, classes)`."""
        with tf.device(self._device):
            return self._score_map(images)

    def grad_cam(self, images, label: int):
        """Returns the Grad-CAM of a class on the last convolution, for whole images looked at densely; see `grad_cam.grad_cam`.

        Args:
            images: `(B, height, width, 3)` uint8, RGB, each side at least `crop`.
            label: the class.

        Returns:
            `(B, rows, columns)` float32, and for rows and columns the pixel of the first's centre and the pixels to the next.
        """
        body, head = split_at_last_convolution(self._dense)
        with tf.device(self._device):
            values = grad_cam(body, head, self._preprocess(images), label)
        return values, tuple(centres(body, side) for side in images.shape[1:3])

    def own_posteriors(self, crops):
        """Returns what the model itself says of crops, through its own layers to their end: `(B, classes)` float32."""
        outputs = tf.cast(self.model(self._preprocess(crops), training=False), tf.float32)
        if self._tells_two:
            second = tf.nn.sigmoid(outputs) if self._is_of_logits else outputs
            return tf.concat([1 - second, second], axis=-1)
        return self._posteriors_of(outputs) if self._is_of_logits else outputs

    def trace_posteriors(self, images, kind: str, flip: bool):
        """As `posteriors`, for images of any dtype in 0–255, to be called while a graph is made of something larger."""
        return over_flips(self._see[kind], images, flip)

    def trace_features(self, images, kind: str, flip: bool, layer: str):
        """Returns what a layer puts out, averaged over all places, and over the mirror image if `flip` (Appendix B).

        To be called while a graph is made of something larger.

        Args:
            images, kind, flip: as for `trace_posteriors`; `kind` is `"dense"` or `"center"`.
            layer: its name, e.g. `"fc2"` or `"block5_pool"`.

        Returns:
            `(B, channels of the layer)` float32.
        """
        net = up_to_layer(self._dense if kind == DENSE else self._crop_net, layer)
        with self.kernel_copies.scope():
            return over_flips(functools.partial(mean_over_places, net, self._preprocess), images, flip)

    def channels_of(self, layer: str) -> int:
        """Returns how many channels a layer puts out: the length of its features."""
        return self._dense.get_layer(layer).output.shape[-1]

    def trace_score_map(self, images):
        """As `score_map`, for images of any dtype in 0–255, to be called while a graph is made of something larger."""
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

        def row(top):  # a row of the grid at a time, which bounds memory
            crops = [images[:, top : top + self.crop, lefts[i] : lefts[i] + self.crop] for i in range(GRID)]
            posteriors = self._see_as_it_is(tf.concat(crops, axis=0))  # (GRID * B, classes)
            return tf.reduce_mean(tf.reshape(posteriors, [GRID, shape[0], self.classes]), axis=0)

        rows = tf.map_fn(row, tops, fn_output_signature=tf.float32, parallel_iterations=1)  # (GRID, B, classes)
        return tf.reduce_mean(rows, axis=0)


def score_net(model: keras.Model, *, pooling: str = "floor", share_weights: bool = False) -> keras.Model:
    """Returns the fully convolutional net from prepared images to scores, before what makes posteriors of them.

    `(B, height, width, 3)` to `(B, rows, columns, classes)`; arguments as for `to_fully_convolutional`.
    """
    net = to_fully_convolutional(model, activation=None, pooling=pooling, share_weights=share_weights)
    if net.output_shape[-1] > 1:
        return net
    return keras.Model(net.inputs, TwoScores(name="two_scores")(net.output), name=net.name)


@keras.saving.register_keras_serializable("keras_vgg")
class TwoScores(keras.layers.Layer):
    """The scores of two classes, of which a sigmoid of one score tells the second: their soft-max is that sigmoid."""

    def call(self, inputs):
        """`(…, 1)` to `(…, 2)`."""
        return keras.ops.concatenate([-inputs / 2, inputs / 2], axis=-1)


def _ending(model: keras.Model) -> tuple[str, bool]:
    """Returns what makes posteriors of the scores that a net ends in, and whether it leaves that to us.

    Raises:
        InputError: if it ends in something else.
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
                "Expected a net that ends in a soft-max, in sigmoids or in logits. Received: "
                f"{model.name!r}, whose layer {layer.name!r} ends in {getattr(activation, '__name__', activation)}; "
                "give a net built with `classifier_activation` 'softmax', 'sigmoid' or None."
            )
    if model.output_shape[-1] > 1:
        return (found[0], False) if found else ("softmax", True)
    if "softmax" in found:
        raise InputError(f"Expected more than one output before a soft-max. Received: {model.name!r} with one, which is always 1.")
    return "softmax", not found  # of two scores, see `TwoScores`


def grid_offsets(size, crop: int):
    """Returns where the crops of a regular grid begin, `(GRID,)` int32: the first at 0, the last touching the end (Sec. 3.2)."""
    return tf.cast(tf.round(tf.linspace(0.0, tf.cast(size - crop, tf.float32), GRID)), tf.int32)
