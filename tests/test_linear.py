"""Splits, SVMs, recall and average precision: worked out by hand, against scikit-learn, on clusters whose accuracy is known."""

import math
import pathlib

import numpy as np
import pytest
import sklearn.metrics
import sklearn.svm

from keras_vgg.descriptors.descriptor import DescriptorProtocol
from keras_vgg.descriptors.descriptor_file import DescriptorFile
from keras_vgg.errors import InputError
from keras_vgg.linear import classify, joining, measures, protocols, report, run, splits, squared_hinge, svm
from keras_vgg.linear.benchmarks import Benchmark
from keras_vgg.linear.data import Data
from keras_vgg.linear.recipe import read_transfer
from keras_vgg.tasks import average_precision

RECIPES = pathlib.Path(__file__).parents[1] / "recipes"
CLASSES = ("ant", "bee", "cat")
LABELS = np.array([0] * 40 + [1] * 12 + [2] * 90)[np.random.default_rng(3).permutation(142)]


def draw(labels=LABELS, classes=CLASSES, **options):
    return splits.random_split(labels, classes, **({"train_images": 10, "test_images": 50, "seed": 0, "number": 1} | options))


# --- Splits ---------------------------------------------------------------------------------------------------------------


def test_a_split_has_so_many_of_each_class_and_no_image_twice():
    train, test = draw()
    assert np.bincount(LABELS[train]).tolist() == [10, 10, 10]
    assert np.bincount(LABELS[test]).tolist() == [30, 2, 50]  # at most 50 of the rest
    assert len(set(train) | set(test)) == len(train) + len(test)


def test_splits_depend_on_seed_and_number_alone():
    def same(one, other):
        return all(map(np.array_equal, one, other))

    assert same(draw(), draw())
    every = [draw(seed=seed, number=number) for seed in (0, 1) for number in (1, 2, 3)]
    assert not any(same(one, other) for place, one in enumerate(every) for other in every[:place])


def test_splits_are_those_of_a_frozen_stream():
    # Whoever changes the generator changes everybody's splits.
    train, test = draw(np.arange(20) % 2, ("a", "b"), train_images=3, test_images=2, seed=7, number=2)
    order = np.random.RandomState(np.random.MT19937(np.random.SeedSequence((7, 2)))).permutation(20)
    assert train.tolist() == [0, 5, 6, 7, 9, 18]
    assert sorted([*order[order % 2 == 0][:3], *order[order % 2 == 1][:3]]) == train.tolist()
    assert sorted([*order[order % 2 == 0][3:5], *order[order % 2 == 1][3:5]]) == test.tolist()


def test_an_image_that_cannot_be_used_moves_one_up_and_changes_nothing_else():
    train, test = draw()
    lost = next(index for index in train if LABELS[index] == 2)
    again, tested = draw(np.where(np.arange(len(LABELS)) == lost, -1, LABELS))
    assert len(set(train) - set(again)) == 1
    assert np.array_equal(again[LABELS[again] < 2], train[LABELS[train] < 2])
    assert len(set(again) - set(train)) == 1
    assert set(again) - set(train) <= set(test)
    assert len(tested) == len(test)
    assert lost not in tested


@pytest.mark.parametrize(
    ("labels", "classes", "told"),
    [
        (LABELS, CLASSES, r"at least 13 usable images, 12 for training and one for testing. Received: bee with 12\."),
        (LABELS, (*CLASSES, "dog"), r"Each class must have usable images. Received: none for dog\."),
        (LABELS * 0, ("ant",), r"A classifier needs at least two classes. Received: ant\."),
        (LABELS * 0, (), r"at least two classes. Received: none\."),
    ],
)
def test_too_few_images_are_told(labels, classes, told):
    with pytest.raises(InputError, match=told):
        draw(labels, classes, train_images=12)


def test_one_more_than_for_training_is_enough():
    train, test = draw(train_images=11)
    assert np.bincount(LABELS[test])[1] == 1
    assert len(train) == 33


@pytest.mark.parametrize(("count", "held"), [(2, 1), (3, 1), (5, 1), (10, 2), (30, 6), (60, 12)])
def test_a_fifth_of_each_class_is_held_out(count, held):
    labels = np.repeat([0, 1], count)
    kept, held_out = splits.hold_out(labels, ("a", "b"), seed=0, number=1)
    assert np.bincount(labels[held_out]).tolist() == [held, held]
    assert sorted([*kept, *held_out]) == list(range(2 * count))
    assert not np.array_equal(held_out, splits.hold_out(labels, ("a", "b"), seed=0, number=2)[1]) or count < 10


def test_nothing_can_be_held_out_of_one_image():
    with pytest.raises(
        InputError, match=r"at least two training images .*Received: 1 of b; pass --costs with a single value, or add images"
    ):
        splits.hold_out(np.array([0, 0, 1]), ("a", "b"), seed=0, number=1)


# --- Average precision ----------------------------------------------------------------------------------------------------

HAND = [  # labels in the order of falling scores (in brackets: one score), 11-point, area, non-interpolated
    ("1", 1, 1, 1),
    ("11100", 1, 1, 1),
    ("10100", (6 * 1 + 5 * 2 / 3) / 11, 5 / 6, 5 / 6),
    ("011", 2 / 3, 2 / 3, (1 / 2 + 2 / 3) / 2),
    ("001", 1 / 3, 1 / 3, 1 / 3),
    ("1d0d1", (6 * 1 + 5 * 2 / 3) / 11, 5 / 6, 5 / 6),  # as without the difficult ones: 1 0 1
    ("d1", 1, 1, 1),
    ("(10)1", 2 / 3, 2 / 3, (1 / 2 + 2 / 3) / 2),
    ("(01)1", 2 / 3, 2 / 3, (1 / 2 + 2 / 3) / 2),
    ("(1100)", 1 / 2, 1 / 2, 1 / 2),
    # A recall of 3 in 10 counts as 0.3, of which floating point makes 0.30000000000000004: 0 … 0.3 are four of the eleven.
    ("111" + "0" * 10 + "1" * 7, (4 + 7 * 1 / 2) / 11, (3 + 7 / 2) / 10, (3 + sum((3 + k) / (13 + k) for k in range(1, 8))) / 10),
]


def ranked(text):
    labels, scores, tied = [], [], False
    for place, sign in enumerate(text):
        if sign in "()":
            tied = sign == "("
            start = place
            continue
        labels.append({"1": 1, "0": 0, "d": -1}[sign])
        scores.append(-(start if tied else place))
    order = np.random.default_rng(0).permutation(len(labels))  # images come in any order
    return np.array(labels)[order], np.array(scores, float)[order]


@pytest.mark.parametrize(("text", "eleven", "area", "plain"), HAND)
def test_average_precision_by_hand(text, eleven, area, plain):
    labels, scores = ranked(text)
    assert average_precision.eleven_point(labels, scores) == pytest.approx(eleven, abs=1e-12)
    assert average_precision.area(labels, scores) == pytest.approx(area, abs=1e-12)
    assert average_precision.non_interpolated(labels, scores) == pytest.approx(plain, abs=1e-12)


@pytest.mark.parametrize("levels", [3, 10, 1000, None])
def test_the_non_interpolated_one_is_that_of_scikit_learn_with_ties_too(levels):
    random = np.random.default_rng(levels)
    for _ in range(20):
        labels, scores = random.integers(0, 2, 60), random.normal(size=60)
        if levels:
            scores = np.round(scores * levels / 4)
        expected = sklearn.metrics.average_precision_score(labels, scores)
        assert average_precision.non_interpolated(labels, scores) == pytest.approx(expected, abs=1e-12)
        assert average_precision.area(labels, scores) >= expected - 1e-12
        with_difficult = np.append(labels, [-1] * 5), np.append(scores, random.normal(size=5) * 9)
        assert average_precision.non_interpolated(*with_difficult) == pytest.approx(expected, abs=1e-12)


def test_both_of_voc_against_loops_as_its_rules_are_worded():
    random = np.random.default_rng(1)
    for _ in range(30):
        labels, scores = random.integers(0, 2, 37), random.permutation(37).astype(float)
        points, hits = [], 0
        for rank, index in enumerate(np.argsort(-scores), 1):
            hits += labels[index]
            points.append((hits / labels.sum(), hits / rank))
        levels = [max(p for r, p in points if r > level - 1e-9) for level in np.linspace(0, 1, 11)]
        assert average_precision.eleven_point(labels, scores) == pytest.approx(np.mean(levels))
        recalls = sorted({r for r, _ in points if r > 0})
        steps = zip([0, *recalls], recalls, strict=False)
        area = sum((r - before) * max(p for other, p in points if other >= r) for before, r in steps)
        assert average_precision.area(labels, scores) == pytest.approx(area)


def test_average_precision_of_nothing_is_told():
    with pytest.raises(InputError, match=r"one image that shows the class. Received: none among 2\."):
        average_precision.area(np.array([0, 0, -1]), np.array([1.0, 2.0, 3.0]))
    with pytest.raises(InputError, match=r"Scores must be numbers. Received: 1 NaN among 2\."):
        average_precision.eleven_point(np.array([0, 1]), np.array([1.0, np.nan]))


# --- Recall ---------------------------------------------------------------------------------------------------------------


def test_recalls_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    labels, guesses = random.choice(5, 200, p=[0.5, 0.2, 0.1, 0.1, 0.1]), random.integers(0, 5, 200)
    guesses[:100] = labels[:100]
    found = measures.mean_class_recall(labels, guesses, 5)
    assert found == pytest.approx(sklearn.metrics.balanced_accuracy_score(labels, guesses))
    assert found == pytest.approx(sklearn.metrics.recall_score(labels, guesses, average="macro"))
    np.testing.assert_allclose(
        measures.class_recalls(labels, guesses, 5), sklearn.metrics.recall_score(labels, guesses, average=None)
    )
    assert measures.accuracy(labels, guesses) == pytest.approx(sklearn.metrics.accuracy_score(labels, guesses))
    assert abs(found - measures.accuracy(labels, guesses)) > 0.01  # classes of unlike size: the two differ


def test_a_class_without_test_images_does_not_count():
    labels, guesses = np.array([0, 0, 2]), np.array([0, 1, 2])
    np.testing.assert_array_equal(measures.class_recalls(labels, guesses, 4), [0.5, np.nan, 1, np.nan])
    assert measures.mean_class_recall(labels, guesses, 4) == 0.75


# --- SVMs -----------------------------------------------------------------------------------------------------------------


def exact_svm(train, labels, cost):
    """LIBLINEAR's dual, another algorithm, left to run until it is done."""
    options = {"dual": True, "random_state": 0, "tol": 1e-10, "max_iter": 10**6}
    return sklearn.svm.LinearSVC(C=cost, **options).fit(train, labels)


@pytest.mark.parametrize("twice", [False, True])
def test_fewer_coordinates_give_the_same_svms(twice):
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    train, test = random.normal(size=(60, 200)) + labels[:, None] * 0.1, random.normal(size=(25, 200))
    if twice:
        train[5] = train[4]
    features = svm.compact(train.astype(np.float32), test.astype(np.float32))
    assert features.train.shape == (60, 60)
    expected = exact_svm(train.astype(np.float32), labels, 1.0).decision_function(test.astype(np.float32))
    np.testing.assert_allclose(svm.decide(features, labels, 1.0).scores, expected, atol=1e-4)
    np.testing.assert_allclose(features.train @ features.test.T, train @ test.T, atol=1e-3)


def test_large_c_is_solved_too_where_descriptors_are_much_alike():
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    train = 10 + random.normal(size=(60, 20)) + 0.2 * labels[:, None]
    train /= np.linalg.norm(train, axis=1, keepdims=True)
    expected = exact_svm(train, labels, 100.0).decision_function(train)
    np.testing.assert_allclose(svm.decide(svm.Features(train, train), labels, 100.0).scores, expected, atol=1e-3 * expected.std())


@pytest.mark.parametrize(("images", "cost"), [(60, 1.0), (60, 100.0), (400, 0.01), (400, 100.0)])
def test_long_features_are_solved_too(images, cost):
    """Norms of some 200, duplicates, a feature of zeros, 1 positive in 20: by the gradient at the end, which knows no solver."""
    random = np.random.default_rng(3)
    train = np.maximum(random.normal(0.5, 1, (images, 100)), 0) * random.lognormal(2.5, 1, 100)
    train[1], train[:, 7] = train[0], 0
    signs = np.where(np.arange(images) % 20 == 0, 1.0, -1.0)
    features = svm.Features(train, np.concatenate([np.zeros((1, 100)), np.eye(100)]))
    decisions = svm.decide(features, (signs > 0).astype(int), cost)
    assert decisions.gap <= squared_hinge.GAP
    scores = decisions.scores[:, 1]
    weights = np.append(scores[1:] - scores[0], scores[0])  # of each feature, and of the constant
    rows = np.column_stack([train, np.ones(images)])

    def objective(weights):
        slack = np.maximum(0, 1 - signs * (rows @ weights))
        return weights @ weights / 2 + cost * slack @ slack, weights - 2 * cost * rows.T @ (signs * slack)

    value, gradient = objective(weights)
    # Strong convexity with modulus 1: value - least <= |gradient|^2 / 2.
    assert gradient @ gradient / 2 <= 1e-5 * value


@pytest.mark.parametrize("cost", [0.001, 0.1])
def test_fewer_coordinates_give_the_same_svms_of_long_features(cost):
    """By the dual's optimality, over products of the images as they came: alpha = 2 C max(0, 1 - margin) at the optimum."""
    random = np.random.default_rng(1)
    labels = np.arange(40) % 2
    train = np.maximum(random.normal(10, 10, (40, 300)) + 2 * labels[:, None], 0)  # norms of some 230
    train[3] = train[2]
    features = svm.compact(train, train)
    signs, margins = 2.0 * labels - 1, (2.0 * labels - 1) * svm.decide(features, labels, cost).scores[:, 1]
    alphas = 2 * cost * np.maximum(0, 1 - margins)
    products = train @ train.T + 1
    again = signs * (products @ (alphas * signs))
    # The scores come back from the alphas that they say: an error of 3e-8 in each margin comes back as many times as large.
    magnified = 2 * cost * products.sum(axis=1).max()
    np.testing.assert_allclose(again, margins, atol=3e-8 * magnified)


def test_more_images_than_features_are_left_as_they_are():
    train, test = np.ones((5, 3)), np.zeros((2, 3))
    features = svm.compact(train, test)
    np.testing.assert_array_equal(features.train, train)
    np.testing.assert_array_equal(features.test, test)


def test_two_classes_have_two_scores():
    values = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    scores = svm.decide(svm.compact(values, values), np.array([0, 0, 1, 1]), 1.0).scores
    assert scores.argmax(axis=1).tolist() == [0, 0, 1, 1]
    assert scores[3, 1] > scores[2, 1] > 0


@pytest.mark.parametrize(
    ("achieved", "chosen"), [({1: 0.5, 10: 0.9, 100: 0.2}, 10), ({1: 0.9, 10: 0.9, 100: 0.9}, 1), ({1: 0, 10: 0.5, 100: 0.5}, 10)]
)
def test_the_best_c_is_chosen_and_of_equals_the_smallest(achieved, chosen):
    assert svm.choose_cost([100, 1, 10], achieved.get) == chosen


def test_one_c_is_taken_unmeasured():
    assert svm.choose_cost([3], None) == 3


@pytest.mark.parametrize(("costs", "told"), [([], "none"), ([1, 0], "1, 0"), ([-1.0], "-1.0"), ([math.inf], "inf")])
def test_costs_that_are_none(costs, told):
    with pytest.raises(InputError, match=rf"`costs` must be positive numbers, at least one. Received: {told}\."):
        svm.check_costs(costs)


# --- Whole protocols on points whose accuracy is known --------------------------------------------------------------------


def clusters(counts, distance, width=2, seed=0):
    """Normal clusters of deviation 1, each centred `distance` from 0 on an axis of its own, or two on either side of it."""
    random, labels = np.random.default_rng(seed), np.repeat(np.arange(len(counts)), counts)
    centres = np.eye(len(counts), width) if len(counts) > 2 else np.array([[1.0], [-1.0]]) * np.eye(1, width)
    return random.normal(size=(len(labels), width)) + distance * centres[labels], labels


def test_accuracy_of_two_normal_clusters_is_that_of_the_best_rule():
    values, labels = clusters([12000, 12000], 1.0)
    benchmark = Benchmark("", "random", train_images=2000, test_images=10000, splits=3)
    outcomes = protocols.run(of(labels, ("a", "b")), values, benchmark, costs=(0.01, 1.0))
    best = 100 * (1 + math.erf(1 / math.sqrt(2))) / 2  # 84.13%: the distribution function at the distance from centre to middle
    for outcome in outcomes:
        assert outcome.measures["accuracy"] == pytest.approx(best, abs=1.0)
        assert outcome.measures["mean_class_recall"] == pytest.approx(best, abs=1.0)
        assert (outcome.train_images, outcome.test_images) == (4000, 20000)
    assert len({outcome.measures["accuracy"] for outcome in outcomes}) == 3  # three splits, three results


def test_what_is_far_apart_is_told_apart_and_what_is_not_is_not():
    benchmark = Benchmark("", "random", train_images=15, test_images=50, splits=1)
    values, labels = clusters([40] * 8, 30.0, width=100)
    assert protocols.run(of(labels, list("abcdefgh")), values, benchmark)[0].measures["accuracy"] == 100
    shuffled = np.random.default_rng(0).permutation(labels)
    assert protocols.run(of(shuffled, list("abcdefgh")), values, benchmark)[0].measures["accuracy"] < 30  # chance is 12.5


def of(labels, classes, parts=None, usable=None):
    usable = np.ones(len(labels), bool) if usable is None else usable
    return Data(labels, np.full(len(labels), "train") if parts is None else parts, usable, tuple(classes), "a test")


@pytest.mark.parametrize(("third", "numbers"), [("test", (40, 10)), ("validation", (30, 20))])
def test_fixed_tests_on_the_test_split_if_there_is_one(third, numbers):
    """And trains on all others then, also on what was held out of the images for training."""
    labels = np.arange(50) % 2
    values = np.stack([labels - 0.5, np.ones(50)], axis=1)
    parts = np.repeat(["train", "validation", third], [30, 10, 10])
    (outcome,) = protocols.run(of(labels, ("a", "b"), parts), values, Benchmark("", "fixed"))
    assert (outcome.train_images, outcome.test_images) == numbers
    assert outcome.measures["accuracy"] == 100


def test_fixed_trains_on_train_and_tests_on_validation():
    values, labels = clusters([30, 30, 30], 20.0, width=5)
    parts = np.where(np.arange(90) % 3 == 0, "validation", "train")
    benchmark = Benchmark("", "fixed")
    (outcome,) = protocols.run(of(labels, CLASSES, parts), values, benchmark)
    assert outcome.measures == {"mean_class_recall": 100, "accuracy": 100}
    assert (outcome.train_images, outcome.test_images) == (60, 30)
    wrong = np.where((parts == "validation") & (labels == 0), 1, labels)  # ants among the tested are called bees
    (outcome,) = protocols.run(of(wrong, CLASSES, parts), values, benchmark)
    np.testing.assert_allclose(outcome.by_class["mean_class_recall"], [np.nan, 50, 100])
    assert outcome.measures["accuracy"] == pytest.approx(100 * 20 / 30)
    assert outcome.measures["mean_class_recall"] == 75


def test_c_is_chosen_without_the_test_images():
    values, labels = clusters([60, 60], 0.8, width=20, seed=4)
    train, test = draw(labels, ("a", "b"), train_images=30)
    changed = values.copy()
    changed[test] = np.random.default_rng(0).normal(size=changed[test].shape)
    first, second = (classify.one_label(v, labels, train, test, ("a", "b")) for v in (values, changed))
    assert first.cost == second.cost
    assert first.measures != second.measures


@pytest.mark.parametrize(
    ("benchmark", "told"),
    [
        (Benchmark("", "random"), r"31 usable images, 30 for training .* Received: ant with 2, bee with 2, cat with 2\."),
        (Benchmark("", "fixed"), r"Each class must have usable images for training. Received: none for cat\."),
    ],
)
def test_mistakes_are_told_before_nets_are_at_work(benchmark, told):
    data = of(np.array([0, 0, 1, 1, 2, 2]), CLASSES, np.array(["train"] * 4 + ["validation"] * 2))
    with pytest.raises(InputError, match=told):
        protocols.check(data, benchmark)


def test_fixed_without_images_to_test_on():
    data = of(np.array([0, 0, 1, 1]), "ab", np.array(["train"] * 4), np.ones(4, bool))
    with pytest.raises(InputError, match=r"The test set contains no usable images"):
        protocols.check(data, Benchmark("", "fixed"))


def test_too_few_to_choose_c_is_told_before_too():
    data = of(np.array([0, 0, 1, 1]), "ab", np.array(["train", "train", "train", "validation"]))
    with pytest.raises(InputError, match=r"at least two training images .*Received: 1 of b"):
        protocols.check(data, Benchmark("", "fixed"))
    protocols.check(data, Benchmark("", "fixed"), costs=(1.0,))


# --- Many labels ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def many():
    """Two classes that an image may show or not, told by the signs of two features, noisily; thirds train, val and test."""
    random = np.random.default_rng(5)
    values = random.normal(size=(300, 6))
    labels = (values[:, :2] + random.normal(size=(300, 2)) * 0.7 > 0.5).astype(np.int8)
    return values, labels, np.repeat(["train", "val", "test"], 100)


def run_many(values, labels, parts, test_set="test", **options):
    (outcome,) = protocols.run(of(labels, "ab", parts), values, Benchmark("", "multi-label", test_set=test_set), **options)
    return outcome


def test_average_precisions_are_those_of_one_svm_a_class(many):
    values, labels, parts = many
    labels[::7, 0] = -1
    outcome = run_many(*many)
    for label in range(2):
        train, test = ((labels[:, label] >= 0) & part for part in (parts != "test", parts == "test"))
        machine = sklearn.svm.LinearSVC(C=outcome.cost, dual="auto", random_state=0).fit(values[train], labels[train, label])
        scores = machine.decision_function(values[test])
        for name, rule in (("mean_ap_11_point", average_precision.eleven_point), ("mean_ap_area", average_precision.area)):
            assert outcome.by_class[name][label] == pytest.approx(100 * rule(labels[test, label], scores))
    assert outcome.measures["mean_ap_area"] == pytest.approx(outcome.by_class["mean_ap_area"].mean())
    assert 60 < outcome.measures["mean_ap_area"] < 99
    assert (outcome.train_images, outcome.test_images) == (200, 100)


def test_c_is_chosen_on_val_by_training_on_train(many):
    values, labels, parts = many
    train, val = parts == "train", parts == "val"

    def achieved(cost):
        machines = (sklearn.svm.LinearSVC(C=cost, random_state=0).fit(values[train], labels[train, n]) for n in range(2))
        scores = [machine.decision_function(values[val]) for machine in machines]
        return np.mean([average_precision.area(labels[val, n], scores[n]) for n in range(2)])

    costs = (0.0001, 0.001, 0.01, 1.0)
    assert run_many(*many, costs=costs).cost == max(costs, key=achieved)


def test_tested_on_val_trained_on_train_alone(many):
    outcome = run_many(*many, test_set="val")
    assert (outcome.train_images, outcome.test_images) == (100, 100)


def test_difficult_images_neither_train_nor_count(many):
    values, labels, parts = many
    labels[[3, 103, 203], 0] = -1
    expected = run_many(values, labels, parts, costs=(1.0,))
    junk = values.copy()
    junk[[3, 103, 203]] = 9 * np.random.default_rng(0).normal(size=(3, 6))
    found = run_many(junk, labels, parts, costs=(1.0,))
    assert found.by_class["mean_ap_area"][0] == expected.by_class["mean_ap_area"][0]
    assert found.by_class["mean_ap_area"][1] != expected.by_class["mean_ap_area"][1]  # to the other class they are images


@pytest.mark.parametrize(
    ("part", "value", "told"),
    [
        ("train", 0, "No positive training images for class b"),
        ("train", 1, "No negative training images for class b"),
        ("test", -1, "No positive test images for class b"),
    ],
)
def test_classes_without_examples_are_told(many, part, value, told):
    values, labels, parts = many
    labels[(parts == part) | ((parts == "val") & (part == "train")), 1] = value
    with pytest.raises(InputError, match=told):
        run_many(values, labels, parts)


def test_no_images_at_all_for_testing(many):
    values, labels, _ = many
    with pytest.raises(InputError, match=r"usable training and test images. Received: 300 for training and 0 for testing"):
        run_many(values, labels, np.full(300, "train"))


# --- Tables ---------------------------------------------------------------------------------------------------------------


def outcome(value, cost=1.0, gap=0.0):
    return classify.Outcome({"mean_class_recall": value}, {"mean_class_recall": np.array([value, 0])}, cost, 3, 2, gap)


def test_mean_and_deviation_over_splits():
    facts = {"net": "D", "data": "x", "protocol": "random", "layer": "fc2", "Q": "256", "combined": "stack", "descriptor": ""}
    paper = {"mean_class_recall": (91.8, 1.0)}
    (line,) = report.lines_of([outcome(90.0), outcome(91.0, 10.0, 1e-7), outcome(95.0)], facts, paper, "ab")
    assert (line["value"], line["deviation"]) == (pytest.approx(92), pytest.approx(math.sqrt(7)))  # (4 + 1 + 9) / 2
    assert (line["paper"], line["paper deviation"], line["C"]) == (91.8, 1.0, "1 10 1")
    assert line["duality gap"] == 1e-7
    shown = report.format_table([line]).splitlines()[1]
    assert "92.0 ± 2.6" in shown
    assert " fc2 " in shown
    assert "91.8 ± 1.0" in shown
    (line,) = report.lines_of([outcome(90.0)], facts, {}, "ab")
    assert (line["deviation"], line["paper"]) == (None, None)
    assert "±" not in report.format_table([line])
    (line,) = report.lines_of([outcome(90.0), outcome(91.0)], facts, {}, "ab")
    assert line["by class"] == {"a": 90.5, "b": 0}


def told_of_flips(*flips, **facts):
    nets = [{"net": name, "scales": [256], "flip": flip} for name, flip in zip("DE", flips, strict=False)]
    return run._told("D & E", "x", {"nets": nets} | facts)["descriptor"]


def test_nets_without_mirror_images_are_told():
    assert told_of_flips(True, True) == ""
    assert told_of_flips(False, False, normalize=False) == "no flip, not of length one"
    assert told_of_flips(True, False) == "no flip of E"
    of_old_files = {"nets": [{"net": "D", "scales": [256]}], "flip": False}
    assert run._told("D", "x", of_old_files)["descriptor"] == "no flip"


def test_descriptors_made_with_mirror_images_and_without_are_made_otherwise():
    def made(told, **net):
        nothing = np.zeros(0, int)
        facts = {"nets": [{"net": "D", "path": "here"} | net], "flip": told}
        return joining._made(DescriptorFile(np.zeros((0, 2)), nothing, nothing, None, (), facts))

    assert made(True) == made(True, flip=True, path="there") != made(False, flip=False) == made(False)


# --- Recipes --------------------------------------------------------------------------------------------------------------


def test_the_papers_table():
    recipe = read_transfer(RECIPES / "table11.toml")
    assert [row.models for row in recipe.rows] == [("D",), ("E",), ("D", "E")] * 4
    found = {(row.data, "".join(row.models)): next(iter(row.paper.items())) for row in recipe.rows}
    assert found["voc2007", "DE"] == ("mean_ap_11_point", (89.7, None))
    assert found["voc2012", "E"] == ("mean_ap_area", (89.0, None))
    assert found["caltech101", "D"] == ("mean_class_recall", (91.8, 1.0))
    assert found["caltech256", "DE"] == ("mean_class_recall", (86.2, 0.3))
    first, second = recipe.data["caltech101"], recipe.data["caltech256"]
    assert (first.train_images, first.test_images, first.splits, second.train_images) == (30, 50, 3, 60)
    assert first.descriptor == DescriptorProtocol("fc2", (256, 384, 512), None, "stack", True)
    assert recipe.data["voc2007"].descriptor.scales == (256, 384, 512, 640, 768)
    assert recipe.data["voc2007"].descriptor.combine == "average"


def test_flip_of_a_recipe(tmp_path):
    for told, flip in (("", None), ("flip = true\n", True), ("flip = false\n", False)):
        (tmp_path / "r.toml").write_text(GOOD.format(data=told, row=""))
        assert read_transfer(tmp_path / "r.toml").data["x"].descriptor.flip is flip


GOOD = '[models]\nD = "d"\n[data.x]\ndataset = "folder:x"\nprotocol = "random"\n{data}[[rows]]\ndata = "x"\n{row}'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model = 3", "unknown keys: model. Known: data, models, rows"),
        ("models = 3", "`models` must be a table that maps names to run folders"),
        ('[models]\nD = "d"', r"`data` must contain tables \[data.NAME\]"),
        ('rows = [{}]\n[models]\nD = "d"\n[data]\nx = 3', r"data x must be a table. Received: 3"),
        ('[models]\nD = "d"\n[data.x]\nprotocol = "fixed"', r"`rows` must be a list"),
        ('rows = [{}]\n[models]\nD = "d"\n[data.x]\nprotocol = "fixed"', r"data x must have dataset"),
        (
            GOOD.format(data="train_imags = 3\n", row=""),
            "data x has unknown keys: train_imags. Known: combine, dataset, dense, flip",
        ),
        (GOOD.format(data="train_images = 3.0\n", row=""), "data x: `train_images` must be int. Received: 3.0"),
        (GOOD.format(data="train_images = true\n", row=""), "`train_images` must be int. Received: True"),
        (GOOD.format(data="flip = 1\n", row=""), "data x: `flip` must be bool. Received: 1"),
        (GOOD.format(data="splits = 0\n", row=""), "data x: `splits` must be at least 1. Received: 0"),
        (GOOD.format(data="scales = [256.5]\n", row=""), r"`scales` must be a list of int. Received: \[256.5\]"),
        (GOOD.format(data="scales = []\n", row=""), r"`scales` must be a list of int. Received: \[\]"),
        (GOOD.format(data='leave_out = "x"\n', row=""), r"`leave_out` must be a list of str. Received: 'x'"),
        (GOOD.format(data='combine = "sum"\n', row=""), "data x: `combine` must be one of average, stack"),
        (GOOD.format(data="", row="nets = 3"), "row 1 has unknown keys: nets. Known: data, models, paper"),
        (GOOD.format(data="", row='models = ["E"]'), r"row 1: `models` must be a list of names among D. Received: \['E'\]"),
        (GOOD.format(data="", row="paper = 3"), "`paper` must map mean_class_recall, accuracy"),
        (GOOD.format(data="", row="paper = { recall = 3 }"), "`paper` must map mean_class_recall, accuracy"),
        (GOOD.format(data="", row="paper = { accuracy = [1, 2, 3] }"), r"a percentage or \[percentage, deviation\]"),
        (GOOD.format(data="", row="paper = { accuracy = [] }"), r"a percentage or \[percentage, deviation\]"),
        (GOOD.format(data="", row='paper = { accuracy = "3" }'), r"a percentage or \[percentage, deviation\]"),
        (GOOD.format(data="", row='[[rows]]\ndata = "y"'), "row 2: `data` must be one of x. Received: 'y'"),
        (GOOD.replace("random", "rondom").format(data="", row=""), "`protocol` must be one of random, fixed, multi-label"),
    ],
)
def test_mistakes_in_a_recipe(tmp_path, text, told):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(InputError, match=told) as error:
        read_transfer(tmp_path / "r.toml")
    assert "r.toml" in str(error.value)
    assert "\n" not in str(error.value)
