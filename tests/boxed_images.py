"""Photographs of noise with one bright rectangle each, and the CSV file that tells where it is."""

import csv

import numpy as np
from PIL import Image

CLASSES = ("ant", "bee")
TINTS = ((255, 120, 120), (120, 255, 120))


def write_boxed(folder, *, train=24, val=8, seed=0, sides=(40, 60)):
    """Writes PNGs and `boxes.csv`, and returns its path. Boxes are inclusive, counted from 0."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(train + val):
        width, height = random.integers(*sides, 2)
        box_width, box_height = random.integers(12, 30, 2)
        left, top = random.integers(0, width - box_width), random.integers(0, height - box_height)
        pixels = random.integers(0, 60, (height, width, 3))
        pixels[top : top + box_height, left : left + box_width] = TINTS[number % 2]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:03}.png")
        box = (left, top, left + box_width - 1, top + box_height - 1)
        rows.append([f"{number:03}.png", CLASSES[number % 2], "train" if number < train else "val", *map(int, box)])
    write_listing(folder / "boxes.csv", rows)
    return folder / "boxes.csv"


def write_listing(path, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "split", "xmin", "ymin", "xmax", "ymax"], *rows])
