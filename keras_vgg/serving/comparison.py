"""Whether what was written computes what the net in memory does."""

from collections.abc import Iterable, Iterator

import numpy as np

from keras_vgg import preprocessing
from keras_vgg.errors import InputError
from keras_vgg.inference.localiser import Localiser
from keras_vgg.inference.network import Network
from keras_vgg.inference.views import CENTER

TOLERANCE = 1e-4
"""Most that a probability, a score or a feature may differ: beyond any rounding, far below what another net would give."""


def with_own_layers(network: Network) -> Iterator[tuple]:
    """Yields what is served of images of the net's own size, and what the model that was given says through its own layers.

    Not of a net in half precision, where layers that compute the same in another order round otherwise.
    """
    if all(layer.compute_dtype == "float32" for layer in network.model.layers):
        crops = np.random.default_rng(1).integers(0, 256, (2, network.crop, network.crop, 3), dtype=np.uint8)
        yield network.posteriors(crops, CENTER, flip=False), network.own_posteriors(crops)


def boxes_with_own_layers(localiser: Localiser) -> Iterator[tuple]:
    """Yields the boxes that are served of crops of a localiser's own size, and those the model tells through its own layers."""
    model = localiser.model
    if all(layer.compute_dtype == "float32" for layer in model.layers):
        crops = np.random.default_rng(1).integers(0, 256, (2, localiser.crop, localiser.crop, 3), dtype=np.uint8)
        told = np.asarray(model(preprocessing.for_model(model)(crops), training=False)).reshape(2, localiser.classes, 4)
        centres, sizes = told[..., :2], np.maximum(told[..., 2:], 0)
        edges = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=-1)
        yield localiser.boxes(crops, np.tile(np.arange(localiser.classes), (2, 1)))[:, 0], np.clip(edges, 0, 1)


def largest_difference(pairs: Iterable[tuple]) -> float:
    """Returns how far outputs of what was written are from those of the net.

    Args:
        pairs: `(written, expected)` arrays of like shape.

    Raises:
        InputError: if the net's own outputs are not finite.
        RuntimeError: if what was written is not the same net.
    """
    differences = [0.0]
    for written, expected in pairs:
        written, expected = np.asarray(written), np.asarray(expected)
        if written.shape != expected.shape:
            raise RuntimeError(f"what was exported gives shape {written.shape} where the net in memory gives {expected.shape}")
        if expected.dtype.kind != "f":
            if not np.array_equal(written, expected):
                raise RuntimeError(f"what was exported gives {written} where the net in memory gives {expected}")
            continue
        if not np.isfinite(expected).all():
            raise InputError(
                "Expected a net whose outputs are finite. Received: one that gives NaN or infinity; its weights are spoilt."
            )
        differences.append(float(np.max(np.abs(written.astype(np.float64) - expected))))
    if not (largest := np.max(differences)) <= TOLERANCE:
        raise RuntimeError(f"what was exported differs by {largest:g} from the net in memory")
    return float(largest)
