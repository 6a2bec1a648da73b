"""A net computes in the precision that is asked for, whatever computes it, and says so; nothing of one is taken for another's."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from boxed_images import write_boxed
from localisers import write_localiser
from PIL import Image
from run_folders import write_run
from small_images import CLASSES, ENCODED, LABELS, write_images
from small_nets import net, net_without_top

from keras_vgg import (
    class_names,
    evaluate,
    export,
    extract,
    fit,
    localise,
    predict,
    preprocessing,
    style,
    training,
    transfer,
    transfer_eval,
)
from keras_vgg.descriptors.descriptor import DescriptorProtocol
from keras_vgg.descriptors.descriptor_file import DescriptorFile
from keras_vgg.descriptors.network import FeatureNetwork
from keras_vgg.errors import InputError
from keras_vgg.evaluation.recipe import read_evaluation
from keras_vgg.evaluation.results import Posteriors
from keras_vgg.features import perceptual_model
from keras_vgg.features.style_settings import Settings
from keras_vgg.features.style_transfer import open_net, style_transfer
from keras_vgg.identity import digest_of_net
from keras_vgg.inference import passes
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.linear.recipe import read_transfer
from keras_vgg.localisation import Locator
from keras_vgg.localisation.recipe import read_localisation
from keras_vgg.mixed_precision import in_precision, multiply_adds, precision_of, set_precision
from keras_vgg.models import build_vgg
from keras_vgg.recipe import Recipe
from keras_vgg.saved_model import export_saved_model
from keras_vgg.serving import formats
from keras_vgg.serving.plan import plan_export
from keras_vgg.support import entry, half_precision, xla

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "images_surveyed_once", "nets_loaded_once", "layers_loaded_once")

HALF = "mixed_bfloat16"
ROUNDING = 2.0**-8
"""Of bfloat16, which keeps eight bits: half of the step between two numbers near 1."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run, a localiser, images and images with boxes."""
    folder = tmp_path_factory.mktemp("place")
    write_run(folder / "run")
    write_images(folder / "data", ENCODED, LABELS)
    listing = write_boxed(folder / "boxed", train=2, val=6, sides=(40, 72))
    write_localiser(folder / "pcr", classes=CLASSES)
    write_localiser(folder / "scr", "scr")
    (folder / "boxes").write_text(f"csv:{listing}")
    return folder


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def computed(monkeypatch):
    """How many images each run of passes has computed."""
    counts, run_pass = [], passes.run_pass

    def counted(networks, images, views, store, **options):
        counts.append(int(store.pending.sum()))
        return run_pass(networks, images, views, store, **options)

    monkeypatch.setattr(passes, "run_pass", counted)
    return counts


def images(side=40):
    return np.random.default_rng(0).integers(0, 256, (4, side, side + 8, 3), dtype=np.uint8)


def is_rounded(half, full, scale=1.0):
    """Whether numbers are those of float32 but for bfloat16's rounding in a dozen layers, and not the same."""
    difference = np.abs(np.asarray(half, np.float64) - full)
    return 0 < difference.max() <= 12 * ROUNDING * scale


# --- The net itself -------------------------------------------------------------------------------------------------------


def dtypes(model):
    return {layer.name: layer.compute_dtype for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)}


@pytest.mark.parametrize("arch", ["A-LRN", "A-pool"])
def test_convolutions_and_products_are_in_half_precision_and_what_comes_out_of_them_is_not(arch):
    model = build_vgg(arch, input_shape=(32, 32, 3), width=1 / 16, classes=3, batch_norm=arch == "A-pool")
    set_precision(model, HALF)
    kept = {"predictions", "avg_pool"}
    assert dtypes(model) == {name: "float32" if name in kept else "bfloat16" for name in dtypes(model)}
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert model(np.ones((1, 32, 32, 3), np.float32)).dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
    set_precision(model, "float32")
    assert set(dtypes(model).values()) == {"float32"}


def test_scores_and_a_soft_max_behind_the_last_product_are_in_float32():
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(inputs))
    for layer in (keras.layers.Dense(4, activation="relu", name="hidden"), keras.layers.UnitNormalization(name="length")):
        outputs = layer(outputs)
    model = keras.Model(inputs, keras.layers.Softmax(name="told")(keras.layers.Dense(2, name="scores")(outputs)))
    set_precision(model, HALF)
    found = dtypes(model)
    assert [found[name] for name in ("hidden", "length", "scores", "told")] == ["bfloat16", "float32", "float32", "float32"]


def test_a_model_of_somebody_else_is_copied():
    model = net()
    class_names.remember(model, CLASSES)
    half = in_precision(model, HALF)
    assert (precision_of(model), precision_of(half)) == ("float32", HALF)
    assert digest_of_net(half) != digest_of_net(model)
    assert preprocessing.of_weights(half) == preprocessing.of_weights(model)
    assert class_names.for_model(half) == CLASSES
    for one, other in zip(model.get_weights(), half.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert in_precision(model, None) is in_precision(model, "float32") is model
    assert in_precision(half, HALF) is half


def test_multiply_adds_of_a_pixel_are_those_of_table_1():
    per_image = 224**2 * multiply_adds(build_vgg("D", include_top=False))
    assert per_image == pytest.approx(15.35e9, rel=1e-3)  # of the convolutions; with FC layers, 15.47 G


def test_another_precision_is_refused(place):
    source = open_net_file(str(place / "run"))
    for call in (
        lambda: source.load_model(precision="float16"),
        lambda: transfer.load_model(place / "run", precision="float16"),
        lambda: DescriptorProtocol(precision="float16"),
        lambda: perceptual_model("A", ("relu1_1",), weights=None, precision="float16"),
        lambda: plan_export(net(), precision="float16"),
        lambda: Locator(place / "run", place / "pcr", precision="float16"),
    ):
        with pytest.raises(
            InputError, match=r"`precision` must be one of float32, mixed_bfloat16, .* Received: precision='float16'"
        ):
            call()


@pytest.mark.parametrize("kind", ["dense", "multi-crop", "center"])
def test_posteriors_are_those_of_float32_but_for_rounding(place, kind):
    source, pixels = open_net_file(str(place / "run")), images()
    if kind == "center":
        pixels = pixels[:, :32, :32]
    full, half = (source.load(precision=each).posteriors(pixels, kind, flip=True).numpy() for each in ("float32", HALF))
    assert full.dtype == half.dtype == np.float32
    np.testing.assert_allclose(half.sum(axis=1), 1, atol=1e-6)  # a soft-max in half precision would be off by a thousandth
    assert is_rounded(half, full)


def test_a_net_saved_in_half_precision_is_opened_in_float32(tmp_path):
    """As a run's is that was trained in it."""
    model = net()
    model.save(tmp_path / "full.keras")
    set_precision(model, HALF)
    model.save(tmp_path / "half.keras")
    paths = [tmp_path / "full.keras", tmp_path / "half.keras"]
    full, half = (open_net_file(str(path), preprocessing="caffe") for path in paths)
    assert digest_of_net(half.load_model()) == digest_of_net(full.load_model())
    assert digest_of_net(half.load_model(precision=HALF)) == digest_of_net(full.load_model(precision=HALF))
    assert precision_of(transfer.load_model(tmp_path / "half.keras")) == HALF  # as it lies in the file


# --- Commands -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [evaluate, predict, extract, transfer_eval, style, localise, export])
def test_a_command_refuses_an_unknown_precision(command, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["--precision", "float16"])
    told = capsys.readouterr().err
    assert "--precision: invalid choice: 'float16'" in told
    assert told.count("\n") == 1


def in_turn(run, computed):
    """Results in float32, in bfloat16 and again in both, and how many images each of the four computed."""
    results, counts = [], []
    for precision in (None, HALF, "float32", HALF):
        computed.clear()
        results.append(run(*(["--precision", precision] if precision else [])))
        counts.append(sum(computed))
    return results, counts


def test_evaluate_takes_no_posteriors_for_those_of_another_precision(here, tmp_path, computed):
    def run(*flags):
        evaluate.main(["--model", "run", "--dataset", "folder:data", "--out", str(tmp_path), *flags])
        (line,) = [each for each in json.loads((tmp_path / "table.json").read_text()) if (HALF in flags) == bool(each["settings"])]
        return line, Posteriors.read(tmp_path / line["posteriors"])

    ((full, of_full), (half, of_half), *again), counts = in_turn(run, computed)
    assert counts == [len(ENCODED), len(ENCODED), 0, 0]
    assert (full["settings"], half["settings"]) == ("", HALF)
    assert of_half.facts["settings"] == HALF
    assert full["nets sha256"] != half["nets sha256"]
    assert is_rounded(of_half.values, of_full.values)
    for before, after in zip((of_full, of_half), again, strict=True):
        np.testing.assert_array_equal(after[1].values, before.values)
    noted = [json.loads(path.read_text()) for path in (tmp_path / "passes").glob("*.json")]
    assert sorted(each.get("precision", "") for each in noted) == ["", HALF]


def test_extract_takes_no_features_for_those_of_another_precision(here, tmp_path, computed, capsys):
    def run(*flags):
        out = tmp_path / "found.npz"  # one file, and one folder of parts
        extract.main(["--model", "run", "--dataset", "folder:data", "--scales", "40", "--out", str(out), *flags])
        return DescriptorFile.read(out)

    (full, half, *again), counts = in_turn(run, computed)
    assert counts == [len(full.labels), len(full.labels), 0, 0]
    assert [each.facts.get("precision") for each in (full, half)] == [None, HALF]
    assert "computed in mixed_bfloat16" in capsys.readouterr().out
    assert half.features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(half.features, axis=1), 1, atol=1e-6)
    assert is_rounded(half.features, full.features)
    for before, after in zip((full, half), again, strict=True):
        np.testing.assert_array_equal(after.features, before.features)
        assert after.facts == before.facts


def test_transfer_eval_names_the_precision_and_takes_it_of_a_recipe_or_a_flag(here, tmp_path, computed):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f"""
        [models]
        A = "{here}/run"
        [data.small]
        dataset = "folder:{here}/data"
        protocol = "random"
        train_images = 1
        test_images = 1
        splits = 1
        precision = "{HALF}"
        [[rows]]
        data = "small"
        """
    )

    def run(*flags):
        transfer_eval.main(["--recipe", str(recipe), "--costs", "1", "--out", str(tmp_path / "out"), *flags])
        return json.loads((tmp_path / "out" / "table.json").read_text())[-1]

    lines, counts = in_turn(run, computed)
    assert [each["descriptor"] for each in lines] == [HALF, HALF, "", HALF]
    number = sum(path.is_file() for path in (here / "data").rglob("*"))
    assert counts == [number, 0, number, 0]
    recipe.write_text(recipe.read_text().replace(HALF, "half"))
    with pytest.raises(InputError, match=r"`precision` must be one of .* Received: precision='half'"):
        read_transfer(recipe)


def test_localise_takes_no_boxes_for_those_of_another_precision(here, tmp_path, computed):
    def run(*flags):
        given = ["--model", "scr", "--dataset", (here / "boxes").read_text(), "--scales", "40", "--split", "val"]
        localise.main([*given, "--out", str(tmp_path), *flags])
        lines = json.loads((tmp_path / "table.json").read_text())
        (line,) = [each for each in lines if (HALF in flags) == (HALF in each["settings"])]
        return np.load(tmp_path / line["posteriors"])["boxes"][:, 0]

    (full, half, *again), counts = in_turn(run, computed)
    assert counts == [6, 6, 0, 0]
    assert is_rounded(half, full, scale=72)  # pixels
    np.testing.assert_array_equal(again, [full, half])


def test_a_classifier_of_descriptors_in_half_precision_is_kept_for_any_precision(here, tmp_path):
    """The digest of the net that described the images is that in their precision; the file is as any other."""
    write_images(tmp_path / "data", [*ENCODED] * 3, [*LABELS] * 3)
    of_net = ["--model", "run", "--dataset", f"folder:{tmp_path}/data", "--layer", "block5_pool", "--scales", "40", "--no-flip"]
    of_task = ["--splits", "1", "--train-images", "2", "--test-images", "1", "--costs", "1"]
    kept = tmp_path / "kept.keras"
    transfer_eval.main([*of_net, *of_task, "--precision", HALF, "--out", str(tmp_path / "out"), "--save", str(kept)])
    assert set(dtypes(transfer.load_model(kept)).values()) == {"float32"}
    loaded = transfer.load_model(kept, precision=HALF)
    assert {name for name, dtype in dtypes(loaded).items() if dtype == "float32"} == {"avg_pool", "unit_length", "classifier"}


@pytest.mark.parametrize(
    ("read", "nets"), [(read_evaluation, "[models]\nA = 'run'"), (read_localisation, "[localisers]\nA = 'run'")]
)
def test_a_recipe_may_say_the_precision(tmp_path, read, nets):
    path = tmp_path / "recipe.toml"
    rest = f"{nets}\n[[rows]]\nprotocol = 'dense'\n"
    path.write_text(rest)
    assert read(path).precision is None
    path.write_text(f"precision = '{HALF}'\n{rest}")
    assert read(path).precision == HALF
    path.write_text(f"precision = 16\n{rest}")
    with pytest.raises(InputError, match=r"Recipe .*recipe.toml: `precision` must be one of .* Received: precision=16"):
        read(path)


def test_a_flag_goes_before_what_a_recipe_says(here, tmp_path):
    (tmp_path / "recipe.toml").write_text(
        f"dataset = 'folder:{here}/data'\nprecision = '{HALF}'\n[models]\nA = '{here}/run'\n[[rows]]\nprotocol = 'center'\n"
    )
    for flags, told in (([], HALF), (["--precision", "float32"], "")):
        out = tmp_path / f"out{len(flags)}"
        evaluate.main(["--recipe", str(tmp_path / "recipe.toml"), "--out", str(out), *flags])
        (line,) = json.loads((out / "table.json").read_text())
        assert line["settings"] == told


def test_predict_tells_the_precision_of_classes_and_boxes(here, capsys):
    photograph = next(str(path) for path in sorted((here / "data").rglob("*.jpg")))

    def run(*flags):
        predict.main([photograph, "--model", "run", "--json", "--localiser", "pcr", *flags])
        told = capsys.readouterr()
        return json.loads(told.out), told.err

    (full, _), (half, said) = run(), run("--precision", HALF)
    for name in ("settings", "localiser settings"):
        assert "precision" not in full[name]
        assert half[name] == full[name] | {"precision": HALF}
    assert said.count(f", {HALF}): preprocessing") == 2  # of both nets
    (of_half,) = (each["posterior"] for each in half["top"] if each["class"] == full["top"][0]["class"])
    assert is_rounded(of_half, full["top"][0]["posterior"])


def test_a_locator_computes_in_it(here):
    pixels = images(60)[0]
    full, half = (Locator("run", "pcr", precision=each).locate(pixels)[0] for each in ("float32", HALF))
    assert full.label == half.label
    assert full.score != half.score
    assert is_rounded(half.box, full.box, scale=68)


def test_features_of_a_net_without_its_top_are_float32():
    model = net_without_top(wants=preprocessing.TORCH)
    full, half = (
        FeatureNetwork(in_precision(model, each), "block5_pool").see(images(64), passes.Views("dense", 64, False)).numpy()
        for each in ("float32", HALF)
    )
    assert half.dtype == np.float32
    assert is_rounded(half, full, scale=np.abs(full).max())


def test_style_computes_in_it_with_losses_of_float32(tmp_path, monkeypatch, capsys):
    content, pattern = (np.random.default_rng(seed).integers(0, 256, (32, 40, 3)).astype(np.uint8) for seed in (0, 1))
    losses = {}
    for precision in ("float32", HALF):
        settings = Settings(steps=3, precision=precision)
        model = open_net("D", net_without_top(), settings)
        assert model.get_layer("preprocessing").compute_dtype == "float32"  # pixels have more digits than half precision
        assert precision_of(model) == precision
        seen = []
        style_transfer(content, pattern, model, settings, watch=lambda now, seen=seen: seen.append(now.loss))
        losses[precision] = seen
    assert losses[HALF][-1] < losses[HALF][0]
    assert losses[HALF] == pytest.approx(losses["float32"], rel=0.2)
    assert losses[HALF] != losses["float32"]
    with pytest.raises(InputError, match=r"`precision` must be one of float32, mixed_bfloat16. Received: 'mixed_float16'"):
        Settings(precision="mixed_float16")
    monkeypatch.chdir(tmp_path)
    Image.fromarray(content).save("photo.png")
    net_without_top().save("narrow.keras")
    given = ["--content", "photo.png", "--style", "photo.png", "--weights", "narrow.keras", "--preprocessing", "caffe"]
    style.main([*given, "--size", "40", "--steps", "1", "--init", "noise", "--precision", HALF])
    assert f"1 step, computed in {HALF}" in capsys.readouterr().out
    with Image.open("picture.png") as picture:
        assert json.loads(picture.text["settings"])["precision"] == HALF


# --- What is exported -----------------------------------------------------------------------------------------------------


def test_an_exported_net_says_what_the_net_of_the_same_precision_says(here, tmp_path, capsys):
    flags = ["--scales", "40", "--no-flip", "--localiser", "pcr", "--localiser-scales", "40", "--precision", HALF]
    export.main(["--model", "run", "--out", str(tmp_path / "vgg"), *flags])
    assert "computed in bfloat16" in capsys.readouterr().out
    card = json.loads((tmp_path / "vgg" / "1" / "model_card.json").read_text())
    assert (card["net"]["precision"], card["localiser"]["precision"]) == ("bfloat16", "bfloat16")
    served = tf.saved_model.load(str(tmp_path / "vgg" / "1")).signatures
    source = open_net_file("run")
    full, half = (source.load(precision=each) for each in ("float32", HALF))
    assert card["net"]["sha256"] == digest_of_net(half.model)
    written = (tmp_path / "vgg" / "1" / "variables" / "variables.data-00000-of-00001").stat().st_size
    localiser = open_net_file("pcr").load_localiser().model
    assert written < 0.6 * 4 * (half.model.count_params() + localiser.count_params())  # kernels in 2 bytes, as they are used
    pixels = images()
    found = served["serving_uint8"](images=tf.constant(pixels))["probabilities"].numpy()
    np.testing.assert_allclose(found, half.posteriors(pixels, "dense", flip=False), atol=1e-6)
    assert is_rounded(found, full.posteriors(pixels, "dense", flip=False))
    answers = served["classify"](images=tf.constant(ENCODED[:2])), served["features"](images=tf.constant(ENCODED[:2]))
    assert answers[0]["probabilities"].dtype == answers[1]["features"].dtype == tf.float32
    np.testing.assert_allclose(np.linalg.norm(answers[1]["features"], axis=1), 1, atol=1e-6)
    photograph = next(iter(sorted((here / "data").rglob("*.jpg"))))
    boxes = served["localise"](images=tf.constant([photograph.read_bytes()]))
    height, width = boxes["image_size"].numpy()[0]
    locator = Locator("run", "pcr", scales=(40,), localiser_scales=(40,), flip=False, precision=HALF)
    expected = [each.box for each in locator.locate(photograph)]
    np.testing.assert_allclose(boxes["boxes"][0, : len(expected)] * [width, height, width, height], expected, atol=1e-2)


def test_a_model_in_memory_is_exported_as_it_computes_or_as_is_asked(tmp_path):
    model = net()
    options = {"labels": CLASSES, "scales": (40,), "check": False}
    cards = [export_saved_model(model, tmp_path, **options, **more).card for more in ({}, {"precision": HALF})]
    assert [card["net"]["precision"] for card in cards] == ["float32", "bfloat16"]
    assert precision_of(model) == "float32"


def test_figures_of_training_are_found_in_another_precision(tmp_path):
    """A run's figures are of its net in the precision that it was trained in; the card of the same weights has them."""
    run = write_run(tmp_path / "run", precision=HALF)
    digest = digest_of_net(open_net_file(str(run)).load_model(precision=HALF))
    (run / "summary.json").write_text(json.dumps({"best_epoch": 3, "best_sha256": digest}))
    for precision in ("float32", HALF):
        assert plan_export(run, precision=precision).card["errors"]["in_training"] == {"best_epoch": 3, "best_sha256": digest}


@pytest.mark.parametrize("format_", ["onnx", "litert", "openvino"])
def test_files_for_other_engines_are_in_float32_alone(tmp_path, format_, capsys, monkeypatch):
    with pytest.raises(SystemExit, match="2"):
        export.main(["--model", "run", "--out", "net", "--format", format_, "--precision", HALF])
    assert f"--precision: --format {format_} supports only float32 (received {HALF})" in capsys.readouterr().err
    monkeypatch.setattr(formats.extras, "require", lambda name: None)
    path = tmp_path / f"net{formats.FORMATS[format_].suffix}"
    with pytest.raises(InputError, match=rf"{format_} files are written in float32. Received: precision='{HALF}'"):
        formats.export_file(net(), path, format=format_, precision=HALF)


# --- Advice ---------------------------------------------------------------------------------------------------------------

LONG = 1e18


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes the machine one with a CPU of these flags, or with GPUs of this compute capability."""

    def make(flags="", capabilities=()):
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\n")
        monkeypatch.setattr(xla, "CPU_FACTS", tmp_path / "cpuinfo")
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: list(capabilities))
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu} if gpu else {})
        half_precision._tell.cache_clear()

    yield make
    half_precision._tell.cache_clear()


@pytest.mark.parametrize(
    ("flags", "capabilities", "precision", "operations", "told"),
    [
        ("avx512f avx512_bf16", (), "float32", LONG, "--precision mixed_bfloat16 was twice as fast"),
        ("avx512_bf16 amx_bf16", (), "float32", LONG, "--precision mixed_bfloat16 was four times as fast"),
        ("avx512f", (), "float32", LONG, ""),
        ("avx512_bf16", (), "float32", 1e12, ""),
        ("avx512_bf16", (), HALF, LONG, ""),
        ("", [(8, 0), (9, 0)], "float32", LONG, "--precision mixed_bfloat16 is usually faster"),
        ("", [(8, 0)], "float32", 1e15, ""),
        ("avx512_bf16", [(7, 5)], "float32", LONG, ""),
        ("avx512_bf16", [()], "float32", LONG, ""),
        ("", (), "mixed_float16", 0, "Warning: mixed_float16 is slower than float32 on CPUs"),
        ("", [(7, 5)], "mixed_float16", LONG, ""),
    ],
)
def test_what_a_machine_would_gain_is_told_once(machine, capsys, flags, capabilities, precision, operations, told):
    machine(flags, capabilities)
    for _ in range(2):
        half_precision.advise(precision, operations)
    found = capsys.readouterr().err
    assert found.count("\n") == bool(told)
    assert told in found


def test_passes_are_told_of_by_what_they_have_left(here, tmp_path, machine, capsys, monkeypatch):
    monkeypatch.setattr(half_precision, "LONG_ON_CPU", 1.0)
    for flags, told in (([], 1), ([], 0), (["--precision", HALF], 0)):  # new; done already; in half precision
        machine("avx512_bf16")
        evaluate.main(["--model", "run", "--dataset", "folder:data", "--protocol", "center", "--out", str(tmp_path), *flags])
        assert capsys.readouterr().err.count(f"--precision {HALF}") == told


@pytest.mark.parametrize(("precision", "told"), [("float32", 1), (HALF, 0)])
def test_a_run_in_float32_is_told(tmp_path, machine, capsys, monkeypatch, precision, told):
    monkeypatch.setattr(half_precision, "LONG_ON_CPU", 1.0)
    machine("avx512_bf16")
    net = ["--arch", "A", "--width", "0.05", "--crop", "32", "--scale", "32", "--no-color", "--no-random-flip"]
    run = ["--limit-images", "20", "--batch-size", "10", "--epochs", "1", "--workdir", str(tmp_path / "run")]
    fit.main(["--dataset", "digits", *net, *run, "--precision", precision])
    assert capsys.readouterr().err.count(f"--precision {HALF} was") == told


def test_a_run_on_gpus_is_told_of_tf32_too(machine, capsys):
    machine("", [(8, 0)])
    half_precision.advise("float32", LONG, or_else="--tf32")
    assert capsys.readouterr().err.endswith("--precision mixed_bfloat16 or --tf32 is usually faster\n")


@pytest.mark.parametrize("tf32", [False, True])
def test_float32_is_tf32_only_if_asked_for_and_only_in_the_run(tmp_path, capsys, tf32):
    found = []
    noting = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda *_, **__: found.append(uses_tf32()))
    recipe = Recipe(width=0.02, crop=32, scale=32, limit_images=20, batch_size=20, epochs=1, tf32=tf32)
    tf.config.experimental.enable_tensor_float_32_execution(not tf32)
    try:
        training.fit(recipe, workdir=tmp_path / "run", callbacks=[noting])
        assert uses_tf32() == (not tf32)  # as the caller had it
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(False)
    assert found == [tf32]
    assert ("float32 in TF32, XLA" in capsys.readouterr().out) == tf32


def test_commands_compute_float32_without_tf32():
    tf.config.experimental.enable_tensor_float_32_execution(True)
    entry.import_tensorflow()
    assert not uses_tf32()


def uses_tf32():
    return tf.config.experimental.tensor_float_32_execution_enabled()
