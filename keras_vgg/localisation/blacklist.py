"""The list of validation images that do not count, `ILSVRC2013_clsloc_validation_blacklist.txt` of the devkit.

It holds a number on each line, that of the image in the order of the file names, from 1: 1,762 of 50,000, whose boxes are poor.
A list of one's own may hold file names instead, such as `val/photo.jpg`, `photo.jpg` or `photo`.
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

_NUMBER_IN_NAME = re.compile(r"_val_(\d{8})$")
_DIGITS = re.compile(r"[+-]?\d+")


@dataclasses.dataclass(frozen=True)
class Blacklist:
    """Images that do not count.

    Attributes:
        numbers: from 1, in the devkit's order of images.
        names: of the images that it names.
        path: the file.
    """

    numbers: frozenset[int]
    names: frozenset[str]
    path: pathlib.Path

    def of_images(self, images: Sequence[str], *, in_devkit_order: bool = False) -> np.ndarray:
        """Returns which images are on the list, `(N,)` bool.

        A number is that of the image whose name without its ending ends in it, as `ILSVRC2012_val_00000037.JPEG` does in 37; where
        no name does, the number of a place, if `in_devkit_order` says that places are the devkit's. A name is that of the
        image whose path ends in it, with or without its ending.

        Args:
            images: their names, such as `val/n01440764/ILSVRC2012_val_00000293.JPEG`.
            in_devkit_order: whether they are all images of the set in the order of the devkit.

        Raises:
            InputError: if it cannot be told which images are meant: numbers, but no image with one; a name of several images, or
                names without any image of theirs; or images that are not in the devkit's order.
        """
        found = [_NUMBER_IN_NAME.search(pathlib.PurePath(image).stem) for image in images]
        numbers = np.array([int(each[1]) if each else 0 for each in found], np.int64)
        if in_devkit_order:
            numbers = self._places(images, numbers)
        if self.numbers and len(images) and not numbers.any():
            raise InputError(
                f"The numbers in {self.path} are those of images with names such as ILSVRC2012_val_00000001.JPEG. "
                f"Received: images with other names, such as {images[0]}; list the names of those that do not count instead."
            )
        listed = np.isin(numbers, list(self.numbers))
        listed[self._named(images)] = True
        return listed

    def _places(self, images: Sequence[str], numbers: np.ndarray) -> np.ndarray:
        places = np.arange(1, len(images) + 1)
        if (wrong := np.flatnonzero((numbers > 0) & (numbers != places))).size:
            raise InputError(
                f"Images must be in the devkit's order. Received: {wrong.size} of {len(images)} in places that are not theirs, "
                f"such as {images[wrong[0]]} in place {places[wrong[0]]}."
            )
        if (largest := max(self.numbers, default=0)) > len(images):
            raise InputError(
                f"Images in the devkit's order must be the whole set. Received: {len(images)} images, "
                f"but the number {largest} in {self.path}."
            )
        return places

    def _named(self, images: Sequence[str]) -> list[int]:
        """Places of the images whose names are on the list."""
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
                    f"A name in {self.path} must be that of one image. Received: {name}, which is that of {images[places[0]]} "
                    f"and of {images[places[1]]}; write it with its folder."
                )
        if len(images) and not any(found):
            raise InputError(
                f"The names in {self.path} must be names of the images. Received: {min(self.names)} and others, "
                f"but images such as {images[0]}."
            )
        return [place for places in found for place in places]


def read_blacklist(path: str | os.PathLike[str]) -> Blacklist:
    """Returns the list in a file: a number or the name of an image on each line; empty lines are left out.

    Raises:
        InputError: if it cannot be read, has a number below 1, or holds nothing.
    """
    path = paths.path_of(path)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"Expected a text file with an image that does not count on each line. Received: {path} ({error})."
        ) from error
    entries = {line: number for number, line in enumerate(lines, start=1) if line}
    if not entries:
        raise InputError(f"Expected an image that does not count on each line. Received: {path}, which is empty.")
    digits = {line: int(line) for line in entries if _DIGITS.fullmatch(line)}
    if wrong := next((line for line, number in digits.items() if number < 1), None):
        raise InputError(f"{path}, line {entries[wrong]}: numbers of images begin with 1. Received: {wrong}.")
    return Blacklist(frozenset(digits.values()), frozenset(entries.keys() - digits.keys()), path)
