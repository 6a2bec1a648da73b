"""Boxes from XML files of the images in a folder: ILSVRC's layouts, class folders, images and XML side by side."""

import os
import pathlib

import numpy as np

from keras_vgg.data import sets
from keras_vgg.data.boxes import xml_files
from keras_vgg.data.boxes.annotation import Annotation, from_corners
from keras_vgg.data.boxes.examples import examples_of, names_in
from keras_vgg.data.boxes.gathering import gather
from keras_vgg.data.boxes.solutions import find_solutions, read_solution
from keras_vgg.data.class_folders import Images, list_folder
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.set_folders import folders_in
from keras_vgg.data.split import files
from keras_vgg.data.voc_xml import Shown
from keras_vgg.errors import InputError
from keras_vgg.support.image_files import printable
from keras_vgg.support.paths import path_of

_ILSVRC = pathlib.Path("Data", "CLS-LOC"), pathlib.Path("Annotations", "CLS-LOC")
IMAGES = ("jpegimages", "images", "image", "imgs", "img")
"""Names, in lower case, of image folders with annotations beside them."""


def open_folder_boxes(path: str, stream=None) -> Dataset:
    """Returns the dataset of a folder, see `class_folders.open_folder`, with the boxes of XML files as targets.

    An image's XML file has the image's name. It lies beside the image, or in a folder beside the image folders named
    `Annotations`, `bbox` or the like (`annotation_files`), in the same structure (`val/cat/1.xml`), without the set
    (`cat/1.xml`), without the class (`val/1.xml`) or without both. Pixels are counted from 0 and include `xmax` and `ymax`, in an
    image of the size given in the XML. Images without XML are not examples.

    Sets without class folders, such as ILSVRC's `val`, are supported: the names of objects are the classes of an image.

    Raises:
        InputError: as `open_folder`; if no image has XML, or no box in it is usable.
    """
    return _open_plain(path_of(path), stream=stream)


def open_ilsvrc(path: str, stream=None) -> Dataset:
    """Returns ILSVRC's localization dataset with boxes as targets.

    Args:
        path: a folder with `Data/CLS-LOC` and `Annotations/CLS-LOC`, or one with these in `ILSVRC`, as on Kaggle; or one with
            `train` and `val`, as for `open_folder_boxes`. For a set without XML, `LOC_train_solution.csv` and
            `LOC_val_solution.csv` are used; their pixels are those of the image file.
        stream: where progress is shown, if anywhere.

    Raises:
        InputError: as `open_folder_boxes`.
    """
    given = path_of(path)
    if not given.is_dir():
        raise InputError(
            f"`ilsvrc:` must name a folder with Data/CLS-LOC, or train and val. Received: {path}, which is not a folder."
        )
    images, annotations = _ILSVRC
    root = next((place for place in (given, given / "ILSVRC") if (place / images).is_dir()), None)
    solutions = find_solutions([given, given.absolute().parent] if given.absolute().name == "ILSVRC" else [given])
    if root is None:
        return _open_plain(given, solutions=solutions, stream=stream)
    folders = [root / annotations] if (root / annotations).is_dir() else []
    return open_tree(root / images, folders, f"ILSVRC in folder {printable(given.name)}", solutions=solutions, stream=stream)


def _open_plain(root: pathlib.Path, **options) -> Dataset:
    if not root.is_dir():
        return open_tree(root, [], "", **options)  # which reports the problem
    annotations = xml_files.annotation_folders(root)
    inside = folders_in(root)
    if annotations and len(inside) == 1 and inside[0].lower() in IMAGES:
        return open_tree(root / inside[0], annotations, f"folder {printable(root.name)}", **options)
    beside = xml_files.annotation_folders(root.absolute().parent) if root.name.lower() in IMAGES else []
    return open_tree(root, [*annotations, *beside], f"folder {printable(root.name)}", **options)


def open_tree(
    root: pathlib.Path,
    annotations: list[pathlib.Path],
    description: str,
    *,
    origin: int = 0,
    solutions: dict[str, pathlib.Path] | None = None,
    stream=None,
) -> Dataset:
    """Returns the dataset of a folder of images with boxes as targets.

    Args:
        root: the folder, as for `open_folder`; sets may have no class folders.
        annotations: folders of XML.
        description: of the dataset.
        origin: index of an image's first pixel.
        solutions: by set, the CSV file to use instead of XML.
        stream: where progress is shown, if anywhere.
    """
    images = list_folder(os.fspath(root), unsorted=True)

    def annotate(corners: list, size: tuple[float, float] | None) -> Annotation:
        return from_corners(corners, size, origin=origin)

    image_of: dict[str, str] = {}
    shown = {each: _shown(images, each, annotations, solutions or {}, image_of, stream) for each in images.sets}
    classes = images.classes or _classes_of(images, shown)
    examples = {
        each: examples_of(files(paths, np.zeros(len(paths), np.int32)), labels, shown[each], classes, annotate=annotate)
        for each, (paths, labels) in images.sets.items()
    }
    places = ", ".join(["XML files beside them", *map(str, annotations), *map(str, (solutions or {}).values())])
    return gather(examples, classes, description, images.notes, places)


def _shown(images: Images, which: str, annotations, solutions, image_of, stream) -> list[Shown | str | None]:
    paths, _ = images.sets[which]
    xml = xml_files.find_xml(paths, images.folders[which], which, annotations, image_of)
    if which in solutions and not any(xml):
        return read_solution(solutions[which], paths)
    return xml_files.read_all(xml, stream)


def _classes_of(images: Images, shown) -> tuple[str, ...]:
    """Returns the names of objects as classes if there are no class folders, preferably without those of the test set."""
    others = [each for each in images.sets if each != sets.TEST] or [*images.sets]
    return tuple(sorted(set().union(*(names_in(shown[each]) for each in others))))
