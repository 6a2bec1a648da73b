"""Heads: the layers after a net's convolutions, and how they treat a feature map."""

from collections.abc import Sequence

import keras

GLOBAL_POOLINGS = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)
ENDINGS = (keras.layers.Activation, keras.layers.Softmax)
"""Layers allowed after the last Dense layer."""


def has_score_map(chain: Sequence[keras.layers.Layer]) -> bool:
    """Returns whether a net with a top can predict classes at every position of a map, and not only for the whole.

    It can with FC layers, and with one Dense layer after global average pooling.
    """
    if not any(isinstance(layer, GLOBAL_POOLINGS) for layer in chain):
        return True
    start = next(place for place, layer in enumerate(chain) if isinstance(layer, GLOBAL_POOLINGS))
    kinds = [type(layer) for layer in chain[start:] if not isinstance(layer, (*ENDINGS, keras.layers.Dropout))]
    return kinds == [keras.layers.GlobalAveragePooling2D, keras.layers.Dense]
