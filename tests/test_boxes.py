"""Images with boxes from files: which are examples, with which boxes and labels, how files that do not do are told."""

import os
import pathlib
import re

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

RACCOON = pathlib.Path(__file__).parents[2] / "shared" / "data" / "raccoon"


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
    assert found.notes[-1] == "boxes: train 5 in 4 images, skipped without boxes: 1; validation 3 in 2 images"
    if "Images" not in layout:  # of the images' names and their folders, which are called otherwise there
        assert found.training_digest[:16] == "4b6db19186924f9c"


def put_kaggle(root, boxes=solution):
    write_ilsvrc(lambda *where: LAYOUTS["ilsvrc:.."][0](root, *where), None)
    for which in IMAGES:
        put(root / f"LOC_{which}_solution.csv", boxes(which))


@pytest.mark.parametrize("given", ["", "ILSVRC"])
def test_kaggles_csv_stands_in_for_xml(tmp_path, given):
    put_kaggle(tmp_path)
    found = open_boxes(f"ilsvrc:{tmp_path / given}")
    told = [each for split in found.splits.values() for each in told_by(split)]
    assert {name: (label, boxes) for name, label, boxes, _ in told} == EXPECTED
    assert {tuple(frame) for *_, frame in told} == {(0, 0)}  # pixels of the file
    # Where there is XML, that is read: it tells the size that its boxes refer to.
    xml_place = LAYOUTS["ilsvrc:.."][1]
    put(xml_place(tmp_path, "train", CLASSES[0], "n01440764_2"), xml([(CLASSES[0], BOX)], size=(400, 300)))
    assert told_by(open_boxes(f"ilsvrc:{tmp_path / given}").split("train")) == [("n01440764_2", 0, [[4, 1, 21, 31]], [400, 300])]


def test_rows_of_kaggles_csv_that_do_not_do(tmp_path):
    put_kaggle(tmp_path)
    rows = [
        "n01440764_1,n01440764 4 1 20",
        "n01440764_2,n01440764 4 1 20 x",
        "n01440764_3,",
        "n01443537_1,n01443537 4 1 20 30",
    ]
    put(tmp_path / "LOC_train_solution.csv", "\n".join(["ImageId,PredictionString", *rows]))
    found = open_boxes(f"ilsvrc:{tmp_path}")
    assert broken(found.train) == {
        "n01440764_1": "LOC_train_solution.csv, line 2: expected a class and four numbers for each box, got 'n01440764 4 1 20'",
        "n01440764_2": "LOC_train_solution.csv, line 3: expected a class and four numbers for each box, got 'n01440764 4 1 20 x'",
        "n01440764_3": "no object of its class, n01440764",
    }
    put(tmp_path / "LOC_train_solution.csv", "image,boxes\n")
    with pytest.raises(InputError, match=r"must have columns ImageId and PredictionString\. Received: columns image, boxes"):
        open_boxes(f"ilsvrc:{tmp_path}")


# --- What an image's annotation may hold ----------------------------------------------------------------------------------


def write_folder(root, annotations, beside=True):
    """Writes class folders cat and dog: `annotations` by class and image."""
    for name, images in annotations.items():
        for image, annotation in images.items():
            put(root / name / f"{image}.jpg", jpeg())
            if annotation is not None:
                put((root / name if beside else root / "annotations") / f"{image}.xml", annotation)


def test_which_objects_are_an_images_own(tmp_path):
    write_folder(
        tmp_path,
        {
            "cat": {
                "1": xml([("cat", BOX), ("dog", (0, 0, 5, 5)), ("n01440764", (0, 0, 5, 5))]),
                "2": xml([("Felis_catus", BOX), ("cat", (0, 0, 5, 5))]),  # an English word, as ILSVRC has for some
                "3": xml([("dog", BOX)]),
            },
            "dog": {"4": xml([("dog", BOX, 1), ("dog", (0, 0, 5, 5), 0)]), "5": xml([("dog", (3, 3, 3, 9)), (" dog ", BOX)])},
        },
    )
    found = open_boxes(f"folder:{tmp_path}")
    whole, small = [4, 1, 21, 31], [0, 0, 6, 6]
    told = {name: (label, boxes) for name, label, boxes, _ in told_by(found.sets["train"].subset(np.array([0, 1, 3, 4])))}
    assert told == {"1": (0, [whole]), "2": (0, [whole, small]), "4": (1, [small]), "5": (1, [whole])}
    assert broken(found.sets["train"]) == {"3": "no object of its class, cat"}
    boxes, left_out, warning = found.notes
    assert boxes == "boxes: train 5 in 4 images"
    assert left_out == (
        "Note: skipped: 1 boxes without area or outside their image, 3 objects of another class than their image's, "
        "1 difficult objects."
    )
    assert warning.startswith("Warning: 1 examples have no usable box and count as broken, e.g. ")
    assert warning.endswith("cat/3.jpg: no object of its class, cat.")


FAULTS = {
    "": "damaged annotation 1.xml: no element found: line 1, column 0",
    "<annotation>": "damaged annotation 1.xml: no element found: line 1, column 12",
    "<annotation><object/></annotation>": "damaged annotation 1.xml: an object has no name",
    '<?xml version="1.0" encoding="none"?><a/>': "damaged annotation 1.xml: unknown encoding: none",
    xml([]): "no object of its class, cat",
    xml([("cat", BOX)], size=None): "annotation 1.xml without the image's size",
    xml([("cat", BOX)], size=("a", 36)): "annotation 1.xml without the image's size",
    xml([("cat", BOX)], size=(0, 0)): "an invalid image size of 0x0 in its annotation",
    xml([("cat", (5, 5, 5, 9))]): "a box without area: x from 5 to 5, y from 5 to 9",
    xml([("cat", (40, 5, 50, 9))]): "a box outside the image: x from 40 to 50, y from 5 to 9",
    xml([("cat", (-9, 5, -1, 9))]): "a box outside the image: x from -9 to -1, y from 5 to 9",
    xml([("cat", ("", 5, 5, 9))]): "a box that is not finite: x from nan to 5, y from 5 to 9",
    xml([("cat", (1, 5, 5, "inf"))]): "a box that is not finite: x from 1 to 5, y from 5 to inf",
    xml([("cat", BOX)]).replace("bndbox", "polygon"): "a box that is not finite: x from nan to nan, y from nan to nan",
}


def test_annotations_that_do_not_do_are_told_as_broken_images_are(tmp_path):
    for number, annotation in enumerate(FAULTS):
        write_folder(tmp_path / f"{number}", {"cat": {"1": annotation, "2": xml([("cat", BOX)]), "3": None}})
        every = open_boxes(f"folder:{tmp_path / str(number)}").sets["train"]
        assert broken(every) == {"1": FAULTS[annotation]}
    read = tf.data.Dataset.range(2).map(every.read).ignore_errors()  # in a graph, as training does
    assert [target[FIRST].tolist() for _, target in read.as_numpy_iterator()] == [[4, 1, 21, 31]]


def test_classes_without_boxes_are_named(tmp_path):
    good = xml([("cat", BOX)])
    write_folder(tmp_path, {"cat": {"1": good, "2": good}, "dog": {"3": None}, "emu": {"4": xml([("emu", (1, 1, 1, 1))])}})
    found = open_boxes(f"folder:{tmp_path}")
    assert found.classes == open_dataset(f"folder:{tmp_path}").classes == ("cat", "dog", "emu")
    assert found.notes[-1] == "Warning: 2 of 3 classes have no train image with a usable box: dog, emu."


def test_what_has_no_boxes_at_all(tmp_path):
    write_folder(tmp_path, {"cat": {"1": None, "2": None}})
    with pytest.raises(InputError, match=r"None of 2 train images .*has boxes\. Searched in: XML"):
        open_boxes(f"folder:{tmp_path}")
    put(tmp_path / "cat" / "1.xml", "")
    with pytest.raises(InputError, match=r"must contain usable boxes. Received: none in 1, e.g. damaged annotation 1\.xml"):
        open_boxes(f"folder:{tmp_path}")
    for name in ("digits", "wds:x", "folder:", "boxes"):
        with pytest.raises(InputError, match=r"A dataset with boxes must be ilsvrc:PATH, folder:PATH with XML files, voc:PATH"):
            open_boxes(name)
    for kind in ("folder", "ilsvrc", "voc"):
        with pytest.raises(InputError, match=f"`{kind}:` must name a folder .*Received: .*none, which is not a folder"):
            open_boxes(f"{kind}:{tmp_path / 'none'}")


def test_one_xml_file_is_not_taken_for_two_images(tmp_path):
    write_folder(tmp_path, {"cat": {"1": xml([("cat", BOX)])}, "dog": {"1": xml([("dog", BOX)])}}, beside=False)
    with pytest.raises(InputError, match=r"must belong to one image\. Received: .*1\.xml for .*cat/1\.jpg and .*dog/1\.jpg"):
        open_boxes(f"folder:{tmp_path}")


def test_nor_for_images_of_two_sets(tmp_path):
    for which in ("train", "val"):
        put(tmp_path / which / "cat" / "1.jpg", jpeg())
    put(tmp_path / "annotations" / "cat" / "1.xml", xml([("cat", BOX)]))
    with pytest.raises(InputError, match=r"must belong to one image\. Received: .*train/cat/1\.jpg and .*val/cat/1\.jpg; put XML"):
        open_boxes(f"folder:{tmp_path}")
    put(tmp_path / "annotations" / "val" / "cat" / "1.xml", xml([("cat", (0, 0, 5, 5))]))
    found = open_boxes(f"folder:{tmp_path}")
    assert [told_by(found.sets[each])[0][2] for each in ("train", "validation")] == [[[4, 1, 21, 31]], [[0, 0, 6, 6]]]


def test_a_classifier_sees_the_same_classes_and_no_xml(tmp_path):
    good = xml([("cat", BOX)])
    write_folder(tmp_path / "beside", {"cat": {"1": good, "2": good}, "dog": {"3": None, "4": None}})
    write_folder(tmp_path / "apart", {"cat": {"1": good, "2": good}, "dog": {"3": None, "4": None}}, beside=False)
    put(tmp_path / "beside" / "dog" / "5.xml", "no image has its name: told as one that cannot be read")
    for place, extra in (("beside", ["5"]), ("apart", [])):
        opened = open_dataset(f"folder:{tmp_path / place}")
        boxed = open_boxes(f"folder:{tmp_path / place}")
        assert opened.classes == boxed.classes == ("cat", "dog")
        assert boxed.sets["train"].size == 2
        every = opened.sets["train"]
        assert [stem(every.name_of(index)) for index in range(every.size)] == ["1", "2", "3", "4", *extra]


# --- VOC's layout ---------------------------------------------------------------------------------------------------------

SHOWN = {
    "train": {"000012": [("cat", BOX), ("dog", (1, 1, 5, 5)), ("dog", (2, 2, 6, 6))], "000005": [("dog", BOX), ("person", BOX, 1)]},
    "val": {"000007": [("person", (1, 1, 40, 36))], "000001": [], "000004": [("cat", BOX, 1)]},
    "test": {"000003": [("cat", BOX)]},
}


def write_voc(root, images="JPEGImages", annotations="Annotations", lists=True):
    for which, of_set in SHOWN.items():
        if lists:
            put(root / "ImageSets" / "Main" / f"{which}.txt", "\n".join(of_set))
        for image, objects in of_set.items():
            put(root / images / f"{image}.jpg", jpeg())
            put(root / annotations / f"{image}.xml", xml(objects))
    return root


def test_voc_with_lists(tmp_path):
    root = write_voc(tmp_path / "VOC2007")
    found = open_boxes(f"voc:{root}")
    assert found.classes == voc.open_multi_label(f"voc:{root}").classes == ("cat", "dog", "person")
    whole = [3, 0, 20, 30]  # pixels count from 1
    assert {which: [(name, label, boxes) for name, label, boxes, _ in told_by(split)] for which, split in found.splits.items()} == {
        "train": [("000012", 0, [whole]), ("000012", 1, [[0, 0, 5, 5], [1, 1, 6, 6]]), ("000005", 1, [whole])],
        "validation": [("000007", 2, [[0, 0, 40, 36]])],
        "test": [("000003", 0, [whole])],
    }
    boxes, left_out, warning = found.notes
    assert boxes == (
        "boxes: train 4 in 2 images, 3 examples, one per image and class; "
        "validation 1 in 1 images, skipped without boxes: 2; test 1 in 1 images"
    )
    assert left_out == "Note: skipped: 2 difficult objects."
    assert warning.endswith("have no train image with a usable box: person.")
    (root / "Annotations" / "000012.xml").write_text("<annotation>")  # of which nothing tells the class
    (root / "Annotations" / "000003.xml").unlink()
    found = open_boxes(f"voc:{root}")
    assert list(broken(found.train)) == ["000012"]
    assert found.train.labels().tolist() == [-1, 1]
    assert found.notes[-1] == "Note: no test images: none of 1 has boxes."


def test_voc_without_lists(tmp_path):
    spellings = [("JPEGImages", "Annotations"), ("images", "annotations")]
    opened = [open_boxes(f"voc:{write_voc(tmp_path / images, images, xmls, lists=False)}") for images, xmls in spellings]
    told = [[told_by(split) for split in found.splits.values()] for found in opened]
    assert told[0] == told[1]
    assert opened[0].classes == ("cat", "dog", "person")
    # An image of two classes is either learnt or held out.
    held_out = [{name for name, *_ in of_split} for of_split in told[0]]
    assert not held_out[0] & held_out[1]
    assert sum(map(len, told[0])) == 5
    assert opened[0].notes[-1].startswith("validation: 1 examples held out of 5 training examples, by image")
    with pytest.raises(InputError, match=r"Received: .*, which contains JPEGImages, images"):
        open_boxes(f"voc:{tmp_path}")


@pytest.mark.skipif(not RACCOON.is_dir(), reason="needs the raccoons")
def test_raccoons():
    found = open_boxes(f"voc:{RACCOON}")
    assert found.classes == ("raccoon",)
    assert (found.train.size, found.validation.size) == (180, 20)
    assert found.notes == ("boxes: train 217 in 200 images",)
    for name, label, boxes, frame in told_by(found.sets["train"]):
        text = (RACCOON / "annotations" / f"{name}.xml").read_text()
        sides = [list(map(int, re.findall(f"<{side}>(.*?)</{side}>", text))) for side in ("xmin", "ymin", "xmax", "ymax")]
        assert boxes == [[x0 - 1, y0 - 1, x1, y1] for x0, y0, x1, y1 in zip(*sides, strict=True)]
        assert (label, frame) == (0, [int(re.search(f"<{side}>(.*?)</{side}>", text)[1]) for side in ("width", "height")])


# --- CSV ------------------------------------------------------------------------------------------------------------------


def test_csv_with_boxes(tmp_path):
    for image in (1, 2, 3):
        put(tmp_path / f"{image}.jpg", jpeg())
    good = ["1.jpg,cat,0,0,9,9", "2.jpg,dog,4,1,20,30", "1.jpg,cat,20,5,10,9", "1.jpg,dog,1,1,2,2"]
    rows = [*good, "2.jpg,cat,,,,", "3.jpg,cat,1,x,2,2"]
    put(tmp_path / "a.csv", "\n".join(["path,label,xmin,ymin,xmax,ymax", *rows]))
    found = open_boxes(f"csv:{tmp_path / 'a.csv'}")
    every = found.split("all")
    assert broken(every) == {"2": "no box", "3": "line 7: expected four numbers for a box, got '1', 'x', '2', '2'"}
    assert found.notes[0] == "boxes: train 4 in 2 images, 3 examples, one per image and class"
    assert found.classes == open_dataset(f"csv:{tmp_path / 'a.csv'}").classes
