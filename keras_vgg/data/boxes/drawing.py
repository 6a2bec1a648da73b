"""Drawing of boxes on pixels."""

import numpy as np

TRUE, FOUND = (40, 220, 80), (255, 60, 60)
"""Colors of ground truth boxes (green) and predicted ones (red), RGB."""


def outlined(pixels: np.ndarray, boxes: np.ndarray, color: tuple[int, int, int], thickness: int = 2) -> np.ndarray:
    """Returns an image with boxes outlined, `(height, width, 3)` uint8; parts outside the image are not drawn.

    Args:
        pixels: `(height, width, 3)` uint8, RGB.
        boxes: `(n, 4)` edges `x_min, y_min, x_max, y_max` in fractions of the image; those with NaN are skipped.
        color: RGB in 0–255.
        thickness: line width in pixels, within the boxes.
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
