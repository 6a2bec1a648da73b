"""Boxes of TensorFlow Datasets, recognized by the types of their features."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_vgg.data import sets, tfds_records
from keras_vgg.data.boxes.annotation import Annotation, from_corners
from keras_vgg.data.boxes.examples import Examples, examples_of
from keras_vgg.data.boxes.gathering import gather
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.split import UNKNOWN, Split
from keras_vgg.data.untuned import arrays
from keras_vgg.data.voc_xml import Object, Shown
from keras_vgg.errors import InputError
from keras_vgg.support.cores import CORES
from keras_vgg.support.progress import Progress

_NOT_COUNTING = ("is_difficult", "is_crowd")
"""Features that mark ignored objects, as in `voc` and `coco`."""

_UNREADABLE = "its record cannot be read"


class Places(NamedTuple):
    """The features of a dataset that contain its boxes and labels.

    Args:
        objects: the feature with an image's objects; `None` if a feature of the image is its only box.
        box: the feature with boxes, within `objects` if that is given; `None` if `objects` contains only boxes.
        label: the feature with each object's class, within `objects`; `None` if the image has one class.
        flags: features within `objects` that mark ignored objects.
        classes: names in label order.
    """

    objects: str | None
    box: str | None
    label: str | None
    flags: tuple[str, ...]
    classes: tuple[str, ...]


def open_tfds_boxes(name: str, stream=None) -> Dataset:
    """Returns the TFDS dataset `NAME[/CONFIG]`, or a prepared one in a folder, with boxes as targets.

    An image has one box (`caltech_birds2011`, `cars196`), or any number of objects with one box each, with their own class
    (`voc`) or the image's (`stanford_dogs`). An image with objects of several classes is an example for each of them; one without
    box, or with zeros for it as in `oxford_iiit_pet`, or without class, is not an example. All boxes are read here, without
    decoding images.

    Args:
        name: as for `tfds_records.open_tfds`.
        stream: where progress is shown, if anywhere.

    Raises:
        InputError: as `open_tfds`; if the dataset has no boxes.
    """
    builder = tfds_records.open_builder(name)
    places = _places_in(builder.info.features, name)
    found = sets.by_set(builder.info.splits)
    if not found:
        raise InputError(f"tfds:{name} must have a split train, validation or test. Received: {', '.join(builder.info.splits)}.")
    examples = {each: _examples(builder, found[each], places, stream) for each in sets.NAMES if each in found}
    where = places.objects or places.box
    return gather(examples, places.classes, f"TFDS {builder.info.full_name}", (), f"its feature {where}")


def _places_in(features, name: str) -> Places:
    import tensorflow_datasets as tfds

    def is_box(feature) -> bool:
        return isinstance(feature, tfds.features.BBoxFeature) and feature.bbox_format == tfds.features.BBoxFeature().bbox_format

    def is_label(feature) -> bool:
        return isinstance(feature, tfds.features.ClassLabel)

    of = dict(features)
    if not isinstance(of.get("image"), tfds.features.Image):
        raise InputError(f"tfds:{name} must have a feature image. Received: {', '.join(features)}.")
    of_image = tuple(of["label"].names) if is_label(of.get("label")) else None
    for key, feature in of.items():
        if is_box(feature) and of_image:
            return Places(None, key, None, (), of_image)
        inner = feature.feature if isinstance(feature, tfds.features.Sequence) else None
        if is_box(inner) and of_image:
            return Places(key, None, None, (), of_image)
        parts: dict[str, Any] = dict(inner) if isinstance(inner, tfds.features.FeaturesDict) else {}
        boxes, labels = [part for part in parts if is_box(parts[part])], [part for part in parts if is_label(parts[part])]
        if boxes and (labels or of_image):
            label = "label" if "label" in labels else labels[0] if labels else None
            classes = tuple(parts[label].names) if label else of_image or ()
            return Places(key, boxes[0], label, tuple(part for part in _NOT_COUNTING if part in parts), classes)
    raise InputError(
        f"tfds:{name} must have boxes (`BBoxFeature`, fractions from ymin to xmax) and a class label per image or per box. "
        f"Received: {', '.join(f'{key} {type(feature).__name__}' for key, feature in of.items())}."
    )


def _examples(builder, which: str, places: Places, stream) -> Examples:
    reader, features = tfds_records.records_of(builder, which), builder.info.features
    image = tfds_records.reading_of(features, ("image",), reader)
    names = [name for name in (places.objects or places.box, None if places.label else "label") if name]
    read = tfds_records.reading_of(features, names, reader)
    told = tf.data.Dataset.range(len(reader)).map(lambda index: (index, read(index)), num_parallel_calls=CORES)
    shown: list[Shown | str | None] = [_UNREADABLE] * len(reader)
    labels = np.full(len(reader), UNKNOWN, np.int64)
    with Progress(len(reader), stream=stream) as progress:
        for index, example in arrays(told.ignore_errors()):
            if places.label is None:
                labels[index] = example["label"]  # -1 if unknown, as in some test sets
            shown[index] = _shown(example, places) if places.label or labels[index] >= 0 else None
            progress.count(1)
            progress.show("reading boxes")
    split = Split(
        len(reader),
        lambda index: (image(index)["image"], tf.constant(0)),
        tfds_records.names_in(builder, which),
        file_name_of=tfds_records.file_names(features, reader),
    )
    return examples_of(split, labels, shown, places.classes, annotate=_annotate)


def _shown(example, places: Places) -> Shown | None:
    """Returns the annotation of an example; `None` if it has no box."""
    objects = example if places.objects is None else example[places.objects]
    boxes = np.reshape(objects if places.box is None else objects[places.box], (-1, 4))
    labels = objects[places.label].tolist() if places.label else [0] * len(boxes)
    flags = np.any([objects[flag] for flag in places.flags], axis=0) if places.flags else np.zeros(len(boxes), bool)
    found = [
        Object(places.classes[label] if places.label else "", (x_min, y_min, x_max, y_max), flag)
        for label, (y_min, x_min, y_max, x_max), flag in zip(labels, boxes.tolist(), flags.tolist(), strict=True)
        if label >= 0 and any((y_min, x_min, y_max, x_max))
    ]
    return Shown(tuple(found), (1.0, 1.0)) if found else None


def _annotate(corners: list, size: tuple[float, float] | None) -> Annotation:
    return from_corners(corners, size, inclusive=False)
