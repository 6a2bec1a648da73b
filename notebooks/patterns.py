"""Discs with one of eight patterns, in random colors, sizes and orientations, drawn on photographs."""

import pathlib

import drawn
import numpy as np
import pandas as pd

PATTERNS = {
    "bricks": lambda u, v: (v % 1 < 0.2) | ((u / 2 + 0.5 * np.floor(v)) % 1 < 0.1),
    "checks": lambda u, v: (u % 1 < 0.5) ^ (v % 1 < 0.5),
    "dots": lambda u, v: np.hypot(u % 1 - 0.5, v % 1 - 0.5) < 0.3,
    "grid": lambda u, v: (u % 1 < 0.25) | (v % 1 < 0.25),
    "rings": lambda u, v: np.hypot(u, v) % 1 < 0.5,
    "stripes": lambda u, v: u % 1 < 0.5,
    "waves": lambda u, v: (u + 0.3 * np.sin(np.pi * v)) % 1 < 0.5,
    "zigzag": lambda u, v: (u + np.abs(v % 1 - 0.5)) % 1 < 0.5,
}
"""Whether a point is in the first color, given its coordinates in periods of the pattern."""

_SAMPLES = 4  # per pixel and direction, for smooth edges


def draw_dataset(
    folder: str | pathlib.Path, *, training: int, validation: int, size=(112, 112), diameters=(40, 80), seed=0
) -> pd.DataFrame:
    """Writes a dataset of patterns, every class as often as the others, and returns its table: see `drawn.keep`.

    Args:
        folder: the dataset's folder.
        training, validation: numbers of pictures.
        size: width and height of a picture.
        diameters: smallest and largest diameter of a disc, in pixels.
        seed: random seed; the same arguments draw the same pictures.
    """
    random, names = np.random.default_rng(seed), list(PATTERNS)

    def pictures():
        for split, count in (("train", training), ("val", validation)):
            for place in range(count):
                name, diameter = names[place % len(names)], int(random.integers(diameters[0], diameters[1] + 1))
                yield split, name, *picture(name, diameter, size, random)

    return drawn.keep(folder, pictures())


def picture(name: str, diameter: int, size: tuple[int, int], random: np.random.Generator):
    """Draws a disc at a random place on a random background.

    Args:
        name: the pattern.
        diameter: of the disc, in pixels.
        size, random: as for `drawn.background`.

    Returns:
        The picture, `(height, width, 3)` uint8, and the disc's box.
    """
    image = drawn.background(size, random)
    x, y = (int(random.integers(0, side - diameter + 1)) for side in size)
    return image, paste(image, name, diameter, (x, y), random)


def paste(image: np.ndarray, name: str, diameter: int, corner: tuple[int, int], random: np.random.Generator):
    """Draws a disc into an image.

    Args:
        image: `(height, width, 3)` uint8, which is changed.
        name, diameter, random: as for `picture`.
        corner: x and y of the upper left corner of the disc's box.

    Returns:
        The disc's box.
    """
    x, y = corner
    place = slice(y, y + diameter), slice(x, x + diameter)
    points = (np.arange(_SAMPLES * diameter) + 0.5) / _SAMPLES - diameter / 2  # from the disc's center
    right, down = np.meshgrid(points, points)
    angle, period = random.uniform(0, 2 * np.pi), random.uniform(0.2, 0.35) * diameter
    shift_right, shift_down = random.uniform(-0.3, 0.3, 2) * diameter
    u = np.cos(angle) * (right - shift_right) + np.sin(angle) * (down - shift_down)
    v = np.cos(angle) * (down - shift_down) - np.sin(angle) * (right - shift_right)
    figure = _in_pixels(PATTERNS[name](u / period, v / period))
    disc = _in_pixels(np.hypot(right, down) < diameter / 2)

    first, second = random.permutation([random.uniform(0, 110, 3), random.uniform(145, 255, 3)])  # a dark color, a light one
    image[place] = (image[place] * (1 - disc) + (first * figure + second * (1 - figure)) * disc).round()
    return x, y, x + diameter - 1, y + diameter - 1


def _in_pixels(samples: np.ndarray) -> np.ndarray:
    """Returns the fraction of each pixel that a shape covers, `(diameter, diameter, 1)`."""
    side = len(samples) // _SAMPLES
    return samples.reshape(side, _SAMPLES, side, _SAMPLES).mean(axis=(1, 3))[..., np.newaxis]
