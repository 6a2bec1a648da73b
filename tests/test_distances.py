"""LPIPS and DISTS: the authors' figures, and what Keras expects of losses and metrics."""

import functools
import itertools
import json
import pathlib
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import reference_distances as reference
import tensorflow as tf
from logical_clusters import make_cluster
from safetensors.numpy import save_file
from small_nets import net_without_top

from keras_vgg import features, preprocessing
from keras_vgg.errors import InputError
from keras_vgg.features import DISTS, LPIPS, DISTSMetric, LPIPSMetric, dists, dists_model, lpips, lpips_model
from keras_vgg.features.distance_layers import HannPooling2D, TextureDistance
from keras_vgg.features.distances import digest_of_distance
from keras_vgg.models import build_vgg
from keras_vgg.preprocessing import CAFFE

PHOTOGRAPHS = pathlib.Path(__file__).parents[2] / "shared" / "data" / "imagenet_sample_100"
LOSSES = {"lpips": LPIPS, "dists": DISTS}
METRICS = {"lpips": LPIPSMetric, "dists": DISTSMetric}


@functools.cache
def trunk():
    """Returns the net that the authors' packages were given, in Keras."""
    model = build_vgg("D", input_shape=(None, None, 3), include_top=False)
    model.set_weights([values for layer in reference.trunk_weights() for values in layer])
    preprocessing.remember(model, preprocessing.TORCH)
    return model


@pytest.fixture(scope="module")
def calibrations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrations")
    for name, arrays in zip(("lpips", "dists"), reference.calibration(), strict=True):
        save_file(arrays, folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in ("lpips", "dists")}


def model_of(name, calibrations, **options):
    """Returns the model of a name as in `reference_distances`, for images in [0, 1]."""
    options = {"weights": trunk(), "value_range": (0, 1)} | options
    if name == "dists":
        return dists_model(calibration=calibrations["dists"], **options)
    kind, version, *spatial = name.split()
    return lpips_model(calibration=calibrations[kind], version=version, spatial=bool(spatial), **options)


@pytest.fixture(scope="module", params=["lpips", "dists"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def given(kind, calibrations):
    """Arguments of a loss or metric of this kind."""
    return {"weights": trunk(), "calibration": calibrations[kind], "value_range": (0, 1)}


def two(number=2, side=32, seed=0):
    """Two batches of images in [0, 1]."""
    return (np.stack([reference.picture(side, side, seed + 10 * batch + place) for place in range(number)]) for batch in (0, 1))


# --- The authors' figures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lpips 0.1", "lpips 0.0", "dists"])
def test_distances_are_those_that_the_authors_packages_gave(name, calibrations):
    model = model_of(name, calibrations)
    found = [float(model(list(pair))[0]) for pair in reference.pairs()]
    np.testing.assert_allclose(found, reference.RECORDED[name], rtol=1e-5)


@pytest.mark.skipif(not PHOTOGRAPHS.exists(), reason="photographs are not here")
@pytest.mark.parametrize("name", ["lpips 0.1", "lpips 0.0", "lpips 0.1 spatial", "dists"])
def test_photographs_are_as_far_apart_as_by_the_authors_packages(name, calibrations, tmp_path):
    """A hundred pairs of several sizes, odd ones among them: of each photograph with the next one or with itself, darker."""
    if not reference.are_installed(name):
        pytest.skip(f"{', '.join(reference.PACKAGES[name.split()[0]])} are not all installed")
    paths = sorted(PHOTOGRAPHS.glob("*.JPEG"))
    assert len(paths) == 100
    sizes = [[(64, 64), (75, 51), (96, 128), (33, 47)][place % 4] for place in range(100)]
    images = [opened(path, size) for path, size in zip(paths, sizes, strict=True)]
    others = [opened(paths[place - 1], sizes[place]) if place % 2 else 0.8 * images[place] for place in range(100)]
    model = model_of(name, calibrations)
    authors = reference.by_authors(name, images, others, tmp_path)
    for path, image, other, expected in zip(paths, images, others, authors, strict=True):
        np.testing.assert_allclose(model([image[None], other[None]])[0], expected, rtol=1e-5, err_msg=path.name)


def opened(path, size):
    image = tf.io.decode_jpeg(path.read_bytes(), channels=3)
    return tf.clip_by_value(tf.image.resize(image, size, antialias=True) / 255, 0, 1).numpy()


def test_a_map_has_the_size_of_the_images_and_the_distance_as_its_mean_but_for_resizing(calibrations):
    image, other = next(itertools.islice(reference.pairs(), 6, None))
    found = model_of("lpips 0.1 spatial", calibrations)([image, other]).numpy()
    assert found.shape == (1, 37, 53)
    assert found.mean() == pytest.approx(float(model_of("lpips 0.1", calibrations)([image, other])[0]), rel=0.05)
    assert found.std() > 0.01 * found.mean()


@pytest.mark.parametrize("name", ["lpips 0.1", "dists"])
def test_the_range_of_images_is_theirs_to_choose(name, calibrations):
    image, other = two()
    as_unit = model_of(name, calibrations)([image, other])
    for low, high in ((-1, 1), (0, 255), (16, 235)):
        model = model_of(name, calibrations, value_range=(low, high))
        found = model([low + each * (high - low) for each in (image, other)])
        np.testing.assert_allclose(found, as_unit, rtol=1e-4)


def test_pooling_by_hand():
    maps = np.random.default_rng(0).normal(size=(2, 7, 4, 3)).astype(np.float32)
    window = np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]) / 4
    around = np.pad(maps, [(0, 0), (1, 1), (1, 1), (0, 0)])
    found = HannPooling2D()(maps)
    assert found.shape == (2, 4, 2, 3) == HannPooling2D().compute_output_shape(maps.shape)
    for row, column in np.ndindex(4, 2):
        part = around[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        by_hand = np.sqrt((part**2 * window[None, :, :, None]).sum((1, 2)) + 1e-12)
        np.testing.assert_allclose(found[:, row, column], by_hand, rtol=1e-5)


# --- What kind of thing they are ------------------------------------------------------------------------------------------


def test_functions_losses_and_metrics_say_the_same(kind, given):
    image, other = two(3)
    apart = {"lpips": lpips, "dists": dists}[kind](image, other, model=LOSSES[kind](**given).model).numpy()
    assert apart.shape == (3,)
    assert apart.min() > 0.01
    assert float(LOSSES[kind](**given)(image, other)) == pytest.approx(apart.mean(), rel=1e-6)
    np.testing.assert_allclose(LOSSES[kind](**given, reduction="none")(image, other), apart, rtol=1e-6)
    weighted = LOSSES[kind](**given)(image, other, sample_weight=np.array([1.0, 0, 0]))
    assert float(weighted) == pytest.approx(apart[0] / 3, rel=1e-6)  # Keras divides by all examples
    metric = METRICS[kind](**given)
    metric.update_state(image[:2], other[:2])
    metric.update_state(image[2:], other[2:], sample_weight=[3.0])
    assert float(metric.result()) == pytest.approx((apart[0] + apart[1] + 3 * apart[2]) / 5, rel=1e-5)
    metric.reset_state()
    assert float(metric.result()) == 0
    assert not LOSSES[kind](**given).model.trainable_variables


def test_images_that_are_the_same_are_no_way_apart_and_give_finite_gradients(kind, given):
    loss, (image, _) = LOSSES[kind](**given), two()
    flat = np.zeros_like(image)  # most of its activations are alike, some zero everywhere
    for images in (image, flat):
        variable = tf.Variable(images)
        with tf.GradientTape() as tape:
            value = loss(images, variable)
        assert float(value) == pytest.approx(0, abs=1e-6)
        assert np.isfinite(tape.gradient(value, variable)).all()


def test_gradients_by_finite_differences(kind, given):
    loss, (image, other) = LOSSES[kind](**given), two(1, 24)
    variable = tf.Variable(other)
    with tf.GradientTape() as tape:
        value = loss(image, variable)
    gradient = tape.gradient(value, variable).numpy()
    along = np.random.default_rng(3).normal(size=other.shape).astype(np.float32) + 2 * np.sign(gradient)
    step = 5e-4 / np.abs(along).max()
    by_hand = (float(loss(image, other + step * along)) - float(loss(image, other - step * along))) / (2 * step)
    assert (gradient * along).sum() == pytest.approx(by_hand, rel=0.03)


@pytest.mark.parametrize(("precision", "bound"), [("mixed_bfloat16", 0.03), ("mixed_float16", 0.004)])
def test_half_precision_changes_little(kind, given, precision, bound):
    image, other = two(4)
    whole, half = (LOSSES[kind](**given, precision=each, reduction="none")(image, other).numpy() for each in (None, precision))
    assert half.dtype == np.float32
    assert 0 < np.abs(half / whole - 1).max() < bound


def write(net, path):
    net.save(path)
    preprocessing.attach(path, preprocessing.TORCH)


def generator(loss, metric=None, **options):
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(3, 3, padding="same")])
    model.compile("adam", loss=loss, metrics=[metric] if metric else None, **options)
    return model


def test_a_generator_learns_by_them_under_xla(kind, given):
    image, other = two(4)
    losses = generator(LOSSES[kind](**given), jit_compile=True).fit(other, image, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


RESUMING = """
import sys
import keras
import numpy as np
from keras_vgg.features import LPIPS  # by which Keras knows all of them
model = keras.saving.load_model(sys.argv[1])
batch = np.load(sys.argv[2])
print(model.evaluate(batch["other"], batch["image"], verbose=0))
model.fit(batch["other"], batch["image"], epochs=1, verbose=0)
np.save(sys.argv[3], model.get_weights()[0])
"""


def test_a_generator_is_saved_with_them_and_resumed_in_a_new_process(kind, given, tmp_path):
    """The loss of a saved model is found again by its files and told apart from one of another net."""
    image, other = two(4)
    path, saved = tmp_path / "trunk.keras", tmp_path / "generator.keras"
    write(trunk(), path)
    options = given | {"weights": path}
    model = generator(LOSSES[kind](**options), METRICS[kind](**options))
    history = model.fit(other, image, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    model.save(saved)
    np.savez(tmp_path / "batch.npz", image=image, other=other)
    command = [sys.executable, "-c", RESUMING, saved, tmp_path / "batch.npz", tmp_path / "kernel.npy"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=pathlib.Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(model.evaluate(other, image, verbose=0), rel=1e-5)
    model.fit(other, image, epochs=1, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "kernel.npy"), model.get_weights()[0], atol=1e-6)
    write(build_vgg("D", input_shape=(None, None, 3), include_top=False), path)
    with pytest.raises(InputError, match=f"weights of the saved model's {LOSSES[kind].__name__}"):
        keras.saving.load_model(saved)


def test_replicas_add_up_to_one_device(kind, given):
    image, other = two(4)
    found = []
    for replicas in (1, 2):
        strategy = make_cluster(replicas).strategy
        with strategy.scope():
            keras.utils.set_random_seed(0)
            generator = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(3, 3, padding="same")])
            generator.compile(keras.optimizers.SGD(0.1), loss=LOSSES[kind](**given), metrics=[METRICS[kind](**given)])
        data = tf.data.Dataset.from_tensor_slices((other, image)).batch(4)
        history = generator.fit(data, epochs=2, verbose=0).history
        found.append((generator.get_weights()[0], history["loss"], history[kind]))
    (kernel, *figures), (other_kernel, *other_figures) = found
    assert np.linalg.norm(kernel - other_kernel) < 1e-4 * np.linalg.norm(kernel)
    np.testing.assert_allclose(figures, other_figures, rtol=1e-4)


def test_a_model_of_distances_is_saved_and_told_by_its_content(kind, given, tmp_path):
    make = {"lpips": lpips_model, "dists": dists_model}[kind]
    model, (image, other) = make(**given), two()
    model.save(tmp_path / "distance.keras")
    again = keras.saving.load_model(tmp_path / "distance.keras")
    np.testing.assert_array_equal(again([image, other]), model([image, other]))
    assert digest_of_distance(make(**given)) == digest_of_distance(model)
    others = [make(**given | {"value_range": (0, 255)})]
    if kind == "lpips":
        others += [lpips_model(**given, version="0.0"), lpips_model(**given, spatial=True)]
    assert len({digest_of_distance(each) for each in (model, *others)}) == 1 + len(others)


# --- Slips ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value_range", "factor", "dtype", "warns"),
    [
        ((0, 1), 255, "float32", True),
        ((0, 1), 255, "uint8", True),
        ((0, 255), 1, "float32", True),
        ((0, 255), 255, "uint8", False),
        ((0, 1), 1, "float32", False),
        ((0, 1), 1.05, "float32", False),  # what a generator makes may overshoot
        ((0, 1), -1, "float32", True),
    ],
)
def test_images_of_another_range_are_told(kind, given, value_range, factor, dtype, warns):
    loss, images = LOSSES[kind](**given | {"value_range": value_range}), [(each * factor).astype(dtype) for each in two(1)]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        loss(*images)
    assert any("Images must be in" in str(each.message) for each in told) == warns


def test_images_of_whole_numbers_are_told_in_graphs(kind, given):
    loss, images = LOSSES[kind](**given), [(255 * each).astype(np.uint8) for each in two(1)]
    with pytest.warns(UserWarning, match="Images must be in 0 to 1. Received: integers"):
        tf.function(loss)(*map(tf.constant, images))


def test_weights_that_they_were_not_fitted_to_are_refused(kind, given):
    theirs = net_without_top("D", CAFFE)
    with pytest.raises(InputError, match=r"torchvision's VGG16, .* expects another preprocessing; pass 'imagenet_torchvision'"):
        LOSSES[kind](**given | {"weights": theirs})
    narrow = build_vgg("D", input_shape=(None, None, 3), include_top=False, width=0.1)
    preprocessing.remember(narrow, preprocessing.TORCH)
    with pytest.raises(InputError, match="net D at full width, 64 channels at relu1_2"):
        LOSSES[kind](**given | {"weights": narrow})


def test_other_files_for_the_calibration_are_refused(kind, given, calibrations, tmp_path):
    other = calibrations[{"lpips": "dists", "dists": "lpips"}[kind]]
    with pytest.raises(InputError, match="`calibration` must contain"):
        LOSSES[kind](**given | {"calibration": other})
    arrays = dict(reference.calibration()[kind == "dists"])
    name = next(iter(arrays))
    for values in (arrays[name][:, 1:], -arrays[name], arrays[name] * np.nan):
        save_file(arrays | {name: np.ascontiguousarray(values)}, tmp_path / "bad.safetensors")
        with pytest.raises(InputError, match="nonnegative numbers as"):
            LOSSES[kind](**given | {"calibration": tmp_path / "bad.safetensors"})


def test_there_are_two_versions(given):
    with pytest.raises(InputError, match=r"`version` must be '0.1' or '0.0'\. Received: version='1'"):
        features.lpips_model(version="1")


def test_dists_keeps_its_digits_over_many_places():
    """Against the formula in float64, of activations like a trained net's: far from zero mean, hardly unlike."""
    random = np.random.default_rng(0)
    first = random.gamma(1.0, 1.0, (1, 180, 240, 16)).astype(np.float32)
    second = (first + random.normal(0, 0.05, first.shape)).astype(np.float32)
    pixels = random.random((1, 180, 240, 3), np.float32)
    layer = TextureDistance((16,), (0, 1))
    found = float(layer(pixels, pixels, [first], [second])[0])

    x, y = first.astype(np.float64), second.astype(np.float64)
    (mean, other), over = (each.mean(axis=(1, 2)) for each in (x, y)), (1, 2)
    covariance = ((x - mean[:, None, None]) * (y - other[:, None, None])).mean(axis=over)
    means = (2 * mean * other + 1e-6) / (mean**2 + other**2 + 1e-6)
    structures = (2 * covariance + 1e-6) / (x.var(axis=over) + y.var(axis=over) + 1e-6)
    expected = 1 - (3 + means.sum() + 3 + structures.sum()) / (2 * 19)
    assert expected < 1e-3
    assert found == pytest.approx(expected, rel=2e-6)
