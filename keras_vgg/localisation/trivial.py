"""Baseline guesses that ignore the image: the whole image, and mean boxes of the training set."""

import dataclasses

import numpy as np

from keras_vgg.data.split import Split
from keras_vgg.errors import InputError
from keras_vgg.inference.images import look_through
from keras_vgg.localisation.results import Localised, empty
from keras_vgg.localisation.truth import digest_of_boxed, truth_of


def trivial_guesses(
    result: Localised, train: Split, classes: tuple[str, ...], *, scoring: str = "", stream=None
) -> list[Localised]:
    """Returns one row each for the whole image, the mean box of all training images, and that of the class's training images.

    The class is known. Means are of edges in fractions of their images, over all boxes of readable images.

    Args:
        result: any row of the test, for its images and ground truth.
        train: the training set, with boxes as targets.
        classes: names of their classes.
        scoring: description of the scoring, for tables.
        stream: stream for the progress display, if any.

    Raises:
        InputError: if no training image has a box.
    """
    images, _ = look_through(train, stream=stream)
    truth = truth_of(images.survey)
    fractions = truth.boxes / truth.frames[:, np.newaxis]
    is_box = np.isfinite(fractions).all(axis=-1)
    if not is_box.any():
        raise InputError("A mean box requires training images with boxes. Received: no readable ones.")
    whole = np.array([0.0, 0.0, 1.0, 1.0])
    mean = fractions[is_box].mean(axis=0)
    of_class = {
        name: fractions[shows].mean(axis=0)
        for number, name in enumerate(classes)
        if (shows := is_box & (truth.labels == number)[:, np.newaxis]).any()
    }
    by_label = np.array([*(of_class.get(name, mean) for name in result.classes), mean])  # last: unreadable images, label -1
    digest = digest_of_boxed(images.survey)
    count = len(result.truth.labels)
    guesses = {
        "whole image": (np.tile(whole, (count, 1)), ""),
        "mean box": (np.tile(mean, (count, 1)), digest),
        "mean box of the class": (by_label[result.truth.labels], digest),
    }
    return [_row(result, name, boxes, learnt_from, scoring) for name, (boxes, learnt_from) in guesses.items()]


def _row(result: Localised, name: str, fractions: np.ndarray, learnt_from: str, scoring: str) -> Localised:
    labels, boxes, ratings = empty(len(fractions))
    labels[:, 0], boxes[:, 0], ratings[:, 0] = result.truth.labels, fractions * result.truth.frames, 1.0
    kept = {key: value for key, value in result.facts.items() if not key.startswith("paper ")}
    facts = kept | {"net": name, "nets sha256": learnt_from, "S": "", "Q": "", "protocol": "class known", "class known": True}
    return dataclasses.replace(result, labels=labels, boxes=boxes, ratings=ratings, facts=facts | {"settings": scoring})
