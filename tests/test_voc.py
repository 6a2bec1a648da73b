"""VOC's own layout, and TFDS's voc: which images, what they show, how files that do not do are told."""

import io
import os
import typing

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from damaged_records import damage_a_record
from voc_tree import CLASSES, LABELS, OBJECTS, jpeg, write_voc

from keras_vgg.data import voc
from keras_vgg.errors import InputError


@pytest.fixture
def tree(tmp_path):
    return write_voc(tmp_path / "VOCdevkit" / "VOC2007")


def test_images_and_what_they_show(tree):
    found = voc.open_multi_label(f"voc:{tree}")
    assert found.classes == CLASSES
    assert found.parts.tolist() == ["train", "train", "val", "val", "test"]
    assert found.labels.tolist() == LABELS  # a person's head is no object
    assert found.labels.dtype == np.int8
    assert found.split.name_of(1) == str(tree / "JPEGImages" / "000005.jpg")
    encoded, label = found.split.read(tf.constant(1, tf.int64))
    assert encoded.numpy() == jpeg((75, 0, 0))
    assert int(label) == 0
    assert "VOC2007" in found.description


def test_only_the_sets_that_are_asked_for_are_opened(tree):
    (tree / "ImageSets" / "Main" / "test.txt").unlink()
    (tree / "Annotations" / "000003.xml").unlink()
    found = voc.open_multi_label(f"voc:{tree}", ("train", "val"))
    assert found.labels.tolist() == LABELS[:4]
    with pytest.raises(InputError, match=r"Expected a list of images, one per line. Received: .*test\.txt \(.*No such file"):
        voc.open_multi_label(f"voc:{tree}")


def test_images_with_other_endings(tree):
    folder = tree / "JPEGImages"
    for image, ending in (("000012", ".JPG"), ("000005", ".png"), ("000007", ".jpeg")):
        (folder / f"{image}.jpg").rename(folder / f"{image}{ending}")
    for beside in ("000005.txt", "000001.PNG", "._000003.png"):
        (folder / beside).write_bytes(b"")
    found = voc.open_multi_label(f"voc:{tree}").split
    names = [found.name_of(index).removeprefix(f"{folder}/") for index in range(found.size)]
    assert names == ["000012.JPG", "000005.png", "000007.jpeg", "000001.jpg", "000003.jpg"]


def test_annotations_without_difficult_and_with_blanks(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<annotation><object><name> cat\n</name></object></annotation>")
    assert voc.read_annotation(path) == {"cat": 1}
    path.write_text("<annotation/>")
    assert voc.read_annotation(path) == {}


@pytest.mark.parametrize(
    "text", ["", "<annotation>", "<annotation><object/></annotation>", "no xml", "\0",
             "<annotation><object><name>a</name><difficult>x</difficult></object></annotation>"],
)  # fmt: skip
def test_annotations_that_are_none(tmp_path, text):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(InputError, match=r"Expected an annotation in VOC's XML format. Received: .*a\.xml \(") as error:
        voc.read_annotation(tmp_path / "a.xml")
    assert "\n" not in str(error.value)


def test_missing_files_are_named(tree):
    with pytest.raises(InputError, match=r"Received: .*VOCdevkit; it contains VOC2007; pass one of them"):
        voc.open_multi_label(f"voc:{tree.parent}")
    with pytest.raises(InputError, match=r"Received: .*none; it has no JPEGImages, no Annotations, no ImageSets/Main"):
        voc.open_multi_label(f"voc:{tree / 'none'}")
    (tree / "ImageSets" / "Main" / "val.txt").write_text("\n")
    with pytest.raises(InputError, match=r"val\.txt, which is empty"):
        voc.open_multi_label(f"voc:{tree}")
    (tree / "ImageSets" / "Main" / "val.txt").write_text("000099\n")
    with pytest.raises(InputError, match=r"Every image of a set must have an annotation. Received: no .*000099\.xml"):
        voc.open_multi_label(f"voc:{tree}")


def test_images_that_show_nothing(tmp_path):
    write_voc(tmp_path, {name: {f"00000{n}": []} for n, name in enumerate(voc.SETS)})
    with pytest.raises(InputError, match=r"must contain objects. Received: none in 3 annotations"):
        voc.open_multi_label(f"voc:{tmp_path}")


@pytest.mark.parametrize("name", ["digits", "voc:", "voc", "folder:x", "tfds:"])
def test_names_that_are_none(name):
    with pytest.raises(InputError, match=r"must be voc:PATH \(such as voc:VOCdevkit/VOC2007\) or tfds:voc/YEAR. Received: "):
        voc.open_multi_label(name)


# --- TensorFlow Datasets --------------------------------------------------------------------------------------------------


class SmallVoc(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """As TFDS has VOC, with our images."""

    VERSION = tfds.core.Version("5.0.0")
    SETS: typing.ClassVar = {"train": "train", "validation": "val", "test": "test"}

    def _info(self):
        labels = tfds.features.Sequence(tfds.features.ClassLabel(names=CLASSES))
        features = {"image": tfds.features.Image(), "image/filename": tfds.features.Text()}
        features |= {"labels": labels, "labels_no_difficult": labels}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(OBJECTS[ours]) for name, ours in self.SETS.items()}

    def _generate_examples(self, images):
        for image, objects in images.items():
            yield (
                image,
                {
                    "image": io.BytesIO(jpeg((15 * int(image), 0, 0))),
                    "image/filename": f"{image}.jpg",
                    "labels": sorted({name for name, _ in objects}),
                    "labels_no_difficult": sorted({name for name, difficult in objects if not difficult}),
                },
            )


class VocUntested(SmallVoc, skip_registration=True):
    """Without a test set."""

    SETS: typing.ClassVar = {"train": "train", "validation": "val"}


class VocUnlabelled(SmallVoc, skip_registration=True):
    """With boxes alone, say."""

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"image": tfds.features.Image()}))

    def _generate_examples(self, images):
        yield 0, {"image": io.BytesIO(jpeg((1, 2, 3)))}


@pytest.fixture(scope="module", params=["tfrecord", "array_record"])
def prepared(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    for builder in (SmallVoc, VocUntested, VocUnlabelled):
        builder(data_dir=folder, file_format=request.param).download_and_prepare()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.core.constants, "DATA_DIR", os.fspath(folder))
        yield folder


def test_a_damaged_record_of_tfds_costs_itself_alone(prepared, tmp_path):
    if not any(prepared.rglob("*.tfrecord-*")):
        pytest.skip("the damage is to a TFRecord file")
    whole = voc.open_multi_label("tfds:small_voc")
    found = voc.open_multi_label(damage_a_record(prepared / "small_voc" / "5.0.0", "validation", tmp_path / "5.0.0"))
    np.testing.assert_array_equal(found.labels, whole.labels * (np.arange(5) != 2)[:, np.newaxis])
    with pytest.raises(tf.errors.DataLossError):
        found.split.read(tf.constant(2, tf.int64))
    for index in (0, 1, 3, 4):
        np.testing.assert_array_equal(
            found.split.read(tf.constant(index, tf.int64)), whole.split.read(tf.constant(index, tf.int64))
        )


def test_tfds_shows_the_same(prepared):
    found = voc.open_multi_label("tfds:small_voc")
    assert found.classes == CLASSES
    assert found.parts.tolist() == ["train", "train", "val", "val", "test"]
    labels = {}
    for index in range(5):
        encoded, label = found.split.read(tf.constant(index, tf.int64))
        red = int(tf.io.decode_image(encoded)[0, 0, 0])  # tells which image it is; TFDS has an order of its own
        labels[min((12, 5, 7, 1, 3), key=lambda image, red=red: abs(15 * image - red))] = found.labels[index].tolist()
        assert int(label) == 0
    assert labels == dict(zip((12, 5, 7, 1, 3), LABELS, strict=True))
    names = [found.split.name_of(index) for index in range(5)]
    assert names[0].endswith("train[0]")
    assert names[3].endswith("val[1]")
    assert names[4].endswith("test[0]")


def test_tfds_that_does_not_do_is_told(prepared):
    with pytest.raises(InputError, match=r"must have the sets train, val, test. Received: no test"):
        voc.open_multi_label("tfds:voc_untested")
    assert len(voc.open_multi_label("tfds:voc_untested", ("train", "val")).labels) == 4
    with pytest.raises(InputError, match=r"the same features as voc. Received: no labels, labels_no_difficult"):
        voc.open_multi_label("tfds:voc_unlabelled")
    with pytest.raises(InputError, match=r"`tfds:` must name a dataset that TFDS can load or prepare. Received: none_such"):
        voc.open_multi_label("tfds:none_such")
