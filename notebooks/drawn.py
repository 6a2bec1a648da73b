"""What the notebooks that draw their own images share: backgrounds, files of a dataset, and the look of figures.

Scikit-learn ships two photographs (CC BY 2.0): china.jpg by danielbuechele, and flower.jpg. On parts of them, `digits` and
`patterns` draw objects whose classes and boxes are known, so that datasets need no download. A box is `x_min, y_min, x_max,
y_max`, inclusive pixels.
"""

import functools
import pathlib
from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_sample_images

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


def background(size: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Returns a random part of a photograph.

    Args:
        size: width and height of the result.
        random: the random numbers.

    Returns:
        `(height, width, 3)` uint8.
    """
    width, height = size
    photograph = photographs()["china" if random.random() < 0.5 else "flower"]
    zoom = random.uniform(1, 2)  # of the part: some backgrounds are closer than others
    left, top = (random.integers(0, side - zoom * part) for side, part in ((640, width), (427, height)))
    part = Image.fromarray(photograph).crop((left, top, left + int(zoom * width), top + int(zoom * height)))
    return np.array(part.resize(size))


def keep(folder: str | pathlib.Path, pictures: Iterable[tuple[str, str, np.ndarray, tuple]]) -> pd.DataFrame:
    """Writes pictures in class folders, `train/CLASS/` and `val/CLASS/`, and `boxes.csv` with their boxes.

    Args:
        folder: the dataset's folder, created if needed.
        pictures: for each picture `train` or `val`, its class, its pixels and its box.

    Returns:
        The table in `boxes.csv`: path, label, split, xmin, ymin, xmax, ymax.
    """
    folder, rows = pathlib.Path(folder), []
    for place, (split, label, pixels, box) in enumerate(pictures):
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
