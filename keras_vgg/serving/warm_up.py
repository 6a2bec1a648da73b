"""Requests that TensorFlow Serving runs before it declares a version ready, so that no user waits for one-time work."""

import pathlib
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from keras_vgg.support import extras

FILE = "assets.extra/tf_serving_warmup_requests"
"""Where TensorFlow Serving expects them in a SavedModel: a TFRecord file of `PredictionLog`."""


ASPECT = 1.5
"""Aspect ratio, width by height, of the encoded images among them."""


def example_inputs(signatures: Iterable[str], side: int) -> dict[str, tf.Tensor]:
    """Returns an input for each signature.

    Args:
        signatures: names of `signatures.Served`.
        side: of the images, pixels; JPEGs are `ASPECT` times as wide.

    Returns:
        `{signature: tensor}`.
    """
    shades = np.add.outer(np.arange(side), np.arange(int(ASPECT * side))) % 256  # smooth, which makes a small JPEG
    pixels = np.repeat(shades[..., np.newaxis], 3, axis=2).astype(np.uint8)
    square = tf.constant(pixels[np.newaxis, :, :side])
    of_pixels = {"serving_default": tf.cast(square, tf.float32), "serving_uint8": square}
    encoded = tf.io.encode_jpeg(pixels)[tf.newaxis]
    return {name: of_pixels.get(name, encoded) for name in signatures}


def write_requests(folder: pathlib.Path, inputs: Mapping[str, tf.Tensor]) -> None:
    """Writes a request for each signature into the SavedModel in `folder`.

    Args:
        folder: a version, e.g. `models/vgg/1`.
        inputs: `{signature: images}`.
    """
    with extras.needed("serve"):
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    path = folder / FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, images in inputs.items():
            request = predict_pb2.PredictRequest()  # the server fills in the model name
            request.model_spec.signature_name = name
            request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
