"""Boxes drawn on pixels."""

import numpy as np

TRUE, FOUND = (40, 220, 80), (255, 60, 60)
"""Colours of true boxes (green) and of found ones (red), RGB."""


def outlined(pixels: np.ndarray, boxes: np.ndarray, color: tuple[int, int, int], thickness: int = 2) -> np.ndarray:
    """Returns an image with boxes outlined, `(height, width, 3)` uint8; what leaves the image is not drawn.

    Args:
        pixels: `(height, width, 3)` uint8, RGB.
        boxes: `(n, 4)` edges `x_min, y_min, x_max, y_max` in fractions of the image; those with NaN are left out.
        color: RGB in 0–255.
        thickness: of the lines, pixels, within the boxes.
    """
    drawn, (height, width) = pixels.copy(), pixels.shape[:2]
    for box in np.asarray(boxes, np.float64):
        if np.isnan(box).any():
            continue
        left, top, right, bottom = np.round(box * [width, height, width, height]).astype(int)
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        part = drawn[top:bottom, left:right]
        for line in (part[:thickness], part[-thickness:], part[:, :thickness], part[:, -thickness:]):
            line[:] = color
    return drawn
