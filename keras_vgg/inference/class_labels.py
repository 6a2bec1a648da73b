"""What the classes of nets are called, and which label of a net each class of a data set has."""

import contextlib
import functools
import itertools
import json
import os
import re
from collections.abc import Callable

import numpy as np

from keras_vgg.data.class_names import class_name
from keras_vgg.errors import InputError
from keras_vgg.support.paths import path_of
from keras_vgg.weights import catalogue, download

IMAGENET_CLASSES = 1000
_FIRST_AND_LAST = ("n01440764", "n15075141")


@functools.cache
def imagenet_classes() -> tuple[tuple[str, str], ...]:
    """Returns WordNet id and name of ImageNet's 1,000 classes in label order, from Keras' cache or the network.

    Raises:
        InputError: if they cannot be had.
    """
    index = json.loads(download.fetch(catalogue.CLASS_INDEX, argument=None).read_text(encoding="utf-8-sig"))
    return tuple(tuple(index[str(label)]) for label in range(IMAGENET_CLASSES))


def is_imagenet(names: tuple[str, ...]) -> bool:
    """Whether classes are ImageNet's 1,000 in the order of public weights, by their WordNet ids or names, or as they are numbered.

    Ids rise from tench to toilet tissue in that order, which can be told without the list; names are compared with it, if it can be
    had.
    """
    if len(names) != IMAGENET_CLASSES:
        return False
    if all(map(_is_id, names)):
        return (names[0], names[-1]) == _FIRST_AND_LAST and all(a < b for a, b in itertools.pairwise(names))
    if names == tuple(f"class {label}" for label in range(IMAGENET_CLASSES)):
        return True
    with contextlib.suppress(InputError):
        return names == tuple(name for _, name in imagenet_classes())
    return False


def read_class_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Returns the names of a net's classes, in label order, from a file in one of the usual forms.

    - Text: a name a line. Where every line begins with a WordNet id (`n01440764 tench, Tinca tinca`), the id is the name.
    - JSON: a list of names; `{"0": "tench", …}`, or `{"0": ["n01440764", "tench"], …}` as `imagenet_class_index.json` of
      `keras.applications` has it, of which the id is the name; or `{"tench": 0, …}` as `class_indices` of Keras' generators.

    Raises:
        InputError: for a file that cannot be read, or names no classes, or a label twice or not at all.
    """
    file = path_of(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
        names = _names_of_json(json.loads(text)) if text.lstrip()[:1] in ("{", "[") else text.splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"Expected names of classes, one a line or as JSON. Received: {path} ({error}).") from error
    if names and all(_is_id(name.split()[0] if name.strip() else "") for name in names):
        names = [name.split()[0] for name in names]
    names = [class_name(name) for name in names]
    if not names or not all(names) or len(set(names)) < len(names):
        told = "none" if not names else "one that is blank" if not all(names) else "one twice"
        raise InputError(f"Every class must have a name of its own. Received: {path} with {told}.")
    return tuple(names)


def _names_of_json(content) -> list[str]:
    if isinstance(content, dict):
        by_label = (
            {int(label): name for name, label in content.items()}
            if _are_labels(content.values())
            else {int(label): name for label, name in content.items()}
        )
        if sorted(by_label) != list(range(len(content))):
            raise ValueError(f"labels must be 0 to {len(content) - 1}, each once")
        content = [by_label[label] for label in range(len(content))]
    names = [each[0] if isinstance(each, list) and each else each for each in content]
    if not all(isinstance(name, str) for name in names):
        raise ValueError("names must be text")
    return names


def _are_labels(values) -> bool:
    return all(isinstance(value, int) for value in values)


def same_classes(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether two nets tell the same classes in the same order: by their names, or both ImageNet's, whatever they call them."""
    return first == second or (is_imagenet(first) and is_imagenet(second))


def _is_id(name: str) -> bool:
    return re.fullmatch(r"n\d{8}", name) is not None


def class_names(known: tuple[str, ...] | None, num_classes: int) -> tuple[str, ...]:
    """Returns what a net's classes are called: as is `known`; for ImageNet's 1,000 their names if they can be had, else numbers."""
    if known:
        return known
    if num_classes == IMAGENET_CLASSES:
        with contextlib.suppress(InputError):  # names are for people; without them the numbers still say which
            return tuple(name for _, name in imagenet_classes())
    return tuple(f"class {label}" for label in range(num_classes))


def labels_of(
    dataset_classes: tuple[str, ...],
    known: tuple[str, ...] | None,
    num_classes: int,
    *,
    told: str,
    say: Callable[[str], None] = print,
) -> np.ndarray:
    """Returns the net's label for each class of a data set, `(classes of the data set,)` int64: by name if names agree.

    Where the net's classes have no names, whole numbers are the labels themselves, and other names are in label order.

    Args:
        dataset_classes: names.
        known: names of the net's classes in label order; `None` if they have none.
        num_classes: how many the net has.
        told: what the net is called in messages.
        say: called with a line for people where labels are not taken by name.

    Raises:
        InputError: if the data set has classes that the net does not know.
    """
    known = known and tuple(map(class_name, known))  # as data sets have them
    are_ids = num_classes == IMAGENET_CLASSES and all(name.startswith("n") for name in dataset_classes)
    if are_ids and (known is None or is_imagenet(known)):
        known = known if known and _is_id(known[0]) else tuple(wordnet_id for wordnet_id, _ in imagenet_classes())
    if known and set(dataset_classes) <= set(known):
        place = {name: label for label, name in enumerate(known)}
        return np.array([place[name] for name in dataset_classes])
    numbers = _numbers(dataset_classes)
    if known is None and numbers and max(numbers) < num_classes:
        say(f"{told} has no class names: those of the data, which are numbers, are taken as its labels")
        return np.array(numbers)
    if known is None and len(dataset_classes) == num_classes:
        order = np.argsort(numbers or dataset_classes)
        ends = f"{dataset_classes[order[0]]} is 0, {dataset_classes[order[-1]]} is {num_classes - 1}"
        say(f"{told} has no class names: its labels are taken by position among the sorted names of the data: {ends}")
        return np.argsort(order)  # the place of each
    missing = sorted(set(dataset_classes) - set(known or ()))
    raise InputError(
        f"{told} knows {num_classes} classes; the data set has {len(dataset_classes)}, of which it does not know "
        f"{', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}."
    )


def _numbers(names: tuple[str, ...]) -> list[int] | None:
    """Returns the numbers that names are, whose order as text is another one; `None` if they are none, or not each another."""
    are_numbers = all(name.isascii() and name.isdigit() for name in names)
    numbers = list(map(int, names)) if are_numbers else []
    return numbers if numbers and len(set(numbers)) == len(names) else None
