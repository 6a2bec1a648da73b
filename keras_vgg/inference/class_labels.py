"""Class names of nets, and the mapping from a dataset's classes to a net's labels."""

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
from keras_vgg.support import strict_json
from keras_vgg.support.counts import counted
from keras_vgg.support.paths import path_of
from keras_vgg.weights import catalogue, download

IMAGENET_CLASSES = 1000
_FIRST_AND_LAST = ("n01440764", "n15075141")


@functools.cache
def imagenet_classes() -> tuple[tuple[str, str], ...]:
    """Returns WordNet id and name of ImageNet's 1,000 classes in label order, from Keras' cache or the network.

    Raises:
        InputError: if they are unavailable.
    """
    index = json.loads(download.fetch(catalogue.CLASS_INDEX, argument=None).read_text(encoding="utf-8-sig"))
    return tuple(tuple(index[str(label)]) for label in range(IMAGENET_CLASSES))


def is_imagenet(names: tuple[str, ...]) -> bool:
    """Whether classes are ImageNet's 1,000 in the order of public weights, by WordNet ids, by names, or as numbered classes.

    Ids ascend from tench to toilet tissue, which needs no list to verify; names are compared with the list if it is available.
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
    """Reads the names of a net's classes, in label order, from a file in one of the usual formats.

    - Text: one name per line. If every line begins with a WordNet id (`n01440764 tench, Tinca tinca`), the id is the name.
    - JSON: a list of names; `{"0": "tench", …}`; `{"0": ["n01440764", "tench"], …}`, the format of `imagenet_class_index.json` of
      `keras.applications`, where the id is the name; or `{"tench": 0, …}`, like `class_indices` of Keras' generators.

    Raises:
        InputError: for a file that cannot be read, has no classes, or has duplicate or missing labels.
    """
    file = path_of(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
        names = _names_of_json(strict_json.parse(text)) if text.lstrip()[:1] in ("{", "[") else text.splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"Expected class names, one per line or as JSON. Received: {path} ({error}).") from error
    if names and all(_is_id(name.split()[0] if name.strip() else "") for name in names):
        names = [name.split()[0] for name in names]
    names = [class_name(name) for name in names]
    if not names or not all(names) or len(set(names)) < len(names):
        told = "no names" if not names else "a blank name" if not all(names) else "a duplicate name"
        raise InputError(f"Every class must have a unique name. Received: {path} with {told}.")
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
    """Whether two nets predict the same classes in the same order: by name, or because both are ImageNet's, however named."""
    return first == second or (is_imagenet(first) and is_imagenet(second))


def _is_id(name: str) -> bool:
    return re.fullmatch(r"n\d{8}", name) is not None


def class_names(known: tuple[str, ...] | None, num_classes: int) -> tuple[str, ...]:
    """Returns a net's class names: `known` if given; for 1,000 classes, ImageNet's names if available; else numbered names."""
    if known:
        return known
    if num_classes == IMAGENET_CLASSES:
        with contextlib.suppress(InputError):  # names are only for display; numbers identify classes as well
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
    """Returns the net's label for each class of a dataset, `(classes of the dataset,)` int64: by name if names match.

    If the net has no class names, names that are whole numbers are the labels themselves, and other names are in label order.

    Args:
        dataset_classes: class names of the dataset.
        known: names of the net's classes in label order; `None` if they have none.
        num_classes: number of the net's classes.
        told: the net's name in messages.
        say: called with a line to print if labels are not matched by name.

    Raises:
        InputError: if the dataset has classes that the net lacks.
    """
    known = known and tuple(map(class_name, known))  # normalized as for datasets
    are_ids = num_classes == IMAGENET_CLASSES and all(name.startswith("n") for name in dataset_classes)
    if are_ids and (known is None or is_imagenet(known)):
        known = known if known and _is_id(known[0]) else tuple(wordnet_id for wordnet_id, _ in imagenet_classes())
    if known and set(dataset_classes) <= set(known):
        place = {name: label for label, name in enumerate(known)}
        return np.array([place[name] for name in dataset_classes])
    numbers = _numbers(dataset_classes)
    if known is None and numbers and max(numbers) < num_classes:
        say(f"{told} has no class names: the dataset's numeric class names are used as its labels")
        return np.array(numbers)
    if known is None and len(dataset_classes) == num_classes:
        order = np.argsort(numbers or dataset_classes)
        ends = f"{dataset_classes[order[0]]} is 0, {dataset_classes[order[-1]]} is {num_classes - 1}"
        say(f"{told} has no class names: its labels are assigned to the dataset's sorted class names by position: {ends}")
        return np.argsort(order)  # the position of each
    missing = sorted(set(dataset_classes) - set(known or ()))
    raise InputError(
        f"{told} has {counted(num_classes, 'class')}; the dataset has {len(dataset_classes)}, of which the net lacks "
        f"{', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}."
    )


def _numbers(names: tuple[str, ...]) -> list[int] | None:
    """Returns names as numbers, which sort differently from text; `None` if any is not a number, or numbers repeat."""
    are_numbers = all(name.isascii() and name.isdigit() for name in names)
    numbers = list(map(int, names)) if are_numbers else []
    return numbers if numbers and len(set(numbers)) == len(names) else None
