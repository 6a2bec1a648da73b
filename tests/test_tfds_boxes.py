"""Boxes of TensorFlow Datasets: found by the types of features, whatever these are called."""

import io
import os
import typing

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from box_trees import jpeg
from damaged_records import damage_a_record

from keras_vgg.data.boxes.datasets import open_boxes
from keras_vgg.data.boxes.targets import COUNT_AT, FIRST, FRAME, HEADER, are_boxes, labels_of
from keras_vgg.data.datasets import open_dataset
from keras_vgg.errors import InputError

CLASSES = ("cat", "dog", "emu")
LEFT, RIGHT, NONE = (0.0, 0.0, 0.5, 0.25), (0.25, 0.5, 1.0, 1.0), (0.0, 0.0, 0.0, 0.0)  # y_min, x_min, y_max, x_max
EDGES = {LEFT: [0, 0, 0.25, 0.5], RIGHT: [0.5, 0.25, 1, 1]}


def box(corners):
    return tfds.features.BBox(*corners)


class Boxed(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """One box an image, as birds, cars and (heads of) pets have."""

    VERSION = tfds.core.Version("1.0.0")
    EXAMPLES: typing.ClassVar = [("cat", LEFT), ("emu", RIGHT), ("dog", NONE)]

    def _info(self):
        features = {"image": tfds.features.Image(), "file_name": tfds.features.Text(), **self.features()}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def features(self):
        return {
            "species": tfds.features.ClassLabel(num_classes=2),
            "label": tfds.features.ClassLabel(names=CLASSES),
            "head_bbox": tfds.features.BBoxFeature(),
        }

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(), "test": self._generate_examples()}

    def _generate_examples(self):
        for number, example in enumerate(self.EXAMPLES):
            image = io.BytesIO(jpeg((60 * number, 0, 0)))
            yield number, {"image": image, "file_name": f"{number}.jpg", **self.told(*example)}

    def told(self, name, corners):
        return {"species": 0, "label": name, "head_bbox": box(corners)}


class BoxedObjects(Boxed, skip_registration=True):
    """Objects of the image's class, as Stanford's dogs."""

    EXAMPLES: typing.ClassVar = [("cat", [LEFT, RIGHT]), ("emu", [RIGHT]), ("dog", [])]

    def features(self):
        return {
            "label": tfds.features.ClassLabel(names=CLASSES),
            "objects": tfds.features.Sequence({"bbox": tfds.features.BBoxFeature()}),
        }

    def told(self, name, corners):
        return {"label": name, "objects": [{"bbox": box(each)} for each in corners]}


class BoxedClasses(Boxed, skip_registration=True):
    """Objects each of a class of its own, as VOC."""

    EXAMPLES: typing.ClassVar = [
        ([("dog", LEFT, False), ("cat", RIGHT, False), ("dog", RIGHT, False)],),
        ([("emu", LEFT, True)],),
        ([("emu", RIGHT, False), ("cat", LEFT, True)],),
    ]

    def features(self):
        parts = {
            "label": tfds.features.ClassLabel(names=CLASSES),
            "bbox": tfds.features.BBoxFeature(),
            "is_difficult": np.bool_,
            "pose": tfds.features.ClassLabel(num_classes=2),
        }
        return {"objects": tfds.features.Sequence(parts)}

    def told(self, objects):
        return {
            "objects": [{"label": name, "bbox": box(corners), "is_difficult": flag, "pose": 0} for name, corners, flag in objects]
        }


class Boxless(Boxed, skip_registration=True):
    """Labels alone."""

    def features(self):
        return {"label": tfds.features.ClassLabel(names=CLASSES)}

    def told(self, name, _):
        return {"label": name}


@pytest.fixture(scope="module", params=["tfrecord", "array_record"])
def prepared(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    for builder in (Boxed, BoxedObjects, BoxedClasses, Boxless):
        builder(data_dir=folder, file_format=request.param).download_and_prepare()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.core.constants, "DATA_DIR", os.fspath(folder))
        yield folder


def told_by(split):
    """`(image, label, edges)` of the examples, images told by their colour: TFDS has an order of its own."""
    found = []
    for index in range(split.size):
        encoded, target = split.read(tf.constant(index, tf.int64))
        red, rows = int(tf.io.decode_image(encoded)[0, 0, 0]), target.numpy().tolist()
        assert rows[FRAME] == [0, 0, 1, 1]
        found.append((round(red / 60), int(labels_of(target)), rows[FIRST : FIRST + int(rows[HEADER][COUNT_AT])]))
        assert split.file_name(index) == f"{found[-1][0]}.jpg"
    return sorted(found)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("boxed", [(0, 0, [EDGES[LEFT]]), (1, 2, [EDGES[RIGHT]])]),
        ("boxed_objects", [(0, 0, [EDGES[LEFT], EDGES[RIGHT]]), (1, 2, [EDGES[RIGHT]])]),
        ("boxed_classes", [(0, 0, [EDGES[RIGHT]]), (0, 1, [EDGES[LEFT], EDGES[RIGHT]]), (2, 2, [EDGES[RIGHT]])]),
    ],
)
def test_boxes_and_labels(prepared, name, expected):
    found = open_boxes(f"tfds:{name}")
    assert found.classes == CLASSES
    assert are_boxes(found.target)
    assert sorted(told_by(found.train) + told_by(found.validation)) == told_by(found.test) == expected
    assert found.description == f"TFDS {name}/1.0.0"
    by_path = open_boxes(f"tfds:{prepared / name / '1.0.0'}")
    assert told_by(by_path.test) == expected
    assert by_path.training_digest == found.training_digest
    assert "skipped without boxes: 1" in found.notes[0]
    if name == "boxed_classes":
        assert "3 examples, one per image and class" in found.notes[0]
        assert found.notes[1] == "Note: skipped: 4 difficult objects."
        assert found.notes[2].startswith("validation: ")
    else:
        assert found.classes == open_dataset(f"tfds:{name}").classes
        assert found.notes[1] == "Warning: 1 of 3 classes have no train image with a usable box: dog."


@pytest.mark.parametrize("name", ["boxed", "boxed_classes"])
def test_a_damaged_record_costs_itself_alone(prepared, tmp_path, name):
    if not any(prepared.rglob("*.tfrecord-*")):
        pytest.skip("the damage is to a TFRecord file")
    found = open_boxes(damage_a_record(prepared / name / "1.0.0", "test", tmp_path / "1.0.0")).test
    assert found.name_of(0) == f"{name}/1.0.0/test[0]"
    with pytest.raises(tf.errors.DataLossError):
        found.read(tf.constant(0, tf.int64))
    others = [found.read(tf.constant(index, tf.int64))[1] for index in range(1, found.size)]
    assert others
    assert all(target.numpy()[HEADER][COUNT_AT] for target in others)


def test_without_boxes(prepared):
    with pytest.raises(InputError, match=r"tfds:boxless must have boxes \(`BBoxFeature`.*Received: .*label ClassLabel"):
        open_boxes("tfds:boxless")
