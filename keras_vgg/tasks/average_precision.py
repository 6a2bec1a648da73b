"""Average precision of a class' scores, by three definitions.

Images are ranked by score. After each image (each run of equal scores, which share a threshold, so that the order of the images
does not matter), precision is hits / images so far, and recall is hits / images that show the class. Average precision is then

- `eleven_point`: VOC up to 2009: the mean over recalls r = 0, 0.1, … 1 of the best precision at a recall of at least r;
- `area`: VOC from 2010: the area under the monotone precision, i.e. at each recall the best at that recall or a larger one;
- `non_interpolated`: the area under the unmodified precision steps. Only this one equals `average_precision_score` of
  scikit-learn, also for equal scores.

`labels` are 1 (present), 0 (absent) and -1 (difficult: ignored as if the image did not exist, as in VOC's devkit).
"""

import numpy as np

from keras_vgg.errors import InputError

PRESENT, DIFFICULT = 1, -1


def curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers of hits and of images above each threshold, from the highest on: two `(thresholds,)` int64.

    Args:
        labels: `(n,)` int: 1, 0 or -1.
        scores: `(n,)` float, larger is more likely.

    Raises:
        InputError: if no image shows the class, or a score is NaN.
    """
    counted = labels != DIFFICULT
    present, scores = labels[counted] == PRESENT, scores[counted]
    if not present.any():
        raise InputError(
            f"Average precision requires at least one image that shows the class. Received: none among {len(present)}."
        )
    if np.isnan(scores).any():
        raise InputError(f"Scores must be numbers. Received: {np.isnan(scores).sum()} NaN among {len(scores)}.")
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(scores[order][1:] != scores[order][:-1], True))
    return np.cumsum(present[order])[ends], ends + 1


def eleven_point(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns average precision as in VOC-2007; see `curve` for arguments and errors."""
    hits, images = curve(labels, scores)
    precision = hits / images
    # In integers: 3 of 10 is a recall of 0.3, unlike 3 * 0.1 in floating point.
    return float(np.mean([precision[10 * hits >= tenth * hits[-1]].max() for tenth in range(11)]))


def area(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns average precision as in VOC from 2010 on; see `curve` for arguments and errors."""
    hits, images = curve(labels, scores)
    best_from_here = np.maximum.accumulate((hits / images)[::-1])[::-1]
    return float(np.sum(np.diff(hits, prepend=0) * best_from_here) / hits[-1])


def non_interpolated(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns average precision as in scikit-learn; see `curve` for arguments and errors."""
    hits, images = curve(labels, scores)
    return float(np.sum(np.diff(hits, prepend=0) * hits / images) / hits[-1])
