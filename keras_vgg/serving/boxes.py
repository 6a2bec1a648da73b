"""Runs a localizer on one encoded image, as part of a graph (Appendix A)."""

import tensorflow as tf

from keras_vgg.data import image_headers
from keras_vgg.inference.batches import MAX_PIXELS
from keras_vgg.localisation.finder import Finder
from keras_vgg.localisation.in_graph import trace_guess
from keras_vgg.localisation.scoring import MOST_GUESSES
from keras_vgg.serving.encoded import rescaled_images

SPECS = (
    tf.TensorSpec([MOST_GUESSES], tf.int32),
    tf.TensorSpec([MOST_GUESSES], tf.float32),
    tf.TensorSpec([MOST_GUESSES, 4], tf.float32),
    tf.TensorSpec([2], tf.int32),
    tf.TensorSpec([], tf.string),
)
NOT_FINITE = "the localizer's boxes for it are not finite"


def trace_boxes(finder: Finder, encoded, posteriors, error):
    """Returns the guesses of an image, the best first.

    Args:
        finder: the localiser.
        encoded: scalar string, the bytes of an image file or any others.
        posteriors: `(classes,)` float32, a classifier's output for it.
        error: why the classifier could not use it, a scalar string, empty if it could.

    Returns:
        Tensors as in `SPECS`: classes (-1 after the last guess), scores and boxes, edges in fractions of the image (zeros after
        the last guess); height and width of the image; why it is unusable, empty if it is usable. An unusable image yields NaN.
    """
    usable = tf.where(error == "", encoded, "")  # avoids decoding an image that is refused anyway
    images, not_usable = rescaled_images(usable, finder.scales, crop=None, most_pixels=MAX_PIXELS)
    error = tf.where(error == "", not_usable, error)

    def seen():
        scores, labels = tf.math.top_k(posteriors, min(finder.merging.classes, posteriors.shape[0]))
        own = tf.gather(tf.constant(finder.own_labels, tf.int32), labels)[tf.newaxis]
        boxes = [finder.localiser.trace_boxes(image[tf.newaxis], own, finder.flip)[0] for image in images]
        is_finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(each)) for each in boxes])
        guesses = tf.cond(is_finite, lambda: trace_guess(boxes, labels, scores, finder.merging), nothing)
        return *guesses, tf.where(is_finite, "", NOT_FINITE)

    def nothing():
        labels, scores, boxes = (tf.zeros(spec.shape, spec.dtype) for spec in SPECS[:3])
        return labels - 1, scores + float("nan"), boxes + float("nan")

    labels, scores, boxes, error = tf.cond(error == "", seen, lambda: (*nothing(), error))
    size = tf.cast(image_headers.read_header(usable).size, tf.int32)
    return labels, scores, boxes, tf.where(error == "", size, tf.zeros_like(size)), error
