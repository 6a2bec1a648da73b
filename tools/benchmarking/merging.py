"""How long merging an image's boxes takes, beside the plain way, which compares all pairs again and again."""

import dataclasses
import time

import numpy as np
import pandas as pd

from keras_vgg.localisation.merging import match_score, merge

PLAIN_COUNT = 300
"""Boxes that the plain way bears."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is merged.

    Attributes:
        count: boxes of an image.
        threshold: see `merge`.
        rounds: of which the median is told.
    """

    count: int
    threshold: float
    rounds: int


def table(settings: Settings) -> str:
    """Merges boxes of two kinds: predictions around one to five objects, nearly all of which become one, and boxes anywhere."""
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
    """Boxes and weights that are left, by the least of all scores, computed anew before each step."""
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
