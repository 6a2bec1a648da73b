"""Descriptors of Appendix B: how features of views are combined, and what a layer's features are, by hand and by plain Keras."""

import keras
import numpy as np
import pytest
from small_images import images, mirrored
from small_nets import WANTS, net

from keras_vgg.descriptors.descriptor import DescriptorProtocol, descriptors
from keras_vgg.descriptors.network import FeatureNetwork
from keras_vgg.errors import InputError
from keras_vgg.fully_convolutional import to_fully_convolutional
from keras_vgg.inference.views import Views

BOTH, ONE = Views("dense", 50), Views("dense", 50, flip=False)


def features(*rows):
    return np.array(rows, np.float32)


def some_features(width, seed, number=5):
    return np.random.default_rng(seed).gamma(1.0, size=(number, width)).astype(np.float32)


# --- Scales and nets combined ---------------------------------------------------------------------------------------------


def test_scales_are_averaged_and_then_made_of_length_one():
    found = descriptors([[features([3, 0], [0, 2]), features([3, 8], [0, 6])]], DescriptorProtocol())
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 1]], atol=1e-7)
    assert found.dtype == np.float32


def test_scales_are_stacked_and_made_of_length_one_as_a_whole():
    found = descriptors([[features([1, 2]), features([2, 4])]], DescriptorProtocol(combine="stack"))
    np.testing.assert_allclose(found, [[0.2, 0.4, 0.4, 0.8]], atol=1e-7)  # their sizes tell the scales apart


def test_nets_are_stacked_each_of_length_one():
    found = descriptors([[features([3, 4])], [features([0, 5000, 0])]], DescriptorProtocol())
    np.testing.assert_allclose(found, np.array([[0.6, 0.8, 0, 1, 0]]) / 2**0.5, atol=1e-7)


def test_without_normalisation_nothing_is_divided():
    nets = [[features([1, 2]), features([3, 6])], [features([5]), features([7])]]
    plain = DescriptorProtocol(normalize=False)
    assert descriptors(nets, plain).tolist() == [[2, 4, 6]]
    stacked = DescriptorProtocol(normalize=False, combine="stack")
    assert descriptors(nets, stacked).tolist() == [[1, 2, 3, 6, 5, 7]]


@pytest.mark.parametrize("combine", ["average", "stack"])
def test_descriptors_are_of_length_one_whatever_is_combined(combine):
    nets = [[some_features(7, 0), some_features(7, 1)], [some_features(4, 2), 1000 * some_features(4, 3)]]
    found = descriptors(nets, DescriptorProtocol(combine=combine))
    assert found.shape == (5, 11 if combine == "average" else 22)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_a_row_of_zeros_stays_one_and_what_is_not_finite_is_nan():
    rows = features([0, 0], [np.nan, 1], [np.inf, 1], [3, 4])
    for protocol in (DescriptorProtocol(), DescriptorProtocol(normalize=False)):
        found = descriptors([[rows], [features([1], [1], [1], [1])]], protocol)
        assert np.isnan(found).all(axis=1).tolist() == [False, True, True, False]
        assert found[0].tolist() == [0, 0, 1]


def test_large_features_do_not_overflow():
    found = descriptors([[features([3e30, 4e30])]], DescriptorProtocol())
    np.testing.assert_allclose(found, [[0.6, 0.8]], atol=1e-6)


def test_views_of_the_protocol():
    assert DescriptorProtocol().views(384) == (Views("dense", 384),)
    assert DescriptorProtocol().views(384, False) == (Views("dense", 384, False),)  # of a net that was trained without flips
    assert DescriptorProtocol(flip=True).views(384, False) == (Views("dense", 384),)
    assert DescriptorProtocol(scales=(256, 512, 256), flip=False).views(384) == (
        Views("dense", 256, False),
        Views("dense", 512, False),
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"combine": "max"}, r"`combine` must be one of average, stack. Received: combine='max'"),
        ({"scales": ()}, r"`scales` must be positive"),
        ({"scales": (256, 0)}, r"`scales` must be positive"),
    ],
)
def test_protocols_that_there_are_not(options, told):
    with pytest.raises(InputError, match=told):
        DescriptorProtocol(**options)


# --- Features of a layer --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return net()


def by_hand(model, layer, pixels):
    """Means over places of a net that is made of copies, `(n, channels)`."""
    dense = to_fully_convolutional(model)
    maps = keras.Model(dense.input, dense.get_layer(layer).output).predict(np.array(WANTS(pixels)), verbose=0)
    return maps.reshape(len(maps), -1, maps.shape[-1]).mean(axis=1)


@pytest.mark.parametrize("layer", ["fc2", "fc1", "predictions", "block5_pool", "block5_conv2", "block2_pool", "block1_conv1"])
def test_features_are_means_over_places_and_mirror_images(model, layer):
    pixels, network = images(70, 100, 3), FeatureNetwork(model, layer)
    straight, flipped = (by_hand(model, layer, each) for each in (pixels, mirrored(pixels)))
    assert network.width == straight.shape[1]
    np.testing.assert_allclose(network.see(pixels, ONE), straight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(network.see(pixels, BOTH), (straight + flipped) / 2, rtol=1e-4, atol=1e-5)
    assert np.abs(straight - flipped).max() > 1e-3 * straight.max()


@pytest.mark.parametrize("layer", ["fc1", "fc2", "predictions"])
def test_at_the_nets_own_size_they_are_the_plain_nets_activations(model, layer):
    pixels = images(32, 32, 4)
    plain = keras.Model(model.input, model.get_layer(layer).output)
    expected = plain.predict(np.array(WANTS(pixels)), verbose=0)
    np.testing.assert_allclose(FeatureNetwork(model, layer).see(pixels, ONE), expected, rtol=1e-4, atol=1e-5)


def without_top(**options):
    model = net(include_top=False, **options)
    for variable in model.weights:
        if variable.name == "moving_variance":
            variable.assign(1 + np.abs(variable.numpy()))
    return model


@pytest.mark.parametrize(
    ("options", "layer"),
    [
        ({}, "block5_pool"),
        ({"pooling": "avg"}, "block5_pool"),
        ({"arch": "D", "batch_norm": True}, "block4_relu2"),
        ({"arch": "A-LRN"}, "block1_lrn"),
    ],
    ids=str,
)
def test_a_net_without_its_top_takes_images_of_any_size(options, layer):
    fixed = without_top(side=64, **options)  # for 64x64 alone
    network = FeatureNetwork(fixed, layer)
    square = images(64, 64, 2)
    plain = keras.Model(fixed.input, fixed.get_layer(layer).output)
    expected = plain.predict(np.array(WANTS(square)), verbose=0).mean(axis=(1, 2))
    np.testing.assert_allclose(network.see(square, ONE), expected, rtol=1e-4, atol=1e-5)
    for height, width in ((32, 32), (32, 90), (101, 67)):
        found = network.see(images(height, width), BOTH)
        assert found.shape == (2, network.width)
        assert np.isfinite(found).all()
        assert np.std(found) > 0
    assert network.smallest_input == 32


def test_what_the_smallest_image_is(model):
    assert FeatureNetwork(net(side=64), "fc2").smallest_input == 64
    assert FeatureNetwork(net(side=64), "block5_pool").smallest_input == 32
    assert FeatureNetwork(net(side=64), "block5_pool", dense=False).smallest_input == 64  # a crop of its own


@pytest.mark.parametrize(
    ("options", "layer", "told"),
    [
        ({}, "fc3", r"The net mine has no layer 'fc3'; similar names: .*fc2"),
        ({}, "block5_pol", r"similar names: block5_pool"),
        ({}, "flatten", r"has no layer 'flatten'"),
        ({"include_top": False}, "fc2", r"The net mine \(without top\) has no layer 'fc2'; similar names: .*block5_pool"),
        ({"include_top": False, "pooling": "avg"}, "avg_pool", r"has no layer 'avg_pool'"),
    ],
)
def test_layers_that_there_are_not(options, layer, told):
    with pytest.raises(InputError, match=told):
        FeatureNetwork(net(**options), layer, name="mine")
