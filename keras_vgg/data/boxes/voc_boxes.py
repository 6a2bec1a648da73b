"""Boxes in PASCAL VOC's layout, with or without lists of sets."""

import os
import pathlib

import numpy as np

from keras_vgg.data import sets, voc
from keras_vgg.data.boxes import xml_files
from keras_vgg.data.boxes.annotation import Annotation, from_corners
from keras_vgg.data.boxes.examples import examples_of, names_in
from keras_vgg.data.boxes.folder_boxes import IMAGES, open_tree
from keras_vgg.data.boxes.gathering import gather
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.split import UNKNOWN, files
from keras_vgg.errors import InputError
from keras_vgg.support.paths import path_of

_ORIGIN = 1  # index of an image's first pixel


def open_voc_boxes(path: str, stream=None) -> Dataset:
    """Returns the dataset of a folder in VOC's layout with boxes as targets.

    Lists of images in `ImageSets/Main` are its sets: `train`, `val`, and `test` if its annotations exist. Without them, images in
    `JPEGImages` or `images` are for training, with XML in `Annotations` or `annotations`. Pixels are counted from 1 and include
    `xmax` and `ymax`.

    The classes of an image are those of its objects, except difficult ones; it is an example for each of them. Images without
    such objects, or without XML, are not examples. Classes are the same as in `voc.open_multi_label`.

    Raises:
        InputError: if folders are missing, no image has XML, or no box in it is usable.
    """
    root = path_of(path)
    if all((root / name).is_dir() for name in ("JPEGImages", "Annotations", "ImageSets/Main")):
        return _open_lists(root, stream)
    inside = sorted(root.iterdir()) if root.is_dir() else []
    images = [place for place in inside if place.name.lower() in IMAGES and place.is_dir()]
    annotations = xml_files.annotation_folders(root) if inside else []
    if not images or not annotations:
        raise InputError(
            "`voc:` must name a folder with JPEGImages and Annotations, or images and annotations, for boxes. "
            f"Received: {path}, {_told(root, inside)}."
        )
    return open_tree(images[0], annotations, root.name, origin=_ORIGIN, stream=stream)


def _told(root: pathlib.Path, inside: list[pathlib.Path]) -> str:
    if not root.is_dir():
        return "which is not a folder"
    return f"which contains {', '.join(place.name for place in inside[:5]) or 'nothing'}"


def _open_lists(root: pathlib.Path, stream) -> Dataset:
    shown, every = {}, {}
    for each, part in sets.by_set(voc.sets_of(f"voc:{root}")).items():
        images = voc.read_list(root / "ImageSets" / "Main" / f"{part}.txt")
        xml = [root / "Annotations" / f"{image}.xml" for image in images]
        shown[each] = xml_files.read_all([os.fspath(path) if path.exists() else None for path in xml], stream)
        paths = voc.image_paths(root / "JPEGImages", images)
        every[each] = files(paths, np.zeros(len(paths), np.int32))
    for_training = [each for each in shown if each != sets.TEST] or [*shown]
    classes = tuple(sorted(set().union(*(names_in(shown[each]) for each in for_training))))
    examples = {
        each: examples_of(split, np.full(split.size, UNKNOWN), shown[each], classes, annotate=_annotate)
        for each, split in every.items()
    }
    return gather(examples, classes, root.name, (), str(root / "Annotations"))


def _annotate(corners: list, size: tuple[float, float] | None) -> Annotation:
    return from_corners(corners, size, origin=_ORIGIN)
