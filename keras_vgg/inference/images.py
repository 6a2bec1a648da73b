"""The images of passes, and the list of unusable ones."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import tensorflow as tf

from keras_vgg.data.broken import BrokenImages
from keras_vgg.data.split import Split
from keras_vgg.inference.batches import CHANGED, Survey, fingerprint, survey
from keras_vgg.support import files

LIST = "broken_images.csv"


@dataclasses.dataclass(frozen=True)
class Images:
    """The images of an evaluation.

    Attributes:
        split: source of the images.
        survey: their sizes and labels.
        on_broken: called with the indices of unreadable images.
        on_refused: called with the index of an image too large at a scale, and the reason.
    """

    split: Split
    survey: Survey
    on_broken: Callable[[np.ndarray], None]
    on_refused: Callable[[int, str], None]


@dataclasses.dataclass(frozen=True)
class Unusable:
    """Unusable images, collected while passes run.

    Attributes:
        split: the images.
        broken: unreadable images.
        refused: `{index: reason}` of images that are readable but unusable.
    """

    split: Split
    broken: BrokenImages
    refused: dict[int, str]

    def rows(self) -> list[tuple[str, str]]:
        """`(name, reason)` of each: first the broken, then the refused images, each in the order of the split."""
        return [*self.broken.rows(), *((self.split.name_of(index), reason) for index, reason in sorted(self.refused.items()))]

    def write(self, folder: pathlib.Path, digests: Mapping[str, str]) -> int:
        """Writes `broken_images.csv`, replacing that of an earlier run, and returns the number of images.

        Args:
            folder: folder for the list.
            digests: digests of nets, images and code, by column name.
        """
        (folder / LIST).unlink(missing_ok=True)
        if rows := self.rows():
            folder.mkdir(parents=True, exist_ok=True)
            table = pd.DataFrame(rows, columns=["image", "reason"]).assign(**digests)
            files.write_text(folder / LIST, table.to_csv(index=False))
        return len(rows)


def look_through(split: Split, *, known: Survey | None = None, stream=None) -> tuple[Images, Unusable]:
    """Reads sizes and labels of all images, and returns them with the list of images known to be unusable so far.

    Args:
        split: the images.
        known: an earlier survey of the images, which is not repeated.
        stream: stream for the progress display, if any.
    """
    unusable = Unusable(split, BrokenImages(split), {})
    if known is None:
        known = survey(split, stream=stream)
    if (unread := known.unread).size:
        unusable.broken.report(unread)

    def report(indices):
        changed = [index for index in map(int, indices) if _was_changed(split, index, known.fingerprints[index])]
        unusable.refused.update(dict.fromkeys(changed, CHANGED))
        unusable.broken.report(np.setdiff1d(indices, changed))

    return Images(split, known, report, unusable.refused.__setitem__), unusable


def _was_changed(split: Split, index: int, before: int) -> bool:
    try:
        encoded, _ = split.read(tf.constant(index, tf.int64))
    except Exception:  # `BrokenImages` reads the image again and reports the reason
        return False
    return int(fingerprint(encoded)) != before
