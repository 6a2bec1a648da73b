"""The signatures of an exported net, from encoded images to class names.

Each takes a batch of any size, whose images need not be related: a server merges the requests of many clients.
"""

import dataclasses
import functools
import hashlib

import numpy as np
import tensorflow as tf

from keras_vgg.inference.network import Network
from keras_vgg.inference.views import CENTER, DENSE
from keras_vgg.localisation.finder import Finder
from keras_vgg.serving.batching import PIXELS_AT_ONCE, fold_images, one_by_one
from keras_vgg.serving.boxes import SPECS, trace_boxes

_NAN = float("nan")
_ENCODED = tf.TensorSpec([None], tf.string, name="images")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A test protocol.

    Attributes:
        dense: whether the fully convolutional net sees the whole image rather than its center crop.
        scales: smallest sides Q at which the net sees the image; results are averaged.
        flip: whether to average over mirror images too.
        top_k: number of classes returned.
        features: the layer whose activations `features` returns, of `configs.feature_layers`.
        pixels_at_once: maximum pixels of images of the same shape that go through the net together, see
            `batching.PIXELS_AT_ONCE`.
    """

    dense: bool
    scales: tuple[int, ...]
    flip: bool
    top_k: int
    features: str = "fc2"
    pixels_at_once: int = PIXELS_AT_ONCE

    @property
    def kind(self) -> str:
        """The kind of `evaluation.views`."""
        return DENSE if self.dense else CENTER


class Served(tf.Module):
    """A net with its signatures, for `tf.saved_model.save`.

    Args:
        network: the net.
        variables: of its model and of the localizer's, each stored once whatever the number of signatures.
        labels: file of class names, one per line in label order, which becomes an asset of the SavedModel.
        protocol: protocol of `classify` and `features`.
        digest: the net's (`identity.digest_of_net`), returned with every result for an encoded image.
        finder: the localizer of the signature `localise`, which exists only with it.
    """

    def __init__(self, network: Network, variables, labels: str, protocol: Protocol, digest: str, finder: Finder | None = None):
        super().__init__()
        self._digest, self._finder = digest, finder
        self._network, self._protocol = network, protocol
        self._variables = list(variables)
        self._labels = tf.saved_model.Asset(labels)
        by_line = tf.lookup.TextFileInitializer(
            self._labels, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE
        )
        self._names = tf.lookup.StaticHashTable(by_line, default_value="")

    def signatures(self) -> dict:
        """Returns `{name: function}` for `tf.saved_model.save`."""
        side = None if self._protocol.dense else self._network.crop
        found = {"classify": (self._classify, _ENCODED), "features": (self._features, _ENCODED)}
        for name, dtype in (("serving_default", tf.float32), ("serving_uint8", tf.uint8)):
            found[name] = (self._see_pixels, tf.TensorSpec([None, side, side, 3], dtype, name="images"))
        if self._protocol.dense:
            found["score_map"] = (self._score_map, _ENCODED)
        if self._finder:
            found["localise"] = (functools.partial(self._localise, self._finder), _ENCODED)
        # All control flow here is the graph's own; without AutoGraph's search for more, tracing takes about half the time.
        return {name: tf.function(function, input_signature=[spec], autograph=False) for name, (function, spec) in found.items()}

    def _see_pixels(self, images):
        """Maps `(B, height, width, 3)` images, RGB in 0–255, not rescaled, to `probabilities`.

        At least one image, none smaller than the net's input.
        """
        side = self._network.crop
        enough = tf.debugging.assert_greater_equal(
            tf.reduce_min(tf.shape(images)[1:3]), side, f"the sides of `images` must be at least {side}"
        )
        with tf.control_dependencies([enough]):
            return {"probabilities": self._network.trace_posteriors(images, self._protocol.kind, self._protocol.flip)}

    def _classify(self, images):
        """Maps encoded images to `probabilities` `(B, classes)` and the `top_k` most probable classes, best first."""
        probabilities, error = self._posteriors(images)
        scores, ids = tf.math.top_k(probabilities, self._protocol.top_k)
        ids = tf.where(error[:, tf.newaxis] == "", ids, -1)  # those of NaNs have no meaning
        names = self._names.lookup(tf.cast(ids, tf.int64))
        return {
            "probabilities": probabilities,
            "scores": scores,
            "class_ids": ids,
            "class_names": names,
            "error": error,
        } | self._told(images)

    def _features(self, images):
        """Maps encoded images to `features` `(B, channels)` of unit length: descriptors for other classifiers (Appendix B)."""
        protocol = self._protocol

        def see(views):
            return self._network.trace_features(views, protocol.kind, protocol.flip, protocol.features)

        features, error = self._over_scales(images, see, self._network.channels_of(protocol.features))
        return {"features": tf.math.l2_normalize(features, axis=1), "error": error} | self._told(images)

    def _score_map(self, images):
        """Maps encoded images to posteriors at every position of the dense net, at the largest Q.

        Score maps of different sizes are padded with NaN on the right and at the bottom; `size` is the number of
        `(rows, columns)` of each.
        """
        count, classes = tf.size(images), self._network.classes

        def see(state, rows, views):
            maps, sizes = state
            scores = self._network.trace_score_map(views)
            size = tf.shape(scores)[1:3]
            room = tf.maximum(tf.shape(maps)[1:3], size)  # for the largest so far
            maps = tf.tensor_scatter_nd_update(_filled_up(maps, room), rows, _filled_up(scores, room))
            return maps, tf.tensor_scatter_nd_update(sizes, rows, tf.tile([size], [tf.shape(rows)[0], 1]))

        nothing = (tf.zeros([count, 0, 0, classes]), tf.zeros([count, 2], tf.int32))
        (maps, sizes), error = self._fold(images, (max(self._protocol.scales),), self._protocol.pixels_at_once, see, nothing)
        return {"score_map": maps, "size": sizes, "error": error} | self._told(images)

    def _localise(self, finder, images):
        """Maps encoded images to the best guesses: classes, scores and `boxes` `(B, 5, 4)` in fractions of the image."""
        # Classifies all images first, equal shapes together; then finds boxes one by one, for which each is decoded again.
        examples = (images, *self._posteriors(images))
        ids, scores, boxes, size, error = one_by_one(lambda example: trace_boxes(finder, *example), examples, SPECS)
        return {
            "class_ids": ids,
            "class_names": self._names.lookup(tf.cast(ids, tf.int64)),
            "scores": scores,
            "boxes": boxes,
            "image_size": size,
            "localiser_sha256": tf.fill([tf.size(images)], finder.digest),
            "error": error,
        } | self._told(images)

    def _told(self, images):
        return {
            "net_sha256": tf.fill([tf.size(images)], self._digest)
        }  # a row for each image, which a server requires of all outputs

    def _posteriors(self, images):
        def see(views):
            return self._network.trace_posteriors(views, self._protocol.kind, self._protocol.flip)

        return self._over_scales(images, see, self._network.classes)

    def _over_scales(self, images, see, width: int):
        """Returns the mean over scales of the outputs of `see`, `(B, width)`, NaN for unusable images, and errors."""
        protocol = self._protocol

        def add(state, rows, views):
            return (tf.tensor_scatter_nd_add(*state, rows, see(views)),)

        budget = protocol.pixels_at_once // (2 if protocol.flip else 1)
        (total,), error = self._fold(images, protocol.scales, budget, add, (tf.zeros([tf.size(images), width]),))
        return tf.where(error[:, tf.newaxis] == "", total / len(protocol.scales), _NAN), error

    def _fold(self, images, scales, budget: int, see, state):
        return fold_images(images, scales, None if self._protocol.dense else self._network.crop, budget, see, state)


def checksum(served) -> str:
    """Returns the SHA-256 of the variables of a `Served`, original or reloaded."""
    whole = hashlib.sha256()
    for variable in served._variables:
        whole.update(np.ascontiguousarray(variable.numpy()).reshape(-1).view(np.uint8).data)  # bfloat16 has no buffer
    return whole.hexdigest()


def _filled_up(maps, size):
    """Pads `(b, rows, columns, classes)` with NaN to at least as many rows and columns."""
    room = tf.pad((size - tf.shape(maps)[1:3])[:, tf.newaxis], [[1, 1], [1, 0]])
    return tf.ensure_shape(tf.pad(maps, room, constant_values=_NAN), [None, None, None, maps.shape[-1]])
