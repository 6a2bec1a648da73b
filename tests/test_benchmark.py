"""The benchmark: what the limit consists of, that micro-batches make the same update, and shares in its tables. Never speed."""

import dataclasses
import math
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from small_images import encode

from keras_vgg import configs
from keras_vgg.errors import InputError

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from benchmarking import contest, over_images, pictures, products  # noqa: E402

CLASSES = 10


def multiply_adds(wanted):
    return sum(product.layer.multiply_adds for product in wanted)


def run(*arguments):
    """Runs the tool; returns what it prints."""
    command = [sys.executable, "tools/benchmark.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- What the limit consists of -------------------------------------------------------------------------------------------


def test_a_layer_by_hand():
    first, second, *_, last = products.layers("D", (8, 224, 224, 3), classes=1000)
    assert (first.inputs, first.weights, first.outputs) == ((8, 224, 224, 3), (3, 3, 3, 64), (8, 224, 224, 64))
    assert second.multiply_adds == 8 * 224 * 224 * 3 * 3 * 64 * 64
    assert (last.inputs, last.weights, last.outputs) == ((8, 4096), (4096, 1000), (8, 1000))


@pytest.mark.parametrize("arch", configs.every_net())
def test_products_are_those_of_the_net(arch):
    """Forward as `layer_facts` counts; backward the same to the weights, and to the inputs all but the first."""
    computed = products.layers(arch, (2, 64, 96, 3), classes=CLASSES, width=0.25)
    facts = configs.layer_facts(arch, input_shape=(64, 96, 3), classes=CLASSES, width=0.25)
    assert [(layer.name, layer.multiply_adds) for layer in computed] == [
        (layer.name, 2 * layer.multiply_adds) for layer in facts if layer.parameters
    ]
    forward = multiply_adds(products.forward(computed))
    assert multiply_adds(products.training(computed)) == 3 * forward - computed[0].multiply_adds


def test_no_product_is_twice_in_an_update_and_none_is_of_the_images():
    wanted = products.training(products.layers("A", (2, 32, 32, 3), classes=CLASSES))
    assert len(set(wanted)) == len(wanted) == 3 * 11 - 1
    assert not any((each.layer.name, each.direction) == ("block1_conv1", products.TO_INPUTS) for each in wanted)


def test_a_net_seen_densely_has_a_row_a_place():
    def seen(height, width, **more):
        return products.dense_layers("D", (2, height, width, 3), crop=224, classes=1000, **more)

    assert seen(224, 224) == products.layers("D", (2, 224, 224, 3), classes=1000)
    fc1, fc2, last = seen(256, 340)[-3:]  # a map of 8x10, two of its places beside another, four above
    assert (fc1.inputs, fc1.weights, fc1.outputs) == ((2 * 2 * 4, 25088), (25088, 4096), (16, 4096))
    assert (fc2.inputs, last.outputs) == ((16, 4096), (16, 1000))
    assert seen(256, 340)[0].inputs == (2, 256, 340, 3)
    assert [layer.name for layer in seen(256, 340, last="fc1")][-2:] == ["block5_conv3", "fc1"]
    assert seen(256, 340, last="block5_pool")[-1].name == "block5_conv3"


@pytest.mark.parametrize("layer", ["block1_conv1", "block2_conv1", "fc1"])
def test_the_limit_computes_the_outputs_of_a_layer_and_their_gradients(layer):
    import tensorflow as tf
    from benchmarking import limit

    found = {each.name: each for each in products.layers("A", (2, 32, 32, 3), classes=CLASSES, width=0.1)}[layer]
    random = np.random.default_rng(0)
    operands = {
        name: tf.constant(random.normal(0, 1, getattr(found, name)), tf.float32) for name in ("inputs", "weights", "outputs")
    }
    with tf.GradientTape() as tape:
        tape.watch([operands["inputs"], operands["weights"]])
        flat = operands["inputs"]
        outputs = (
            tf.nn.convolution(flat, operands["weights"], padding="SAME") if found.is_convolution else flat @ operands["weights"]
        )
    to_inputs, to_weights = tape.gradient(outputs, [flat, operands["weights"]], output_gradients=operands["outputs"])
    for direction, wanted in {products.FORWARD: outputs, products.TO_INPUTS: to_inputs, products.TO_WEIGHTS: to_weights}.items():
        operation, names = limit.OPERATIONS[found.is_convolution, direction]
        np.testing.assert_allclose(operation(found, *(operands[name] for name in names)), wanted, rtol=1e-4, atol=1e-4)


def test_the_limit_heeds_strides():
    import tensorflow as tf
    from benchmarking import limit

    layer = products.Layer("strided", (1, 7, 7, 2), (3, 3, 2, 3), (1, 4, 4, 3), stride=2)
    inputs, weights, outputs = (tf.ones(shape) for shape in (layer.inputs, layer.weights, layer.outputs))
    shapes = [
        limit.OPERATIONS[True, direction][0](layer, *operands).shape
        for direction, operands in {
            products.FORWARD: (inputs, weights),
            products.TO_INPUTS: (outputs, weights),
            products.TO_WEIGHTS: (inputs, outputs),
        }.items()
    ]
    assert shapes == [layer.outputs, layer.inputs, layer.weights]


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", "float32"), ("mixed_bfloat16", "bfloat16"), ("mixed_float16", "float16")]
)
def test_the_limit_computes_in_the_dtypes_of_our_net(precision, dtype):
    import keras
    from benchmarking import limit

    from keras_vgg.models import build_vgg

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model = build_vgg("A", input_shape=(32, 32, 3), classes=CLASSES, width=0.05)
    finally:
        keras.config.set_dtype_policy(before)
    computed = products.layers("A", (2, 32, 32, 3), classes=CLASSES, width=0.05)
    own = {layer.name: layer.compute_dtype for layer in model.layers if layer.weights}
    assert {layer.name: limit.dtype_of(layer, precision) for layer in computed} == own
    assert set(own.values()) == {dtype, "float32"}
    assert limit.Products(products.training(computed), precision).note.startswith("32 products, ")


# --- Batches as the net sees them -----------------------------------------------------------------------------------------


def test_batches_are_those_that_the_net_is_given(tmp_path, monkeypatch):
    """Of mixed shapes, in both protocols: the shapes in which our net is called are those of the limit."""
    import tensorflow as tf
    from PIL import Image

    from keras_vgg.inference.network import Network

    random = np.random.default_rng(0)
    paths = []
    for number, shape in enumerate([(40, 60), (60, 40), (40, 60), (40, 60), (64, 40)]):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(random.integers(0, 256, (*shape, 3)).astype(np.uint8)).save(paths[-1])
    settings = over_images.Settings("A", 32, 0.05, tuple(paths), (32, 48), batch=4)
    seen = []
    logits = Network._logits

    def watched(network, images, net):
        tf.py_function(lambda shape: seen.append(tuple(shape.numpy().tolist())), [tf.shape(images)], [])
        return logits(network, images, net)

    monkeypatch.setattr(Network, "_logits", watched)
    told = {}
    for protocol in ("dense", "multi-crop"):
        seen.clear()
        over_images.evaluate(settings, protocol)
        told[protocol] = over_images.batch_shapes(settings, protocol)
        assert sorted(seen) == sorted(shape for shape, times in told[protocol].items() for _ in range(times))
    assert told["dense"][2, 48, 32, 3] == 1  # the image of 60x40 at Q=32, and its mirror image
    assert told["multi-crop"] == {(2 * 5, 32, 32, 3): 5 * 2 * 5}  # five rows of each image at both scales


@pytest.mark.parametrize("contestant", ["evaluate", "extract", "predict_loop", "function_loop"])
def test_contestants_over_images_compute_in_the_precision_that_is_told(contestant, tmp_path):
    """Rows in bfloat16 are those in float32, to its three digits and not to more."""
    import keras

    paths = pictures.make_jpegs(str(tmp_path), 2)
    settings = over_images.Settings("A", 32, 0.05, paths, (32,), batch=4, layer="fc2")
    protocol = {"protocol": "dense"} if contestant == "evaluate" else {}
    before = keras.config.dtype_policy()
    try:
        whole, half = (
            getattr(over_images, contestant)(dataclasses.replace(settings, precision=precision), **protocol)["rows"]
            for precision in ("float32", "mixed_bfloat16")
        )
    finally:
        keras.config.set_dtype_policy(before)
    assert whole.dtype == half.dtype == np.float32
    assert 1e-5 < np.linalg.norm(half - whole) / np.linalg.norm(whole) < 0.05


# --- Micro-batches --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("contestant", ["ours", "keras_peer"])
def test_micro_batches_make_the_same_update(contestant, monkeypatch):
    """As one batch makes, float rounding apart, and another than half the batch does."""
    import importlib

    import keras

    module = importlib.import_module(f"benchmarking.{contestant}")
    monkeypatch.setattr(module, "LEARNING_RATE", 0.1)  # a change that stands out from rounding

    def weights_after(batch, pieces):
        keras.utils.set_random_seed(0)
        arch = {"ours": "A", "keras_peer": "D"}[contestant]
        training = module.Training(pictures.NetSettings(arch, 32, batch, 1, False, micro_batches=pieces))
        before = training._model.weights[-1].numpy()
        training.run(1)
        return training._model.weights[-1].numpy() - before

    whole, in_pieces = weights_after(4, 1), weights_after(4, 2)
    assert np.linalg.norm(whole - in_pieces) < 1e-4 * np.linalg.norm(whole)
    assert np.linalg.norm(whole - weights_after(2, 1)) > 0.1 * np.linalg.norm(whole)


def test_micro_batches_must_divide_the_batch():
    import benchmark

    with pytest.raises(InputError, match=r"must divide the batch, 8 images\. Received: 3\."):
        benchmark.main(["train", "--batch", "8", "--micro-batches", "3"])


# --- Tables ---------------------------------------------------------------------------------------------------------------


def rows_of(table):
    head, *rows = table.splitlines()
    return head, {row.split()[0]: row.split() for row in rows}


def test_shares_of_the_limit_are_medians_over_rounds():
    results = [
        contest.Result("ours", "", 1.0, [1.0, 4.0, 9.0]),
        contest.Result("keras", "", 1.0, [1.0, 1.0, 1.0]),
        contest.Result("limit", "", 1.0, [2.0, 5.0, 30.0]),
    ]
    head, rows = rows_of(contest.table(results))
    assert head.split()[:4] == ["contestant", "images/s", "of", "limit"]
    assert [rows[name][2] for name in ("ours", "keras", "limit")] == ["50%", "20%", "100%"]
    assert "of limit" not in contest.table(results[:2])


@pytest.mark.slow
def test_all_commands_that_compute_with_nets_show_shares_of_the_limit(tmp_path):
    common = ("--arch", "A", "--crop", "32", "--batch", "2", "--precision", "mixed_bfloat16")
    told = run("train", *common, "--micro-batches", "2", "--steps", "1", "--rounds", "1", "--peers")
    title, table = told.split("\n", 3)[2:]
    assert title == "weight updates, net A, 32x32, mixed_bfloat16, batches of 2 in 2 micro-batches; 1 round of 1 step"
    _, rows = rows_of(table)
    assert set(rows) == {"ours", "limit"}
    assert rows["limit"][2] == "100%"
    gflop = 2 * multiply_adds(products.training(products.layers("A", (1, 32, 32, 3), classes=1000))) / 1e9
    assert f"32 products, {gflop:.3g} GFLOP" in table
    images = ("--width", "0.05", "--scales", "32", "--count", "2")
    for command, contestants in (("evaluate", ("dense", "multi-crop")), ("extract", ("ours",))):
        told = run(command, *common, *images, "--contestants", *contestants)
        assert "mixed_bfloat16" in told
        head = told.splitlines()[3]
        shares = [row[head.index("of limit") : head.index("of limit") + 8].strip() for row in told.splitlines()[4:]]
        assert len(shares) == 2 * len(contestants)
        assert shares[len(contestants) :] == ["100%"] * len(contestants)
        assert not math.isnan(float(shares[0].rstrip("%")))


@pytest.mark.slow
def test_narrow_nets_are_compared_on_the_same_images(tmp_path):
    """Ours and stock Keras with the same net; each reads the folder in its own way."""
    for number, label in enumerate("ababab"):
        path = tmp_path / "train" / label / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(36, 36, 3, "JPEG", number))
    sizes = ("--width", "0.05", "--crop", "32", "--scale", "36", "--batch", "2", "--steps", "2", "--rounds", "1")
    told = run("small", "--folder", str(tmp_path), "--arch", "A", *sizes)
    title, table = told.split("\n", 3)[2:]
    assert title == "net A x 0.05 on images of 36x36, float32, batches of 2; 1 round of 2 steps"
    _, rows = rows_of(table)
    assert set(rows) == {"ours", "keras", "limit"}
    assert len(set(re.findall(r"([\d,]+) parameters", table))) == 1
