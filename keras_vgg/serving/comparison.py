"""Whether what was written computes what the net in memory does."""

from collections.abc import Iterable

import numpy as np

from keras_vgg.errors import InputError

TOLERANCE = 1e-4
"""Most that a probability, a score or a feature may differ: beyond any rounding, far below what another net would give."""


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
        if not np.isfinite(expected).all():
            raise InputError(
                "Expected a net whose outputs are finite. Received: one that gives NaN or infinity; its weights are spoilt."
            )
        differences.append(float(np.max(np.abs(np.asarray(written, np.float64) - expected))))
    if not (largest := np.max(differences)) <= TOLERANCE:
        raise RuntimeError(f"what was exported differs by {largest:g} from the net in memory")
    return float(largest)
