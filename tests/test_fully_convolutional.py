"""FC layers as convolutions: the same as the net on its own size, and the same at every place of a larger image."""

import json

import channels_first
import keras
import numpy as np
import pytest
from small_nets import fill, filled_net

from keras_vgg import configs, preprocessing
from keras_vgg.errors import InputError
from keras_vgg.fully_convolutional import to_fully_convolutional
from keras_vgg.models import apply_vgg, build_vgg

ARCHS = list(configs.CONFIGS)


def images(height=32, width=None, number=2):
    return np.random.default_rng(0).uniform(-2, 2, (number, height, width or height, 3)).astype("float32")


def outputs(model, batch):
    found = np.array(model(batch))
    assert found.std() > 0.02, "outputs that are all alike would agree with anything"
    return found


# --- On the training size -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_norm", [False, True], ids=["", "bn"])
@pytest.mark.parametrize("arch", ARCHS)
def test_on_the_training_size_it_is_the_net(arch, batch_norm):
    model, batch = filled_net(arch, batch_norm=batch_norm), images()
    dense = to_fully_convolutional(model)
    assert dense.output_shape == (None, None, None, 7)
    score_map = np.array(dense(batch))
    assert score_map.shape == (2, 1, 1, 7)
    np.testing.assert_allclose(score_map[:, 0, 0], outputs(model, batch), atol=1e-5)


@pytest.mark.parametrize("share", [False, True], ids=["copy", "shared"])
@pytest.mark.parametrize("sides", [(64, 64), (64, 96), (47, 79)])
def test_on_other_training_sizes(sides, share):
    model, batch = filled_net(input_shape=(*sides, 3)), images(*sides)
    score_map = np.array(to_fully_convolutional(model, share_weights=share)(batch))
    assert score_map.shape == (2, 1, 1, 7)
    np.testing.assert_allclose(score_map[:, 0, 0], outputs(model, batch), atol=1e-5)


def test_vgg16_of_keras_applications():
    model, batch = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=7), images()
    for variable in model.weights[1::2]:
        variable.assign(np.random.default_rng(2).normal(size=variable.shape))
    expected = outputs(model, batch)
    shared = to_fully_convolutional(model, share_weights=True)
    assert {id(variable) for variable in shared.weights} == {id(variable) for variable in model.weights}
    for dense in (shared, to_fully_convolutional(model)):
        np.testing.assert_allclose(np.array(dense(batch))[:, 0, 0], expected, atol=1e-5)
        assert [layer.name for layer in dense.layers[-3:]] == ["fc1", "fc2", "predictions"]


def test_without_bias_and_without_dropout_layers():
    inputs = keras.Input((32, 32, 3))
    features = keras.layers.MaxPooling2D(8)(keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(7, use_bias=False, name="predictions")(keras.layers.Flatten()(features)))
    for share in (False, True):
        dense = to_fully_convolutional(model, share_weights=share)
        np.testing.assert_allclose(np.array(dense(images()))[:, 0, 0], outputs(model, images()), atol=1e-5)


def test_channels_first():
    channels_first.require()
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        inputs = keras.Input((3, 64, 96))
        model = fill(keras.Model(inputs, apply_vgg(inputs, "A", width=0.05, classes=7)))
        batch = images(64, 96).transpose(0, 3, 1, 2)
        for share in (False, True):
            dense = to_fully_convolutional(model, share_weights=share)
            assert dense.output_shape == (None, 7, None, None)
            np.testing.assert_allclose(np.array(dense(batch))[:, :, 0, 0], outputs(model, batch), atol=1e-5)
            larger = np.array(dense(images(96, 160).transpose(0, 3, 1, 2)))
            assert larger.shape == (2, 7, 2, 3)
            np.testing.assert_allclose(larger.sum(1), 1, rtol=1e-5)  # the soft-max is over classes
    finally:
        keras.config.set_image_data_format(before)


def test_mixed_precision_is_kept():
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = filled_net()
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    for share in (False, True):
        dense = to_fully_convolutional(model, share_weights=share)
        assert dense.get_layer("fc1").compute_dtype == "bfloat16"
        score_map = dense(images())
        assert score_map.dtype == "float32"
        np.testing.assert_allclose(np.array(score_map)[:, 0, 0], outputs(model, images()), atol=0.02)


# --- The classifier's activation ------------------------------------------------------------------------------------------


def softmax(scores):
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


@pytest.mark.parametrize("share", [False, True], ids=["copy", "shared"])
def test_activation_is_kept_at_every_position_unless_told(share):
    model, batch = filled_net(), images(96, 128)
    scores = outputs(to_fully_convolutional(model, activation=None, share_weights=share), batch)
    assert scores.shape == (2, 3, 4, 7)
    assert np.abs(scores.sum(-1) - 1).max() > 0.1
    kept = outputs(to_fully_convolutional(model, share_weights=share), batch)
    np.testing.assert_allclose(kept, softmax(scores), atol=1e-5)
    sigmoid = outputs(to_fully_convolutional(model, activation="sigmoid", share_weights=share), batch)
    np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-scores)), atol=1e-5)


def test_another_activation_of_the_classifier_is_kept():
    model = filled_net(classifier_activation="sigmoid")
    np.testing.assert_allclose(np.array(to_fully_convolutional(model)(images()))[:, 0, 0], outputs(model, images()), atol=1e-5)


@pytest.mark.parametrize("last", [lambda: keras.layers.Activation("softmax"), keras.layers.Softmax], ids=["Activation", "Softmax"])
def test_activation_of_its_own_layer(last):
    logits = filled_net(classifier_activation=None)
    model = keras.Model(logits.input, last()(logits.output))
    kept, scores = to_fully_convolutional(model), to_fully_convolutional(model, activation=None)
    np.testing.assert_allclose(np.array(kept(images()))[:, 0, 0], outputs(model, images()), atol=1e-5)
    np.testing.assert_allclose(np.array(scores(images()))[:, 0, 0], outputs(logits, images()), atol=1e-5)


# --- On larger images -----------------------------------------------------------------------------------------------------


def change_kernels(model, change):
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (3, 3):
            layer.kernel.assign(change(layer.kernel.numpy()))


def on_its_own(model, batch, row, column):
    """What the net says of the window that a position stands for."""
    height, width = model.input_shape[1:3]
    return outputs(model, batch[:, 32 * row : 32 * row + height, 32 * column : 32 * column + width])


@pytest.mark.parametrize("sides", [(32, 32), (64, 96)])
def test_every_position_is_the_net_on_its_window_where_no_padding_is_seen(sides):
    """Kernels that are zero but for their centre see no padding, and nothing beyond the window."""
    model = filled_net("B", input_shape=(*sides, 3), bias=0.1)
    change_kernels(model, lambda kernel: 3 * kernel * (np.indices((3, 3)) == 1).all(0)[..., None, None])
    batch = images(128, 160)
    score_map = outputs(to_fully_convolutional(model), batch)
    assert score_map.shape[1:3] == (5 - sides[0] // 32, 6 - sides[1] // 32)
    for row, column in np.ndindex(score_map.shape[1:3]):
        np.testing.assert_allclose(score_map[:, row, column], on_its_own(model, batch, row, column), atol=1e-5)


def test_a_position_is_the_net_on_its_window_in_surroundings_of_zeros():
    """Kernels that look right and down alone; nothing lies there beyond the window, as nothing does in training."""
    model = filled_net("D", input_shape=(64, 64, 3), bias=0)
    change_kernels(model, lambda kernel: 1.5 * kernel * (np.indices((3, 3)) >= 1).all(0)[..., None, None])
    batch = images(160, 160)
    batch[:, 96:], batch[:, :, 128:] = 0, 0  # the window at row 1, column 2 ends here
    score_map = outputs(to_fully_convolutional(model), batch)
    expected = on_its_own(model, batch, 1, 2)
    np.testing.assert_allclose(score_map[:, 1, 2], expected, atol=1e-5)
    assert np.abs(score_map[:, 1, 1] - expected).max() > 0.01


@pytest.mark.parametrize("arch", ["A", "D"])
def test_a_shifted_image_has_a_shifted_map_where_padding_does_not_reach(arch):
    model = filled_net(arch)
    dense, reach = to_fully_convolutional(model), configs.layer_facts(arch)[-4].receptive_field // 2
    large = images(352, 352, number=1)
    score_map = outputs(dense, large[:, :320, :320])
    shifted = outputs(dense, large[:, 32:, 32:])
    # Position n looks at pixels around 32 n + 16.
    inner = [n for n in range(10) if 32 * n + 16 >= reach and 32 * n + 16 + reach <= 320]
    inner = [n for n in inner if n + 1 in inner]
    assert len(inner) >= 2
    first = slice(inner[0], inner[-1] + 1)
    second = slice(inner[0] + 1, inner[-1] + 2)
    np.testing.assert_allclose(shifted[:, first, first], score_map[:, second, second], atol=1e-5)
    assert np.abs(shifted[:, 0, 0] - score_map[:, 1, 1]).max() > 1e-3  # at the border padding is seen


# --- Odd sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "floor", "ceil"),
    [
        (47, 47, (1, 1), (2, 2)),  # 23 11 5 2 1; 24 12 6 3 2
        (65, 100, (2, 3), (3, 4)),  # 32 16 8 4 2 and 50 25 12 6 3; 33 17 9 5 3 and 50 25 13 7 4
        (64, 33, (2, 1), (2, 2)),
        (96, 128, (3, 4), (3, 4)),
    ],
)
def test_sizes_of_the_map_by_hand(height, width, floor, ceil):
    model = filled_net()
    for pooling, expected in (("floor", floor), ("ceil", ceil)):
        dense = to_fully_convolutional(model, pooling=pooling, share_weights=True)
        assert dense(images(height, width)).shape[1:3] == expected


def caffe_pooling(values):
    """2x2 with stride 2 as in Caffe: a window begins at every second place, and ends with the image."""
    _, height, width, _ = values.shape
    rows, columns = -(-height // 2), -(-width // 2)  # ceil((size - 2) / 2) + 1
    return np.stack(
        [np.stack([values[:, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2].max((1, 2)) for c in range(columns)], 1) for r in range(rows)],
        1,
    )


def test_ceil_pools_as_caffe():
    dense = to_fully_convolutional(filled_net(), pooling="ceil")
    names = [("block1_conv1", "block1_pool"), ("block2_conv1", "block2_pool")]
    layers = [dense.get_layer(name).output for pair in names for name in pair]
    found = [np.array(value) for value in keras.Model(dense.input, layers)(images(45, 53))]
    for before, after in zip(found[::2], found[1::2], strict=True):
        assert before.shape[1] % 2 == before.shape[2] % 2 == 1
        np.testing.assert_array_equal(after, caffe_pooling(before))


def test_poolings_agree_on_multiples_of_32():
    model, batch = filled_net(), images(64, 96)
    floor, ceil = (outputs(to_fully_convolutional(model, pooling=pooling), batch) for pooling in ("floor", "ceil"))
    np.testing.assert_array_equal(floor, ceil)


# --- Sharing, copying, saving ---------------------------------------------------------------------------------------------


def test_a_copy_is_independent_and_a_shared_one_follows():
    model, batch = filled_net(batch_norm=True), images()
    copy, shared = to_fully_convolutional(model), to_fully_convolutional(model, share_weights=True)
    before = outputs(model, batch)
    for name in ("block1_conv1", "block1_bn1", "fc1", "fc2", "predictions"):
        for variable in model.get_layer(name).weights:
            variable.assign(1.3 * variable)
        after = outputs(model, batch)
        np.testing.assert_allclose(np.array(shared(batch))[:, 0, 0], after, atol=1e-5)
        assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(np.array(copy(batch))[:, 0, 0], before, atol=1e-5)


@pytest.mark.parametrize("pooling", ["floor", "ceil"])
def test_a_saved_copy_is_a_plain_keras_model(pooling, tmp_path):
    dense = to_fully_convolutional(filled_net("C", batch_norm=True), pooling=pooling)
    dense.save(tmp_path / "dense.keras")
    loaded = keras.saving.load_model(tmp_path / "dense.keras", safe_mode=True)
    assert "keras_vgg" not in json.dumps(json.loads(loaded.to_json()))
    np.testing.assert_array_equal(outputs(loaded, images(70, 90)), outputs(dense, images(70, 90)))


def test_a_saved_copy_of_a_lrn(tmp_path):
    dense = to_fully_convolutional(filled_net("A-LRN"))
    dense.save(tmp_path / "dense.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "dense.keras")(images(64)), outputs(dense, images(64)))


def test_shared_weights_cannot_be_saved(tmp_path):
    shared = to_fully_convolutional(filled_net(), share_weights=True)
    with pytest.raises(InputError, match=r"shared weights cannot be saved; create it with share_weights=False"):
        shared.save(tmp_path / "dense.keras")


def test_a_copy_can_be_copied_from_a_loaded_model(tmp_path):
    model = filled_net("D")
    model.save(tmp_path / "net.keras")
    dense = to_fully_convolutional(keras.saving.load_model(tmp_path / "net.keras"))
    np.testing.assert_allclose(outputs(dense, images(64)), outputs(to_fully_convolutional(model), images(64)), atol=1e-6)


@pytest.mark.parametrize("share", [False, True], ids=["copy", "shared"])
def test_preprocessing_is_remembered(share):
    model = filled_net()
    assert not preprocessing.is_known(to_fully_convolutional(model, share_weights=share))
    preprocessing.remember(model, preprocessing.CAFFE)
    assert preprocessing.for_model(to_fully_convolutional(model, share_weights=share)) is preprocessing.CAFFE


def test_names():
    model = filled_net()
    assert to_fully_convolutional(model).name == "vgg_a_fully_convolutional"
    assert to_fully_convolutional(model, name="mine").name == "mine"


# --- Mistakes -------------------------------------------------------------------------------------------------------------


def flattened():
    features = filled_net(include_top=False)
    return keras.Model(features.input, keras.layers.Flatten()(features.output), name="flattened")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: build_vgg("A", input_shape=(32, 32, 3), width=0.05, include_top=False), "with its top .* 'vgg_a' without it"),
        (lambda: build_vgg("A", input_shape=(32, 32, 3), width=0.05, include_top=False, pooling="avg"), "'vgg_a' without it"),
        (flattened, "'flattened' without it"),
    ],
)
def test_a_net_without_its_top(model, message):
    with pytest.raises(InputError, match=message):
        to_fully_convolutional(model())


def test_another_kind_of_net():
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, keras.layers.Dense(7)(keras.layers.Flatten()(keras.layers.UpSampling2D(name="up")(inputs))))
    with pytest.raises(InputError, match=r"chain of the layers of a VGG net. Received: 'up' \(UpSampling2D\)"):
        to_fully_convolutional(model)


def test_a_net_with_two_heads():
    trunk = filled_net()
    both = [trunk.output, keras.layers.Dense(3, name="other")(trunk.get_layer("fc2").output)]
    with pytest.raises(InputError, match=r"Expected a net with one output. Received: 'two' with 2"):
        to_fully_convolutional(keras.Model(trunk.input, both, name="two"))


def test_another_pooling():
    with pytest.raises(InputError, match=r"`pooling` must be 'floor' or 'ceil'. Received: pooling='round'"):
        to_fully_convolutional(filled_net(), pooling="round")
