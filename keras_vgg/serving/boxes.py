"""What an exported net and a localiser say of where things are in one encoded image, as part of a graph (Appendix A)."""

import tensorflow as tf

from keras_vgg.data import image_headers
from keras_vgg.inference.batches import MAX_PIXELS
from keras_vgg.inference.network import Network
from keras_vgg.inference.views import DENSE
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
NOT_FINITE = "the localiser's boxes of it are not finite"


def trace_boxes(network: Network, scales: tuple[int, ...], flip: bool, finder: Finder, encoded):
    """Returns the guesses of an image, the best first.

    Args:
        network: the classifier.
        scales: at which it looks at whole images, posteriors being averaged.
        flip: whether it looks at mirror images, too.
        finder: the localiser.
        encoded: scalar string, the bytes of an image file or any others.

    Returns:
        As `SPECS` has them: classes (-1 behind the last guess), scores and boxes, edges in fractions of the image (zeros behind the
        last guess); height and width of the image; why it cannot be used, empty if it can. Of one that cannot there are NaNs.
    """
    all_scales = tuple(dict.fromkeys(scales + finder.scales))
    images, error = rescaled_images(encoded, all_scales, crop=None, most_pixels=MAX_PIXELS)
    at = {scale: image[tf.newaxis] for scale, image in zip(all_scales, images, strict=True)}
    most = min(finder.merging.classes, network.classes)

    def seen():
        posteriors = tf.add_n([network.trace_posteriors(at[scale], DENSE, flip)[0] for scale in scales]) / len(scales)
        scores, labels = tf.math.top_k(posteriors, most)
        own = tf.gather(tf.constant(finder.own_labels, tf.int32), labels)[tf.newaxis]
        boxes = [finder.localiser.trace_boxes(at[scale], own, finder.flip)[0] for scale in finder.scales]
        is_finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(each)) for each in boxes])
        guesses = tf.cond(is_finite, lambda: trace_guess(boxes, labels, scores, finder.merging), nothing)
        return *guesses, tf.where(is_finite, "", NOT_FINITE)

    def nothing():
        labels, scores, boxes = (tf.zeros(spec.shape, spec.dtype) for spec in SPECS[:3])
        return labels - 1, scores + float("nan"), boxes + float("nan")

    labels, scores, boxes, error = tf.cond(error == "", seen, lambda: (*nothing(), error))
    size = tf.cast(image_headers.read_header(encoded).size, tf.int32)
    return labels, scores, boxes, tf.where(error == "", size, tf.zeros_like(size)), error
