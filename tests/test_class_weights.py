"""Weights of classes: as scikit-learn has them, from a file, and in the loss; labels found without opening an image."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from keras_vgg.data import class_weights
from keras_vgg.data.broken import BrokenImages
from keras_vgg.data.split import Split, files
from keras_vgg.errors import InputError
from keras_vgg.tasks.classification import Classification

LABELS = np.array([0] * 7 + [2] * 2 + [3] * 11 + [-1])
CLASSES = ("ant", "bee", "wasp")


def test_balanced_weights_are_those_of_scikit_learn():
    found = np.array(class_weights.balanced(LABELS, 5))
    known = LABELS[LABELS >= 0]
    np.testing.assert_allclose(found[[0, 2, 3]], compute_class_weight("balanced", classes=np.array([0, 2, 3]), y=known))
    assert found[known].mean() == pytest.approx(1)
    assert found[[1, 4]].tolist() == [1, 1]


def test_a_file_gives_the_weights_by_name(tmp_path):
    (tmp_path / "weights.csv").write_text("class,weight\nwasp, 0.5\nant,2\nbee,1\n")
    assert class_weights.read(tmp_path / "weights.csv", CLASSES) == (2, 1, 0.5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("class,weight\nant,1\nbee,1\n", "name each class of the dataset once. Received: wasp, which is missing"),
        ("class,weight\nant,1\nbee,1\nwasp,1\nfly,1\n", "Received: fly, which is unknown"),
        ("class,weight\nant,1\nbee,1\nbee,2\nwasp,1\n", "Received: bee, which is duplicated"),
        ("class,weight\nant,1\nbee,x\nwasp,1\n", "a weight must be a positive number. Received: 'x' for bee"),
        ("class,weight\nant,1\nbee,0\nwasp,1\n", "Received: '0' for bee"),
        ("class,weight\nant,1\nbee,inf\nwasp,1\n", "Received: 'inf' for bee"),
        ("name,factor\nant,1\n", "must have the columns class and weight. Received: name, factor"),
        ("", "must be 'balanced' or a readable CSV file"),
        (None, "must be 'balanced' or a readable CSV file. Received: .*No such file"),
    ],
)
def test_a_mistake_in_a_file_is_told(tmp_path, text, told):
    if text is not None:
        (tmp_path / "weights.csv").write_text(text)
    with pytest.raises(InputError, match=told) as caught:
        class_weights.read(tmp_path / "weights.csv", CLASSES)
    assert "\n" not in str(caught.value)


def test_losses_in_training_are_times_the_weights():
    outputs, labels = tf.constant([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]]), tf.constant([0, 2, 1])
    weighted, plain = (Classification(CLASSES, 0.1, weights) for weights in ((3.0, 1.0, 0.5), None))
    for training, factors in ((True, [3, 0.5, 1]), (False, [1, 1, 1])):
        expected = np.multiply(plain.losses(outputs, labels, training=training), factors)
        np.testing.assert_allclose(weighted.losses(outputs, labels, training=training), expected, rtol=1e-6)


def test_labels_are_found_without_the_images_and_of_what_cannot_be_read_there_is_none():
    nowhere = files([f"/nowhere/{number}.jpg" for number in range(5)], np.array([3, 1, 4, 1, 5])).subset(np.array([4, 0, 2]))
    assert nowhere.labels().tolist() == [5, 3, 4]
    assert nowhere.with_targets(np.array([7, 8, 9])).labels().tolist() == [7, 8, 9]

    def read(index):
        with tf.control_dependencies([tf.debugging.assert_none_equal(index, tf.constant(1, tf.int64))]):
            return tf.constant(b""), tf.cast(index, tf.int32)

    assert Split(3, read, str).labels().tolist() == [0, -1, 2]
    with pytest.raises(InputError, match="None of the 2 images has a readable label"):
        Split(2, lambda index: read(index * 0 + 1), str).labels()


def test_a_repeating_split_has_its_examples_again_and_again():
    again = files(["a.jpg", "b.jpg"], np.array([7, 8])).repeating()
    assert [again.name_of(index) for index in range(5)] == ["a.jpg", "b.jpg", "a.jpg", "b.jpg", "a.jpg"]
    assert again.size == 2
    ledger = BrokenImages(again)
    ledger.report(np.array([3, 1, 5]))  # b.jpg each time, which is not there
    assert [name for name, _ in ledger.rows()] == ["b.jpg"]
