"""Scikit-learn's 1,797 handwritten digits of 8×8 pixels, drawn large and light on dimmed photographs."""

import functools
import pathlib

import drawn
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits

FIRST_HELD_OUT = 1400  # later digits, by other writers for the most part, are for validation


def draw_dataset(
    folder: str | pathlib.Path, *, training: int, validation: int, size=(96, 96), heights=(40, 80), seed=0
) -> pd.DataFrame:
    """Writes a dataset of digits, and returns its table: see `drawn.keep`.

    Args:
        folder: the dataset's folder.
        training, validation: numbers of pictures.
        size: width and height of a picture.
        heights: smallest and largest height of a digit, in pixels.
        seed: random seed; the same arguments draw the same pictures.
    """
    random = np.random.default_rng(seed)

    def pictures():
        parts = ("train", training, range(FIRST_HELD_OUT)), ("val", validation, range(FIRST_HELD_OUT, len(load().target)))
        for split, count, numbers in parts:
            for place in range(count):
                number, height = numbers[place % len(numbers)], int(random.integers(heights[0], heights[1] + 1))
                yield split, str(load().target[number]), *picture(number, height, size, random)

    return drawn.keep(folder, pictures())


def picture(number: int, height: int, size: tuple[int, int], random: np.random.Generator):
    """Draws a digit at a random place on a random background.

    Args:
        number: which of the digits.
        height: height of the digit in pixels.
        size, random: as for `drawn.background`.

    Returns:
        The picture, `(height, width, 3)` uint8, and the digit's box.
    """
    image = dimmed(drawn.background(size, random))
    x, y = (int(random.integers(0, side - part + 1)) for side, part in zip(size, (width_of(number, height), height), strict=True))
    return image, paste(image, number, height, (x, y), random)


def dimmed(photograph: np.ndarray) -> np.ndarray:
    """Returns a photograph as if taken in dim light, so that light digits stand out from all of it."""
    return (0.45 * photograph).round().astype(np.uint8)


def paste(image: np.ndarray, number: int, height: int, corner: tuple[int, int], random: np.random.Generator):
    """Draws a digit into an image, in a random light color.

    Args:
        image: `(height, width, 3)` uint8, which is changed.
        number, height, random: as for `picture`.
        corner: x and y of the digit's upper left corner.

    Returns:
        The digit's box.
    """
    (x, y), wide = corner, width_of(number, height)
    rows, columns = ink(number).shape
    margins = round(wide / columns), round(height / rows)  # one empty pixel of the digit at each side rounds off its ends
    blurred = Image.fromarray((255 * np.pad(ink(number), 1)).astype(np.uint8))
    blurred = blurred.resize((wide + 2 * margins[0], height + 2 * margins[1]), Image.Resampling.BICUBIC)
    blurred = blurred.crop((margins[0], margins[1], margins[0] + wide, margins[1] + height))
    stroke = np.clip(3 * np.asarray(blurred, np.float32) / 255 - 1, 0, 1)[..., np.newaxis]  # crisper edges

    under, color = image[y : y + height, x : x + wide], random.uniform(165, 255, 3)
    image[y : y + height, x : x + wide] = (under * (1 - stroke) + color * stroke).round()
    return x, y, x + wide - 1, y + height - 1


def ink(number: int) -> np.ndarray:
    """Returns a digit's ink, in 0–1, without empty rows and columns at its edges."""
    pixels = load().images[number] / 16
    rows, columns = np.flatnonzero(pixels.max(axis=1) > 0.2), np.flatnonzero(pixels.max(axis=0) > 0.2)
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def width_of(number: int, height: int) -> int:
    """Returns the width in pixels of a digit drawn at a height."""
    return max(4, round(height * ink(number).shape[1] / 8))


@functools.cache
def load():
    """Returns scikit-learn's digits, read once."""
    return load_digits()
