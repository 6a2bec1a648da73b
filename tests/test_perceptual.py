"""Activations, Gram matrices and perceptual losses, held to other routes: the nets themselves, NumPy, finite differences."""

import dataclasses
import json
import pathlib

import channels_first
import keras
import numpy as np
import pytest
import tensorflow as tf
from small_images import pixels
from small_nets import fill, filled_net, net_without_top

from keras_vgg import configs, features, preprocessing
from keras_vgg.errors import InputError
from keras_vgg.features import layer_names, losses, perceptual_model
from keras_vgg.features.losses import PerceptualLoss, gram_matrix
from keras_vgg.preprocessing import CAFFE, TORCH

REAL = pathlib.Path(__file__).parents[2] / "shared" / "weights" / "vgg16_notop_keras.h5"
PHOTOGRAPHS = REAL.parents[1] / "data" / "imagenette_mini" / "val"
ALL = [("A", False), ("A-LRN", False), ("C", False), ("D", False), ("E", False), ("D", True)]


def expected(model, layers, images):
    """What layers of the net put out for images preprocessed outside of it."""
    activations = keras.Model(model.input, {layer: model.get_layer(layer).output for layer in layers})
    found = activations(preprocessing.for_model(model)(images), training=False)
    return [np.array(found[layer]) for layer in layers]


# --- Activations ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wants", [CAFFE, TORCH], ids=["caffe", "torch"])
@pytest.mark.parametrize(("arch", "batch_norm"), ALL)
def test_activations_are_those_of_the_net_on_preprocessed_images(arch, batch_norm, wants):
    model, images = net_without_top(arch, wants, batch_norm=batch_norm), pixels(47, 70)
    layers = [layer.name for layer in model.layers[1:]]
    found = perceptual_model(arch, layers, weights=model, batch_norm=batch_norm)(images)
    assert list(found) == layers
    for layer, value in zip(layers, expected(model, layers, images), strict=True):
        assert value.std() > 0.01, f"{layer}: outputs that are all alike would agree with anything"
        np.testing.assert_allclose(found[layer], value, rtol=1e-4, atol=1e-4 * value.std(), err_msg=layer)


def test_activations_are_those_of_keras_applications():
    theirs = keras.applications.VGG16(weights=None, include_top=False)
    preprocessing.remember(theirs, CAFFE)
    images, layers = pixels(33, 40), ["block1_conv2", "block3_conv1"]
    found = perceptual_model("D", layers, weights=theirs)(images)
    activations = keras.Model(theirs.input, [theirs.get_layer(layer).output for layer in layers])
    wanted = activations(keras.applications.vgg16.preprocess_input(images.astype("float32")))
    for layer, value in zip(layers, wanted, strict=True):
        np.testing.assert_allclose(found[layer], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("value_range", [1, (0, 1), (-1, 1), (0, 255), (16, 235.0)])
def test_ranges_agree(value_range):
    model, images = net_without_top(), pixels()
    low, high = value_range if isinstance(value_range, tuple) else (0, value_range)
    scaled = low + images / np.float32(255) * (high - low)
    at_255, found = (
        perceptual_model("D", ["relu2_2"], weights=model, value_range=each)(batch)["relu2_2"]
        for each, batch in ((255, images), (value_range, scaled))
    )
    np.testing.assert_allclose(found, at_255, rtol=1e-3, atol=1e-4)


def test_before_and_after_the_relu():
    model, images = net_without_top(), pixels()
    found = perceptual_model("D", ["conv3_3", "relu3_3", "block3_conv3", "pool3", "conv4_1"], weights=model)(images)
    before = np.array(found["conv3_3"])
    assert before.min() < -0.1
    np.testing.assert_array_equal(found["relu3_3"], np.maximum(before, 0))
    np.testing.assert_array_equal(found["relu3_3"], found["block3_conv3"])
    np.testing.assert_allclose(found["block3_conv3"], expected(model, ["block3_conv3"], images)[0], rtol=1e-4, atol=1e-4)
    kernel, bias = model.get_layer("block4_conv1").get_weights()
    np.testing.assert_allclose(found["conv4_1"], tf.nn.conv2d(found["pool3"], kernel, 1, "SAME") + bias, rtol=1e-4, atol=1e-4)


def test_average_pooling_averages():
    model, images = net_without_top(), pixels(45, 53)
    found = perceptual_model("D", ["relu1_2", "pool1", "pool2", "conv3_1"], weights=model, pooling="avg")(images)
    cut = np.array(found["relu1_2"])[:, :44, :52]
    by_hand = (cut[:, ::2, ::2] + cut[:, 1::2, ::2] + cut[:, ::2, 1::2] + cut[:, 1::2, 1::2]) / 4
    np.testing.assert_allclose(found["pool1"], by_hand, rtol=1e-5, atol=1e-5)
    maxima = np.array(perceptual_model("D", ["pool1"], weights=model)(images)["pool1"])
    assert (maxima >= by_hand - 1e-5).all()
    assert (maxima - by_hand).max() > 0.1
    kernel, bias = model.get_layer("block3_conv1").get_weights()
    np.testing.assert_allclose(found["conv3_1"], tf.nn.conv2d(found["pool2"], kernel, 1, "SAME") + bias, rtol=1e-4, atol=1e-4)


def test_it_ends_with_the_deepest_layer_and_is_frozen():
    model = perceptual_model("E", ["block2_conv1", "block1_conv1"], weights=net_without_top("E"))
    assert model.layers[-1].name == "block2_conv1"
    assert model.trainable_weights == []
    assert all(layer.count_params() < 4000 for layer in model.layers)


def test_the_given_model_stays_its_own():
    model, images = net_without_top(batch_norm=True), pixels()
    found = perceptual_model("D", ["block1_relu1"], weights=model, batch_norm=True)
    before = np.array(found(images)["block1_relu1"])
    assert len(model.trainable_weights) == 13 * 4
    fill(model, bias=1)
    np.testing.assert_array_equal(found(images, training=True)["block1_relu1"], before)


@pytest.mark.parametrize("suffix", ["net.keras", "net.weights.h5"])
def test_weights_from_a_file_and_the_net_told_by_it(tmp_path, suffix):
    model, images = net_without_top("A", TORCH), pixels()
    (model.save if suffix == "net.keras" else model.save_weights)(tmp_path / suffix)
    with pytest.raises(InputError, match="do not record their preprocessing; pass preprocessing='caffe' or 'torch'"):
        perceptual_model("A", ["relu3_2"], weights=tmp_path / suffix)
    found = perceptual_model(None, ["relu3_2"], weights=tmp_path / suffix, preprocessing="torch")
    np.testing.assert_allclose(found(images)["relu3_2"], expected(model, ["block3_conv2"], images)[0], rtol=1e-4, atol=1e-4)


def test_of_a_file_no_more_is_read_than_is_needed(tmp_path, monkeypatch):
    from keras_vgg.features import layer_weights

    net_without_top("A").save_weights(tmp_path / "net.weights.h5")
    read, opened = [], layer_weights.open_layers

    def spying(*args, **kwargs):
        source = opened(*args, **kwargs)
        return dataclasses.replace(source, preprocessing=CAFFE, read=lambda layer: read.append(layer) or source.read(layer))

    monkeypatch.setattr("keras_vgg.features.perceptual.open_layers", spying)
    perceptual_model("A", ["block1_pool", "block2_conv1"], weights=tmp_path / "net.weights.h5")
    assert read == ["block1_conv1", "block2_conv1"]


def test_public_weights_by_name_without_the_top_where_there_is_such_a_file(tmp_path, monkeypatch):
    fetched = []
    net_without_top().save_weights(tmp_path / "net.weights.h5")
    monkeypatch.setattr("keras_vgg.weights.download.fetch", lambda file: fetched.append(file.name) or tmp_path / "net.weights.h5")
    for name in ("imagenet", "imagenet_torchvision"):
        perceptual_model("D", ["relu1_1"], weights=name, preprocessing="caffe")
    assert fetched == ["vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "vgg16-397923af.pth"]


def test_random_weights_see_values_around_one():
    model = perceptual_model("A", ["relu1_1"], weights=None)
    assert np.abs(model.get_layer("preprocessing")(pixels())).max() < 3
    assert model.get_layer("block1_conv1").kernel.shape == (3, 3, 3, 64)


@pytest.mark.parametrize(("arch", "wants"), [("D", CAFFE), ("D", TORCH), ("A-LRN", CAFFE)])
def test_saved_and_loaded(tmp_path, arch, wants):
    model, images = (
        perceptual_model(arch, ["conv2_1", "relu1_1"], weights=net_without_top(arch, wants), value_range=1),
        pixels() / 255,
    )
    model.save(tmp_path / "seen.keras")
    loaded = keras.saving.load_model(tmp_path / "seen.keras", safe_mode=True)
    assert ("keras_vgg" in json.dumps(json.loads(loaded.to_json()))) == (arch == "A-LRN")
    assert loaded.trainable_weights == []
    for layer, value in model(images).items():
        np.testing.assert_array_equal(loaded(images)[layer], value)


def test_channels_first():
    channels_first.require()
    model, images = net_without_top(wants=TORCH), pixels(36, 44)
    last = perceptual_model("D", ["relu3_1", "relu1_2"], weights=model, value_range=1)
    gram = gram_matrix(last(images / 255)["relu3_1"])
    keras.config.set_image_data_format("channels_first")
    try:
        first = perceptual_model("D", ["relu3_1", "relu1_2"], weights=model, value_range=1)
        batch = (images / 255).transpose(0, 3, 1, 2)
        found = first(batch)
        for layer, value in last(images / 255).items():
            np.testing.assert_allclose(np.transpose(found[layer], (0, 2, 3, 1)), value, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(gram_matrix(found["relu3_1"]), gram, rtol=1e-4, atol=1e-4)
        in_first = losses.total_variation(batch)
    finally:
        keras.config.set_image_data_format("channels_last")
    np.testing.assert_allclose(in_first, losses.total_variation(images / 255), rtol=1e-5)


# --- Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("arch", list(configs.CONFIGS))
def test_every_layer_of_a_net_can_be_named(arch, batch_norm):
    layers = [layer.name for layer in filled_net(arch, batch_norm=batch_norm, include_top=False).layers[1:]]
    resolved = layer_names.resolve(layers, arch, batch_norm=batch_norm)
    assert len(set(resolved.values())) == len(layers)
    assert list(resolved.values()) == [s.name for s in layer_names.steps(arch, batch_norm=batch_norm) if s.is_output]


def test_names_of_the_papers():
    assert layer_names.resolve(["block3_conv3"], "D") == {"block3_conv3": "relu3_3"}
    assert layer_names.resolve(["block3_conv3", "block3_relu3"], "D", batch_norm=True) == {
        "block3_conv3": "conv3_3",
        "block3_relu3": "relu3_3",
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"layers": ["blok3_conv3"]}, r"layers of net D before its top. Received: 'blok3_conv3'; similar names: block3_conv3"),
        ({"layers": ["block3_conv4"]}, r"similar names: .*block3_conv3"),
        ({"layers": ["bn3_3"]}, r"Received: 'bn3_3'"),
        ({"layers": ["fc1"]}, r"Received: 'fc1'; known: block1_conv1"),
        ({"layers": []}, r"must be a sequence of layer names"),
        ({"layers": "block3_conv3"}, r"must be a sequence of layer names"),
        ({"layers": ["relu1_1", "relu1_1"]}, r"each layer once"),
        ({"arch": "F"}, r"`arch` must be one of"),
        ({"pooling": "average"}, r"`pooling` must be 'max', 'avg' or 'hann'"),
        ({"value_range": (1, 0)}, r"`value_range` must be"),
        ({"value_range": 0}, r"`value_range` must be"),
        ({"value_range": (0, 1, 2)}, r"`value_range` must be"),
        ({"value_range": "255"}, r"`value_range` must be"),
        ({"preprocessing": "keras"}, r"`preprocessing` must be one of caffe, torch, caffe_rgb, tf, unit, none\. Received: "),
        ({"weights": "missing.h5"}, r"'imagenet'.* Received: weights='missing.h5', which does not exist"),
        ({"weights": "imagenet_keras"}, r"'imagenet', 'imagenet_torchvision', .*'imagenet_keras'"),
    ],
)
def test_a_mistake_is_told_before_anything_is_built(arguments, told, monkeypatch):
    monkeypatch.setattr(keras, "Input", None)
    with pytest.raises(InputError, match=told) as raised:
        perceptual_model(**({"arch": "D", "layers": ["relu1_1"], "weights": None} | arguments))
    assert "\n" not in str(raised.value)


def test_models_that_do_not_fit():
    for model, told in (
        (net_without_top("A"), "which has no block1_conv2"),
        (net_without_top("D", batch_norm=True), "Expected a net without batch norm"),
        (filled_net("D", input_shape=(32, 32, 1), include_top=False), "takes 1 channels"),
    ):
        with pytest.raises(InputError, match=told):
            perceptual_model("D", ["block2_conv1"], weights=model)
    with pytest.raises(InputError, match=r"block3_conv3 with a kernel of shape \(1, 1"):
        perceptual_model("D", ["block3_conv3"], weights=net_without_top("C"))


def test_the_package_gives_its_names():
    assert features.perceptual_model is perceptual_model
    assert set(features.__all__) >= {"perceptual_model", "gram_matrix", "PerceptualLoss"}
    assert all(getattr(features, name) for name in features.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'perceptual'"):
        features.__getattr__("perceptual")


# --- Losses ---------------------------------------------------------------------------------------------------------------


def test_gram_matrix_by_hand():
    maps = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype("float32")
    by_hand = np.zeros((2, 4, 4))
    for image, row, column in np.ndindex(2, 3, 5):
        by_hand[image] += np.outer(maps[image, row, column], maps[image, row, column])
    np.testing.assert_allclose(gram_matrix(maps), by_hand / 15, rtol=1e-5, atol=1e-6)


def test_gram_matrix_of_half_precision_does_not_overflow():
    found = gram_matrix(tf.fill([1, 64, 64, 2], tf.constant(3000, tf.float16)))
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, np.full((1, 2, 2), 9e6), rtol=1e-4)


def test_losses_by_hand():
    one, other = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6)).astype("float32")
    np.testing.assert_allclose(losses.content_loss(one, other), ((one - other) ** 2).mean((1, 2, 3)), rtol=1e-5)
    grams = [np.einsum("bhwc,bhwd->bcd", each, each) for each in (one, other)]
    gatys = ((grams[0] - grams[1]) ** 2).sum((1, 2)) / (4 * 6**2 * 20**2)  # eq. 4, N = 6 channels, M = 20 places
    johnson = ((grams[0] / (6 * 20) - grams[1] / (6 * 20)) ** 2).sum((1, 2))  # eqs. 3 and 4
    found = losses.style_loss(gram_matrix(one), gram_matrix(other))
    np.testing.assert_allclose(found, 4 * gatys, rtol=1e-4)
    np.testing.assert_allclose(found, johnson, rtol=1e-4)
    ramp = np.broadcast_to(3.0 * np.arange(4)[:, None, None] + 2.0 * np.arange(5)[:, None], (1, 4, 5, 3))
    np.testing.assert_allclose(losses.total_variation(ramp), [3**2 + 2**2])


def loss_for(**options):
    return PerceptualLoss(
        perceptual_model("D", ["relu1_2", "relu2_2"], weights=net_without_top(wants=TORCH), value_range=1), **options
    )


@pytest.mark.parametrize("options", [{}, {"style": {"relu1_2": 1.0}}, {"content": {"relu2_2": 2.0}, "style": {"relu1_2": 1.0}}])
def test_loss_is_zero_for_equal_images_alone(options):
    loss, (one, other) = loss_for(**options), pixels(number=2) / np.float32(255)
    assert float(loss(one[None], one[None])) == 0
    assert float(loss(one[None], other[None])) > 1e-4


def test_loss_is_the_weighted_sum():
    loss = loss_for(content={"relu2_2": 2.0}, style={"relu1_2": 3.0, "relu2_2": 0.5}, total_variation=7.0, reduction=None)
    true, predicted = pixels(seed=1) / np.float32(255), pixels(seed=2) / np.float32(255)
    a, b = loss.model(true), loss.model(predicted)
    by_hand = 2 * losses.content_loss(a["relu2_2"], b["relu2_2"]) + 7 * losses.total_variation(predicted)
    for layer, weight in (("relu1_2", 3), ("relu2_2", 0.5)):
        by_hand += weight * losses.style_loss(gram_matrix(a[layer]), gram_matrix(b[layer]))
    np.testing.assert_allclose(loss(true, predicted), by_hand, rtol=1e-5)


def test_the_normalised_loss_is_in_units_of_the_given_images_whatever_those_of_the_net():
    true, predicted, sample = (pixels(seed=seed) / np.float32(255) for seed in (1, 2, 3))
    found = []
    for unit in (1, 30):
        judge = net_without_top(wants=TORCH)
        for variable in judge.get_layer("block1_conv1").weights:
            variable.assign(unit * variable)
        loss = PerceptualLoss(
            perceptual_model("D", ["relu1_1", "conv1_1"], weights=judge, value_range=1),
            content={"conv1_1": 2.0}, style={"relu1_1": 3.0}, total_variation=7.0, normalize_by=sample, reduction=None,
        )  # fmt: skip
        a, b, c = (np.array(loss.model(images)["conv1_1"]) for images in (true, predicted, sample))
        grams = [np.array(gram_matrix(np.maximum(each, 0))) for each in (a, b, c)]
        by_hand = 2 * ((a - b) ** 2).mean((1, 2, 3)) / (c**2).mean() + 7 * losses.total_variation(predicted)
        by_hand += 3 * ((grams[0] - grams[1]) ** 2).mean((1, 2)) / (grams[2] ** 2).mean()
        found.append(loss(true, predicted))
        np.testing.assert_allclose(found[-1], by_hand, rtol=1e-4)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


def test_a_normalised_style_of_one_image_is_in_units_of_it():
    style, predicted = pixels(50, 44, number=1, seed=9)[0] / np.float32(255), pixels() / np.float32(255)
    options = {"style": {"relu2_2": 2.0}, "style_image": style, "reduction": None}
    aim = np.array(gram_matrix(loss_for(**options).model(style[None])["relu2_2"]))
    found = loss_for(**options, normalize_by=predicted)(predicted, predicted)
    np.testing.assert_allclose(found, loss_for(**options)(predicted, predicted) / (aim**2).mean(), rtol=1e-4)


def test_style_of_one_image_is_the_aim_for_all():
    style = pixels(50, 44, number=1, seed=9)[0] / np.float32(255)
    loss = loss_for(style={"relu2_2": 1.0}, style_image=style, reduction=None)
    anything, predicted = np.zeros((2, 40, 40, 3), "float32"), pixels() / np.float32(255)
    aim = gram_matrix(loss.model(style[None])["relu2_2"])
    wanted = losses.style_loss(aim, gram_matrix(loss.model(predicted)["relu2_2"]))
    np.testing.assert_allclose(loss(anything, predicted), wanted, rtol=1e-5)
    assert float(loss(anything[:1], style[None])[0]) < 1e-6


def test_gradient_by_finite_differences():
    loss = loss_for(content={"relu2_2": 1.0}, style={"relu1_2": 1.0, "relu2_2": 1.0}, total_variation=1.0)
    true, predicted = (pixels(12, number=1, seed=seed) / np.float32(255) for seed in (1, 2))
    image = tf.constant(predicted)
    with tf.GradientTape() as tape:
        tape.watch(image)
        value = loss(true, image)
    gradient = np.array(tape.gradient(value, image))
    direction = gradient / np.linalg.norm(gradient)
    step = 3e-3
    difference = float(loss(true, predicted + step * direction)) - float(loss(true, predicted - step * direction))
    assert difference / (2 * step) == pytest.approx(float(np.linalg.norm(gradient)), rel=0.02)
    across = np.random.default_rng(3).normal(size=gradient.shape).astype("float32")
    across /= np.linalg.norm(across)
    difference = float(loss(true, predicted + step * across)) - float(loss(true, predicted - step * across))
    assert difference / (2 * step) == pytest.approx(float((gradient * across).sum()), rel=0.1, abs=1e-3)


@pytest.fixture
def half_precision():
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    yield
    keras.mixed_precision.set_dtype_policy(before)


@pytest.mark.parametrize(("is_normalised", "skipped"), [(True, 0), (False, 12)])
def test_half_precision_skips_no_update_of_the_normalised_loss(half_precision, is_normalised, skipped):
    """Each update that Keras' loss scaling skips halves its scale and leaves the weights as they were."""
    judge = net_without_top(wants=TORCH)
    for variable in judge.get_layer("block1_conv1").weights:
        variable.assign(1000 * variable)  # activations of hundreds, as the authors' weights have them
    images = pixels(24, number=4) / np.float32(255)
    model = perceptual_model("D", ["relu1_2"], weights=judge, value_range=1)
    loss = PerceptualLoss(model, normalize_by=images if is_normalised else None)
    convolution = keras.layers.Conv2D(3, 3, padding="same", activation="sigmoid")
    generator = keras.Sequential([keras.Input((24, 24, 3)), convolution])
    generator.compile(keras.optimizers.Adam(0.02), loss=loss)
    kernel, scale = np.array(convolution.kernel), generator.optimizer.initial_scale
    for _ in range(12):
        generator.train_on_batch(images, images)
    assert np.log2(scale / float(generator.optimizer.dynamic_scale)) == skipped
    assert np.array_equal(convolution.kernel, kernel) == bool(skipped)


@pytest.mark.parametrize("is_normalised", [False, True])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_generator_learns_by_it(policy, is_normalised, tmp_path):
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        images = pixels(24, number=4) / np.float32(255)
        loss = loss_for(style={"relu1_2": 1.0}, content={"relu2_2": 1.0}, normalize_by=images if is_normalised else None)
        convolution = keras.layers.Conv2D(3, 3, padding="same", activation="sigmoid", dtype="float32")
        generator = keras.Sequential([keras.Input((24, 24, 3)), convolution])
        generator.compile(keras.optimizers.Adam(0.02), loss=loss)
        frozen = [np.array(weight) for weight in loss.model.weights]
        history = generator.fit(images, images, epochs=6, verbose=0).history["loss"]
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert history[-1] < 0.9 * history[0]
    assert loss.model(images)["relu1_2"].dtype == ("bfloat16" if "bfloat16" in policy else "float32")
    for weight, value in zip(loss.model.weights, frozen, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert len(generator.trainable_weights) == 2
    generator.save(tmp_path / "generator.keras")
    with pytest.raises(InputError, match="load it with compile=False"):
        keras.saving.load_model(tmp_path / "generator.keras")
    loaded = keras.saving.load_model(tmp_path / "generator.keras", compile=False)
    np.testing.assert_array_equal(loaded(images), generator(images))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"content": {"relu3_3": 1.0}},
            r"`content` must contain outputs of the model: relu1_2, relu2_2. .* 'relu3_3'",
        ),
        ({"style": {"relu1_2": 0.0}}, r"`style` weights must be positive. Received: relu1_2=0.0"),
        ({"content": {"relu1_2": float("inf")}}, r"`content` weights must be positive. Received: relu1_2=inf"),
        ({"content": {"relu1_2": "1"}}, r"`content` weights must be positive. Received: relu1_2='1'"),
        ({"content": ["relu1_2"]}, r"`content` must be a dict of weights by layer. Received: \['relu1_2'\]"),
        ({"style_image": np.zeros((40, 40, 3))}, r"`style_image` requires layers in `style`. Received: none"),
        ({"content": {}}, r"there is nothing to compare"),
        ({"normalize_by": np.zeros((40, 40, 3))}, r"`normalize_by` must be images, .* Received: shape \(40, 40, 3\)"),
        ({"normalize_by": np.zeros((0, 40, 40, 3))}, r"`normalize_by` must be images"),
        ({"normalize_by": True}, r"`normalize_by` must be images, .* Received: shape \(\)"),
        ({"normalize_by": np.full((1, 40, 40, 3), np.nan)}, r"finite and not zero everywhere. Received: .* of nan at relu1_2"),
        ({"total_variation": -1.0}, r"`total_variation` must be nonnegative"),
    ],
)
def test_losses_that_make_no_sense(options, told):
    with pytest.raises(InputError, match=told):
        loss_for(**options)


def test_a_loss_needs_a_perceptual_model():
    with pytest.raises(InputError, match="must be a model of `perceptual_model`"):
        PerceptualLoss(net_without_top())


# --- With the authors' own convolutions -----------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL.exists(), reason="needs real weights")
def test_real_weights_tell_blur_from_noise_as_people_do():
    """A shift of brightness spread evenly looks less wrong than the same squared error as noise."""
    loss = PerceptualLoss(perceptual_model("D", ["relu1_2", "relu2_2"], weights=REAL))
    image = np.asarray(np.linspace(60, 190, 64)[None, :, None, None] + np.zeros((1, 64, 64, 3)), "float32")
    noisy = image + 10 * np.sign(np.random.default_rng(0).normal(size=image.shape)).astype("float32")
    assert float(loss(image, image + 10)) < 0.5 * float(loss(image, noisy))


@pytest.mark.skipif(not (REAL.exists() and PHOTOGRAPHS.exists()), reason="needs real weights and images")
def test_real_weights_normalised_are_around_one_at_any_layer_of_photographs():
    paths = sorted(PHOTOGRAPHS.glob("*/*"))[::25][:8]
    images = np.stack([tf.io.decode_jpeg(tf.io.read_file(str(path)), channels=3)[:96, :96] for path in paths])
    layers = ("relu2_2", "relu3_3", "relu4_3")
    model = perceptual_model("D", layers, weights=REAL)
    for layer in layers:
        for kind in ("content", "style"):
            plain, normalised = (
                PerceptualLoss(model, **{kind: {layer: 1.0}}, normalize_by=by)(images[:4], images[4:]) for by in (None, images)
            )
            assert float(plain) > 1e4
            assert 0.3 < float(normalised) < 4
