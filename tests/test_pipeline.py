import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_vgg import randomness
from keras_vgg.data import kept
from keras_vgg.data.broken import BrokenImages
from keras_vgg.data.order import PADDING, Layout, training_rows
from keras_vgg.data.pipeline import View, micro_batches
from keras_vgg.data.split import files, in_memory

pytestmark = pytest.mark.usefixtures("graphs_as_traced")

CENTRE = View(crop=32, scales=(32, 32))
RANDOM = View(crop=32, scales=(32, 48), flip=True, random=True, seed=5)


@pytest.fixture(params=["kept", "from files"], autouse=True)
def way_of_reading(request, monkeypatch):
    if request.param == "from files":
        monkeypatch.setattr(kept, "MOST_BYTES", 0)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(number):
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (40, 36, 3)).astype(np.uint8) for _ in range(number)]


@pytest.fixture
def folder(tmp_path):
    """Twelve image files, labelled 0, 10, 20, …"""
    paths = [tmp_path / f"{i:02}.png" for i in range(12)]
    for path, pixels in zip(paths, pictures(12), strict=True):
        path.write_bytes(png(pixels))
    return paths


def split_of(paths):
    return files([str(path) for path in paths], 10 * np.arange(len(paths)))


def read(split, rows, view=CENTRE, on_broken=None, **options):
    rows = [(epoch, np.array(row, np.int64)) for epoch, row in rows]
    batches = micro_batches(split, lambda: iter(rows), len(rows[0][1]), view, on_broken or (lambda indices: None), **options)
    return list(batches.as_numpy_iterator())


def assert_same(first, second):
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)


def test_micro_batches_hold_the_examples_of_their_rows():
    originals = pictures(6)
    split = in_memory([png(pixels) for pixels in originals], np.arange(6) + 100, "memory")
    rows = [(0, [3, 0, 5]), (2, [1, PADDING, 2]), (2, [PADDING] * 3)]
    view = View(crop=36, scales=(36, 36))
    batches = read(split, rows, view)
    assert len(batches) == 3
    for (epoch, row), batch in zip(rows, batches, strict=True):
        for place, index in enumerate(row):
            if index == PADDING:
                assert batch.weights[place] == 0
                assert not batch.images[place].any()
            else:
                assert batch.weights[place] == 1
                assert batch.targets[place] == 100 + index
                assert batch.keys[place] == epoch * 2**32 + index
                np.testing.assert_array_equal(batch.images[place], originals[index][2:38])  # the centre of 40 rows
        assert batch.broken == 0
        assert batch.images.dtype == np.uint8


def test_random_views_depend_on_example_and_epoch_alone(folder):
    split = split_of(folder)
    together = read(split, [(3, [7, 2, 9]), (4, [7, 2, 9])], RANDOM)
    apart = read(split, [(3, [9]), (3, [2])], RANDOM, decode_threads=1)
    np.testing.assert_array_equal(together[0].images[2], apart[0].images[0])
    np.testing.assert_array_equal(together[0].images[1], apart[1].images[0])
    assert not np.array_equal(together[0].images, together[1].images)


def test_random_view_is_the_one_drawn_from_the_key(folder):
    batch = read(split_of(folder), [(1, [4, 8])], RANDOM)[0]
    for place, index in enumerate((4, 8)):
        expected = RANDOM(tf.constant(folder[index].read_bytes()), randomness.example_key(1, index), 0)[0]
        np.testing.assert_array_equal(batch.images[place], expected)


def test_rows_come_in_their_order_and_an_epoch_does_not_depend_on_the_cut(folder):
    def images_by_key(micro, replicas, threads):
        layout = Layout(12, micro, replicas)
        rows = training_rows(12, layout, seed=0, epoch=1, step=0, my_replicas=range(replicas))
        rows = [next(rows) for _ in range(layout.micro_steps(12, 0) * replicas)]
        batches = read(split_of(folder), rows, RANDOM, decode_threads=threads)
        for (_, indices), batch in zip(rows, batches, strict=True):
            np.testing.assert_array_equal(batch.targets[indices != PADDING], 10 * indices[indices != PADDING])
        return {
            int(key): image
            for batch in batches
            for key, image, weight in zip(batch.keys, batch.images, batch.weights, strict=True)
            if weight
        }

    whole, cut = images_by_key(12, 1, threads=1), images_by_key(5, 2, threads=4)
    assert set(whole) == set(cut)
    assert len(whole) == 12
    for key, image in whole.items():
        np.testing.assert_array_equal(cut[key], image)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-300])


def empty(path):
    path.write_bytes(b"")


def no_image(path):
    path.write_text("not an image " * 20)


def missing(path):
    path.unlink()


@pytest.mark.parametrize("view", [CENTRE, RANDOM], ids=["centre", "random"])
def test_a_broken_image_costs_its_own_place_alone(folder, view):
    rows = [(1, [3, 5, 7, 1]), (1, [0, 2, 4, PADDING]), (1, [6, 8, 9, 10])]
    whole, reported = read(split_of(folder), rows, view), []
    for spoil, index in ((truncate, 5), (empty, 1), (no_image, 2), (missing, 6)):
        spoil(folder[index])
    spoiled = read(split_of(folder), rows, view, on_broken=lambda indices: reported.extend(indices.tolist()))
    assert [batch.weights.tolist() for batch in spoiled] == [[1, 0, 1, 0], [1, 0, 1, 0], [0, 1, 1, 1]]
    assert [float(batch.broken) for batch in spoiled] == [2, 1, 1]
    assert set(reported) == {5, 1, 2, 6}
    for before, after in zip(whole, spoiled, strict=True):
        read_places = after.weights > 0
        assert not after.images[~read_places].any()
        np.testing.assert_array_equal(after.images[read_places], before.images[read_places])
        np.testing.assert_array_equal(after.targets[read_places], before.targets[read_places])
        np.testing.assert_array_equal(after.keys, before.keys)


def test_a_row_of_which_nothing_can_be_read_is_still_a_micro_batch(folder):
    rows = [(0, [0, 1]), (0, [2, 3]), (0, [4, PADDING]), (0, [6, 7])]
    whole, reported = read(split_of(folder), rows), []
    for index in (2, 3, 4):
        empty(folder[index])
    spoiled = read(split_of(folder), rows, on_broken=lambda indices: reported.extend(indices.tolist()))
    assert [batch.weights.tolist() for batch in spoiled] == [[1, 1], [0, 0], [0, 0], [1, 1]]
    assert [float(batch.broken) for batch in spoiled] == [0, 2, 1, 0]
    assert set(reported) == {2, 3, 4}
    assert not spoiled[1].images.any()
    assert_same(spoiled[0], whole[0])
    assert_same(spoiled[3], whole[3])


def test_nothing_is_reported_where_nothing_is_broken(folder):
    def on_broken(indices):
        raise AssertionError(indices)

    assert len(read(split_of(folder), [(0, [0, PADDING]), (0, [1, 2])], on_broken=on_broken)) == 2


def test_ledger_names_each_broken_image_once_with_its_reason(folder):
    truncate(folder[2])
    empty(folder[4])
    no_image(folder[6])
    missing(folder[8])
    split = split_of(folder)
    ledger = BrokenImages(split)
    rows = [(epoch, row) for epoch in range(2) for row in ([8, 6, 5], [4, 2, 1])]
    read(split, rows, on_broken=ledger.report)
    assert len(ledger) == 4
    assert [name for name, _ in ledger.rows()] == [str(folder[index]) for index in (2, 4, 6, 8)]
    reasons = [reason for _, reason in ledger.rows()]
    assert reasons[0] == "damaged or truncated PNG"
    assert reasons[1] == "empty file"
    assert reasons[2] == "not an image: expected JPEG, PNG, GIF, BMP or WebP"
    assert "No such file" in reasons[3]
    for reason in reasons:
        assert "\n" not in reason
        assert "function_node" not in reason


def test_ledger_of_a_subset_names_the_files_of_the_whole(folder):
    empty(folder[9])
    subset = split_of(folder).subset(np.array([9, 3]))
    ledger = BrokenImages(subset)
    read(subset, [(0, [0, 1])], on_broken=ledger.report)
    assert ledger.rows() == [(str(folder[9]), "empty file")]
