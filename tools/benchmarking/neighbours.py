"""Measures precision and recall of given features, compared with the matrix products that they require."""

import resource
import time

import numpy as np
import pandas as pd

from keras_vgg.features import neighbours

_GB = 1e9


def table(count: int, width: int, k: int) -> str:
    """Returns a table of the time for two sets of `count` random vectors of `width` features, and that of the products alone."""
    random = np.random.default_rng(0)
    real, generated = (np.maximum(random.normal(size=(count, width)).astype(np.float32), 0) for _ in range(2))
    began = time.perf_counter()
    neighbours.precision_recall(real, generated, k=k)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    side = min(count, neighbours.BLOCK)
    one, other = (each[:side].astype(np.float64) for each in (real, generated))
    began = time.perf_counter()
    for _ in range(3):
        one @ other.T
    per_pair = (time.perf_counter() - began) / 3 / side**2
    limit = per_pair * neighbours.pairs_of(count, count)
    rows = [
        ("ours", f"{seconds:.1f}", f"{limit / seconds:.0%}", f"{peak / _GB:.2f}"),
        ("products at most", f"{limit:.1f}", "100%", ""),
    ]
    return pd.DataFrame(rows, columns=["contestant", "seconds", "of limit", "peak GB"]).to_string(index=False)
