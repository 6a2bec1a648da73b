"""Greedy merging of an image's boxes (Sermanet et al. 2014, OverFeat): again and again the two that are most alike become one.

`merge` takes the steps that its docstring says without looking at all boxes again after each of them. It takes those up to a
small score first, then those up to a larger one, and so on. Boxes connected by pairs up to such a score, the reach, are a
neighbourhood; as long as no box that comes up in one is within reach of another, these do not know of each other, and each is
merged for itself, in plain Python. Where one does come within reach of another, the two are one neighbourhood, which is done
again. So the steps are the same as if they were taken one after another over all boxes, in another order where they do not touch
each other; and so are the bits of the result, since scores are computed by the same operations everywhere.
"""

import dataclasses
import heapq
import math
from collections.abc import Sequence

import numpy as np

from keras_vgg.errors import InputError

_FEW = 200  # so many boxes are compared with all others at each step
_FEW_OF_NEIGHBOURHOOD = 60  # so many in plain Python, which is faster for them
_WITHIN_REACH = 0.2  # how many others are on average within the reach of a box: of more, neighbourhoods grow together
_WITHIN_HORIZON = 2  # and so many are known
_SAMPLE = 16  # boxes by which the horizon is found
_WIDEST = 0.75  # a horizon beyond which all are within that of all
_ROWS = 24  # compared at a time with others, so that the numbers stay in the processor's caches
_MOST = 100_000  # pairs whose scores are computed at a time
_ROUNDINGS = 64  # more than a sum of six products has
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

    It is `1 - IoU + (distance of the centres)² / (diagonal of the smallest box around both)²`: the distance-IoU loss of Zheng et
    al. 2020, which has the two terms that OverFeat names, the centres' distance and the overlap, without units. Equal boxes with
    an area have 0, boxes that do not overlap at least 1, and a box without area has at least 1 with any.

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
        weights: `(n,)` not negative, such as the scores of their class; unsaid, 1 each. Of two without weight the mean is the plain
            one.
        threshold: the largest match score of boxes to be merged; below 0, not even nearly equal ones are.

    Raises:
        InputError: if the shapes do not go together, or numbers are not finite or weights negative.
    """
    box, weight = _checked(boxes, weights, threshold)
    box, weight, count = _without_equal(box, weight)
    crowd = _Crowd(box, weight, count)
    if crowd.merge_many(threshold):
        kept, *_ = _merge_rows(crowd.box, crowd.weight, crowd.count, threshold)
        crowd.keep(kept)
    box, weight, count = crowd.box, crowd.weight, crowd.count
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
    if not math.isfinite(threshold):
        raise InputError(f"`threshold` must be a finite number. Received: {threshold}.")
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


def _merge_rows(box, weight, count, threshold: float) -> tuple[np.ndarray, list[tuple], dict[int, int]]:
    """Merges in place, comparing each new box with all others.

    Returns which places are left, all boxes that came up, and which of these there are now, `{place: number}`.
    """
    places = len(weight)
    gone = np.zeros(places)  # infinite for boxes that are
    least, mate = np.full(places, np.inf), np.full(places, -1)  # each box's pair with a later one; mate -1: unknown, not below
    for start in range(0, places, _ROWS):
        rows = slice(start, min(start + _ROWS, places))
        scores = _scores(box[:, rows, None], box[:, None, start:])
        scores[np.tri(*scores.shape, dtype=np.bool_)] = np.inf
        mate[rows] = start + scores.argmin(axis=1)
        least[rows] = scores.min(axis=1)
    came_up: list[tuple] = []
    made: dict[int, int] = {}
    while places and least[first := int(least.argmin())] <= threshold:
        second = int(mate[first])
        if second < 0:
            scores = _scores(box[:, first], box[:, first + 1 :]) + gone[first + 1 :]
            mate[first] = first + 1 + scores.argmin()
            least[first] = scores.min()
            continue
        pair = ((*box[:, at].tolist(), float(weight[at]), int(count[at])) for at in (first, second))
        new = _mean(*pair)
        made.pop(second, None)
        made[first] = len(came_up)
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
    return np.flatnonzero(gone == 0), came_up, made


class _Crowd:
    """Boxes, and all pairs of them whose scores are not above a horizon.

    Attributes:
        box: `(4, n)` by coordinates.
        weight: `(n,)` sums of weights.
        count: `(n,)` how many each was made of.
    """

    def __init__(self, box: np.ndarray, weight: np.ndarray, count: np.ndarray):
        self.box, self.weight, self.count = box, weight, count
        self._horizon = -math.inf
        self._scores, self._pairs = np.zeros(0), np.zeros((2, 0), np.int64)  # the lower place first

    def keep(self, places: np.ndarray) -> None:
        """Forgets the boxes in other places."""
        self.box, self.weight, self.count = self.box[:, places], self.weight[places], self.count[places]

    def merge_many(self, threshold: float) -> bool:
        """Merges until few boxes are left; returns whether pairs up to the threshold may be left."""
        while len(self.weight) > _FEW:
            wanted = max(int(_WITHIN_REACH * len(self.weight) / 2), 1)
            if len(self._scores) < wanted and self._horizon < threshold:
                self._horizon = min(threshold, self._seen_from_some())
                if self._horizon > _WIDEST:
                    return True
                self._pairs, self._scores = _Field(self.box, self._horizon).pairs()
            if not len(self._scores) and self._horizon == threshold:
                return False
            self._merge_within(np.partition(self._scores, wanted)[wanted] if len(self._scores) > wanted else self._horizon)
        return True

    def _seen_from_some(self) -> float:
        """A score such that those of a box with few others are not above it."""
        places = np.linspace(0, len(self.weight) - 1, _SAMPLE).astype(np.int64)
        scores = _scores(self.box[:, places, None], self.box[:, None])
        scores[np.arange(_SAMPLE), places] = np.inf
        return float(np.partition(scores, _WITHIN_HORIZON * _SAMPLE, axis=None)[_WITHIN_HORIZON * _SAMPLE])

    def _merge_within(self, reach: float) -> None:
        """Merges until no pair has a score up to `reach`, and learns the pairs of new boxes up to the horizon."""
        near = self._scores <= reach
        found = _Neighbourhoods(self.box, self.weight, self.count, reach, self._horizon)
        found.merge(self._scores[near], *self._pairs[:, near])
        changed = {place: item for boxes in found.left.values() for place, item in boxes.items()}
        values = np.array(list(changed.values())).reshape(-1, 6).T
        places = list(changed)
        self.box[:, places], self.weight[places], self.count[places] = values[:4], values[4], values[5]
        place_of = found.places()
        pairs = place_of[np.concatenate([self._pairs, *found.pairs], axis=1)]
        scores = np.concatenate([self._scores, *found.scores])
        known = (pairs >= 0).all(axis=0)
        kept = np.bincount(place_of[place_of >= 0], minlength=len(self.weight)) > 0
        self._pairs, self._scores = np.sort((np.cumsum(kept) - 1)[pairs[:, known]], axis=0), scores[known]
        self.keep(kept)


class _Neighbourhoods:
    """Boxes connected by pairs within reach, merged neighbourhood by neighbourhood.

    A box is known by a number: its place, or one beyond these if it came up in the course.

    Attributes:
        left: by the root of each neighbourhood, `{place: box}` of what is left of it.
        pairs: arrays `(2, m)` of numbers, pairs of boxes that came up with any up to the horizon.
        scores: their scores, `(m,)` arrays.
    """

    def __init__(self, box: np.ndarray, weight: np.ndarray, count: np.ndarray, reach: float, horizon: float):
        self.left: dict[int, dict[int, tuple]] = {}
        self.pairs: list[np.ndarray] = []
        self.scores: list[np.ndarray] = []
        self._box, self._weight, self._count, self._reach, self._horizon = box, weight, count, reach, horizon
        self._items: dict[int, tuple] = {}
        self._field = _Field(box, horizon)
        self._root = np.arange(len(weight))
        self._members: dict[int, list[int]] = {}
        self._within: dict[int, list[tuple]] = {}
        self._came_up: dict[int, list[tuple]] = {}
        self._made: dict[int, dict[int, int]] = {}
        self._numbers: dict[int, int] = {}  # of the first that came up in each neighbourhood
        self._next = len(weight)

    def merge(self, scores: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
        """Merges until no pair is within reach, given the pairs that are."""
        self._join_at_first(scores.tolist(), first.tolist(), second.tolist())
        todo = set(self._members)
        while todo:
            for root in todo:
                self._settle(root)
            todo = self._join(self._encounters(todo))

    def places(self) -> np.ndarray:
        """The place of each number's box at the end; -1 of those that are no more."""
        places = np.full(self._next, -1)
        places[: len(self._weight)] = np.arange(len(self._weight))
        for root, left in self.left.items():
            made, number = self._made[root], self._numbers[root]
            for place in self._members[root]:
                if place not in left:
                    places[place] = -1
                elif place in made:
                    places[place] = -1
                    places[number + made[place]] = place
        return places

    def _join_at_first(self, scores: list[float], first: list[int], second: list[int]) -> None:
        root = list(range(len(self._weight)))

        def root_of(place):
            while root[place] != place:
                root[place] = place = root[root[place]]
            return place

        for a, b in zip(first, second, strict=True):
            root[root_of(b)] = root_of(a)
        places = sorted({*first, *second})
        self._fetch(places)
        for place in places:
            self._members.setdefault(root_of(place), []).append(place)  # in order
        for pair in zip(scores, first, second, strict=True):
            self._within.setdefault(root_of(pair[1]), []).append(pair)
        for root_place, members in self._members.items():
            self._root[members] = root_place

    def _fetch(self, places: list[int]) -> None:
        box, weight, count = self._box[:, places], self._weight[places], self._count[places]
        self._items |= zip(places, zip(*box.tolist(), weight.tolist(), count.tolist(), strict=True), strict=True)

    def _join(self, pairs: list[tuple[int, int]]) -> set[int]:
        """Makes one neighbourhood of those of each pair, by places in them; returns the roots of what is to be done again."""
        joined = set()
        for a, b in pairs:
            a, b = int(self._root[a]), int(self._root[b])
            if a != b:
                if b not in self._members:
                    self._fetch([b])
                members = self._members.pop(b, [b])
                self._root[members] = a
                self._members[a] = sorted(self._members.get(a, [a]) + members)
                self._within.setdefault(a, []).extend(self._within.pop(b, ()))
                for root in (a, b):
                    self.left.pop(root, None)
                    self._came_up.pop(root, None)
                joined.add(a)
        return {int(self._root[root]) for root in joined}

    def _settle(self, root: int) -> None:
        """Merges one neighbourhood."""
        members = self._members[root]
        now = {place: self._items[place] for place in members}
        came_up: list[tuple] = []
        made: dict[int, int] = {}
        if len(members) == 2:  # most are
            new = _mean(*now.values())
            now, came_up, made = {members[0]: new}, [new], {members[0]: 0}
        elif len(members) > _FEW_OF_NEIGHBOURHOOD:
            box, weight, count = self._box[:, members], self._weight[members], self._count[members]
            kept, came_up, made = _merge_rows(box, weight, count, self._reach)
            made = {members[at]: number for at, number in made.items()}
            now = {members[at]: now[members[at]] for at in kept.tolist()}
            now |= {place: came_up[number] for place, number in made.items()}
        else:
            queue = [(score, a, b, now[a], now[b]) for score, a, b in self._within[root]]
            heapq.heapify(queue)
            while queue:
                _, first, second, a, b = heapq.heappop(queue)
                if now.get(first) is not a or now.get(second) is not b:
                    continue  # one of the two has been merged since
                del now[second]
                new = now[first] = _mean(a, b)
                made.pop(second, None)
                made[first] = len(came_up)
                came_up.append(new)
                for place, other in now.items():
                    if place != first and (score := _score(new, other)) <= self._reach:
                        pair = (first, place, new, other) if first < place else (place, first, other, new)
                        heapq.heappush(queue, (score, *pair))
        self.left[root], self._came_up[root], self._made[root] = now, came_up, made
        self._numbers[root] = self._next
        self._next += len(came_up)

    def _encounters(self, fresh: set[int]) -> list[tuple[int, int]]:
        """Roots of neighbourhoods of which boxes that came up in `fresh` ones, and any boxes there ever were, are within reach."""
        rows, row_numbers, row_roots = self._gather(fresh)
        column, row, score = self._field.near(rows)
        others, other_numbers, other_roots = self._gather(self._came_up)
        other_column, other_row, other_score = _Field(others, self._horizon).near(rows)
        once = other_numbers[other_column] < row_numbers[other_row]
        once |= ~np.isin(other_roots[other_column], list(fresh))  # these are no rows
        other_column, other_row, other_score = other_column[once], other_row[once], other_score[once]
        self.pairs += [np.stack([column, row_numbers[row]]), np.stack([other_numbers[other_column], row_numbers[other_row]])]
        self.scores += [score, other_score]
        roots = np.concatenate([self._root[column], other_roots[other_column]])
        my_roots, near = row_roots[np.concatenate([row, other_row])], np.concatenate([score, other_score]) <= self._reach
        apart = near & (roots != my_roots)
        return list(zip(my_roots[apart].tolist(), roots[apart].tolist(), strict=True))

    def _gather(self, roots) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes that came up in neighbourhoods, by coordinates, their numbers, and the roots."""
        items = [(*box[:4], self._numbers[root] + at, root) for root in roots for at, box in enumerate(self._came_up[root])]
        columns = np.array(items).reshape(-1, 6).T
        return columns[:4], columns[4].astype(np.int64), columns[5].astype(np.int64)


class _Field:
    """Boxes in which those are searched that are within a horizon of others.

    Be w and h the width and height of one of two boxes that overlap, x the distance of their left edges plus that of their right
    ones, y the same of top and bottom. Then the IoU is at most `1 / (1 + x/w + y/h)`, because the union holds the whole cross of
    the strip of rows that both boxes have and the strip of columns that both have. So a score up to s asks for `x/w + y/h <= s /
    (1 - s)`, and that for a sum of four squares up to `(s / (1 - s))²`, which is a product of terms of the one box with terms of
    the other: all boxes are compared by matrix products, and by the rest only what passes.
    """

    def __init__(self, box: np.ndarray, horizon: float):
        self._horizon, self._bound = horizon, (horizon + _SLACK) / (1 - horizon - _SLACK)
        self._order = np.argsort(box[0])
        self._box = box[:, self._order]
        self._middle = self._box.mean(axis=1, keepdims=True) if box.size else np.zeros((4, 1))
        left, top, right, bottom = moved = self._box - self._middle
        self._terms = np.stack([left * left + right * right, top * top + bottom * bottom, *moved])

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """All pairs of places, `(2, m)`, the lower one first, whose scores are not above the horizon, and these scores."""
        column, row, scores = self._near(self._box, first=np.arange(1, len(self._order) + 1))
        return np.sort(self._order[np.stack([column, row])], axis=0), scores

    def near(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places of boxes, those of `rows`, `(4, m)`, with which their scores are not above the horizon, and these scores."""
        order = np.argsort(rows[0])
        column, row, scores = self._near(rows[:, order], first=np.zeros(rows.shape[1], np.int64))
        return self._order[column], order[row], scores

    def _near(self, rows: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same, both by places in the order of left edges, of columns from `first` on."""
        sides = rows[2:] - rows[:2]
        has_area = (sides > 0).all(axis=0)  # others are near to none
        at, sides, moved, first = np.flatnonzero(has_area), sides[:, has_area], (rows - self._middle)[:, has_area], first[has_area]
        scale = np.concatenate([1 / sides**2] * 2)
        margin = self._bound * np.concatenate([sides] * 2)
        size = _ROUNDINGS * (scale * (np.abs(moved) + margin) ** 2).sum(axis=0)
        coarse = self._coarse(size, scale)
        limit = (self._bound**2 + size * np.finfo(coarse).eps - (scale * moved**2).sum(axis=0)).astype(coarse)
        terms = np.concatenate([scale[:2], -2 * scale * moved]).astype(coarse)
        column_terms = self._terms.astype(coarse)
        begins = np.maximum(np.searchsorted(self._box[0], rows[0, at] - margin[0]), first)
        ends = np.searchsorted(self._box[0], rows[0, at] + margin[0], side="right")
        found = [self._scored(rows, np.zeros((2, 0), np.int64))]
        candidates, waiting = [], 0
        for start in range(0, len(at), _ROWS):
            part = slice(start, start + _ROWS)
            begin, end = begins[part].min(), ends[part].max()
            squares = terms[:, part].T @ column_terms[:, begin:end]
            row, column = np.divmod(np.flatnonzero(squares <= limit[part, None]), max(end - begin, 1))
            column += begin
            row += start
            later = column >= first[row]
            candidates.append(np.stack([column[later], at[row[later]]]))
            waiting += candidates[-1].shape[1]
            if waiting > _MOST or start + _ROWS >= len(at):
                found.append(self._scored(rows, np.concatenate(candidates, axis=1)))
                candidates, waiting = [], 0
        column, row, scores = (np.concatenate(each) for each in zip(*found, strict=True))
        return column, row, scores

    def _coarse(self, size: np.ndarray, scale: np.ndarray) -> type[np.floating]:
        """The type in which squares are compared: float32, unless its roundings would let too many pass, or its range ends."""
        if not size.size or size.mean() * np.finfo(np.float32).eps >= self._bound**2:
            return np.float64
        in_range = scale.min() > 1e-30 and max(scale.max(), np.abs(self._terms).max(initial=0)) < 1e30
        return np.float32 if in_range else np.float64

    def _scored(self, rows: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        column, row = candidates
        boxes, others = self._box.take(column, axis=1), rows.take(row, axis=1)
        left, top, right, bottom = np.abs(boxes - others)
        width, height = others[2:] - others[:2]
        near = np.flatnonzero((left + right) * height + (top + bottom) * width <= self._bound * width * height * (1 + _SLACK))
        scores = _scores(boxes.take(near, axis=1), others.take(near, axis=1))
        near, scores = near[scores <= self._horizon], scores[scores <= self._horizon]
        return column[near], row[near], scores
