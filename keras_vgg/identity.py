"""What tells nets, images and code from one another: digests of what was really loaded and read, never names.

Whatever is kept or reported of a net carries these digests and is found by them: rows of passes, posteriors, descriptors, tables,
lists, pictures, answers, model cards. Names and paths beside them are for people alone.
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
"""How many digits of a digest are shown to people."""

DIGESTS = ("nets sha256", "images sha256", "code sha256")
"""What tells results apart, among the facts of a table's row; of several nets between ` + `."""

_NOT_COMPUTED = {"name", "trainable", "dtype", "data_format"}
_FOR_TRAINING = ("initializer", "regularizer", "constraint", "momentum", "lora", "quantization")


def digest_of_net(model: keras.Model) -> str:
    """Returns the SHA-256, in hexadecimal, of everything in a net that its answers depend on.

    That is: the numbers of its variables as float32 in Keras' layout, what its layers compute (sizes, strides, activations, the
    precision), and what its weights want of an image. The same net in whatever kind of file has the same digest; dropout, names and
    how weights were initialised play no part. It is taken of the model in memory, so that it cannot be that of another file.

    Args:
        model: a chain of layers whose preprocessing is known.
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
    """Returns the digest of a net that was loaded once for each device.

    Raises:
        InputError: if the copies are not the same net: the file was replaced between them.
    """
    digests = {digest_of_net(model) for model in models}
    if len(digests) > 1:
        raise InputError(f"{path} was replaced while it was loaded for several devices; run the same command again.")
    return digests.pop()


def digest_of_images(fingerprints: np.ndarray, labels: np.ndarray) -> str:
    """Returns the SHA-256, in hexadecimal, of images in their order, with their labels.

    Args:
        fingerprints: `(N,)` int64, see `batches.Survey`.
        labels: `(N,)` right classes by the net's or the data set's numbers.
    """
    return hashlib.sha256(np.asarray(fingerprints, "<i8").tobytes() + np.asarray(labels, "<i8").tobytes()).hexdigest()


def digest_of_image(encoded: bytes) -> str:
    """Returns the SHA-256, in hexadecimal, of an image file's content, as `sha256sum` prints it."""
    return hashlib.sha256(encoded).hexdigest()


def short(digests: str) -> str:
    """Returns the first digits of a digest, or of several between ` + `, for people."""
    return " + ".join(digest[:SHORT] for digest in digests.split(" + "))


def digests_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """Returns what facts tell of which weights, images and code they are, for tables, lists and pictures; "" where they do not."""
    return {name: facts.get(name, "") for name in DIGESTS}


def _computed(layer: keras.layers.Layer) -> dict:
    config = layer.get_config()
    kept = {
        name: value
        for name, value in config.items()
        if name not in _NOT_COMPUTED and not any(part in name for part in _FOR_TRAINING)
    }
    return json.loads(json.dumps(kept, default=str))  # tuples as lists: a file gives back either
