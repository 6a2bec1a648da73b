import keras
import numpy as np
import pytest

from keras_vgg import configs
from keras_vgg.errors import InputError
from keras_vgg.models import INITIALIZERS, build_vgg

SMALL = {"input_shape": (32, 32, 3), "width": 0.05, "classes": 7}
ARCHS = list(configs.CONFIGS)


def images(number=2, side=32):
    return np.random.default_rng(0).uniform(-120, 130, (number, side, side, 3)).astype("float32")


@pytest.mark.parametrize("arch", ARCHS)
def test_model_is_the_row_of_table_1(arch):
    model = build_vgg(arch, **SMALL)
    layers = {layer.name: layer for layer in model.layers}
    facts = configs.layer_facts(arch, **SMALL)
    for fact in facts:
        assert layers[fact.name].output.shape[1:] == fact.shape, fact.name
        assert layers[fact.name].count_params() == fact.parameters, fact.name
    assert model.count_params() == sum(fact.parameters for fact in facts)
    kernels = [layer.kernel_size[0] for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert kernels == [each.kernel for each in configs.CONFIGS[arch].convolutions.values()]


def test_full_net_d_has_the_papers_parameters():
    assert build_vgg("D", initializer=keras.initializers.Zeros()).count_params() == 138_357_544


@pytest.mark.parametrize(("arch", "application"), [("D", keras.applications.VGG16), ("E", keras.applications.VGG19)])
def test_names_and_outputs_are_those_of_keras_applications(arch, application):
    theirs = application(weights=None, input_shape=(32, 32, 3), classes=7)
    ours = build_vgg(arch, input_shape=(32, 32, 3), classes=7, initializer=keras.initializers.Zeros())
    ignored = (keras.layers.InputLayer, keras.layers.Dropout)
    assert [layer.name for layer in ours.layers if not isinstance(layer, ignored)] == [layer.name for layer in theirs.layers[1:]]
    ours.set_weights(theirs.get_weights())
    batch = images()
    np.testing.assert_allclose(ours(batch), theirs(batch), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("arch", ARCHS)
def test_posteriors_sum_to_one_and_logits_do_not(arch):
    logits = build_vgg(arch, **SMALL, classifier_activation=None)
    model = build_vgg(arch, **SMALL)
    model.set_weights(logits.get_weights())
    posteriors, scores = np.array(model(images())), np.array(logits(images()))
    np.testing.assert_allclose(posteriors.sum(-1), 1, rtol=1e-5)
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    np.testing.assert_allclose(posteriors, exponentials / exponentials.sum(-1, keepdims=True), rtol=1e-4)


@pytest.mark.parametrize("pooling", ["avg", "max", None])
def test_without_the_top(pooling):
    model = build_vgg("B", input_shape=(None, None, 3), width=0.05, include_top=False, pooling=pooling)
    features = build_vgg("B", input_shape=(None, None, 3), width=0.05, include_top=False)
    features.set_weights(model.get_weights())
    batch = images(2, 70)
    feature_map = np.array(features(batch))
    assert feature_map.shape == (2, 2, 2, 26)  # 70 halved five times, 512 * 0.05 filters
    expected = {"avg": feature_map.mean((1, 2)), "max": feature_map.max((1, 2)), None: feature_map}[pooling]
    np.testing.assert_allclose(model(batch), expected, rtol=1e-5, atol=1e-7)


def test_lrn_follows_the_first_convolution_of_a_lrn_alone():
    names = {arch: [layer.name for layer in build_vgg(arch, **SMALL).layers] for arch in ("A", "A-LRN")}
    assert "block1_lrn" not in names["A"]
    assert names["A-LRN"][names["A-LRN"].index("block1_conv1") + 1] == "block1_lrn"


def test_batch_norm_stands_between_convolution_and_relu():
    model = build_vgg("A", **SMALL, batch_norm=True)
    names = [layer.name for layer in model.layers]
    first = names.index("block2_conv1")
    assert names[first : first + 4] == ["block2_conv1", "block2_bn1", "block2_relu1", "block2_pool"]
    assert model.get_layer("block2_conv1").activation is keras.activations.linear
    assert model.name == "vgg_a_bn"
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers) == 8


def test_batch_norm_has_torchvisions_epsilon():
    layer = build_vgg("A", **SMALL, batch_norm=True).get_layer("block1_bn1")
    layer.moving_mean.assign([1.0, 2.0, 3.0])
    layer.moving_variance.assign([0.0, 1e-5, 4.0])
    deviations = np.sqrt([1e-5, 2e-5, 4.00001])
    np.testing.assert_allclose(layer(np.ones((1, 1, 1, 3), "float32")).numpy()[0, 0, 0], [0, -1, -2] / deviations, rtol=1e-4)


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_initializers(initializer):
    keras.utils.set_random_seed(0)
    model = build_vgg("A", input_shape=(32, 32, 3), width=0.25, classes=7, initializer=initializer)
    layer = model.get_layer("block5_conv2")
    kernel, bias = layer.get_weights()
    fan_in, fan_out = 9 * 128, 9 * 128
    expected = {"gaussian": 0.01, "glorot": (2 / (fan_in + fan_out)) ** 0.5, "he": (2 / fan_in) ** 0.5}[initializer]
    assert kernel.std() == pytest.approx(expected, rel=0.02)
    assert abs(kernel.mean()) < expected / 50
    assert not bias.any()


@pytest.mark.parametrize("initializer", ["glorot", keras.initializers.HeUniform(), keras.initializers.RandomNormal])
def test_layers_of_one_shape_get_different_kernels(initializer):
    model = build_vgg("A", **SMALL, initializer=initializer)
    first, second = (model.get_layer(f"block5_conv{i}").get_weights()[0] for i in (1, 2))
    assert first.shape == second.shape
    assert not np.allclose(first, second)


@pytest.mark.parametrize("arch", ARCHS)
def test_saved_and_loaded_model_gives_the_same(arch, tmp_path):
    model = build_vgg(arch, **SMALL)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images()), model(images()))


def test_mixed_precision_keeps_posteriors_in_float32():
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_vgg("A-LRN", **SMALL)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert model.get_layer("block1_lrn").compute_dtype == "bfloat16"
    outputs = model(images())
    assert outputs.dtype == "float32"
    np.testing.assert_allclose(np.array(outputs).sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"arch": "VGG17"}, "`arch` must be one of .* Received: 'VGG17'"),
        ({"input_shape": (32, 32)}, r"`input_shape` must be .*\(32, 32\)"),
        ({"input_shape": (32, 32, None)}, r"`input_shape` must be .*\(32, 32, None\)"),
        ({"input_shape": (31, 32, 3)}, r"at least 32.*\(31, 32, 3\)"),
        ({"input_shape": (None, 32, 3)}, r"`include_top=True`.*\(None, 32, 3\)"),
        ({"classes": 0}, "`classes` must be at least 1.*classes=0"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\).*dropout=1.0"),
        ({"dropout": -0.1}, r"`dropout` must be in \[0, 1\).*dropout=-0.1"),
        ({"width": 0}, "`width` must be positive.*width=0"),
        ({"width": float("inf")}, "`width` must be positive.*width=inf"),
        ({"width": float("nan")}, "`width` must be positive.*width=nan"),
        ({"initializer": "xavier"}, "`initializer` must be one of glorot, gaussian, he.*'xavier'"),
        ({"pooling": "sum", "include_top": False}, "`pooling` must be .*'sum'"),
        ({"pooling": "avg"}, "`pooling` requires `include_top=False`"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        build_vgg(**{"arch": "A", **SMALL, **arguments})
