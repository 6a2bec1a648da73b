import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_vgg import randomness
from keras_vgg.data import kept, pipeline
from keras_vgg.data.augmentation import Augmentation
from keras_vgg.data.kept import keep
from keras_vgg.data.order import PADDING
from keras_vgg.data.pipeline import View, micro_batches
from keras_vgg.data.split import in_memory

ROWS = [(0, [4, 0, 7, 2, 6]), (3, [1, PADDING, 5, 3, 1]), (3, [PADDING] * 5)]


def encoded(kind="JPEG", sizes=((40, 36),) * 8):
    random, found = np.random.default_rng(0), []
    for height, width in sizes:
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (height, width, 3)).astype(np.uint8)).save(buffer, kind)
        found.append(buffer.getvalue())
    return found


def split_of(images):
    return in_memory(images, 10 * np.arange(len(images)), "memory")


def read(split, view, rows=ROWS):
    rows = [(epoch, np.array(row, np.int64)) for epoch, row in rows]
    return list(micro_batches(split, lambda: iter(rows), len(rows[0][1]), view, pytest.fail).as_numpy_iterator())


def from_files(split, view, monkeypatch, rows=ROWS):
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "keep", lambda *arguments, **options: None)
        return read(split, view, rows)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    "view",
    [
        View(36, (36, 36)),
        View(32, (36, 36), flip=True, random=True, seed=5),
        View(32, (34, 80), flip=True, random=True, seed=1),
        View(28, (32, 48), random=True, augment=Augmentation((2, 9), 0.5, 7)),
        View(64, (64, 80), flip=True, random=True, seed=2),
    ],
    ids=["whole", "crops", "jitter", "augmented", "small"],
)
def test_views_are_those_of_the_encoded_images_bit_for_bit(kind, view, monkeypatch):
    split = split_of(encoded(kind))
    assert keep(split, scale=view.scales[0], crop=view.crop)
    for ours, theirs in zip(read(split, view), from_files(split, view, monkeypatch), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype


def test_an_example_that_comes_again_is_the_same_image_in_another_view(monkeypatch):
    split, view = split_of(encoded()).repeating(), View(32, (36, 36), random=True)
    batch = read(split, view, [(0, [3, 11])])[0]
    assert batch.targets.tolist() == [30, 30]
    assert batch.keys.tolist() == [3, 11]
    np.testing.assert_array_equal(batch.images, from_files(split, view, monkeypatch, [(0, [3, 11])])[0].images)
    assert (batch.images[0] != batch.images[1]).any()


@pytest.mark.parametrize(("crop", "scale", "is_kept"), [(16, 20, True), (16, 18, False)])
def test_images_that_would_be_reduced_while_decoded_are_not_kept(crop, scale, is_kept):
    assert (keep(split_of(encoded()), scale=scale, crop=crop) is not None) == is_kept


def test_images_of_several_sizes_are_not_kept():
    sizes = [(40, 36)] * 7 + [(36, 40)]
    assert keep(split_of(encoded(sizes=sizes)), scale=36, crop=36) is None


def test_images_that_are_too_many_are_not_kept(monkeypatch):
    monkeypatch.setattr(kept, "MOST_BYTES", 8 * 40 * 36 * 3)
    assert keep(split_of(encoded()), scale=36, crop=36)
    assert keep(split_of(encoded(sizes=[(40, 36)] * 9)), scale=36, crop=36) is None


@pytest.mark.parametrize("broken", [0, 5])
def test_where_an_image_cannot_be_read_none_is_kept(broken):
    images = encoded()
    images[broken] = images[broken][:-300]
    assert keep(split_of(images), scale=36, crop=36) is None


def test_targets_that_move_with_the_view_are_placed(monkeypatch):
    split = split_of(encoded())
    view = View(32, (36, 36), random=True, place=lambda target, geometry: target + tf.cast(geometry.window[0], tf.int32))
    keys = [randomness.example_key(0, index) for index in (1, 6)]
    expected = [
        view(split.read(index)[0], key, split.read(index)[1])[1] for index, key in zip(tf.constant([1, 6]), keys, strict=True)
    ]
    assert read(split, view, [(0, [1, 6])])[0].targets.tolist() == [int(target) for target in expected]
