"""A model with the signatures of an exported one, so small that it is saved and served at once."""

import math

import numpy as np
import tensorflow as tf

NAMES = ("daisy", "crocus", "iris", "lily", "rosé")
WEIGHTS = np.random.default_rng(0).normal(size=(3, len(NAMES))).astype(np.float32) / 40
TOP, FEATURES = 3, 4
NO_IMAGE = "not an image that can be decoded"


def mean_color(encoded):
    """`(3,)` float32, or NaN where there is no image."""

    def decode(encoded):
        return tf.reduce_mean(tf.cast(tf.io.decode_image(encoded, 3, expand_animations=False), tf.float32), axis=[0, 1])

    dataset = tf.data.Dataset.from_tensors(encoded).map(decode).ignore_errors()
    return dataset.reduce(tf.fill([3], math.nan), lambda _, mean: mean)


class Small(tf.Module):
    """Classes by the mean colour of an image.

    Args:
        width: how many values its features have, the mean colour first.
        sign: by which the mean colour is multiplied, so that nets may differ.
    """

    def __init__(self, width=FEATURES, sign=1):
        super().__init__()
        self._width, self._sign = width, sign

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "images")])
    def classify(self, images):
        probabilities = self._probabilities(self._means(images))  # (B, classes)
        bad = tf.math.is_nan(probabilities[:, 0])
        scores, labels = tf.math.top_k(tf.where(bad[:, None], 0.0, probabilities), TOP)
        return {
            "probabilities": probabilities,
            "scores": tf.where(bad[:, None], math.nan, scores),
            "class_ids": tf.where(bad[:, None], -1, labels),
            "class_names": tf.where(bad[:, None], "", tf.gather(tf.constant(NAMES), labels)),
            "error": tf.where(bad, NO_IMAGE, ""),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "images")])
    def features(self, images):
        means = self._means(images)
        return {
            "features": tf.pad(means, [[0, 0], [0, self._width - 3]]),
            "error": tf.where(tf.math.is_nan(means[:, 0]), NO_IMAGE, ""),
        }

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, "images")])
    def pixels(self, images):
        return {"probabilities": self._probabilities(tf.reduce_mean(images, axis=[1, 2]))}

    def _means(self, images):
        return self._sign * tf.map_fn(mean_color, images, fn_output_signature=tf.TensorSpec([3], tf.float32))

    def _probabilities(self, means):
        return tf.nn.softmax(means @ WEIGHTS)


def save(folder):
    """Saves version 1, which takes pixels only, and version 2, which is as an exported model."""
    module = Small()
    tf.saved_model.save(module, str(folder / "1"), {"serving_default": module.pixels})
    save_version(folder, 2, module)
    return folder


def save_version(folder, version, module):
    """Saves a version that is as an exported model."""
    signatures = {"classify": module.classify, "features": module.features, "serving_default": module.pixels}
    tf.saved_model.save(module, str(folder / str(version)), signatures)
