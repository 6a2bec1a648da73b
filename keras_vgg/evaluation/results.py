"""Posteriors of a row: their mean over passes and nets, and their file."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.identity import DIGESTS
from keras_vgg.inference.class_labels import same_classes
from keras_vgg.support import files, paths
from keras_vgg.support.counts import counted

_ROWS = 4096
REAL_DIGEST = "ReaL labels sha256"
"""Fact and table column: the digest of the ReaL labels file used for a row."""


@dataclasses.dataclass(frozen=True)
class Posteriors:
    """Posteriors for the images of a dataset.

    Attributes:
        values: `(N, classes)` float32 posteriors; NaN for unreadable images.
        labels: `(N,)` int64, true classes; or `(N, classes)` int8 for multi-label images: 1 present, 0 absent, -1 unknown, which
            does not count.
        images: `(N,)` names of the images.
        classes: class names in label order.
        facts: columns of the table: net, S, Q, protocol, settings (other than defaults), data, images/s and the paper's figures;
            and the identifying digests of `identity`: `nets sha256` (several are joined by ` + `), `images sha256`,
            `code sha256`.
        fingerprints: `(N,)` int64 of the images (`batches.Survey`), by which they are compared; `None` in files of earlier
            versions, whose images are compared by name.
        real: `(N, most)` int64, all classes that are correct by ReaL labels (`real_labels`), padded with negative numbers;
            only for ImageNet's validation images, on request.
    """

    values: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    classes: tuple[str, ...]
    facts: dict
    fingerprints: np.ndarray | None = None
    real: np.ndarray | None = None

    @property
    def is_read(self) -> np.ndarray:
        """`(N,)` bool: which images were readable."""
        return np.isfinite(self.values).all(axis=1)

    def save(self, path: pathlib.Path) -> None:
        """Writes everything into an `.npz` file, for `read`."""
        more: dict[str, Any] = {} if self.fingerprints is None else {"fingerprints": self.fingerprints}
        more |= {} if self.real is None else {"real": self.real}
        more |= {f"fact_{name}": np.array(value) for name, value in self.facts.items()}
        with files.replacing(path) as beside:
            np.savez(beside, posteriors=self.values, labels=self.labels, images=self.images, classes=np.array(self.classes), **more)

    @classmethod
    def read(cls, path: str | pathlib.Path) -> "Posteriors":
        """Reads a file written by `save`.

        Raises:
            InputError: for a file of another kind, or a damaged one.
        """
        with _opened(path) as stored:
            classes, fingerprints = tuple(map(str, stored["classes"])), stored.get("fingerprints")
            return cls(
                stored["posteriors"], stored["labels"], stored["images"], classes, _facts(stored), fingerprints, stored.get("real")
            )


def read_facts(path: str | pathlib.Path) -> dict:
    """Returns only the facts of a file of posteriors; raises like `Posteriors.read`."""
    with _opened(path) as stored:
        return _facts(stored)


@contextlib.contextmanager
def _opened(path):
    try:
        with np.load(paths.path_of(path), allow_pickle=False) as stored:
            yield stored
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"Expected posteriors written by keras_vgg.evaluate (.npz). Received: {path} ({error}).") from error
    except Exception as error:
        raise InputError(f"Expected posteriors (.npz). Received: {path}, which is damaged ({error}).") from error


def _facts(stored) -> dict:
    return {name.removeprefix("fact_"): stored[name].item() for name in stored if name.startswith("fact_")}


def mean_over(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the mean of posteriors, `(N, classes)` float32; a row that is NaN in any array is NaN."""
    mean = np.empty(arrays[0].shape, np.float32)
    for start in range(0, len(mean), _ROWS):  # the arrays may be files larger than memory
        part = slice(start, start + _ROWS)
        mean[part] = sum(array[part].astype(np.float64) for array in arrays) / len(arrays)
    return mean


def fuse(results: Sequence[Posteriors]) -> Posteriors:
    """Returns the mean of several nets' posteriors for the same images (Sec. 4.4), whatever the images' names.

    Raises:
        InputError: for different images or classes.
    """
    first = results[0]
    for other in results[1:]:
        if not same_classes(other.classes, first.classes) or not np.array_equal(other.labels, first.labels):
            raise InputError(f"Posteriors must be for the same images and classes. Received: {_told(first)} and {_told(other)}.")
        if first.fingerprints is None or other.fingerprints is None:
            if not np.array_equal(other.images, first.images):
                raise InputError("Posteriors must be for the same images in the same order. Received: images of other names.")
        elif (places := np.flatnonzero(other.fingerprints != first.fingerprints)).size:
            raise InputError(
                "Posteriors must be for the same images in the same order. Received: different images at "
                f"{places.size} indices, such as {first.images[places[0]]} and {other.images[places[0]]}."
            )
    facts: dict[str, Any] = {
        name: " + ".join(dict.fromkeys(str(result.facts.get(name, "")) for result in results))
        for name in ("net", "S", "Q", "protocol", "data")
    }
    facts["net"] = " + ".join(str(result.facts.get("net", "")) for result in results)
    for name in DIGESTS:
        found = [str(result.facts.get(name) or "") for result in results]
        if all(found):
            facts[name] = " + ".join(found if name == "nets sha256" else dict.fromkeys(found))
    settings = dict.fromkeys(result.facts.get("settings", "") for result in results)
    facts["settings"] = " + ".join(each or "defaults" for each in settings) if any(settings) else ""
    speeds = [result.facts.get("images/s") or 0.0 for result in results]
    if all(speeds):
        facts["images/s"] = 1 / sum(1 / speed for speed in speeds)
    fingerprints = next((result.fingerprints for result in results if result.fingerprints is not None), None)
    values = mean_over([result.values for result in results])
    real = {str(result.facts.get(REAL_DIGEST, "")) for result in results}
    if len(real) == 1 and first.real is not None:
        facts[REAL_DIGEST] = real.pop()
    of_real = first.real if REAL_DIGEST in facts else None
    return dataclasses.replace(first, values=values, facts=facts, fingerprints=fingerprints, real=of_real)


def _told(result: Posteriors) -> str:
    return f"{result.facts.get('net')}, {counted(len(result.labels), 'image')} in {counted(len(result.classes), 'class')}"
