"""Greedy merging of an image's boxes (Sermanet et al. 2014, OverFeat): again and again the two that are most alike become one.

`merge` does what it says in an image's 5,000 boxes without comparing all of them again after each step. It takes the pairs up to a
small score first, then those up to a larger one, and so on. Boxes that such pairs connect are a neighbourhood; as long as no box that
comes up in one is within reach of another, they do not know of each other, and each is merged for itself, in plain Python. Where one
does come within reach of another, the two are one neighbourhood, and are done again. So steps are the same as if they were taken one
after another over all boxes, and so are the bits of the result: scores are computed by the same operations everywhere.
"""

import dataclasses
import heapq
import math
from collections.abc import Iterable, Sequence

import numpy as np

from keras_vgg.errors import InputError

_FEW = 160  # so many boxes are compared with all others at each step
_FEW_OF_NEIGHBOURHOOD = 40  # which are so in plain Python, faster for so few
_NEIGHBOURS = 1.0  # how many others are on average within the reach of a box
_SAMPLE = 32  # boxes by which this reach is found
_WIDEST = 0.75  # a score beyond which neighbourhoods are the whole image
_ROWS = 32  # compared at a time with all others, so that the numbers stay in the processor's caches
_SLACK = 1e-12  # more than what rounding does to a score


@dataclasses.dataclass(frozen=True)
class Merged:
    """Merged boxes, that of the largest weight first; of equal weights that first which holds the box given first.

    Attributes:
        boxes: `(m, 4)` float64, weighted means of the boxes of which they were made.
        weights: `(m,)` float64, the sums of their weights.
        counts: `(m,)` int64, how many they were.
    """

    boxes: np.ndarray
    weights: np.ndarray
    counts: np.ndarray


def match_score(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns how little two boxes are alike, 0 to 2, float64 of the shape that `a` and `b` broadcast to.

    It is `1 - IoU + (distance of the centres)² / (diagonal of the smallest box around both)²`: the distance-IoU loss of Zheng et al. 2020,
    which has the two terms that OverFeat names, the centres' distance and the overlap, without units. Equal boxes with an area
    have 0, boxes that do not overlap more than 1, and a box without area has at least 1 with any.

    Args:
        a: `(..., 4)` edges, not reversed.
        b: `(..., 4)` edges, not reversed.
    """
    return _scores(np.moveaxis(np.asarray(a, np.float64), -1, 0), np.moveaxis(np.asarray(b, np.float64), -1, 0))


def merge(boxes: np.ndarray, weights: np.ndarray | None = None, *, threshold: float) -> Merged:
    """Merges boxes that are alike.

    Equal boxes become one at first. Then the pair of the least `match_score` becomes one box, their weighted mean, in the place of
    that of the two which stood first, as long as this score is not above `threshold`, as in OverFeat. Of pairs with the
    same score it is the one whose first box stands first, and of these the one whose second does.

    Args:
        boxes: `(n, 4)` edges; corners of reversed ones are put in order.
        weights: `(n,)` not negative, such as the scores of their class; unsaid, 1 each. The mean of two without weight is the plain one.
        threshold: the largest match score of boxes to be merged; below 0, not even nearly equal ones are.

    Raises:
        InputError: if the shapes do not go together, or numbers are not finite or weights negative.
    """
    box, weight = _checked(boxes, weights, threshold)
    box, weight, count = _without_equal(box, weight)
    reach = -math.inf
    while len(weight) > _FEW and reach < threshold and (reach := min(threshold, _reach(box))) <= _WIDEST:
        box, weight, count = _Neighbourhoods(box, weight, count, reach).merged()
    if reach < threshold:
        kept, _ = _merge_rows(box, weight, count, threshold)
        box, weight, count = box[:, kept], weight[kept], count[kept]
    order = np.argsort(-weight, kind="stable")
    return Merged(np.ascontiguousarray(box.T[order]), weight[order], count[order])


def _checked(boxes, weights, threshold) -> tuple[np.ndarray, np.ndarray]:
    """Boxes by coordinates, `(4, n)`, in order, and their weights."""
    boxes = np.asarray(boxes, np.float64)
    weights = np.ones(len(boxes)) if weights is None else np.asarray(weights, np.float64)
    if boxes.shape != (len(boxes), 4) or weights.shape != (len(boxes),):
        raise InputError(f"Expected boxes (n, 4) and weights (n,). Received: {boxes.shape} and {weights.shape}.")
    for name, wrong in (("boxes", ~np.isfinite(boxes).all(axis=1)), ("weights", ~(np.isfinite(weights) & (weights >= 0)))):
        if wrong.any():
            rule = "finite" if name == "boxes" else "finite and not negative"
            raise InputError(f"`{name}` to be merged must be {rule}. Received: {wrong.sum()} of {len(wrong)} that are not.")
    if math.isnan(threshold):
        raise InputError("`threshold` must be a number. Received: NaN.")
    corners = boxes.T.reshape(2, 2, len(boxes))
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)]), weights


def _without_equal(box: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes that are not equal, in the order of their first places, the sums of their weights, and how many they were."""
    order = np.lexsort(box[::-1])  # stable, so that of equal ones the first stays the first
    ordered = box[:, order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    first = order[is_new]
    places = np.empty(len(order), np.int64)
    places[order] = np.argsort(np.argsort(first))[np.cumsum(is_new) - 1] if len(order) else 0
    first.sort()
    return box[:, first], np.bincount(places, weight, len(first)), np.bincount(places, minlength=len(first))


def _scores(a: Sequence[np.ndarray] | np.ndarray, b: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Match scores of boxes by coordinates; `_score` does the same operations in the same order."""
    left, top, right, bottom = a
    other_left, other_top, other_right, other_bottom = b
    width = np.minimum(right, other_right) - np.maximum(left, other_left)
    height = np.minimum(bottom, other_bottom) - np.maximum(top, other_top)
    shared = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    union = (right - left) * (bottom - top) + (other_right - other_left) * (other_bottom - other_top) - shared
    across = np.maximum(right, other_right) - np.minimum(left, other_left)
    down = np.maximum(bottom, other_bottom) - np.minimum(top, other_top)
    x, y = (left + right) - (other_left + other_right), (top + bottom) - (other_top + other_bottom)
    diagonal = 4.0 * (across * across + down * down)
    return 1.0 - shared / np.where(union > 0, union, 1.0) + (x * x + y * y) / np.where(diagonal > 0, diagonal, 1.0)


def _score(a: tuple, b: tuple) -> float:
    """Match score of two boxes, as plain numbers."""
    left, top, right, bottom, *_ = a
    other_left, other_top, other_right, other_bottom, *_ = b
    width = (right if right < other_right else other_right) - (left if left > other_left else other_left)
    height = (bottom if bottom < other_bottom else other_bottom) - (top if top > other_top else other_top)
    shared = width * height if width > 0 and height > 0 else 0.0
    union = (right - left) * (bottom - top) + (other_right - other_left) * (other_bottom - other_top) - shared
    across = (right if right > other_right else other_right) - (left if left < other_left else other_left)
    down = (bottom if bottom > other_bottom else other_bottom) - (top if top < other_top else other_top)
    x, y = (left + right) - (other_left + other_right), (top + bottom) - (other_top + other_bottom)
    diagonal = 4.0 * (across * across + down * down)
    return 1.0 - shared / (union if union > 0 else 1.0) + (x * x + y * y) / (diagonal if diagonal > 0 else 1.0)


def _mean(a: tuple, b: tuple) -> tuple:
    """The box of two, `(left, top, right, bottom, weight, count)` each; `a` stands first. Equal edges stay what they are."""
    weight = a[4] + b[4]
    part = b[4] / weight if weight > 0 else 0.5
    left, top, right, bottom = a[0], a[1], a[2], a[3]
    return (
        left + (b[0] - left) * part,
        top + (b[1] - top) * part,
        right + (b[2] - right) * part,
        bottom + (b[3] - bottom) * part,
        weight,
        a[5] + b[5],
    )


def _merge_rows(box, weight, count, threshold: float) -> tuple[np.ndarray, list[tuple]]:
    """Merges in place, comparing each new box with all others; returns which places are left, and all boxes that came up."""
    places = len(weight)
    gone = np.zeros(places)  # infinite for boxes that are
    least, mate = np.full(places, np.inf), np.full(places, -1)  # each box's pair with a later one; mate -1: unknown, not below
    for start in range(0, places, _ROWS):
        rows = slice(start, min(start + _ROWS, places))
        scores = _scores(box[:, rows, None], box[:, None, start:])
        scores[np.tri(*scores.shape, dtype=bool)] = np.inf
        mate[rows] = start + scores.argmin(axis=1)
        least[rows] = scores.min(axis=1)
    came_up = []
    while places and least[first := int(least.argmin())] <= threshold:
        second = int(mate[first])
        if second < 0:
            scores = _scores(box[:, first], box[:, first + 1 :]) + gone[first + 1 :]
            mate[first] = first + 1 + scores.argmin()
            least[first] = scores.min()
            continue
        pair = ((*box[:, at].tolist(), float(weight[at]), int(count[at])) for at in (first, second))
        new = _mean(*pair)
        came_up.append(new)
        box[:, first], weight[first], count[first] = new[:4], new[4], new[5]
        gone[second] = least[second] = np.inf
        mate[(mate == first) | (mate == second)] = -1
        scores = _scores(new[:4], box) + gone
        before, after = scores[:first], scores[first + 1 :]
        nearer = (before < least[:first]) | ((before == least[:first]) & (mate[:first] > first))
        nearer &= gone[:first] == 0
        least[:first][nearer] = before[nearer]
        mate[:first][nearer] = first
        least[first] = np.inf
        if len(after):
            mate[first] = first + 1 + after.argmin()
            least[first] = after.min()
    return np.flatnonzero(gone == 0), came_up


def _reach(box: np.ndarray) -> float:
    """A score that so few pairs are not above that they connect few boxes each; some are not above it."""
    places = np.linspace(0, box.shape[1] - 1, _SAMPLE).astype(np.int64)
    scores = _scores(box[:, places, None], box[:, None])
    scores[np.arange(_SAMPLE), places] = np.inf
    return float(np.partition(scores, int(_NEIGHBOURS * _SAMPLE), axis=None)[int(_NEIGHBOURS * _SAMPLE)])


class _Neighbourhoods:
    """Boxes connected by pairs whose scores are within reach, merged neighbourhood by neighbourhood."""

    def __init__(self, box: np.ndarray, weight: np.ndarray, count: np.ndarray, reach: float):
        self.box, self.weight, self.count, self.reach = box, weight, count, reach
        first, second = _within(box, box, reach, once=True)
        scores = _scores(box[:, first], box[:, second])
        near = scores <= reach
        pairs = list(zip(scores[near].tolist(), first[near].tolist(), second[near].tolist(), strict=True))
        self.root = list(range(box.shape[1]))
        self.members: dict[int, list[int]] = {}
        self.pairs: dict[int, list[tuple]] = {}
        self._join((first, second) for _, first, second in pairs)
        for pair in pairs:
            self.pairs.setdefault(self._root_of(pair[1]), []).append(pair)

    def merged(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes, weights and counts that are left, none within reach of another."""
        self.items = list(zip(*self.box.tolist(), self.weight.tolist(), self.count.tolist(), strict=True))
        left: dict[int, dict[int, tuple]] = {}
        came_up: dict[int, list[tuple]] = {}
        todo = set(self.members)
        while todo:
            for root in todo:
                left[root], came_up[root] = self._settle(root)
            joined = self._join(self._encounters(came_up, todo))
            for root in joined:
                left.pop(root, None)
                came_up.pop(root, None)
            todo = {self._root_of(root) for root in joined}
        gone = [place for root, boxes in left.items() for place in self.members[root] if place not in boxes]
        changed = {place: item for boxes in left.values() for place, item in boxes.items()}
        places, values = list(changed), np.array(list(changed.values())).reshape(-1, 6).T
        self.box[:, places], self.weight[places], self.count[places] = values[:4], values[4], values[5]
        kept = np.ones(len(self.weight), bool)
        kept[gone] = False
        return self.box[:, kept], self.weight[kept], self.count[kept]

    def _root_of(self, place: int) -> int:
        root = self.root
        while root[place] != place:
            root[place] = place = root[root[place]]
        return place

    def _join(self, pairs: Iterable[tuple[int, int]]) -> set[int]:
        """Makes one neighbourhood of those of each pair; returns the roots of all that were joined, of before and now."""
        joined = set()
        for a, b in pairs:
            a, b = self._root_of(a), self._root_of(b)
            if a != b:
                self.root[b] = a
                self.members.setdefault(a, [a]).extend(self.members.pop(b, [b]))
                if b in self.pairs:
                    self.pairs.setdefault(a, []).extend(self.pairs.pop(b))
                joined |= {a, b}
        return joined

    def _settle(self, root: int) -> tuple[dict[int, tuple], list[tuple]]:
        """Merges one neighbourhood; returns `{place: box}` of what is left, and all boxes that came up."""
        members = sorted(self.members[root])
        if len(members) > _FEW_OF_NEIGHBOURHOOD:
            part = self.box[:, members], self.weight[members], self.count[members]
            kept, came_up = _merge_rows(*part, self.reach)
            values = zip(*part[0][:, kept].tolist(), part[1][kept].tolist(), part[2][kept].tolist(), strict=True)
            return {members[at]: value for at, value in zip(kept.tolist(), values, strict=True)}, came_up
        items, reach, came_up = self.items, self.reach, []
        now = {place: items[place] for place in members}
        queue = [(score, a, b, items[a], items[b]) for score, a, b in self.pairs.get(root, ())]
        heapq.heapify(queue)
        while queue:
            _, first, second, a, b = heapq.heappop(queue)
            if now.get(first) is not a or now.get(second) is not b:
                continue  # one of the two has been merged since
            del now[second]
            new = now[first] = _mean(a, b)
            came_up.append(new)
            for place, other in now.items():
                if place != first and (score := _score(new, other)) <= reach:
                    pair = (first, place, new, other) if first < place else (place, first, other, new)
                    heapq.heappush(queue, (score, *pair))
        return now, came_up

    def _encounters(self, came_up: dict[int, list[tuple]], fresh: set[int]) -> list[tuple[int, int]]:
        """Roots of neighbourhoods of which boxes that came up in `fresh` ones, and any boxes there ever were, are within reach."""
        rows = np.array([box[:4] for root in fresh for box in came_up[root]]).reshape(-1, 4).T
        row_roots = np.array([root for root in fresh for _ in came_up[root]], np.int64)
        new = np.array([box[:4] for boxes in came_up.values() for box in boxes]).reshape(-1, 4).T
        roots = [self._root_of(place) for place in range(self.box.shape[1])] + [root for root in came_up for _ in came_up[root]]
        columns, column_roots = np.concatenate([self.box, new], axis=1), np.array(roots, np.int64)
        row, column = _within(rows, columns, self.reach)
        apart = row_roots[row] != column_roots[column]
        row, column = row[apart], column[apart]
        near = _scores(rows[:, row], columns[:, column]) <= self.reach
        return list(zip(row_roots[row[near]].tolist(), column_roots[column[near]].tolist(), strict=True))


def _within(rows: np.ndarray, columns: np.ndarray, reach: float, *, once: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Places of all pairs whose scores are not above `reach`, and of some others.

    Of two boxes that overlap by widths and heights of which the one is w and h, the IoU is at most `1 / (1 + x/w + y/h)`, where x and y
    are by how much their left and right, and their top and bottom edges differ together: the union holds the cross of the strips in
    which they lie side by side. So a score up to s asks for `x/w + y/h <= s / (1 - s)`, which is cheap to compute.

    Args:
        rows: `(4, m)` boxes.
        columns: `(4, n)` boxes, the same ones if `once`.
        reach: score, below 1.
        once: whether each pair is wanted once, the lower place first.
    """
    bound = (reach + _SLACK) / (1 - reach - _SLACK)
    precision = np.float32 if bound > 1e-3 else np.float64  # screening; scores decide
    row_order, column_order = np.argsort(rows[0]), np.argsort(columns[0])
    rows, columns = rows[:, row_order], columns[:, column_order]
    widths, heights = rows[2] - rows[0], rows[3] - rows[1]
    with np.errstate(divide="ignore"):
        scale = np.stack([1 / widths, 1 / heights])
    largest = max(np.abs(rows).max(initial=0), np.abs(columns).max(initial=0))
    limit = bound + 16 * np.finfo(precision).eps * largest * scale.sum(axis=0)
    has_area = np.isfinite(limit)  # others are not within reach of any
    rows, row_order, widths, limit, scale = (
        rows[:, has_area],
        row_order[has_area],
        widths[has_area],
        limit[has_area],
        scale[:, has_area],
    )
    low = np.searchsorted(columns[0], rows[0] - limit * widths)
    high = np.searchsorted(columns[0], rows[0] + limit * widths, side="right")
    row_part, column_part, scale, limit = (array.astype(precision) for array in (rows, columns, scale, limit))
    found_rows, found_columns = [], []
    for start in range(0, rows.shape[1], _ROWS):
        part = slice(start, start + _ROWS)
        begin, end = low[part].min(), high[part].max()
        left, top, right, bottom = column_part[:, None, begin:end]
        row_left, row_top, row_right, row_bottom = row_part[:, part, None]
        across, down = np.abs(left - row_left), np.abs(top - row_top)
        across += np.abs(right - row_right)
        down += np.abs(bottom - row_bottom)
        across *= scale[0, part, None]
        down *= scale[1, part, None]
        across += down
        hits = np.flatnonzero(across <= limit[part, None])
        row, column = np.divmod(hits, max(end - begin, 1))
        found_rows.append(row_order[start + row])
        found_columns.append(column_order[begin + column])
    row, column = (np.concatenate([np.zeros(0, np.int64), *found]) for found in (found_rows, found_columns))
    if once:
        lower, higher = np.minimum(row, column), np.maximum(row, column)
        row, column = np.divmod(np.unique((lower * columns.shape[1] + higher)[lower < higher]), columns.shape[1])
    return row, column
