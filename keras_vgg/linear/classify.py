"""Training and testing on one split."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.linear import splits, svm
from keras_vgg.linear.classifier import LinearClassifier, line, of_many_labels, of_one_label
from keras_vgg.linear.measures import accuracy, class_recalls, mean_class_recall
from keras_vgg.tasks import average_precision

MEASURES = ("mean_class_recall", "accuracy", "mean_ap_11_point", "mean_ap_area")
"""All in percent."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One split's results.

    Attributes:
        measures: in percent, by name out of `MEASURES`.
        by_class: the same for each class, `(classes,)` float64: the recalls for `mean_class_recall`, the average precisions for
            `mean_ap_…`; NaN for classes without test images.
        cost: C.
        train_images, test_images: numbers of images.
        gap: the largest duality gap of the tested SVMs, as a share of their objective; at most `squared_hinge.GAP` if they
            converged.
        classifier: the tested SVMs, if requested.
    """

    measures: dict[str, float]
    by_class: dict[str, np.ndarray]
    cost: float
    train_images: int
    test_images: int
    gap: float
    classifier: LinearClassifier | None = None


def one_label(
    values: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    classes: Sequence[str],
    *,
    costs: Sequence[float] = svm.COSTS,
    seed: int = 0,
    number: int = 1,
    keep: bool = False,
) -> Outcome:
    """Trains and tests SVMs on images with one class each.

    C is chosen for the best mean class recall on a held-out fifth of each class's training images; then all are trained on.

    Args:
        values: `(N, D)` float, features.
        labels: `(N,)` int.
        train, test: indices.
        classes: class names in label order.
        costs: candidate values of C.
        seed, number: of the split, for the choice of held-out images.
        keep: whether to return the classifier, which needs held-out images too, to calibrate its probabilities.

    Raises:
        InputError: for an empty class, a single class, or a class too small to hold out an image.
    """
    splits.check_classes(labels[train], classes, " for training")
    if not len(test):
        raise InputError("The test set contains no usable images.")

    def decisions(fit, on):
        features = svm.compact(values[fit], values[on])
        return lambda cost: svm.decide(features, labels[fit], cost)

    cost = costs[0]
    if len(costs) > 1 or keep:
        kept, held_out = (train[places] for places in splits.hold_out(labels[train], classes, seed=seed, number=number))
        decide = decisions(kept, held_out)

        def recall(cost):
            return mean_class_recall(labels[held_out], decide(cost).scores.argmax(axis=1), len(classes))

        cost = svm.choose_cost(costs, recall)
    features = svm.compact(values[train], values[test])
    decided = svm.decide(features, labels[train], cost)
    classifier = None
    if keep:
        weights = svm.in_own_coordinates(decided.weights, features, values[train])
        classifier = of_one_label(weights, decide(cost).scores, labels[held_out])
    found = decided.scores.argmax(axis=1)
    recalls = 100 * class_recalls(labels[test], found, len(classes))
    measures = {"mean_class_recall": float(np.nanmean(recalls)), "accuracy": 100 * accuracy(labels[test], found)}
    return Outcome(measures, {"mean_class_recall": recalls}, cost, len(train), len(test), decided.gap, classifier)


def many_labels(
    values: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    classes: Sequence[str],
    *,
    choosing: tuple[np.ndarray, np.ndarray],
    costs: Sequence[float] = svm.COSTS,
    keep: bool = False,
) -> Outcome:
    """Trains and tests an SVM for each class that ranks images by whether they show the class.

    Each SVM is trained on all training images except those where the class is difficult. All classes share one C, chosen for the
    best mean average precision (area) on held-out images; classes without examples there are ignored.

    Args:
        values: `(N, D)` float, features.
        labels: `(N, classes)` int: 1 present, 0 absent, -1 difficult.
        train, test: indices.
        classes: class names in label order.
        choosing: indices of the training and test images for the choice of C.
        costs: candidate values of C.
        keep: whether to return the classifier, as for `one_label`.

    Raises:
        InputError: if a class has no positive or no negative training image, or no positive test image.
    """
    check_many(labels, train, test, classes)

    def rank(fit, on):
        features = svm.compact(values[fit], values[on])
        return lambda label, cost: _decide(features, labels[fit, label], cost)

    cost = costs[0]
    lines = np.tile([1.0, 0.0], (len(classes), 1))  # for classes without held-out examples
    if len(costs) > 1 or keep:
        fit, on = choosing
        able = classes_to_choose_by(labels, fit, on)
        decide = rank(fit, on)

        def mean_area(cost):
            return np.mean([average_precision.area(labels[on, label], decide(label, cost).scores[:, 1]) for label in able])

        cost = svm.choose_cost(costs, mean_area)
        for label in able if keep else ():
            told = labels[on, label] != average_precision.DIFFICULT
            lines[label] = line(decide(label, cost).scores[told, 1], labels[on[told], label] == average_precision.PRESENT)
    features = svm.compact(values[train], values[test])
    eleven_point, area, gaps, weights = [], [], [], []
    for label in range(len(classes)):
        decided = _decide(features, labels[train, label], cost)
        gaps.append(decided.gap)
        if keep:
            weights.append(svm.in_own_coordinates(decided.weights[:, 1:], features, values[train]))
        found = decided.scores[:, 1]
        eleven_point.append(100 * average_precision.eleven_point(labels[test, label], found))
        area.append(100 * average_precision.area(labels[test, label], found))
    by_class = {"mean_ap_11_point": np.array(eleven_point), "mean_ap_area": np.array(area)}
    measures = {name: float(each.mean()) for name, each in by_class.items()}
    classifier = of_many_labels(np.concatenate(weights, axis=1), lines) if keep else None
    return Outcome(measures, by_class, cost, len(train), len(test), max(gaps), classifier)


def check_many(labels: np.ndarray, train: np.ndarray, test: np.ndarray, classes: Sequence[str]) -> None:
    """Raises `InputError` as `many_labels` does."""
    if not len(train) or not len(test):
        raise InputError(
            f"Expected usable training and test images. Received: {len(train)} for training and {len(test)} for testing."
        )
    for purpose, part, wanted in (("positive training", train, 1), ("negative training", train, 0),
                                  ("positive test", test, 1)):  # fmt: skip
        if short := [name for label, name in enumerate(classes) if not (labels[part, label] == wanted).any()]:
            told = ", ".join(short[:3]) + (", …" if len(short) > 3 else "")
            raise InputError(f"No {purpose} images for class {told}.")


def classes_to_choose_by(labels: np.ndarray, fit: np.ndarray, on: np.ndarray) -> list[int]:
    """Returns the classes on which C can be chosen by training on images `fit` and testing on images `on`.

    Raises:
        InputError: if there is none.
    """
    shown = (labels[on] == average_precision.PRESENT).any(axis=0)
    if able := [label for label in np.flatnonzero(shown).tolist() if _has_both(labels[fit, label])]:
        return able
    raise InputError("C cannot be chosen: the held-out images show no class. Pass --costs with a single value.")


def _has_both(labels: np.ndarray) -> bool:
    return bool((labels == 1).any() and (labels == 0).any())


def _decide(features: svm.Features, labels: np.ndarray, cost: float) -> svm.Decisions:
    told = labels != average_precision.DIFFICULT
    chosen = features if told.all() else dataclasses.replace(features, train=features.train[told])
    return svm.decide(chosen, labels[told].astype(np.int64), cost)
