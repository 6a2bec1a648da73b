"""Views of images and what a net says of them: protocols, grid, flips, batches of like shape."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from small_images import images, mirrored
from small_nets import WANTS, net

from keras_vgg import preprocessing
from keras_vgg.data import images as image_ops
from keras_vgg.data.split import in_memory
from keras_vgg.errors import InputError
from keras_vgg.fully_convolutional import to_fully_convolutional
from keras_vgg.inference import batches
from keras_vgg.inference.batches import Survey
from keras_vgg.inference.network import Network, grid_offsets
from keras_vgg.inference.views import CENTER, DENSE, GRID, MULTI_CROP, Views, passes
from keras_vgg.models import build_vgg

KINDS = (DENSE, MULTI_CROP, CENTER)


def posteriors_of(model, crops):
    """By the ordinary route: the preprocessing and the plain net."""
    return model.predict(np.array(WANTS(crops)), verbose=0)


@pytest.fixture(scope="module")
def model():
    return net()


@pytest.fixture(scope="module")
def network(model):
    return Network(model)


# --- Protocols ------------------------------------------------------------------------------------------------------------


def test_passes_of_the_protocols():
    assert passes("dense", (256, 384)) == (Views("dense", 256), Views("dense", 384))
    assert passes("center", (256,), flip=False) == (Views("center", 256, False),)
    both = passes("both", (256, 384))
    assert set(both) == {Views(kind, scale) for kind in ("dense", "multi-crop") for scale in (256, 384)}
    assert len(both) == 4


def test_a_scale_named_twice_is_one_scale():
    assert passes("dense", (256, 256)) == passes("dense", (256,))


@pytest.mark.parametrize(
    ("protocol", "scales", "message"),
    [
        ("sparse", (256,), "`protocol` must be one of dense, multi-crop, center, both. Received: protocol='sparse'"),
        ("dense", (), "`scales` must be positive"),
        ("dense", (256, 0), "`scales` must be positive"),
    ],
)
def test_protocols_that_there_are_not(protocol, scales, message):
    with pytest.raises(InputError, match=message):
        passes(protocol, scales)


def test_pixels_that_the_net_sees():
    assert Views("dense", 32, flip=False).pixels(40, 50, 32) == 2000
    assert Views("dense", 32).pixels(40, 50, 32) == 4000
    assert Views("multi-crop", 40).pixels(40, 50, 32) == 50 * 32 * 32
    assert Views("center", 40, flip=False).pixels(40, 50, 32) == 32 * 32


def test_views_in_words():
    assert str(Views("multi-crop", 384)) == "multi-crop at 384"
    assert str(Views("dense", 256, flip=False)) == "dense at 256, no flip"


# --- The grid -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "crop", "offsets"),
    [
        (48, 32, [0, 4, 8, 12, 16]),
        (39, 32, [0, 2, 4, 5, 7]),  # 0 1.75 3.5 5.25 7; halves go to the even number
        (32, 32, [0, 0, 0, 0, 0]),
        (33, 32, [0, 0, 0, 1, 1]),
        (384, 224, [0, 40, 80, 120, 160]),
        (683, 224, [0, 115, 230, 344, 459]),  # 114.75 229.5 344.25
    ],
)
def test_offsets_by_hand(size, crop, offsets):
    assert grid_offsets(tf.constant(size), crop).numpy().tolist() == offsets


def test_the_grid_ends_at_the_borders_whatever_the_size():
    for size in [*range(32, 200), 1000, 4095, 65500, 2**22]:
        offsets = grid_offsets(tf.constant(size), 32).numpy()
        assert len(offsets) == GRID == 5
        assert offsets[0] == 0
        assert offsets[-1] == size - 32
        steps = np.diff(offsets)
        assert steps.max() - steps.min() <= 1


def test_crops_cover_all_four_corners(network):
    plain = images(45, 70, number=1)
    expected = network.posteriors(plain, MULTI_CROP, flip=False)
    for rows, columns in ((s, t) for s in (slice(0, 2), slice(-2, None)) for t in (slice(0, 2), slice(-2, None))):
        marked = plain.copy()
        marked[:, rows, columns] = 255 - marked[:, rows, columns]
        assert np.abs(network.posteriors(marked, MULTI_CROP, flip=False) - expected).max() > 1e-4


@pytest.mark.parametrize("size", [(32, 32), (48, 48), (39, 61), (80, 33)])
@pytest.mark.parametrize("flip", [False, True])
def test_multi_crop_is_a_loop_over_crops(network, model, size, flip):
    batch = images(*size)
    tops, lefts = (np.round(np.linspace(0, side - 32, 5)).astype(int) for side in size)
    seen = [batch, mirrored(batch)] if flip else [batch]
    crops = [each[:, top : top + 32, left : left + 32] for each in seen for top in tops for left in lefts]
    assert len(crops) == (50 if flip else 25)
    expected = posteriors_of(model, np.concatenate(crops)).reshape(len(crops), len(batch), -1).mean(0)
    assert expected[:, 0].std() > 1e-3
    np.testing.assert_allclose(network.posteriors(batch, MULTI_CROP, flip=flip), expected, atol=1e-5)


def test_where_the_scale_is_the_crop_all_crops_are_the_image(network, model):
    batch = images(32, 32)
    expected = posteriors_of(model, batch)
    for kind in KINDS:
        np.testing.assert_allclose(network.posteriors(batch, kind, flip=False), expected, atol=1e-5)


# --- Dense ----------------------------------------------------------------------------------------------------------------


def score_maps(model, batch, **options):
    dense = to_fully_convolutional(model, **options)
    return [dense.predict(np.array(WANTS(each)), verbose=0) for each in (batch, mirrored(batch))]


@pytest.mark.parametrize("pooling", ["floor", "ceil"])
def test_dense_is_the_mean_over_the_map_and_the_flip(model, pooling):
    batch = images(70, 107)
    plain, flipped = (found.mean((1, 2)) for found in score_maps(model, batch, pooling=pooling))
    network = Network(model, pooling=pooling)
    np.testing.assert_allclose(network.posteriors(batch, DENSE, flip=False), plain, atol=1e-5)
    np.testing.assert_allclose(network.posteriors(batch, DENSE, flip=True), (plain + flipped) / 2, atol=1e-5)
    assert np.abs(plain - flipped).max() > 1e-3


def softmax(scores):
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def test_averaging_scores_is_the_soft_max_of_their_mean(model):
    batch = images(70, 107)
    logits = score_maps(model, batch, activation=None)
    expected = np.mean([softmax(each.mean((1, 2))) for each in logits], axis=0)  # flips are averaged after it, as in the paper
    found = Network(model, average="scores").posteriors(batch, DENSE, flip=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - Network(model).posteriors(batch, DENSE, flip=True)).max() > 1e-3


def test_score_map_is_that_of_the_dense_net(network, model):
    batch = images(70, 107)
    np.testing.assert_allclose(network.score_map(batch), score_maps(model, batch)[0], atol=1e-5)


@pytest.mark.parametrize("kind", [MULTI_CROP, CENTER])
def test_a_crop_of_odd_size_is_the_nets_own_input_whatever_becomes_of_odd_sizes(kind):
    model = net(side=47)  # 24 12 6 3 2 when rounded up: a map of two by two
    batch = images(47, 47)
    for pooling in ("floor", "ceil"):
        found = Network(model, pooling=pooling).posteriors(batch, kind, flip=False)
        np.testing.assert_allclose(found, posteriors_of(model, batch), atol=1e-5)


# --- Flips ----------------------------------------------------------------------------------------------------------------


def symmetric(side):
    """A net that sees a mirror image as it sees the image, where its pooling leaves nothing over."""
    model = net("B", side=side)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = layer.kernel.numpy()
            layer.kernel.assign(0.6 * (kernel + kernel[:, ::-1]))
    fc1 = model.get_layer("fc1").kernel
    columns = fc1.numpy().reshape(side // 32, side // 32, -1)
    fc1.assign(((columns + columns[:, ::-1]) / 2).reshape(fc1.shape))
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_flips_of_a_symmetric_net_cancel(kind):
    network = Network(symmetric(64))
    batch = images(64, 64) if kind == CENTER else images(96, 128)
    plain = network.posteriors(batch, kind, flip=False)
    assert np.std(plain, axis=0).max() > 1e-3
    np.testing.assert_allclose(network.posteriors(mirrored(batch), kind, flip=False), plain, atol=1e-5)
    np.testing.assert_allclose(network.posteriors(batch, kind, flip=True), plain, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_flip_is_the_mean_with_the_mirror_image(network, kind):
    batch = images(32, 32) if kind == CENTER else images(64, 77)
    plain, other = (network.posteriors(each, kind, flip=False) for each in (batch, mirrored(batch)))
    both = network.posteriors(batch, kind, flip=True)
    assert np.abs(plain - other).max() > 1e-3
    np.testing.assert_allclose(both, (plain + other) / 2, atol=1e-6)
    np.testing.assert_allclose(network.posteriors(mirrored(batch), kind, flip=True), both, atol=1e-6)


# --- The net --------------------------------------------------------------------------------------------------------------


def test_one_graph_for_images_of_every_shape(model):
    network = Network(model)
    shapes = [(1, 32, 32), (3, 32, 32), (2, 40, 70), (1, 71, 33), (2, 96, 96)]
    for kind in (DENSE, MULTI_CROP):
        for number, height, width in shapes:
            assert network.posteriors(images(height, width, number), kind, flip=True).shape == (number, 7)
        assert network._functions[kind, True].experimental_get_tracing_count() == 1
    for _, height, width in shapes:
        network.score_map(images(height, width))
    assert network._score_map.experimental_get_tracing_count() == 1


def test_logits_are_made_posteriors(model):
    logits = net(classifier_activation=None)
    batch = images(40, 50)
    expected = Network(model).posteriors(batch, DENSE, flip=False)
    by_layer = keras.Model(logits.input, keras.layers.Softmax()(logits.output))
    preprocessing.remember(by_layer, WANTS)
    for each in (logits, by_layer):
        np.testing.assert_allclose(Network(each).posteriors(batch, DENSE, flip=False), expected, atol=1e-6)
        np.testing.assert_allclose(Network(each).own_posteriors(images()), posteriors_of(model, images()), atol=1e-6)


def test_an_image_is_not_touched_by_those_beside_it(network):
    batch = images(45, 70, number=5)
    for kind in (DENSE, MULTI_CROP):
        together = network.posteriors(batch, kind, flip=True).numpy()
        alone = [network.posteriors(batch[i : i + 1], kind, flip=True)[0] for i in range(5)]
        np.testing.assert_allclose(together, alone, atol=1e-6)


def test_posteriors_are_float32_and_sum_to_one_in_mixed_precision():
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = net()
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    found = Network(model).posteriors(images(40, 50), DENSE, flip=True)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(np.sum(found, axis=1), 1, rtol=1e-5)


def test_nets_that_cannot_be_tested(model):
    with pytest.raises(InputError, match=r"`average` must be one of posteriors, scores. Received: average='logits'"):
        Network(model, average="logits")
    wide = build_vgg("A", input_shape=(32, 64, 3), width=0.05, classes=7)
    with pytest.raises(InputError, match=r"net for square inputs .* for 32x64"):
        Network(wide)
    with pytest.raises(InputError, match=r"sigmoids or in logits. Received: 'vgg_a', .* 'predictions' ends in relu"):
        Network(net(classifier_activation="relu"))
    with pytest.raises(InputError, match=r"with its top"):
        Network(build_vgg("A", input_shape=(None, None, 3), width=0.05, include_top=False))
    with pytest.raises(InputError, match=r"preprocessing of model .* is unknown"):
        Network(build_vgg("A", input_shape=(32, 32, 3), width=0.05, classes=7))


# --- Batches of like shape ------------------------------------------------------------------------------------------------


def test_rescaled_sizes_by_hand():
    sizes = np.array([[50, 70], [70, 50], [32, 32], [8, 8], [33, 200], [0, 0], [1, 5000], [6000, 8000], [101, 100]])
    expected = [[40, 56], [56, 40], [40, 40], [40, 40], [40, 242], [0, 0], [40, 200_000], [40, 53], [40, 40]]
    assert batches.rescaled_sizes(sizes, 40).tolist() == expected  # 200 * 40 / 33 is 242.4, 101 * 0.4 is 40.4


def test_rescaled_sizes_are_those_of_the_image_operations():
    """Those of training and of what is served; halves too, of which sides of 144 and 176 give many."""
    sizes = np.random.default_rng(0).integers(1, 3000, (1000, 2), np.int32)
    sizes[:300, 0], sizes[300:600, 0] = 144, 176
    sizes[-1] = 65500, 65535
    for scale in (72, 256, 384):
        found = batches.rescaled_sizes(sizes, scale)
        assert (found.min(axis=1) == scale).all()
        rows = tf.data.Dataset.from_tensor_slices(sizes)
        again = rows.map(lambda size, scale=scale: image_ops.rescaled_size(size[0], size[1], scale))
        np.testing.assert_array_equal(list(again.as_numpy_iterator()), found)


SIZES = np.array([[50, 70], [70, 50], [100, 140], [0, 0], [33, 200], [50, 70], [70, 50], [50, 70], [8, 8], [25, 35]], np.int32)


def surveyed(sizes=SIZES):
    return Survey(sizes, np.zeros(len(sizes), np.int32), np.arange(len(sizes)))


@pytest.mark.parametrize("views", [Views(kind, 40, flip) for kind in KINDS for flip in (False, True)], ids=str)
@pytest.mark.parametrize("pixels", [1, 5000, 40_000, 10**9])
def test_batches_hold_every_pending_image_once_and_no_more_pixels_than_wanted(views, pixels):
    pending = np.arange(len(SIZES)) != 5
    found = batches.group(surveyed(), views, 32, pixels, pending)
    assert sorted(np.concatenate(found).tolist()) == [0, 1, 2, 4, 6, 7, 8, 9]
    rescaled = batches.rescaled_sizes(SIZES, 40)
    for batch in found:
        height, width = rescaled[batch[0]]
        assert views.kind == CENTER or (rescaled[batch] == [height, width]).all()
        seen = {DENSE: height * width, MULTI_CROP: 5 * 32 * 32, CENTER: 32 * 32}[views.kind] * (2 if views.flip else 1)
        assert len(batch) == 1 or len(batch) * seen <= pixels
    if pixels == 10**9:
        # 40x56 (0, 2, 7, 9), 56x40 (1, 6), 40x242, 40x40; crops at the centre are all of one shape
        assert sorted(map(len, found)) == ([8] if views.kind == CENTER else [1, 1, 2, 4])


def test_batches_are_the_same_at_every_start():
    whole = batches.group(surveyed(), Views(DENSE, 40), 32, 10_000, np.ones(len(SIZES), bool))
    again = batches.group(surveyed(), Views(DENSE, 40), 32, 10_000, np.ones(len(SIZES), bool))
    assert [batch.tolist() for batch in whole] == [batch.tolist() for batch in again]
    left = np.ones(len(SIZES), bool)
    left[whole[0]] = False
    rest = batches.group(surveyed(), Views(DENSE, 40), 32, 10_000, left)
    assert [batch.tolist() for batch in rest] == [batch.tolist() for batch in whole[1:]]


def test_nothing_pending_is_no_batch():
    assert batches.group(surveyed(), Views(DENSE, 40), 32, 1000, np.zeros(len(SIZES), bool)) == []


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_survey_reads_sizes_and_labels_and_tells_what_is_broken():
    encoded = [png(images(height, width, 1)[0]) for height, width in ((5, 7), (9, 4))]
    split = in_memory([encoded[0], b"no image", encoded[1], b"", encoded[0]], np.array([3, 1, 2, 0, 6]), "test")
    found = batches.survey(split)
    assert found.unread.tolist() == [1, 3]
    assert found.sizes.tolist() == [[5, 7], [0, 0], [9, 4], [0, 0], [5, 7]]
    assert found.labels.tolist() == [3, -1, 2, -1, 6]
    first, nothing, other, _, again = found.fingerprints.tolist()
    assert first == again != other
    assert nothing == 0


def test_survey_of_more_images_than_are_read_at_once():
    encoded = [png(np.zeros((1 + n % 7, 1 + n % 5, 3), np.uint8)) for n in range(600)]
    encoded[300] = b"broken"
    found = batches.survey(in_memory(encoded, np.arange(600), "test"))
    assert found.unread.tolist() == [300]
    whole = np.arange(600) != 300
    np.testing.assert_array_equal(found.sizes[whole], np.stack([1 + np.arange(600) % 7, 1 + np.arange(600) % 5], 1)[whole])
    np.testing.assert_array_equal(found.labels[whole], np.arange(600)[whole])


def test_read_batches_gives_each_image_at_its_place():
    pixels = [images(height, width, 1, seed)[0] for seed, (height, width) in enumerate([(50, 70), (70, 50), (50, 70), (40, 40)])]
    encoded = [png(each) for each in pixels]
    encoded.insert(2, encoded[0][:-400])  # its header is whole
    split = in_memory(encoded, np.zeros(5, int), "test")
    survey = batches.survey(split)
    survey.sizes[2] = 50, 70
    for kind in (DENSE, CENTER):
        groups = [np.array([0, 2, 3]), np.array([1]), np.array([4])] if kind == DENSE else [np.arange(5)]
        seen = {}
        for indices, places, found in batches.read_batches(split, survey, Views(kind, 40), 32, groups):
            seen |= dict(zip(indices.numpy()[places.numpy()].tolist(), found.numpy(), strict=True))
        assert sorted(seen) == [0, 1, 3, 4]
        for index, image in seen.items():
            if kind == CENTER:
                expected = image_ops.decode_view(encoded[index], 40, 0.5, 0.5, tf.constant(False), 32)
            else:
                expected = image_ops.decode_whole(encoded[index], [[40, 56], [56, 40], None, [40, 56], [40, 40]][index])
            np.testing.assert_array_equal(image, expected)
