"""What may stand behind the convolutions of a net, and what becomes of a map there."""

from collections.abc import Sequence

import keras

GLOBAL_POOLINGS = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)
ENDINGS = (keras.layers.Activation, keras.layers.Softmax)
"""What may follow the last Dense layer."""


def has_score_map(chain: Sequence[keras.layers.Layer]) -> bool:
    """Whether a net with a top tells classes at every place of a map, and not only of the whole.

    It does with FC layers, and with one Dense layer on the mean over places.
    """
    if not any(isinstance(layer, GLOBAL_POOLINGS) for layer in chain):
        return True
    start = next(place for place, layer in enumerate(chain) if isinstance(layer, GLOBAL_POOLINGS))
    kinds = [type(layer) for layer in chain[start:] if not isinstance(layer, (*ENDINGS, keras.layers.Dropout))]
    return kinds == [keras.layers.GlobalAveragePooling2D, keras.layers.Dense]
