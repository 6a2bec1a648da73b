"""Images that the notebooks draw themselves, and the look of their figures.

Scikit-learn ships 1,797 handwritten digits and two photographs (CC BY 2.0): china.jpg by danielbuechele, and flower.jpg. Digits on
crops of the photographs give a dataset with classes and boxes that needs no download.
"""

import functools
import pathlib

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

FIRST_HELD_OUT = 1400  # of scikit-learn's digits: later ones, by other writers for the most part, are for validation
TRUE, PREDICTED = "#35d07f", "#ff4d5e"  # colors of boxes


def use_style() -> None:
    """Sets Matplotlib's defaults for all notebooks."""
    plt.rcParams.update(
        {
            "figure.dpi": 90,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "image.interpolation": "nearest",
            "legend.frameon": False,
        }
    )


@functools.cache
def photographs() -> dict[str, np.ndarray]:
    """Returns scikit-learn's two photographs by name, each (427, 640, 3) uint8."""
    china, flower = load_sample_images().images
    return {"china": china, "flower": flower}


def picture(number: int, height: int, size: tuple[int, int], random: np.random.Generator):
    """Draws one of scikit-learn's digits on a random crop of a photograph.

    Args:
        number: which of the 1,797 digits.
        height: height of the digit in pixels.
        size: width and height of the picture.
        random: the random numbers.

    Returns:
        The picture, `(height, width, 3)` uint8, and the digit's box: `x_min, y_min, x_max, y_max`, inclusive pixels.
    """
    width, tall = size
    photograph = photographs()["china" if random.random() < 0.5 else "flower"]
    zoom = random.uniform(1, 2)  # of the crop: some backgrounds are closer than others
    left, top = (random.integers(0, side - zoom * part) for side, part in ((640, width), (427, tall)))
    crop = Image.fromarray(photograph).crop((left, top, left + int(zoom * width), top + int(zoom * tall)))
    background = np.array(crop.resize(size))

    wide = width_of(number, height)
    x, y = random.integers(0, width - wide + 1), random.integers(0, tall - height + 1)
    box = paste(background, number, height, (int(x), int(y)), random)
    return background, box


def paste(image: np.ndarray, number: int, height: int, corner: tuple[int, int], random: np.random.Generator):
    """Draws one of scikit-learn's digits into an image, in a random color: light on dark, dark on light.

    Args:
        image: `(height, width, 3)` uint8, which is changed.
        number, height, random: as for `picture`.
        corner: x and y of the digit's upper left corner.

    Returns:
        The digit's box.
    """
    (x, y), wide = corner, width_of(number, height)
    stroke = Image.fromarray((255 * ink(number)).astype(np.uint8)).resize((wide, height), Image.Resampling.BICUBIC)
    stroke = np.clip(np.asarray(stroke, np.float32) / 255 * 1.8 - 0.4, 0, 1)[..., np.newaxis]  # crisper edges
    under = image[y : y + height, x : x + wide].astype(np.float32)
    color = random.uniform(0, 90, 3) if under.mean() > 110 else random.uniform(165, 255, 3)
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


def draw_dataset(
    folder: str | pathlib.Path, *, training: int, validation: int, size=(96, 96), heights=(32, 72), seed=0
) -> pd.DataFrame:
    """Writes pictures of digits in class folders, `train/CLASS/` and `val/CLASS/`, and `boxes.csv` with their boxes.

    Args:
        folder: the dataset's folder, created if needed.
        training, validation: numbers of pictures.
        size: width and height of a picture.
        heights: smallest and largest height of a digit, in pixels.
        seed: random seed; the same arguments draw the same pictures.

    Returns:
        The table in `boxes.csv`: path, label, split, xmin, ymin, xmax, ymax.
    """
    folder, random, rows = pathlib.Path(folder), np.random.default_rng(seed), []
    parts = {"train": (training, np.arange(FIRST_HELD_OUT)), "val": (validation, np.arange(FIRST_HELD_OUT, len(load().target)))}
    for split, (count, digits) in parts.items():
        for place in range(count):
            number = int(digits[place % len(digits)])
            pixels, box = picture(number, int(random.integers(heights[0], heights[1] + 1)), size, random)
            label = str(load().target[number])
            path = pathlib.Path(split, label, f"{place:04}.png")
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / path)
            rows.append([path.as_posix(), label, split, *map(int, box)])
    table = pd.DataFrame(rows, columns=["path", "label", "split", "xmin", "ymin", "xmax", "ymax"])
    table.to_csv(folder / "boxes.csv", index=False)
    return table


def read(path: str | pathlib.Path) -> np.ndarray:
    """Returns an image file's pixels, `(height, width, 3)` uint8."""
    return np.asarray(Image.open(path).convert("RGB"))


def outline(axes, box, color: str, label: str | None = None) -> None:
    """Draws a box, `x_min, y_min, x_max, y_max` in pixels of the image shown."""
    x_min, y_min, x_max, y_max = box
    axes.plot([x_min, x_max, x_max, x_min, x_min], [y_min, y_min, y_max, y_max, y_min], color=color, lw=2, label=label)


def show(pictures, titles=(), *, columns: int = 8, side: float = 1.25):
    """Draws pictures side by side and returns their axes."""
    rows, shape = -(-len(pictures) // columns), np.shape(pictures[0])
    high = side * shape[0] / shape[1] + (0.3 if len(titles) else 0.05)
    _, grid = plt.subplots(rows, columns, figsize=(columns * side, rows * high), squeeze=False)
    for place, axes in enumerate(grid.flat):
        axes.set_axis_off()
        if place < len(pictures):
            axes.imshow(pictures[place])
            axes.set_title(titles[place] if place < len(titles) else "", fontsize=8)
    return grid.flatten()[: len(pictures)]
