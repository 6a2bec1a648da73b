"""Examples of images with objects: an image and its objects of one class."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from keras_vgg.data.boxes.annotation import Annotation, from_corners
from keras_vgg.data.boxes.targets import annotated
from keras_vgg.data.split import UNKNOWN, Split
from keras_vgg.data.voc_xml import Object, Shown

_WORDNET_ID = re.compile(r"n\d{8}")


class Example(NamedTuple):
    """An example: the index of its image, its label (`UNKNOWN` only with a flaw), and its objects."""

    image: int
    label: int
    annotation: Annotation


@dataclasses.dataclass
class Examples:
    """The examples of a set.

    Attributes:
        split: the set's images.
        found: the examples, in the order of the images.
        difficult: number of ignored objects that are marked difficult.
        others: number of ignored objects of another class than their image.
    """

    split: Split
    found: list[Example] = dataclasses.field(default_factory=list)
    difficult: int = 0
    others: int = 0

    @property
    def images(self) -> np.ndarray:
        """The image of each example, as its index in `split`."""
        return np.array([each.image for each in self.found], np.int64)

    @property
    def makes_several(self) -> bool:
        """Whether an image has several examples."""
        return len(np.unique(self.images)) < len(self.found)

    @property
    def labels(self) -> np.ndarray:
        """The label of each example, int32."""
        return np.array([each.label for each in self.found], np.int32)

    @property
    def annotations(self) -> list[Annotation]:
        """The annotation of each example."""
        return [each.annotation for each in self.found]

    def name_of(self, place: int) -> str:
        """Returns the name of an example's image."""
        return self.split.name_of(self.found[place].image)

    def with_targets(self) -> Split:
        """Returns the examples as a split with boxes as targets."""
        return annotated(self.split.subset(self.images), self.labels, self.annotations)


def examples_of(
    split: Split,
    labels: np.ndarray,
    shown: Sequence[Shown | str | None],
    classes: Sequence[str],
    *,
    annotate: Callable[[list, tuple[float, float] | None], Annotation] = from_corners,
) -> Examples:
    """Returns the examples of a set.

    An image of a known class is one example. Objects with the name of another class, or another WordNet ID, are ignored; all
    others belong to it, whatever their name: ILSVRC names some by an English word, and Stanford Dogs all. An image of unknown
    class is an example for each class of its objects, in the order of the classes.

    Objects marked difficult are ignored. An image without annotation is not an example, nor is one of unknown class without
    objects.

    Args:
        split: the set's images.
        labels: of each image, or `UNKNOWN`.
        shown: each image's annotation, or an error message; `None` for an image without one.
        classes: names in label order.
        annotate: creates an annotation from corners and a size.
    """
    result, place = Examples(split), {name: label for label, name in enumerate(classes)}
    for image, (label, found) in enumerate(zip(labels.tolist(), shown, strict=True)):
        if found is None:
            continue
        if isinstance(found, str):
            result.found.append(Example(image, label, Annotation.flawed(found)))
            continue
        counting = [each for each in found.objects if not each.difficult]
        result.difficult += len(found.objects) - len(counting)
        for each_label, name, objects in _by_class(counting, label, classes, place):
            result.others += len(counting) - len(objects) if label != UNKNOWN else 0
            if each_label == UNKNOWN:
                annotation = Annotation.flawed(f"an object of a class that is missing in the training images: {name}")
            elif not objects:
                annotation = Annotation.flawed(f"no object of its class, {name}")
            else:
                annotation = annotate([each.corners for each in objects], found.size)
            result.found.append(Example(image, each_label, annotation))
    return result


def _by_class(objects: list[Object], label: int, classes: Sequence[str], place: dict[str, int]):
    """Yields label, class and objects of the examples of an image."""
    if label != UNKNOWN:
        own = classes[label]
        yield label, own, [each for each in objects if not _is_another_class(each.name, own, place)]
        return
    by_name: dict[str, list[Object]] = {}
    for each in objects:
        by_name.setdefault(each.name, []).append(each)
    for name in sorted(by_name, key=lambda name: place.get(name, len(place))):
        yield place.get(name, UNKNOWN), name, by_name[name]


def _is_another_class(name: str, own: str, place: dict[str, int]) -> bool:
    return name != own and (name in place or _WORDNET_ID.fullmatch(name) is not None)


def names_in(shown: Sequence[Shown | str | None]) -> set[str]:
    """Returns the names of all objects, including difficult ones."""
    return {each.name for found in shown if isinstance(found, Shown) for each in found.objects}
