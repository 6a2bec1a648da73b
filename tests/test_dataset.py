"""Which images of a data set are for what."""

import numpy as np
import pytest
import tensorflow as tf

from keras_vgg.data.dataset import ALL, Dataset, hold_out
from keras_vgg.data.split import in_memory, joined
from keras_vgg.errors import InputError
from keras_vgg.evaluation.run import default_split

CLASSES = ("a", "b")


def some(name, size):
    return in_memory([f"{name} {number}".encode() for number in range(size)], np.arange(size) % 2, name)


def contents(split):
    return [split.read(tf.constant(index, tf.int64))[0].numpy().decode() for index in range(split.size)]


def test_sets_as_they_are_found():
    data = Dataset({"train": some("x", 3), "validation": some("y", 2), "test": some("z", 4)}, CLASSES, "data")
    assert [split.size for split in (data.train, data.validation, data.test)] == [3, 2, 4]
    assert contents(data.split(ALL)) == ["x 0", "x 1", "x 2", "y 0", "y 1", "z 0", "z 1", "z 2", "z 3"]
    assert data.training_notes == ()
    assert contents(data.limited(1).split(ALL)) == [contents(data.limited(1).split(name))[0] for name in data.splits]


def test_a_tenth_is_held_out_where_there_is_no_set_for_validation():
    data = Dataset({"train": some("x", 20), "test": some("z", 4)}, CLASSES, "data")
    kept, held_out = hold_out(20)
    assert contents(data.train) == [f"x {index}" for index in kept]
    assert contents(data.validation) == [f"x {index}" for index in held_out]
    assert contents(data.split(ALL)) == [f"x {index}" for index in range(20)] + [f"z {index}" for index in range(4)]
    (note,) = data.training_notes
    assert note.startswith(
        "validation: 2 images held out of 20 training images, since there is no validation set; the 4 test images"
    )


@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_set_to_test_with_alone_trains_nothing(name):
    data = Dataset({name: some("x", 5)}, CLASSES, "data")
    assert data.training_notes == ()
    assert contents(data.split(name)) == contents(data.split(ALL)) == [f"x {index}" for index in range(5)]
    with pytest.raises(InputError, match=rf"The dataset must have training images\. Received: data with 5 {name} images only\."):
        _ = data.train
    with pytest.raises(InputError, match=rf"The dataset must have train images\. Received: data with 5 {name} images only\."):
        data.split("train")


def test_of_one_image_none_can_be_held_out():
    with pytest.raises(InputError, match="at least two"):
        _ = Dataset({"train": some("x", 1)}, CLASSES, "data").train
    assert Dataset({"train": some("x", 1)}, CLASSES, "data").split(ALL).size == 1


@pytest.mark.parametrize(
    ("sets", "of_others", "of_its_own"),
    [
        ({"train", "validation", "test"}, "validation", "validation"),
        ({"train", "test"}, "test", "validation"),
        ({"train"}, ALL, "validation"),
        ({"validation"}, "validation", "validation"),
        ({"test"}, "test", "test"),
    ],
)
def test_what_is_tested_where_nobody_says(sets, of_others, of_its_own):
    """A net is not tested on what it learnt from."""
    data = Dataset({name: some(name, 2) for name in sets}, CLASSES, "data")
    assert default_split(data, was_trained_on=False) == of_others
    assert default_split(data, was_trained_on=True) == of_its_own


def test_names_tell_data_for_training_from_others_wherever_they_lie(tmp_path):
    def digest(*names):
        split = in_memory([b""] * len(names), np.zeros(len(names)), "")
        object.__setattr__(split, "name_of", lambda index: names[index])
        return Dataset({"train": split}, CLASSES, "data").training_digest

    assert digest("/x/a/1.jpg", "/x/b/1.jpg") == digest("y/b/1.jpg", "y/a/1.jpg")
    assert digest("/x/a/1.jpg", "/x/b/1.jpg") != digest("/x/a/1.jpg", "/x/b/2.jpg")
    assert Dataset({"test": some("x", 2)}, CLASSES, "data").training_digest == ""


def test_joined_splits_are_read_in_order():
    split = joined([some("x", 2), some("y", 1), some("z", 2)])
    assert contents(split) == ["x 0", "x 1", "y 0", "z 0", "z 1"]
    assert [split.name_of(index) for index in (0, 2, 4)] == ["x[0]", "y[0]", "z[1]"]
    found = list(tf.data.Dataset.range(5).map(split.read).as_numpy_iterator())
    assert [int(label) for _, label in found] == [0, 1, 0, 0, 1]
