"""Identifies nets, images and code by digests of what was actually loaded and read, never by names.

Everything stored or reported about a net carries these digests and is found by them: rows of passes, posteriors, descriptors,
tables, lists, pictures, responses, model cards. Names and paths next to them are only for people.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_vgg import preprocessing
from keras_vgg.errors import InputError

SHORT = 8
"""Number of digits of a digest that are displayed."""

DIGESTS = ("nets sha256", "images sha256", "code sha256")
"""The facts of a table's row that distinguish results; for several nets joined by ` + `."""

_NOT_COMPUTED = {"name", "trainable", "dtype", "data_format"}
_FOR_TRAINING = ("initializer", "regularizer", "constraint", "momentum", "lora", "quantization")


def digest_of_net(model: keras.Model) -> str:
    """Returns the hexadecimal SHA-256 of everything in a net that its predictions depend on.

    That is: its variables as float32 in Keras' layout, what its layers compute (sizes, strides, activations, precision), and
    its preprocessing. It does not depend on the file format, dropout, names or initializers. It is computed from the model in
    memory, so that it cannot be that of another file.

    Args:
        model: a chain of layers with known preprocessing.
    """
    whole = hashlib.sha256(preprocessing.for_model(model).to_json().encode())
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer) or type(layer).__name__.endswith("Dropout"):
            continue
        whole.update(json.dumps([type(layer).__name__, layer.compute_dtype, _computed(layer)], sort_keys=True).encode())
        for variable in layer.weights:
            values = np.ascontiguousarray(keras.ops.convert_to_numpy(variable.value), np.float32)
            whole.update(str(values.shape).encode())
            whole.update(values.data)
    return whole.hexdigest()


def digest_of_copies(models: Sequence[keras.Model], path) -> str:
    """Returns the digest of a net that was loaded once per device.

    Raises:
        InputError: if the copies differ, since the file was replaced in between.
    """
    digests = {digest_of_net(model) for model in models}
    if len(digests) > 1:
        raise InputError(f"{path} was replaced while it was being loaded for several devices; run the same command again.")
    return digests.pop()


def digest_of_images(fingerprints: np.ndarray, labels: np.ndarray) -> str:
    """Returns the hexadecimal SHA-256 of images in order, with their labels.

    Args:
        fingerprints: `(N,)` int64, see `batches.Survey`.
        labels: `(N,)` true classes, numbered as in the net or the dataset.
    """
    return hashlib.sha256(np.asarray(fingerprints, "<i8").tobytes() + np.asarray(labels, "<i8").tobytes()).hexdigest()


def digest_of_image(encoded: bytes) -> str:
    """Returns the hexadecimal SHA-256 of an image file's content, as printed by `sha256sum`."""
    return hashlib.sha256(encoded).hexdigest()


def short(digests: str) -> str:
    """Returns the first digits of a digest, or of several joined by ` + `, for display."""
    return " + ".join(digest[:SHORT] for digest in digests.split(" + "))


def digests_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """Returns the digests of weights, images and code in facts, for tables, lists and pictures; "" for missing ones."""
    return {name: facts.get(name, "") for name in DIGESTS}


def _computed(layer: keras.layers.Layer) -> dict:
    config = layer.get_config()
    kept = {
        name: value
        for name, value in config.items()
        if name not in _NOT_COMPUTED and not any(part in name for part in _FOR_TRAINING)
    }
    return json.loads(json.dumps(kept, default=str))  # tuples as lists: files may restore either
