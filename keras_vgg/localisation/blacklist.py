"""The list of ignored validation images, `ILSVRC2013_clsloc_validation_blacklist.txt` of the devkit.

Each line contains the number of an image in the order of the file names, from 1: 1,762 of 50,000, whose boxes are poor. Custom
lists may contain file names instead, such as `val/photo.jpg`, `photo.jpg` or `photo`.
"""

import collections
import dataclasses
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.support import paths
from keras_vgg.support.counts import counted

_NUMBER_IN_NAME = re.compile(r"_val_(\d{8})$")
_DIGITS = re.compile(r"[+-]?\d+")


@dataclasses.dataclass(frozen=True)
class Blacklist:
    """Images to ignore.

    Attributes:
        numbers: numbers of images in the devkit's order, from 1.
        names: names of images.
        path: the file.
    """

    numbers: frozenset[int]
    names: frozenset[str]
    path: pathlib.Path

    def of_images(self, images: Sequence[str], *, in_devkit_order: bool = False) -> np.ndarray:
        """Returns which images are on the list, `(N,)` bool.

        A number matches the image whose name without extension ends in it, e.g. 37 matches `ILSVRC2012_val_00000037.JPEG`; if no
        name does, it is an index in the devkit's order, given `in_devkit_order`. A name matches the image whose path ends in it,
        with or without extension.

        Args:
            images: names of the images, such as `val/n01440764/ILSVRC2012_val_00000293.JPEG`.
            in_devkit_order: whether they are all images of the set in the devkit's order.

        Raises:
            InputError: if entries cannot be matched: numbers, but no numbered image; a name of several images; names, but none of
                an image; or images out of the devkit's order.
        """
        found = [_NUMBER_IN_NAME.search(pathlib.PurePath(image).stem) for image in images]
        numbers = np.array([int(each[1]) if each else 0 for each in found], np.int64)
        if in_devkit_order:
            numbers = self._places(images, numbers)
        if self.numbers and len(images) and not numbers.any():
            raise InputError(
                f"The numbers in {self.path} require images with names such as ILSVRC2012_val_00000001.JPEG. "
                f"Received: images with other names, such as {images[0]}; list the names of images to ignore instead."
            )
        listed = np.isin(numbers, list(self.numbers))
        listed[self._named(images)] = True
        return listed

    def _places(self, images: Sequence[str], numbers: np.ndarray) -> np.ndarray:
        places = np.arange(1, len(images) + 1)
        if (wrong := np.flatnonzero((numbers > 0) & (numbers != places))).size:
            raise InputError(
                f"Images must be in the devkit's order. Received: {wrong.size} of {len(images)} at wrong positions, "
                f"such as {images[wrong[0]]} at position {places[wrong[0]]}."
            )
        if (largest := max(self.numbers, default=0)) > len(images):
            raise InputError(
                f"Images in the devkit's order must be the whole set. Received: {counted(len(images), 'image')}, "
                f"but the number {largest} in {self.path}."
            )
        return places

    def _named(self, images: Sequence[str]) -> list[int]:
        """Returns the indices of the images whose names are on the list."""
        if not self.names:
            return []
        longest = max(len(pathlib.PurePath(name).parts) for name in self.names)
        called = collections.defaultdict(list)
        for place, image in enumerate(images):
            path = pathlib.PurePath(image)
            for whole in {path, path.with_suffix("")} if path.name else ():
                for parts in range(1, min(longest, len(whole.parts)) + 1):
                    called["/".join(whole.parts[-parts:])].append(place)
        found = [called.get("/".join(pathlib.PurePath(name).parts), []) for name in sorted(self.names)]
        for name, places in zip(sorted(self.names), found, strict=True):
            if len(places) > 1:
                raise InputError(
                    f"A name in {self.path} must match one image. Received: {name}, which matches {images[places[0]]} "
                    f"and {images[places[1]]}; include its folder."
                )
        if len(images) and not any(found):
            raise InputError(
                f"The names in {self.path} must match the images. Received: {min(self.names)} and others, "
                f"for images such as {images[0]}."
            )
        return [place for places in found for place in places]


def read_blacklist(path: str | os.PathLike[str]) -> Blacklist:
    """Reads a list with the number or name of one image per line; empty lines are skipped.

    Raises:
        InputError: if it cannot be read, has a number below 1, or is empty.
    """
    path = paths.path_of(path)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Expected a text file with one image to ignore per line. Received: {path} ({error}).") from error
    entries = {line: number for number, line in enumerate(lines, start=1) if line}
    if not entries:
        raise InputError(f"Expected one image to ignore per line. Received: {path}, which is empty.")
    digits = {line: int(line) for line in entries if _DIGITS.fullmatch(line)}
    if wrong := next((line for line, number in digits.items() if number < 1), None):
        raise InputError(f"{path}, line {entries[wrong]}: image numbers must be at least 1. Received: {wrong}.")
    return Blacklist(frozenset(digits.values()), frozenset(entries.keys() - digits.keys()), path)
