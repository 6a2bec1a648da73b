"""Checks that an exported file computes what the net in memory computes."""

from collections.abc import Iterable, Iterator

import numpy as np

from keras_vgg import preprocessing
from keras_vgg.errors import InputError
from keras_vgg.inference.localiser import Localiser
from keras_vgg.inference.network import Network
from keras_vgg.inference.views import CENTER

TOLERANCE = 1e-4
"""Maximum difference of a probability, score or feature: more than any rounding, far less than between different nets."""


def with_own_layers(network: Network) -> Iterator[tuple]:
    """Yields the exported outputs for images of the net's input size, and the outputs of the given model's own layers.

    Skips nets in half precision, where layers that compute the same in another order round differently.
    """
    if all(layer.compute_dtype == "float32" for layer in network.model.layers):
        crops = np.random.default_rng(1).integers(0, 256, (2, network.crop, network.crop, 3), dtype=np.uint8)
        yield network.posteriors(crops, CENTER, flip=False), network.own_posteriors(crops)


def boxes_with_own_layers(localiser: Localiser) -> Iterator[tuple]:
    """Yields the exported boxes for crops of the localizer's input size, and the outputs of the model's own layers."""
    model = localiser.model
    if all(layer.compute_dtype == "float32" for layer in model.layers):
        crops = np.random.default_rng(1).integers(0, 256, (2, localiser.crop, localiser.crop, 3), dtype=np.uint8)
        told = np.asarray(model(preprocessing.for_model(model)(crops), training=False)).reshape(2, localiser.classes, 4)
        centres, sizes = told[..., :2], np.maximum(told[..., 2:], 0)
        edges = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=-1)
        yield localiser.boxes(crops, np.tile(np.arange(localiser.classes), (2, 1)))[:, 0], np.clip(edges, 0, 1)


def largest_difference(pairs: Iterable[tuple]) -> float:
    """Returns the largest difference between exported outputs and those of the net.

    Args:
        pairs: `(written, expected)` arrays of the same shape.

    Raises:
        InputError: if the net's own outputs are not finite.
        RuntimeError: if the exported file does not compute the same net.
    """
    differences = [0.0]
    for written, expected in pairs:
        written, expected = np.asarray(written), np.asarray(expected)
        if written.shape != expected.shape:
            raise RuntimeError(f"the exported file returns shape {written.shape}, the net in memory {expected.shape}")
        if expected.dtype.kind != "f":
            if not np.array_equal(written, expected):
                raise RuntimeError(f"the exported file returns {written}, the net in memory {expected}")
            continue
        if not np.isfinite(expected).all():
            raise InputError("The net must have finite outputs. Received: NaN or infinity; its weights are unusable.")
        differences.append(float(np.max(np.abs(written.astype(np.float64) - expected))))
    if not (largest := np.max(differences)) <= TOLERANCE:
        raise RuntimeError(f"outputs of the exported file differ by {largest:g} from those of the net in memory")
    return float(largest)
