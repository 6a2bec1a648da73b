"""A ledger of the images that could not be read."""

import threading
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from keras_vgg.data import decoding, formats
from keras_vgg.data.split import Split


class BrokenImages:
    """Records which images of a split are broken and why; filled from the pipeline's threads.

    Args:
        split: the split whose images are read.
    """

    def __init__(self, split: Split):
        self._split = split
        self._reasons: dict[int, str] = {}
        self._lock = threading.Lock()

    def report(self, indices: np.ndarray) -> None:
        """Records the images at `indices`, once each, with the reason found by reading them again."""
        for index in map(int, indices % self._split.size):  # an epoch of balanced classes repeats some
            if index not in self._reasons:
                reason = self._diagnose(index) or "no error when read again"
                with self._lock:
                    self._reasons[index] = reason

    def report_if_broken(self, names: Iterable[str]) -> None:
        """Records those of the named images that still cannot be read, once each; other names are ignored."""
        wanted = {*names}
        for index in range(self._split.size) if wanted else ():
            if self._split.name_of(index) in wanted and index not in self._reasons and (reason := self._diagnose(index)):
                with self._lock:
                    self._reasons[index] = reason

    def _diagnose(self, index: int) -> str:
        """Returns why an image cannot be read; empty if it can."""
        try:
            encoded, _ = self._split.read(tf.constant(index, tf.int64))
            if reason := formats.refusal(encoded).numpy().decode():
                return reason
            try:
                decoding.decode_image(encoded)
            except tf.errors.InvalidArgumentError:
                return formats.damage(encoded).numpy().decode()
        except Exception as error:  # any error here is the result
            return str(error).split("}} ")[-1].split(" [Op:")[0].strip().split("\n")[0]
        return ""

    def __len__(self):
        return len(self._reasons)

    def rows(self) -> list[tuple[str, str]]:
        """Returns `(name, reason)` of each image, in the order of the split."""
        with self._lock:
            return [(self._split.name_of(index), reason) for index, reason in sorted(self._reasons.items())]
