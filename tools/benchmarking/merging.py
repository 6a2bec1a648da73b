"""Measures merging an image's boxes, against a plain implementation that compares all pairs in each step."""

import dataclasses
import time

import numpy as np
import pandas as pd

from keras_vgg.localisation.merging import match_score, merge

PLAIN_COUNT = 300
"""Maximum number of boxes for the plain implementation."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of the benchmark.

    Attributes:
        count: boxes per image.
        threshold: see `merge`.
        rounds: number of rounds, whose median is reported.
    """

    count: int
    threshold: float
    rounds: int


def table(settings: Settings) -> str:
    """Merges two kinds of boxes: predictions around one to five objects, nearly all of which are merged, and random boxes."""
    rows = []
    kinds = {f"around {objects}": _around(objects) for objects in (1, 3, 5)} | {"anywhere": _anywhere}
    for kind, make in kinds.items():
        boxes = make(np.random.default_rng(0), settings.count)
        rows.append(_measured("ours", kind, boxes, settings, merge))
    for kind, make in kinds.items():
        boxes = make(np.random.default_rng(0), min(PLAIN_COUNT, settings.count))
        rows += [_measured(name, kind, boxes, settings, way) for name, way in (("ours", merge), ("plain", _plain))]
    return pd.DataFrame(rows).to_string(index=False)


def _measured(name: str, kind: str, boxes: np.ndarray, settings: Settings, way) -> dict:
    walls, processors = [], []
    for _ in range(settings.rounds):
        began, busy = time.perf_counter(), time.process_time()
        left = way(boxes, threshold=settings.threshold)
        walls.append(time.perf_counter() - began)
        processors.append(time.process_time() - busy)
    return {
        "contestant": name,
        "boxes": len(boxes),
        "objects": kind,
        "left": len(left.weights if name == "ours" else left),
        "seconds": f"{np.median(walls):.3f}",
        "least": f"{min(walls):.3f}",
        "processor s": f"{np.median(processors):.3f}",
    }


def _plain(boxes: np.ndarray, threshold: float) -> list[tuple]:
    """Returns the remaining boxes and weights, merging the pair of lowest score, with all scores recomputed in each step."""
    left = [(box, 1.0) for box in boxes]
    while len(left) > 1:
        edges = np.array([box for box, _ in left])
        scores = match_score(edges[:, None], edges[None])
        scores[np.tri(len(left), dtype=np.bool_)] = np.inf
        first, second = np.divmod(scores.argmin(), len(left))
        if scores[first, second] > threshold:
            break
        (box, weight), (other, more) = left[first], left.pop(second)
        left[first] = (box + (other - box) * (more / (weight + more)), weight + more)
    return left


def _around(objects: int):
    def make(generator: np.random.Generator, count: int) -> np.ndarray:
        centres, sides = generator.uniform(100, 400, (objects, 2)), generator.uniform(100, 300, (objects, 2))
        true = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
        which = generator.integers(objects, size=count)
        return true[which] + generator.normal(0, 0.08, (count, 4)) * np.tile(sides, 2)[which]

    return make


def _anywhere(generator: np.random.Generator, count: int) -> np.ndarray:
    return np.sort(generator.uniform(0, 500, (count, 2, 2)), axis=1).reshape(count, 4)
