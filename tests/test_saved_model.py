"""An exported net says what the net itself says, over the folder that a server reads; what a bad image or a bad call comes to."""

import io
import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from bad_images import BAD
from PIL import Image
from run_folders import write_run
from small_images import CLASSES, ENCODED
from small_nets import WANTS, net
from tensorflow_serving.apis import prediction_log_pb2

from keras_vgg.errors import InputError
from keras_vgg.evaluation.prediction import predict, see
from keras_vgg.fully_convolutional import to_fully_convolutional
from keras_vgg.identity import digest_of_net
from keras_vgg.inference import class_labels
from keras_vgg.inference import net_files as sources
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.inference.network import Network
from keras_vgg.inference.views import passes
from keras_vgg.models import build_vgg
from keras_vgg.saved_model import CARD, export_saved_model, versions
from keras_vgg.serving import comparison, plan, warm_up
from keras_vgg.serving.plan import plan_export
from keras_vgg.serving.signatures import Served
from keras_vgg.support import files
from keras_vgg.weights import catalogue, download

pytestmark = pytest.mark.usefixtures("graphs_as_traced")

SHARED = pathlib.Path(__file__).parents[1].parent / "shared"
SCALES = (36, 44)
SUMMARY = {"finished": True, "best_epoch": 3, "best_val_top1_error": 0.25, "best_val_top5_error": 0.0}


def table_of(run):
    """A row of an evaluation of a run's net."""
    digest = digest_of_net(open_net_file(str(run)).load_model())
    return [{"net": "letters", "protocol": "dense", "top-1 error": 12.5, "nets sha256": digest}]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = write_run(tmp_path_factory.mktemp("runs") / "letters")
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "table.json").write_text(json.dumps(table_of(folder)))
    return folder


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "vgg"
    return export_saved_model(run, folder, scales=SCALES, flip=True, evaluation=run / "evaluation", licence="CC0")


@pytest.fixture(scope="module")
def served(exported):
    return tf.saved_model.load(str(exported.path)).signatures


def in_memory(run, folder, **options):
    """The signatures as they are before they are written: that they are the same when read back, other tests show."""
    plan = plan_export(run, **options)
    labels = folder / "labels.txt"
    labels.write_text("".join(f"{name}\n" for name in plan.labels))
    variables = [variable.value for variable in plan.network.model.variables]
    return Served(plan.network, variables, str(labels), plan.protocol, plan.card["net"]["sha256"]).signatures()


@pytest.fixture
def paths(tmp_path):
    found = [tmp_path / f"{number:02}" for number in range(len(ENCODED))]
    for path, content in zip(found, ENCODED, strict=True):
        path.write_bytes(content)
    return [str(path) for path in found]


def classify(served, encoded):
    return {name: value.numpy() for name, value in served["classify"](images=tf.constant(list(encoded), tf.string)).items()}


# What it says


def test_classify_says_what_predict_says(served, run, paths):
    by_predict = predict(open_net_file(str(run)).load(), paths, passes("dense", SCALES, flip=True)).posteriors
    found = classify(served, ENCODED)
    np.testing.assert_allclose(found["probabilities"], by_predict, atol=1e-6)
    assert not any(found["error"])


@pytest.mark.parametrize("signature", ["classify", "features", "score_map"])
def test_every_answer_says_of_which_net_it_is(served, exported, signature):
    said = served[signature](images=tf.constant([ENCODED[0], b"no image"]))["net_sha256"].numpy()
    assert said.tolist() == [exported.card["net"]["sha256"].encode()] * 2
    assert served[signature](images=tf.constant([], tf.string))["net_sha256"].shape == (0,)


def test_without_dense_it_looks_at_the_centre_crop(run, paths, tmp_path):
    served = in_memory(run, tmp_path, dense=False, scales=(40,))
    by_predict = predict(open_net_file(str(run)).load(), paths, passes("center", (40,), flip=True)).posteriors
    np.testing.assert_allclose(classify(served, ENCODED)["probabilities"], by_predict, atol=1e-6)
    assert "score_map" not in served
    assert served["serving_default"].input_signature[0].shape.as_list() == [None, 32, 32, 3]


def test_best_classes_first_with_their_names(served):
    found = classify(served, ENCODED)
    order = np.argsort(-found["probabilities"], axis=1)[:, :5]
    np.testing.assert_array_equal(found["class_ids"], order)
    np.testing.assert_array_equal(found["scores"], np.take_along_axis(found["probabilities"], order, 1))
    assert found["class_names"].tolist() == [[CLASSES[label].encode() for label in row] for row in order]


def test_pixels_are_looked_at_as_they_are(served, run):
    images = np.random.default_rng(0).integers(0, 256, (3, 50, 41, 3), np.uint8)
    dense = to_fully_convolutional(keras.saving.load_model(run / "best.keras"))
    both = [np.array(dense(WANTS(each))).mean((1, 2)) for each in (images, images[:, :, ::-1])]
    for name, given in (("serving_default", images.astype(np.float32)), ("serving_uint8", images)):
        found = served[name](images=tf.constant(given))["probabilities"]
        np.testing.assert_allclose(found, np.mean(both, axis=0), atol=1e-6, err_msg=name)


@pytest.mark.parametrize("layer", ["fc2", "block5_pool"])
def test_features_are_means_over_places_of_length_one(run, tmp_path, layer):
    served = in_memory(run, tmp_path, features=layer, scales=(40,), flip=True)
    dense = to_fully_convolutional(keras.saving.load_model(run / "best.keras"))
    up_to = keras.Model(dense.input, dense.get_layer(layer).output)
    found = served["features"](images=tf.constant([ENCODED[2], b"no image"]))
    image = np.array(Image.open(io.BytesIO(ENCODED[2])).convert("RGB"))  # 40x40, which Q = 40 leaves as it is
    expected = np.mean([np.array(up_to(WANTS(each[np.newaxis]))).mean((0, 1, 2)) for each in (image, image[:, ::-1])], axis=0)
    np.testing.assert_allclose(found["features"][0], expected / np.linalg.norm(expected), atol=1e-5)
    assert np.isnan(found["features"][1]).all()
    assert found["error"].numpy().tolist()[0] == b""


def test_score_maps_of_unlike_size_are_filled_up(served, run, paths):
    network = open_net_file(str(run)).load()
    found = served["score_map"](images=tf.constant([*ENCODED[:4], b"no image"]))
    sizes = found["size"].numpy()
    assert sizes[-1].tolist() == [0, 0]
    assert len({tuple(size) for size in sizes}) > 2
    for path, size, scores in zip(paths[:4], sizes[:4], found["score_map"].numpy()[:4], strict=True):
        rows, columns = size
        for label in range(2):
            seen = see(network, path, max(SCALES), label).values
            np.testing.assert_allclose(scores[:rows, :columns, label], seen, atol=1e-6)
        assert np.isnan(scores[rows:]).all()
        assert np.isnan(scores[:, columns:]).all()


@pytest.mark.parametrize("signature", ["classify", "features", "score_map"])
def test_a_batch_of_nothing(served, signature):
    found = served[signature](images=tf.constant([], tf.string))
    assert {len(value) for value in found.values()} == {0}


def test_every_kind_of_image(served):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)
    image, kinds = Image.fromarray(pixels), {}
    for kind, mode in (
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("PNG", "L"),
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("GIF", "P"),
        ("BMP", "RGB"),
        ("BMP", "L"),
        ("WEBP", "RGB"),
    ):
        buffer = io.BytesIO()
        image.convert(mode).save(buffer, kind)
        kinds[kind, mode] = buffer.getvalue()
    found = classify(served, kinds.values())
    assert dict(zip(kinds, found["error"], strict=True)) == dict.fromkeys(kinds, b"")
    assert np.isfinite(found["probabilities"]).all()


def test_the_first_frame_of_a_gif(served):
    frames = [Image.fromarray(np.full((40, 40, 3), shade, np.uint8)).convert("P") for shade in (10, 250)]
    both, first = io.BytesIO(), io.BytesIO()
    frames[0].save(both, "GIF", save_all=True, append_images=frames[1:])
    frames[0].save(first, "GIF")
    found = classify(served, [both.getvalue(), first.getvalue()])["probabilities"]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


# What cannot be used


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_image_says_why_and_harms_no_other(served, bad):
    content, reason = BAD[bad]
    alone = classify(served, ENCODED[:3])
    found = classify(served, [ENCODED[0], content, *ENCODED[1:3]])
    assert reason in found["error"][1].decode()
    for name, value in found.items():
        np.testing.assert_array_equal(np.delete(value, 1, axis=0), alone[name], err_msg=name)
    assert np.isnan(found["probabilities"][1]).all()
    assert np.isnan(found["scores"][1]).all()
    assert found["class_ids"][1].tolist() == [-1] * 5
    assert found["class_names"][1].tolist() == [b""] * 5


def test_random_bytes_harm_nothing(served):
    rng = np.random.default_rng(0)
    broken = []
    for encoded in ENCODED * 3:  # each somewhere else
        spoilt = bytearray(encoded)
        for place in rng.integers(0, len(spoilt), 5):
            spoilt[place] = rng.integers(256)
        broken.append(bytes(spoilt))
    found = classify(served, broken)
    np.testing.assert_array_equal(found["error"] == b"", np.isfinite(found["probabilities"]).all(axis=1))


@pytest.mark.parametrize("signature", ["serving_default", "serving_uint8"])
@pytest.mark.parametrize("size", [(31, 40), (40, 31), (10, 10)])
def test_pixels_too_few_for_the_net_are_an_error(served, signature, size):
    dtype = served[signature].structured_input_signature[1]["images"].dtype
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"the sides of `images` must be at least 32"):
        served[signature](images=tf.zeros((1, *size, 3), dtype))


# The folder


def test_the_layout_of_a_version(exported):
    found = {str(path.relative_to(exported.path)) for path in exported.path.rglob("*") if path.is_file()}
    assert {"saved_model.pb", "assets/labels.txt", warm_up.FILE, CARD} <= found
    assert (exported.path / "assets/labels.txt").read_text().splitlines() == list(CLASSES)
    assert os.listdir(exported.path.parent) == ["1"]
    assert exported.largest_difference <= 1e-6


def test_the_warm_up_requests_run(exported, served):
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(exported.path / warm_up.FILE))]
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    assert {request.model_spec.signature_name for request in requests} == set(served) == set(exported.signatures)
    for request in requests:
        given = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        found = served[request.model_spec.signature_name](**given)
        for name, value in found.items():
            if value.dtype.is_floating:
                assert np.isfinite(value).all(), name
        assert not any(found.get("error", []))


def test_versions_count_up_and_two_exports_at_a_time_take_two_numbers(run, tmp_path, monkeypatch):
    root, rename = tmp_path / "vgg", pathlib.Path.rename
    for name in ("notes", "3", "19"):
        (root / name).mkdir(parents=True)

    def rename_second(self, target):
        if not target.exists() and target.name in ("7", "20"):
            (target / "saved_model.pb").mkdir(parents=True)  # another process was faster
        return rename(self, target)

    monkeypatch.setattr(pathlib.Path, "rename", rename_second)
    assert export_saved_model(run, root, dense=False, flip=False, check=False).path == root / "21"
    assert versions(root) == (3, 19, 20, 21)
    with pytest.raises(InputError, match=r"`version` must be a new one. Received: 7, .* the next free one is 22"):
        export_saved_model(run, root, version=7, check=False)
    with pytest.raises(InputError, match=r"`version` must be a new one. Received: 19, .* the next free one is 22"):
        export_saved_model(run, root, version=19)
    assert not list((root / "19").iterdir())


def test_a_version_appears_whole_or_not_at_all(run, tmp_path, monkeypatch):
    root, seen = tmp_path / "vgg", []

    def fail(folder, inputs):
        seen.append(sorted(entry.name for entry in root.iterdir() if entry.name.isdigit()))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("keras_vgg.saved_model.write_requests", fail)
    with pytest.raises(InputError, match=r"Could not write .*/1: No space left on device. Free disk space"):
        export_saved_model(run, root, check=False)
    assert seen == [[]]
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("error", [tf.errors.ResourceExhaustedError, tf.errors.UnknownError])
def test_a_refusal_that_tensorflow_meets_is_one_line(run, tmp_path, monkeypatch, error):
    reason = "No space left on device" if error is tf.errors.ResourceExhaustedError else "Input/output error"

    def refused(*args, **options):
        raise error(None, None, f"{{{{function_node __wrapped__SaveV2}}}} a/variables.index; {reason} [Op:SaveV2]")

    monkeypatch.setattr(tf.saved_model, "save", refused)
    with pytest.raises(InputError, match=rf"^Could not write .*/out/1: {reason}; free disk space or fix .* again\.$"):
        export_saved_model(run, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_a_full_disk_is_told_before_anything_is_written(run, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "free_bytes", lambda path: 1000)
    with pytest.raises(InputError, match=r"needs \d+ MB\. Free disk space"):
        export_saved_model(run, tmp_path / "vgg")
    assert not (tmp_path / "vgg").exists()


def test_variables_are_stored_once(exported, run):
    parameters = keras.saving.load_model(run / "best.keras").count_params()
    stored = sum(path.stat().st_size for path in (exported.path / "variables").iterdir())
    assert 4 * parameters <= stored <= 4 * parameters + 10_000


def test_a_net_has_the_same_variables_in_every_export(exported, run, tmp_path):
    keras.utils.set_random_seed(1)  # the first one's was another
    again = export_saved_model(run, tmp_path / "again", check=False)
    first, second = (tf.train.load_checkpoint(str(each.path / "variables" / "variables")) for each in (exported, again))
    names = {*first.get_variable_to_shape_map()}
    assert names == {*second.get_variable_to_shape_map()}
    assert len(names) == len(keras.saving.load_model(run / "best.keras").weights) + 1  # and the graph of objects
    assert all(np.array_equal(first.get_tensor(name), second.get_tensor(name)) for name in names)


def test_what_was_written_is_compared(run, tmp_path, monkeypatch):
    save = tf.saved_model.save

    def save_another(served, path, **options):
        kernel = served._variables[0]
        right = kernel.numpy()
        kernel.assign(1.1 * right)
        save(served, path, **options)
        kernel.assign(right)

    monkeypatch.setattr(tf.saved_model, "save", save_another)
    with pytest.raises(RuntimeError, match=r"outputs of the exported file differ by \S+ from those of the net in memory"):
        export_saved_model(run, tmp_path / "vgg", dense=False, flip=False)
    assert not list((tmp_path / "vgg").iterdir())


def test_what_is_served_is_compared_with_the_nets_own_layers(monkeypatch):
    network = Network(net())
    assert comparison.largest_difference(comparison.with_own_layers(network)) < 1e-5
    monkeypatch.setattr(Network, "own_posteriors", lambda self, crops: np.full((len(crops), 7), 1 / 7))
    with pytest.raises(RuntimeError, match="outputs of the exported file differ by"):
        comparison.largest_difference(comparison.with_own_layers(network))


# The card


def test_the_card_says_what_is_known(run, exported):
    card = json.loads((exported.path / CARD).read_text())
    assert card == exported.card
    assert card["net"]["configuration"] == "A"
    assert card["net"]["sha256"] == digest_of_net(open_net_file(str(run)).load_model())
    assert card["recipe"]["jitter"] == [36, 44]
    assert card["protocol"]["scales"] == list(SCALES)
    assert card["errors"]["evaluation"] == table_of(run)
    assert card["errors"]["in_training"]["best_val_top1_error"] == 0.25
    assert card["licence"] == "CC0"
    assert card["classes"] == list(CLASSES)
    assert card["preprocessing"]["mean"] == list(WANTS.mean)


def test_the_cards_figures_in_training_are_of_this_very_net(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    known = digest_of_net(open_net_file(str(run)).load_model())
    for digest, expected in ((known, SUMMARY["best_val_top1_error"]), ("0" * 64, None)):
        (tmp_path / "run/summary.json").write_text(json.dumps(SUMMARY | {"best_sha256": digest}))
        figures = plan_export(tmp_path / "run").card["errors"]["in_training"]
        assert (figures and figures["best_val_top1_error"]) == expected


def test_the_card_of_a_model_in_memory_guesses_nothing():
    card = plan_export(net(), scales=(40,), labels=CLASSES).card
    assert (card["data"], card["recipe"], card["licence"]) == (None, None, "not stated")
    assert card["errors"] == {"in_training": None, "published": None, "evaluation": None}


def test_the_card_of_public_weights(run, tmp_path, monkeypatch):
    entry = catalogue.find("D", "imagenet_caffe")
    monkeypatch.setattr(download, "recognise", lambda path: entry if path == run / "best.keras" else None)
    card = plan_export(run).card
    assert (card["licence"], card["net"]["origin"]) == ("CC BY 4.0", entry.source)
    assert card["errors"]["published"] == {"top1": 74.4, "top5": 91.9, "protocol": "dense, Q=384", "unit": "% correct"}


# Which nets and which labels


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_net_in_mixed_precision(tmp_path, policy, paths):
    in_float32 = net()
    keras.config.set_dtype_policy(policy)
    try:
        model = net()
    finally:
        keras.config.set_dtype_policy("float32")
    model.set_weights(in_float32.get_weights())
    exported = export_saved_model(model, tmp_path / "vgg", scales=(40,), flip=False, labels=CLASSES, check=False)  # compared below
    assert exported.card["net"]["precision"] == policy.removeprefix("mixed_")
    found = classify(tf.saved_model.load(str(exported.path)).signatures, ENCODED[:4])["probabilities"]  # CPUs are slow in halves
    views = passes("dense", (40,), flip=False)
    half, full = (predict(Network(each), paths[:4], views, batch=1).posteriors for each in (model, in_float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, half, atol=5e-3)  # convolutions of other batches round otherwise
    np.testing.assert_allclose(found, full, atol=5e-2)
    assert not np.allclose(found, full, atol=1e-6)


def test_labels_from_a_list_a_file_and_nowhere(run, tmp_path, monkeypatch):
    def offline():
        raise InputError("no network")

    monkeypatch.setattr(class_labels, "imagenet_classes", offline)
    (tmp_path / "names.txt").write_text("\n".join("ABCDEFG") + "\n")
    for labels in (tuple("ABCDEFG"), tmp_path / "names.txt", str(tmp_path / "names.txt")):
        assert plan_export(run, labels=labels).labels == tuple("ABCDEFG")
    assert plan_export(run).labels == CLASSES
    assert plan_export(run).protocol.scales == (40,)  # the middle of the jitter
    shutil.copy(run / "best.keras", tmp_path)
    alone = plan_export(tmp_path / "best.keras")
    assert alone.labels[:2] == ("class 0", "class 1")
    assert alone.protocol.scales == (256,)


def test_a_net_larger_than_the_default_scale(tmp_path, monkeypatch):
    """A scale that nobody gave is not refused."""
    monkeypatch.setattr(sources, "DEFAULT_SCALE", 31)
    monkeypatch.setattr(plan, "DEFAULT_SCALE", 31)
    model = net()
    model.save(tmp_path / "net.keras")
    assert plan_export(tmp_path / "net.keras", preprocessing="torch").protocol.scales == (32,)
    assert plan_export(model, labels=CLASSES).protocol.scales == (32,)


def test_what_is_wrong_is_told_before_the_net_is_loaded(run, monkeypatch):
    monkeypatch.setattr(sources.NetFile, "load", None)  # cannot be called
    with pytest.raises(InputError, match=r"`evaluation` must be a folder of keras_vgg.evaluate"):
        plan_export(run, evaluation="nowhere")


def test_fewer_classes_than_are_to_be_named():
    assert plan_export(net(classes=2), scales=(40,), labels=("a", "b")).protocol.top_k == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"scales": (31,)}, r"`scales` must be at least the net's input, 32 pixels. Received: 31"),
        ({"top_k": 0}, r"`top_k` must be at least 1. Received: top_k=0"),
        ({"version": 0}, r"`version` must be at least 1. Received: version=0"),
        ({"features": "fc3"}, r"`features` must be one of fc2, fc1, block5_pool. Received: features='fc3'"),
        ({"labels": ("a", "b")}, r"`labels` must contain a name for each of the net's 7 classes. Received: 2"),
        ({"labels": ("a\n", *"bcdefg")}, r"Each name in `labels` must be one line of text. Received: 'a\\n'"),
        ({"labels": ()}, r"`labels` must contain a name for each of the net's 7 classes. Received: 0"),
        ({"labels": range(7)}, r"Each name in `labels` must be one line of text. Received: 0"),
        ({"scales": (1673,)}, r"`scales` must keep a 3:2 photograph within 4,194,304 pixels. Received: 1673"),
        ({"labels": "nowhere.txt"}, r"`labels` must be a text file with one class name per line. Received: nowhere.txt"),
        ({"evaluation": "nowhere"}, r"`evaluation` must be a folder of keras_vgg.evaluate with its table.json. Received: nowhere"),
        ({"average": "medians"}, r"`average` must be one of posteriors, scores"),
    ],
)
def test_options_out_of_range(run, tmp_path, options, told):
    with pytest.raises(InputError, match=told):
        export_saved_model(run, tmp_path / "vgg", **options)
    assert not (tmp_path / "vgg").exists()


def test_nets_that_cannot_be_exported(tmp_path):
    unknown = build_vgg("A", input_shape=(32, 32, 3), width=0.05, classes=7)
    with pytest.raises(InputError, match=r"The preprocessing of model .* is unknown"):
        export_saved_model(unknown, tmp_path / "vgg", scales=(40,), labels=CLASSES)
    with pytest.raises(InputError, match=r"Expected a run folder with best.keras, a weight file"):
        export_saved_model(tmp_path / "nowhere", tmp_path / "vgg")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"Expected a writable folder. Received: .*link \(.*link is not a folder\)"):
        export_saved_model(net(), tmp_path / "link", scales=(40,), labels=CLASSES)
    spoilt = net()
    spoilt.get_layer("fc1").bias.assign(np.full(spoilt.get_layer("fc1").bias.shape, np.nan))
    with pytest.raises(InputError, match=r"The net must have finite outputs. Received: NaN"):
        export_saved_model(spoilt, tmp_path / "vgg", scales=(40,), labels=CLASSES)
    assert not list((tmp_path / "vgg").iterdir())
    with pytest.raises(InputError, match=r"Expected a writable folder. Received: .*file/vgg \(.*file is not a folder\)"):
        export_saved_model(net(), tmp_path / "file" / "vgg", scales=(40,), labels=CLASSES)


# Outside Python


@pytest.mark.skipif(not (SHARED / "serving").is_dir() or not shutil.which("g++"), reason="needs the C++ loader and a compiler")
def test_the_entry_point_of_tensorflow_serving_computes_the_same(exported, served, tmp_path, paths):
    program = tmp_path / "load_saved_model"
    subprocess.run(["bash", str(SHARED / "serving" / "build.sh"), sys.executable, str(program)], check=True, capture_output=True)
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(BAD["a JPEG cut off"][0])
    for image in (paths[0], paths[3]):
        finished = subprocess.run([program, exported.path, "classify", image, bad], check=True, capture_output=True, text=True)
        lines = [line.split(" ", 3) for line in finished.stdout.splitlines() if line.startswith("result ")]
        shown = {
            name: (shape, values.split("]")[0].strip("[").replace("...", "").split()) for _, name, shape, values in lines
        }  # the first five
        expected = classify(served, [pathlib.Path(image).read_bytes()])
        for name in ("scores", "probabilities"):
            np.testing.assert_allclose(np.array(shown[name][1], float), expected[name][0, :5], atol=1e-4)
        assert shown["probabilities"][0] == "[2,7]"
        assert shown["class_names"][1] == [name.decode() for name in expected["class_names"][0]]
        assert " ".join(shown["error"][1]) == "damaged or truncated JPEG"


def test_openvino_computes_the_same_as_a_second_engine(exported, served):
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(openvino.convert_model(str(exported.path)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for size in ((32, 32), (40, 70)):
        images = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.float32)
        np.testing.assert_allclose(compiled(images)[0], served["serving_default"](images=images)["probabilities"], atol=1e-4)
