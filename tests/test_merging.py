"""Merging: bit by bit what plain loops over all pairs give, however it comes about; the match score by hand; what is refused."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import plain_merging
import pytest

from keras_vgg.errors import InputError
from keras_vgg.localisation import merging


def around(generator, count, objects, noise):
    """Boxes as regressors tell them: a few objects, each many times."""
    centres, sides = generator.uniform(100, 400, (objects, 2)), generator.uniform(20, 300, (objects, 2))
    true = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    which = generator.integers(objects, size=count)
    return true[which] + generator.normal(0, noise, (count, 4)) * np.tile(sides, 2)[which]


def anywhere(generator, count):
    return np.sort(generator.uniform(0, 500, (count, 2, 2)), axis=1).reshape(count, 4)


def some(generator, count):
    """Boxes of one of the kinds that are likely to be merged otherwise."""
    half = count // 2
    kind = generator.integers(7)
    if kind == 0:
        return around(generator, count, int(generator.integers(1, 4)), generator.choice([0.02, 0.08, 0.3]))
    if kind == 1:
        return anywhere(generator, count)
    if kind == 2:  # equal ones, equal scores, without area, reversed
        return generator.integers(0, 6, (count, 4)).astype(float)
    if kind == 3:
        return np.round(around(generator, count, 2, 0.03))
    if kind == 4:  # nearly equal, far from the origin
        return np.concatenate([anywhere(generator, half), 1e6 + around(generator, count - half, 1, 1e-9)])
    if kind == 5:  # of very different sizes
        return np.concatenate([around(generator, half, 1, 0.1), around(generator, count - half, 1, 0.1) * 1e-22])
    return np.repeat(around(generator, (count + 2) // 3, 2, 0.05), 3, axis=0)[:count]


def compare(generator, sets, most):
    for _ in range(sets):
        count = int(generator.integers(0, most))
        boxes = some(generator, count)
        weights = generator.choice([generator.uniform(0, 1, count), generator.integers(0, 3, count), np.ones(count)])
        threshold = generator.choice([-0.5, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.2, 5.0])
        found = merging.merge(boxes, weights, threshold=threshold)
        wanted = plain_merging.merge(boxes.tolist(), weights.tolist(), threshold)
        assert found.boxes.tolist() == [box for box, _, _ in wanted]
        assert found.weights.tolist() == [weight for _, weight, _ in wanted]
        assert found.counts.tolist() == [number for _, _, number in wanted]


@pytest.mark.parametrize(("sets", "most"), [(800, 24), (200, 64)])
def test_as_plain_loops(sets, most):
    compare(np.random.default_rng(most), sets, most)


@pytest.mark.parametrize(("order", "left"), [((0, 1, 2, 3), [[0.5, 4.5], [-1, 3]]), ((0, 2, 3, 1), [[-2 / 3, 10 / 3], [1, 5]])])
def test_of_equal_scores_the_first_pair_is_merged(order, left):
    """The third and fourth box become one that is as far from the first on the left as the second is on the right."""
    corners = np.array([[0, 0], [1, 0], [-1, -0.25], [-1, 0.25]])[list(order)]
    boxes = np.concatenate([corners, corners + 4], axis=1)
    found = merging.merge(boxes, threshold=0.43)
    np.testing.assert_allclose(sorted(found.boxes[:, [0, 2]].tolist()), sorted(left))


def test_no_index_leaves_its_array(tmp_path):
    """Compiled code looks at memory unchecked; here it checks each index, and boxes move together again and again."""
    code = "import numpy, test_merging; test_merging.compare(numpy.random.default_rng(1), 60, 64)"
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=pathlib.Path(__file__).parent, env=environment, check=True)


def test_what_a_merged_box_is():
    """The weighted mean of all that it was made of, with their weights and number; the heaviest stands first."""
    generator = np.random.default_rng(3)
    near, far = around(generator, 300, 1, 0.01), around(generator, 400, 1, 0.01) + 1000
    weights = generator.uniform(0.5, 1, 700)
    found = merging.merge(np.concatenate([near, far]), weights, threshold=0.5)
    assert found.counts.tolist() == [400, 300]
    wanted = [np.average(far, axis=0, weights=weights[300:]), np.average(near, axis=0, weights=weights[:300])]
    np.testing.assert_allclose(found.boxes, wanted, rtol=1e-12)
    np.testing.assert_allclose(found.weights, [weights[300:].sum(), weights[:300].sum()])


def test_match_scores_by_hand():
    box = np.array([0.0, 0, 2, 2])
    others = np.array([[0.0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 4, 4], [1, 1, 1, 1], [0, 0, 4, 4]])
    wanted = [0, 1 - 1 / 3 + 1 / 13, 1 + 8 / 32, 1, 1 - 1 / 4 + 2 / 32]
    np.testing.assert_allclose(merging.match_score(box, others), wanted, rtol=1e-15)
    assert merging.match_score(others[3], others[3]) == 1
    assert merging.match_score(others[:, None], others[None]).tolist() == [
        [plain_merging.match_score(a, b) for b in others.tolist()] for a in others.tolist()
    ]


def test_the_score_at_which_it_stops_is_still_merged():
    boxes = np.array([[0.0, 0, 2, 2], [1, 0, 3, 2]])
    score = float(merging.match_score(boxes[0], boxes[1]))
    assert merging.merge(boxes, threshold=score).boxes.tolist() == [[0.5, 0, 2.5, 2]]
    assert len(merging.merge(boxes, threshold=np.nextafter(score, 0)).weights) == 2
    assert merging.merge(boxes[:0], threshold=1).boxes.shape == (0, 4)
    assert merging.merge(boxes[[1, 1, 1]], threshold=-1).counts.tolist() == [3]


@pytest.mark.parametrize(
    ("boxes", "weights", "threshold", "told"),
    [
        (np.zeros((2, 3)), None, 0.5, r"boxes \(n, 4\).* Received: \(2, 3\)"),
        (np.zeros((2, 4)), np.ones(3), 0.5, r"and \(3,\)"),
        (np.array([[0, 0, 1, np.nan], [0, 0, 1, 1]]), None, 0.5, r"`boxes` to merge must be finite\. Received: 1 invalid of 2"),
        (np.zeros((2, 4)), np.array([1, -1]), 0.5, r"`weights` .* nonnegative\. Received: 1 invalid of 2"),
        (np.zeros((2, 4)), None, np.inf, r"`threshold` must be a finite number"),
    ],
)
def test_what_is_refused(boxes, weights, threshold, told):
    with pytest.raises(InputError, match=told):
        merging.merge(boxes, weights, threshold=threshold)
