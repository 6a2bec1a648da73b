"""`preprocess_input` and `decode_predictions`, as in `keras.applications.imagenet_utils`."""

import keras
import numpy as np

from keras_vgg.weights import catalogue, download


def preprocess_input(x, data_format: str | None = None, mode: str = "caffe"):
    """Does what `keras.applications.imagenet_utils.preprocess_input` does, but never to the caller's own array.

    Which mode the weights of a model want, `keras_vgg.preprocessing.for_model(model)` knows better.

    Args:
        x: `(…, height, width, 3)` images, RGB in 0–255: an array or a tensor of any numeric type.
        data_format: `"channels_last"` or `"channels_first"`; Keras' own setting by default.
        mode: `"caffe"` (BGR minus mean), `"torch"` (RGB in 0–1, minus mean, over deviation) or `"tf"` (RGB in −1–1).

    Returns:
        The same shape; an array for an array, of Keras' `floatx` unless it came as floats; a tensor for a tensor.

    Raises:
        ValueError: for another mode or data format.
    """
    if isinstance(x, np.ndarray):
        x = x.copy() if np.issubdtype(x.dtype, np.floating) else x.astype(keras.config.floatx())
    elif not keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
        x = keras.ops.cast(x, keras.config.floatx())
    return keras.applications.imagenet_utils.preprocess_input(x, data_format=data_format, mode=mode)


def decode_predictions(preds, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """Returns the `top` ImageNet classes of each row of posteriors, best first.

    Args:
        preds: `(B, 1000)` posteriors.
        top: how many.

    Returns:
        For each row tuples of WordNet id, name and score.

    Raises:
        ValueError: for another shape.
        InputError: if the names of the classes are not in Keras' cache and cannot be fetched.
    """
    if preds.ndim == 2 and preds.shape[1] == 1000:  # else Keras says what is wrong
        download.fetch(catalogue.CLASS_INDEX)
    return keras.applications.imagenet_utils.decode_predictions(preds, top=top)
