"""`preprocess_input` and `decode_predictions`, as in `keras.applications.imagenet_utils`."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_vgg import class_names
from keras_vgg.errors import InputError
from keras_vgg.weights import catalogue, download


def preprocess_input(x, data_format: str | None = None, mode: str = "caffe"):
    """Same as `keras.applications.imagenet_utils.preprocess_input`, but never modifies the caller's array.

    Prefer `keras_vgg.preprocessing.for_model(model)`, which selects the mode that the model's weights need.

    Args:
        x: `(…, height, width, 3)` images, RGB in 0–255: an array or a tensor of any numeric type.
        data_format: `"channels_last"` or `"channels_first"`; Keras' own setting by default.
        mode: `"caffe"` (BGR minus mean), `"torch"` (RGB in 0–1, minus mean, over deviation) or `"tf"` (RGB in −1–1).

    Returns:
        The same shape; an array for an array, of Keras' `floatx` unless `x` has floats; a tensor for a tensor.

    Raises:
        ValueError: for another mode or data format.
    """
    if isinstance(x, np.ndarray):
        x = x.copy() if np.issubdtype(x.dtype, np.floating) else x.astype(keras.config.floatx())
    elif not keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
        x = keras.ops.cast(x, keras.config.floatx())
    return keras.applications.imagenet_utils.preprocess_input(x, data_format=data_format, mode=mode)


def decode_predictions(
    preds, top: int = 5, classes: keras.Model | Sequence[str] | None = None
) -> list[list[tuple[str, str, float]]]:
    """Returns the `top` classes of each row of posteriors, best first; by default ImageNet's.

    Args:
        preds: `(B, 1000)` posteriors; for other classes `(B, classes)`.
        top: number of classes per row.
        classes: class names in label order; or the model, if it was loaded from a run or a file that records them
            (`keras_vgg.class_names`). A model with 1,000 classes and no recorded names is assumed to be ImageNet's.

    Returns:
        For each row, tuples of WordNet id, name and score; for other classes the name also replaces the id.

    Raises:
        ValueError: for another shape.
        InputError: if the class names are unknown, or not in Keras' cache and cannot be downloaded.
    """
    if isinstance(classes, keras.Model):
        is_imagenet = class_names.known(classes) is None and classes.output_shape[-1] == 1000
        classes = None if is_imagenet else class_names.for_model(classes)
    if classes is not None:
        return _decoded(np.asarray(preds), top, classes)
    if preds.ndim == 2 and preds.shape[1] == 1000:  # otherwise Keras reports the error
        download.fetch(catalogue.CLASS_INDEX, argument=None)
    return keras.applications.imagenet_utils.decode_predictions(preds, top=top)


def _decoded(preds: np.ndarray, top: int, names: Sequence[str]) -> list[list[tuple[str, str, float]]]:
    if preds.ndim == 2 and (preds.shape[1], len(names)) == (1, 2):  # one sigmoid predicts the second of two classes
        preds = np.concatenate([1 - preds, preds], axis=1)
    if preds.ndim != 2 or preds.shape[1] != len(names):
        raise InputError(f"`preds` must be (B, {len(names)}), one posterior per class. Received: shape {preds.shape}.")
    best = np.argsort(-preds, axis=1, kind="stable")[:, :top]
    return [[(names[label], names[label], float(row[label])) for label in labels] for row, labels in zip(preds, best, strict=True)]
