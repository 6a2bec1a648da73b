"""Images with any number of classes each: PASCAL VOC in its own layout (`voc:PATH`) and from TFDS (`tfds:voc/2007`).

Labels are those of the devkit's classification task: 1 if the image shows an object of the class, 0 if it shows none, and -1 if
all its objects of the class are marked difficult, which count neither for nor against.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_vgg.data import tfds_records, voc_xml
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.sets import TEST, set_called
from keras_vgg.data.split import Split, files, joined
from keras_vgg.data.untuned import arrays
from keras_vgg.errors import InputError
from keras_vgg.support.cores import CORES
from keras_vgg.support.image_files import is_sidecar
from keras_vgg.support.paths import path_of

PRESENT, ABSENT, DIFFICULT = 1, 0, -1
SETS = ("train", "val", "test")
_ENDINGS = (".jpg", ".jpeg", ".jpe", ".png", ".gif", ".bmp", ".webp")  # of the supported formats
NAMES = "voc:PATH (such as voc:VOCdevkit/VOC2007) or tfds:voc/YEAR"
_IN_TFDS = {"train": "train", "val": "validation", "test": "test"}
_TOLD = ("labels", "labels_no_difficult")
TFDS_FEATURES = {"image", *_TOLD}
"""Features by which a TFDS dataset of this kind is recognized."""


@dataclasses.dataclass(frozen=True)
class MultiLabel:
    """Images of some sets, one set after another.

    Attributes:
        split: the images; its single label is always 0.
        parts: `(N,)` str, the set of each image.
        labels: `(N, classes)` int8: 1 present, 0 absent, -1 difficult.
        classes: class names in label order (sorted).
        description: readable description, one line.
    """

    split: Split
    parts: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    description: str


def open_multi_label(name: str, sets: Sequence[str] = SETS) -> MultiLabel:
    """Returns the sets of the dataset `name`.

    Args:
        name: `voc:PATH` or `tfds:voc/2007`.
        sets: among `SETS`. VOC-2012's test images have no annotations, so that nothing can be measured on them here.

    Raises:
        InputError: for an unknown name, missing files or sets, or unreadable annotations.
    """
    kind, _, argument = name.partition(":")
    if kind == "voc" and argument:
        return _open_folder(argument, sets)
    if kind == "tfds" and argument:
        return _open_tfds(argument, sets)
    raise InputError(f"A dataset with several labels per image must be {NAMES}. Received: {name!r}.")


def open_dataset(name: str) -> Dataset:
    """Returns the existing sets of the dataset `name`, with targets `(classes,)` int8 as above.

    Test images are included if they have annotations without other classes. Args and errors as in `open_multi_label`.
    """
    there = sets_of(name)
    found, notes = open_multi_label(name, [part for part in there if part != TEST] or there), []
    if TEST in there and TEST not in found.parts:
        try:
            whole = open_multi_label(name, there)
            if new := set(whole.classes) - set(found.classes):
                raise InputError(f"They have classes that are missing in all other images: {', '.join(sorted(new))}.")
            found = whole
        except InputError as error:
            notes.append(f"Note: no test images: {error}")
    labelled = found.split.with_targets(found.labels)
    splits = {set_called(part): labelled.subset(np.flatnonzero(found.parts == part)) for part in there if part in found.parts}
    return Dataset({each: split for each, split in splits.items() if each}, found.classes, found.description, tuple(notes))


def sets_of(name: str) -> list[str]:
    """Returns which of `SETS` the dataset has; all if there are none, so that `open_multi_label` reports the problem."""
    kind, _, argument = name.partition(":")
    if kind == "tfds":
        splits = tfds_records.open_builder(argument).info.splits
        return [part for part in SETS if _IN_TFDS[part] in splits] or [*SETS]
    lists = path_of(argument) / "ImageSets" / "Main"
    return [part for part in SETS if (lists / f"{part}.txt").exists()] or [*SETS]


# --- VOC's own layout -----------------------------------------------------------------------------------------------------


def _open_folder(path: str, sets: Sequence[str]) -> MultiLabel:
    root = path_of(path)
    if missing := [name for name in ("JPEGImages", "Annotations", "ImageSets/Main") if not (root / name).is_dir()]:
        inside = sorted(found.parent.name for found in root.glob("*/JPEGImages") if not is_sidecar(found.parent.name))
        told = f"it contains {', '.join(inside)}; pass one of them" if inside else f"it has no {', no '.join(missing)}"
        raise InputError(f"`voc:` must name a folder with JPEGImages, Annotations and ImageSets/Main. Received: {path}; {told}.")
    images = {name: read_list(root / "ImageSets" / "Main" / f"{name}.txt") for name in sets}
    every = [image for name in sets for image in images[name]]
    objects = [read_annotation(root / "Annotations" / f"{image}.xml") for image in every]
    classes = tuple(sorted(set().union(*objects)))
    if not classes:
        raise InputError(f"{root / 'Annotations'} must contain objects. Received: none in {len(every)} annotations.")
    labels = np.zeros((len(every), len(classes)), np.int8)
    for row, of_image in enumerate(objects):
        for name, label in of_image.items():
            labels[row, classes.index(name)] = label
    paths = image_paths(root / "JPEGImages", every)
    parts = np.repeat(sets, [len(images[name]) for name in sets])
    return MultiLabel(files(paths, np.zeros(len(paths), np.int32)), parts, labels, classes, root.name)


def image_paths(folder: pathlib.Path, images: Sequence[str]) -> list[str]:
    """Returns the paths of images: `.jpg` as in VOC, else a file of that name with another image extension, if there is one."""
    file_of: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        stem, ending = os.path.splitext(name)
        if ending.lower() in _ENDINGS and not is_sidecar(name):
            file_of[stem] = f"{stem}.jpg" if ending == ".jpg" else file_of.get(stem, name)
    return [os.path.join(folder, file_of.get(image, f"{image}.jpg")) for image in images]


def read_list(path: pathlib.Path) -> list[str]:
    """Returns the images in a list, one per line.

    Raises:
        InputError: if the list is missing or empty.
    """
    try:
        names = [line.split()[0] for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Expected a list of images, one per line. Received: {path} ({error}).") from error
    if not names:
        raise InputError(f"Expected a list of images, one per line. Received: {path}, which is empty.")
    return names


def read_annotation(path: pathlib.Path) -> dict[str, int]:
    """Returns `{class: 1 or -1}` of an annotation: -1 if all objects of the class are difficult.

    Raises:
        InputError: if the file is missing or not VOC's XML.
    """
    try:
        objects = voc_xml.read(path).objects
    except FileNotFoundError as error:
        raise InputError(f"Every image of a set must have an annotation. Received: no {path}.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"Expected an annotation in VOC's XML format. Received: {path} ({error}).") from error
    found: dict[str, int] = {}
    for each in objects:
        found[each.name] = max(found.get(each.name, DIFFICULT), DIFFICULT if each.difficult else PRESENT)
    return found


# --- TensorFlow Datasets --------------------------------------------------------------------------------------------------


def _open_tfds(name: str, sets: Sequence[str]) -> MultiLabel:
    builder = tfds_records.open_builder(name)
    if missing := TFDS_FEATURES - set(builder.info.features):
        raise InputError(f"tfds:{name} must have the same features as voc. Received: no {', '.join(sorted(missing))}.")
    if without := [part for part in sets if _IN_TFDS[part] not in builder.info.splits]:
        raise InputError(f"tfds:{name} must have the sets {', '.join(sets)}. Received: no {', no '.join(without)}.")
    classes = tuple(builder.info.features["labels"].feature.names)
    splits, labels = zip(*(_tfds_set(builder, part, len(classes)) for part in sets), strict=True)
    parts = np.repeat(sets, [split.size for split in splits])
    return MultiLabel(joined(splits), parts, np.concatenate(labels), classes, f"TFDS {builder.info.full_name}")


def _tfds_set(builder, part: str, num_classes: int) -> tuple[Split, np.ndarray]:
    """Returns the images of a set and the row of labels of each, zeros if its record cannot be read, nor then its image."""
    features, reader = builder.info.features, tfds_records.records_of(builder, _IN_TFDS[part])
    image = tfds_records.reading_of(features, ("image",), reader)
    told = tfds_records.reading_of(features, _TOLD, reader)

    def row(index):
        found = told(index)
        shown, plain = (
            tf.reduce_any(tf.one_hot(found[name], num_classes, on_value=True, off_value=False, dtype=tf.bool), axis=0)
            for name in _TOLD
        )
        return index, tf.where(plain, PRESENT, tf.where(shown, DIFFICULT, ABSENT))

    labels = np.full((len(reader), num_classes), ABSENT, np.int8)
    for index, shown in arrays(tf.data.Dataset.range(len(reader)).map(row, num_parallel_calls=CORES).ignore_errors()):
        labels[index] = shown

    def read(index):
        return image(index)["image"], tf.constant(0)

    return Split(len(reader), read, lambda index: f"{builder.info.full_name}/{part}[{index}]"), labels
