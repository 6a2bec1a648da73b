"""Images with boxes from files: which are examples, with which boxes and labels, how files that do not do are told."""

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from box_trees import BOX, CLASSES, EXPECTED, IMAGES, jpeg, put, solution, write_ilsvrc, xml

from keras_vgg.data import voc
from keras_vgg.data.boxes.datasets import open_boxes
from keras_vgg.data.boxes.targets import COUNT_AT, FIRST, FRAME, HEADER, are_boxes, labels_of
from keras_vgg.data.broken import BrokenImages
from keras_vgg.data.datasets import open_dataset
from keras_vgg.errors import InputError

RACCOON = pathlib.Path("/work/shared/data/raccoon")


def stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def told_by(split):
    """`[(name, label, edges, frame)]` of a split's examples."""
    found = []
    for index in range(split.size):
        _, target = split.read(tf.constant(index, tf.int64))
        rows = target.numpy().tolist()
        boxes = rows[FIRST : FIRST + int(rows[HEADER][COUNT_AT])]
        found.append((stem(split.name_of(index)), int(labels_of(target)), boxes, rows[FRAME][2:]))
    return found


def broken(split):
    ledger = BrokenImages(split)
    ledger.report(np.arange(split.size))
    return {stem(name): reason for name, reason in ledger.rows() if "again" not in reason}


# --- ILSVRC's layouts -----------------------------------------------------------------------------------------------------


def official(root):
    return root / "Data" / "CLS-LOC", root / "Annotations" / "CLS-LOC"


def flat(which, name):
    return name if which == "train" else ""


LAYOUTS = {  # from a folder, set, class and name to an image's place and its XML's; what of it is opened
    "ilsvrc:": (
        lambda root, which, name, image: official(root)[0] / which / flat(which, name) / f"{image}.JPEG",
        lambda root, which, name, image: official(root)[1] / which / flat(which, name) / f"{image}.xml",
    ),
    "ilsvrc:..": (  # as Kaggle's archive
        lambda root, which, name, image: official(root / "ILSVRC")[0] / which / flat(which, name) / f"{image}.JPEG",
        lambda root, which, name, image: official(root / "ILSVRC")[1] / which / flat(which, name) / f"{image}.xml",
    ),
    "folder:beside": (
        lambda root, which, name, image: root / which / name / f"{image}.JPEG",
        lambda root, which, name, image: root / which / name / f"{image}.xml",
    ),
    "folder:archives": (  # as the archives of images and boxes unpack, beside each other
        lambda root, which, name, image: root / which / flat(which, name) / f"{image}.JPEG",
        lambda root, which, name, image: {
            "train": root / "ILSVRC2012_bbox_train_v2" / name / f"{image}.xml",
            "val": root / "ILSVRC2012_bbox_val_v3" / "val" / f"{image}.xml",
        }[which],
    ),
    "folder:sorted": (  # all archives in one place, and then validation images put into class folders
        lambda root, which, name, image: root / which / name / f"{image}.JPEG",
        lambda root, which, name, image: root / which / flat(which, name) / f"{image}.xml",
    ),
    "folder:Images": (  # as Stanford's dogs: no ending
        lambda root, which, name, image: root / "Images" / which / name / f"{image}.jpg",
        lambda root, which, name, image: root / "Annotation" / name / image,
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_the_same_images_come_to_the_same(tmp_path, layout):
    image_place, xml_place = LAYOUTS[layout]
    write_ilsvrc(lambda *where: image_place(tmp_path, *where), lambda *where: xml_place(tmp_path, *where))
    found = open_boxes(f"{layout.partition(':')[0]}:{tmp_path}")
    assert found.classes == CLASSES
    assert list(found.splits) == ["train", "validation"]
    assert are_boxes(found.target)
    told = [each for split in found.splits.values() for each in told_by(split)]
    assert {name: (label, boxes) for name, label, boxes, _ in told} == EXPECTED
    assert {tuple(frame) for *_, frame in told} == {(40, 36)}
    assert found.train.labels().tolist() == [0, 0, 1, 1]
    note = found.notes[-1]
    assert note == "boxes: train 5 in 4 images, 1 images without any left out; validation 3 in 2 images"
    # The digest is of the names of images that have boxes, and their folders, whatever layout they lie in.
    if "Images" not in layout:
        assert found.training_digest == "45b6"[:0] + digest_of_names(".JPEG")


def digest_of_names(ending):
    import hashlib

    names = [f"{name}/{image}{ending}" for name, each in IMAGES["train"].items() for image in each if each[image] is not None]
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
