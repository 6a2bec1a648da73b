"""The steps of merging, compiled by Numba: a merged box is compared with all others, thousands of times per image.

Boxes are stored by coordinate, `(4, n)`, so that loops over them are vectorized. Operations are neither contracted nor reordered,
so that results are bit-identical to the same formulas in Python or NumPy.
"""

from collections.abc import Callable

import numpy as np

from keras_vgg.support import extras

with extras.needed("boxes"):
    import numba

_GONE_PART = 0.25  # share of empty places from which boxes are compacted, since each step visits all places


def _compiled(function: Callable) -> Callable:
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # neither the package's nor the user's cache folder is writable: compiled in each process
        return numba.njit(error_model="numpy")(function)


def _match_score(a_left, a_top, a_right, a_bottom, b_left, b_top, b_right, b_bottom):
    width = min(a_right, b_right) - max(a_left, b_left)
    height = min(a_bottom, b_bottom) - max(a_top, b_top)
    shared = max(width, 0.0) * max(height, 0.0)
    union = (a_right - a_left) * (a_bottom - a_top) + (b_right - b_left) * (b_bottom - b_top) - shared
    across = max(a_right, b_right) - min(a_left, b_left)
    down = max(a_bottom, b_bottom) - min(a_top, b_top)
    x, y = (a_left + a_right) - (b_left + b_right), (a_top + a_bottom) - (b_top + b_bottom)
    diagonal = 4.0 * (across * across + down * down)
    return 1.0 - shared / (union if union > 0 else 1.0) + (x * x + y * y) / (diagonal if diagonal > 0 else 1.0)


match_scores = numba.vectorize(_match_score)
"""Match scores of boxes from their edges, eight arrays that broadcast."""

_match_score = _compiled(_match_score)


@_compiled
def merge_in_place(box, weight, count, threshold):
    """Merges boxes as specified by `merging.merge`; the remaining ones move to the first places, in their original order.

    Each box keeps its lowest score with a later box, and that box, its mate. A step updates only entries that involve the two
    merged boxes; a box whose mate was one of them keeps its old score as a bound, and searches for a new mate when its turn
    comes.

    Args:
        box: `(4, n)` float64, edges in order.
        weight: `(n,)` float64.
        count: `(n,)` int64.
        threshold: the maximum score of boxes to merge.

    Returns:
        The number of remaining boxes.
    """
    places = left = len(weight)
    gone = np.zeros(places)  # added to scores: infinite for boxes merged into an earlier one
    scores = np.empty(places)
    least, mate = np.full(places, np.inf), np.full(places, -1)
    for place in range(places):
        _find_mate(box, gone, least, mate, scores, place, places)
    while left > 1:
        first = _first_least(least, 0, places)
        if not least[first] <= threshold:
            break
        second = mate[first]
        if second < 0:
            _find_mate(box, gone, least, mate, scores, first, places)
            continue
        _unite(box, weight, count, first, second)
        gone[second] = least[second] = np.inf
        _forget(mate, first, second)
        _offer(box, gone, least, mate, scores, first)
        _find_mate(box, gone, least, mate, scores, first, places)
        left -= 1
        if left < (1 - _GONE_PART) * places:
            places = _move_together(box, weight, count, gone, least, mate, places)
    return _move_together(box, weight, count, gone, least, mate, places)


@_compiled
def _score_with(box, gone, scores, place, start, end):
    """Computes the scores of a box with those at places `start` up to `end`."""
    left, top, right, bottom = box[0, place], box[1, place], box[2, place], box[3, place]
    for other in range(start, end):
        score = _match_score(left, top, right, bottom, box[0, other], box[1, other], box[2, other], box[3, other])
        scores[other] = score + gone[other]


@_compiled
def _first_least(values, start, end):
    place, least = start, values[start]
    for other in range(start + 1, end):
        if values[other] < least:
            place, least = other, values[other]
    return place


@_compiled
def _find_mate(box, gone, least, mate, scores, place, places):
    """Searches the later boxes."""
    least[place], mate[place] = np.inf, -1
    if place + 1 < places:
        _score_with(box, gone, scores, place, place + 1, places)
        nearest = _first_least(scores, place + 1, places)
        if scores[nearest] < np.inf:
            least[place], mate[place] = scores[nearest], nearest


@_compiled
def _unite(box, weight, count, first, second):
    """Stores the weighted mean of two boxes in the first one's place; equal edges stay unchanged."""
    both = weight[first] + weight[second]
    part = weight[second] / both if both > 0 else 0.5
    for edge in range(4):
        box[edge, first] += (box[edge, second] - box[edge, first]) * part
    weight[first] = both
    count[first] += count[second]


@_compiled
def _forget(mate, first, second):
    """Clears mates that have changed or gone."""
    for place in range(second):
        if mate[place] == first or mate[place] == second:
            mate[place] = -1


@_compiled
def _offer(box, gone, least, mate, scores, first):
    """Makes a new box the mate of earlier ones that are not closer to another."""
    _score_with(box, gone, scores, first, 0, first)
    for place in range(first):
        if scores[place] < least[place] or (scores[place] == least[place] and mate[place] > first):
            least[place], mate[place] = scores[place], first


@_compiled
def _move_together(box, weight, count, gone, least, mate, places):
    """Removes empty places; returns the number of remaining boxes."""
    new_place = np.empty(places, np.int64)
    taken = 0
    for place in range(places):
        new_place[place] = taken
        if gone[place] == 0:
            taken += 1
    for place in range(places):
        if gone[place] == 0:
            to = new_place[place]
            for edge in range(4):
                box[edge, to] = box[edge, place]
            weight[to], count[to], least[to] = weight[place], count[place], least[place]
            mate[to] = new_place[mate[place]] if mate[place] >= 0 else -1
    gone[:taken] = 0
    return taken
