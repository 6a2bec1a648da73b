"""The signatures of an exported net: what a server computes, from the bytes of images to names.

All take a batch of any size, whose images need have nothing in common: a server joins the requests of many clients.
"""

import dataclasses
import functools
import hashlib

import numpy as np
import tensorflow as tf

from keras_vgg.inference.batches import MAX_PIXELS
from keras_vgg.inference.network import Network
from keras_vgg.inference.views import CENTER, DENSE
from keras_vgg.localisation.finder import Finder
from keras_vgg.serving.boxes import SPECS, trace_boxes
from keras_vgg.serving.encoded import rescaled_images

_NAN = float("nan")
_ENCODED = tf.TensorSpec([None], tf.string, name="images")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How images are looked at.

    Attributes:
        dense: the whole image, by the fully convolutional net; else its centre crop.
        scales: smallest sides Q, at each of which the image is looked at; results are averaged.
        flip: whether mirror images are looked at too.
        top_k: how many classes are named.
        features: the layer whose activations `features` gives, of `configs.feature_layers`.
    """

    dense: bool
    scales: tuple[int, ...]
    flip: bool
    top_k: int
    features: str = "fc2"

    @property
    def kind(self) -> str:
        """The kind of `evaluation.views`."""
        return DENSE if self.dense else CENTER


class Served(tf.Module):
    """A net with its signatures, for `tf.saved_model.save`.

    Args:
        network: the net.
        variables: of its model, and of the localiser's, each stored once whatever the number of signatures.
        labels: file of class names, one a line in label order, which becomes an asset of the SavedModel.
        protocol: how `classify` and `features` look at images.
        digest: the net's (`identity.digest_of_net`), which every answer about an encoded image carries.
        finder: the localiser of the signature `localise`, which there is with it alone.
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
        """`(B, height, width, 3)`, RGB in 0–255, as they are, to `probabilities`.

        One image or more, none smaller than the net's input.
        """
        side = self._network.crop
        enough = tf.debugging.assert_greater_equal(
            tf.reduce_min(tf.shape(images)[1:3]), side, f"the sides of `images` must be at least {side}"
        )
        with tf.control_dependencies([enough]):
            return {"probabilities": self._network.trace_posteriors(images, self._protocol.kind, self._protocol.flip)}

    def _classify(self, images):
        """Encoded images to `probabilities` `(B, classes)` and the `top_k` most probable classes, best first."""

        def see(image):
            return self._network.trace_posteriors(image, self._protocol.kind, self._protocol.flip)

        probabilities, error = self._over_scales(images, see, self._network.classes)
        scores, ids = tf.math.top_k(probabilities, self._protocol.top_k)
        ids = tf.where(error[:, tf.newaxis] == "", ids, -1)  # those of NaNs mean nothing
        names = self._names.lookup(tf.cast(ids, tf.int64))
        return {
            "probabilities": probabilities,
            "scores": scores,
            "class_ids": ids,
            "class_names": names,
            "error": error,
        } | self._told(images)

    def _features(self, images):
        """Encoded images to `features` `(B, channels)` of length one: descriptors for other classifiers (Appendix B)."""
        protocol = self._protocol

        def see(image):
            return self._network.trace_features(image, protocol.kind, protocol.flip, protocol.features)

        features, error = self._over_scales(images, see, self._network.channels_of(protocol.features))
        return {"features": tf.math.l2_normalize(features, axis=1), "error": error} | self._told(images)

    def _score_map(self, images):
        """Encoded images to posteriors at every place of the dense net, at the largest Q.

        Score maps of unlike size are filled up with NaN at the right and at the bottom; `size` says how many `(rows, columns)`
        there are.
        """

        classes, largest = self._network.classes, (max(self._protocol.scales),)

        def see(encoded):
            (image,), error = self._rescaled(encoded, largest)

            def seen():
                return self._network.trace_score_map(image[tf.newaxis])[0]

            scores = tf.cond(error == "", seen, lambda: tf.zeros([0, 0, classes]))  # (rows, columns, classes)
            return tf.reshape(scores, [-1]), tf.shape(scores)[:2], error

        any_length = tf.RaggedTensorSpec([None], tf.float32, ragged_rank=0)
        flat, sizes, error = _one_by_one(see, images, (any_length, tf.TensorSpec([2], tf.int32), tf.TensorSpec([], tf.string)))
        largest_size = tf.reduce_max(tf.pad(sizes, [[1, 0], [0, 0]]), axis=0)  # with a row of zeros, for a batch of nothing

        def filled_up(example):
            scores, size = example
            room = tf.pad((largest_size - size)[:, tf.newaxis], [[0, 1], [1, 0]])
            filled = tf.pad(tf.reshape(scores, [size[0], size[1], classes]), room, constant_values=_NAN)
            return tf.reshape(filled, [-1])  # a batch of nothing can be made of flat ones alone

        flat = _one_by_one(filled_up, (flat, sizes), any_length).flat_values
        maps = tf.reshape(flat, [tf.size(images), largest_size[0], largest_size[1], classes])
        return {"score_map": maps, "size": sizes, "error": error} | self._told(images)

    def _localise(self, finder, images):
        """Encoded images to the best guesses of what is where: classes, scores and `boxes` `(B, 5, 4)` in fractions of it."""

        def see(encoded):
            return trace_boxes(self._network, self._protocol.scales, self._protocol.flip, finder, encoded)

        ids, scores, boxes, size, error = _one_by_one(see, images, SPECS)
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
        return {"net_sha256": tf.fill([tf.size(images)], self._digest)}  # a row for each image, as a server wants of all outputs

    def _rescaled(self, encoded, scales):
        crop = None if self._protocol.dense else self._network.crop
        return rescaled_images(encoded, scales, crop=crop, most_pixels=MAX_PIXELS)

    def _over_scales(self, images, see, width: int):
        """Returns the mean over scales of what `see` gives for an image, `(B, width)`, NaN where there is none, and errors."""

        def one(encoded):
            rescaled, error = self._rescaled(encoded, self._protocol.scales)

            def seen():
                return tf.add_n([see(image[tf.newaxis])[0] for image in rescaled]) / len(rescaled)

            return tf.cond(error == "", seen, lambda: tf.fill([width], _NAN)), error

        return _one_by_one(one, images, (tf.TensorSpec([width], tf.float32), tf.TensorSpec([], tf.string)))


def checksum(served) -> str:
    """Returns the SHA-256 of the variables of a `Served`, or of one that was read back."""
    whole = hashlib.sha256()
    for variable in served._variables:
        whole.update(np.ascontiguousarray(variable.numpy()).data)
    return whole.hexdigest()


def _one_by_one(function, elements, signature):
    # Two at a time: one is decoded while the net looks at another, and memory stays that of two images.
    return tf.map_fn(function, elements, fn_output_signature=signature, parallel_iterations=2)
