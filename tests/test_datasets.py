import collections

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from keras_vgg.data import datasets
from keras_vgg.data.split import in_memory
from keras_vgg.errors import InputError


def labels_of(split):
    return [int(split.read(tf.constant(index, tf.int64))[1]) for index in range(split.size)]


def test_digits_are_scikit_learns():
    dataset, digits = datasets.open_dataset("digits"), load_digits()
    assert (dataset.train.size, dataset.validation.size) == (1437, 360)
    assert dataset.classes == tuple("0123456789")
    held_out = np.arange(1797) % 5 == 0
    for split, chosen in ((dataset.train, ~held_out), (dataset.validation, held_out)):
        assert labels_of(split) == digits.target[chosen].tolist()
        for index in (0, 17, split.size - 1):
            encoded, label = split.read(tf.constant(index, tf.int64))
            pixels = tf.io.decode_image(encoded, channels=3).numpy()
            assert pixels.shape == (8, 8, 3)
            grey = digits.images[chosen][index] * 255 / 16
            np.testing.assert_allclose(pixels, np.repeat(grey[..., np.newaxis], 3, -1), atol=0.51)
            assert label.dtype == tf.int32
    assert dataset.train.name_of(3) == "digits/train[3]"


def test_a_limit_holds_for_each_split_and_draws_over_all_classes():
    dataset = datasets.open_dataset("digits", limit_images=200)
    assert (dataset.train.size, dataset.validation.size) == (200, 200)
    assert set(collections.Counter(labels_of(dataset.train))) == set(range(10))
    assert datasets.open_dataset("digits", limit_images=1000).validation.size == 360


def test_a_limit_holds_for_test_images_too(tmp_path):
    rows = "".join(f"{number},{'ab'[number % 2]},{'test' if number > 19 else 'train'}\n" for number in range(30))
    (tmp_path / "list.csv").write_text(f"path,label,split\n{rows}")
    (tmp_path / "0").write_text("")
    dataset = datasets.open_dataset(f"csv:{tmp_path / 'list.csv'}", limit_images=5)
    assert (dataset.train.size, dataset.validation.size, dataset.test.size, len(dataset.training_notes)) == (5, 2, 5, 1)


def test_a_limit_draws_evenly_from_a_listing_sorted_by_class():
    split = in_memory([b"%d" % i for i in range(1000)], np.repeat(np.arange(10), 100), "memory")
    limited = split.limited(200)
    counts = collections.Counter(labels_of(limited))
    assert set(counts) == set(range(10))
    assert min(counts.values()) >= 8
    names = [limited.name_of(index) for index in range(200)]
    assert len(set(names)) == 200
    assert [limited.name_of(index) for index in range(200)] == [split.limited(200).name_of(index) for index in range(200)]
    for index in (0, 100, 199):  # name, image and label belong together
        encoded, label = limited.read(tf.constant(index, tf.int64))
        assert limited.name_of(index) == f"memory[{encoded.numpy().decode()}]"
        assert int(label) == int(encoded.numpy()) // 100


@pytest.mark.parametrize("most", [None, 5, 6])
def test_no_limit_and_one_beyond_the_size_change_nothing(most):
    split = in_memory([b"x"] * 5, np.arange(5), "memory")
    assert split.limited(most) is split


def test_subset_of_a_subset():
    split = in_memory([b"a", b"b", b"c", b"d"], np.arange(4), "memory").subset(np.array([3, 1, 0])).subset(np.array([2, 0]))
    assert labels_of(split) == [0, 3]
    assert [split.name_of(index) for index in range(2)] == ["memory[0]", "memory[3]"]


def test_folder_and_csv_by_name(tmp_path):
    for name in ("train/a/1", "train/b/2", "val/a/3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    folder = datasets.open_dataset(f"folder:{tmp_path}")
    assert (folder.train.size, folder.validation.size, folder.classes) == (2, 1, ("a", "b"))
    (tmp_path / "list.csv").write_text("path,label,split\ntrain/a/1,x,train\nval/a/3,x,val\n")
    csv = datasets.open_dataset(f"csv:{tmp_path / 'list.csv'}")
    assert (csv.train.size, csv.validation.size, csv.classes) == (1, 1, ("x",))


@pytest.mark.parametrize("name", ["mnist", "folder:", "csv", "tfds:", "Digits", "", "digits:8", "/data/imagenet"])
def test_unknown_name_tells_the_choices(name):
    with pytest.raises(InputError, match="`dataset` must be digits, folder:PATH, csv:FILE, tfds:NAME") as caught:
        datasets.open_dataset(name)
    assert f"Received: {name!r}" in str(caught.value)
