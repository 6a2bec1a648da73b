"""Nets, images and code are known by what they are: across kinds of file, names, folders and replacements while a command runs."""

import ast
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from run_folders import write_run
from small_images import CLASSES, ENCODED, LABELS, dataset, write_images
from small_nets import net

from keras_vgg import evaluate, extract, transfer
from keras_vgg.data import split as splits
from keras_vgg.data.dataset import Dataset
from keras_vgg.descriptors.descriptor_file import DescriptorFile
from keras_vgg.descriptors.network import FeatureNetwork
from keras_vgg.errors import InputError
from keras_vgg.evaluation import metrics, prediction
from keras_vgg.evaluation import run as evaluation_run
from keras_vgg.evaluation.recipe import Row
from keras_vgg.evaluation.results import Posteriors, fuse
from keras_vgg.identity import digest_of_images, digest_of_net
from keras_vgg.inference import class_labels, code_digest, net_files
from keras_vgg.inference.net_files import open_net_file
from keras_vgg.inference.row_cache import RowCache
from keras_vgg.inference.views import passes
from keras_vgg.serving.plan import plan_export
from keras_vgg.serving.signatures import Served
from keras_vgg.support import naming
from keras_vgg.weights.conversion import convert

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "images_surveyed_once")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two nets of one name in two folders, and images."""
    folder = tmp_path_factory.mktemp("place")
    write_run(folder / "a")
    write_run(folder / "b", seed=5)
    write_images(folder / "data")
    return folder


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


@pytest.fixture(scope="module")
def tested(place):
    """Both nets tested into one folder, by two commands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name in "ab":
            evaluate.main(["--model", f"{name}/best.keras", "--dataset", "folder:data", "--protocol", "center", "--out", "out"])
    return place / "out"


def digest(run):
    return digest_of_net(open_net_file(str(run)).load_model())


# --- Nets and code --------------------------------------------------------------------------------------------------------


def test_the_same_net_in_every_kind_of_file_has_one_digest(place, tmp_path):
    for name in ("net.h5", "net.weights.h5", "net.safetensors", "net.keras"):
        convert(place / "a", tmp_path / name)
        assert digest(tmp_path / name) == digest(place / "a"), name
    assert digest(place / "b") != digest(place / "a")


def test_whatever_changes_the_answer_changes_the_digest(place):
    run = open_net_file(str(place / "a"))
    known = digest_of_net(run.load_model())
    assert digest_of_net(open_net_file(str(place / "a"), preprocessing="caffe").load_model()) != known
    model = run.load_model()
    model.get_layer("block3_conv1").activation = tf.keras.activations.linear
    assert digest_of_net(model) != known
    model = run.load_model()
    bias = model.get_layer("fc2").bias
    bias.assign(bias + 1e-6)
    assert digest_of_net(model) != known


def test_the_code_that_counts():
    names = ("data.images", "inference.batches", "inference.tracing", "descriptors.network", "fully_convolutional", "preprocessing")
    assert {f"keras_vgg.{name}" for name in names} <= set(code_digest.modules())
    one = code_digest.without_docstrings(ast.parse('"""Doc."""\ndef f():\n    """Doc."""\n    return 1  # a\n'))
    two = code_digest.without_docstrings(ast.parse("def f():\n\n    return 1\n"))
    assert ast.dump(one) == ast.dump(two) != ast.dump(ast.parse("def f():\n    return 2\n"))


def test_rows_of_other_code_are_not_taken_over(tmp_path, monkeypatch):
    def store():
        return RowCache(tmp_path, ["net"], np.arange(1, 4), 2, {})

    store().put(np.arange(3), np.ones((3, 2), np.float32), 1)
    assert not store().pending.any()
    monkeypatch.setattr("keras_vgg.inference.row_cache.digest_of_code", lambda: "other")
    assert store().pending.all()


# --- Names say nothing ----------------------------------------------------------------------------------------------------


def test_two_nets_of_one_name_stand_in_one_table(tested, place):
    table = pd.read_csv(tested / "table.csv")
    assert table.net.tolist() == ["best.keras"] * 2
    assert table["nets sha256"].tolist() == [digest(place / "a"), digest(place / "b")]
    assert table.weights.tolist() == [each[:8] for each in table["nets sha256"]]
    first, second = (Posteriors.read(tested / name) for name in table.posteriors)
    assert np.abs(first.values - second.values).max() > 0.01


def test_a_card_has_the_figures_of_its_own_weights(tested, place, tmp_path):
    table = pd.read_csv(tested / "table.csv")
    convert(place / "b", tmp_path / "called-otherwise.h5")
    for path, line in ((place / "a", 0), (place / "b", 1), (tmp_path / "called-otherwise.h5", 1)):
        (row,) = plan_export(path, evaluation=tested, labels=CLASSES).card["errors"]["evaluation"]
        assert row["posteriors"] == table.posteriors[line]
    write_run(tmp_path / "c", seed=9)
    with pytest.raises(
        InputError, match=r"errors of exactly these weights \(\w{8}\), alone. Received: .*best.keras \(\w{8}\), best"
    ):
        plan_export(tmp_path / "c", evaluation=tested)


def test_rows_of_earlier_versions_stay_and_are_nobodys(tested, here, tmp_path, capsys):
    shutil.copytree(tested, tmp_path / "out")
    lines = json.loads((tmp_path / "out/table.json").read_text())
    lines = [{name: line[name] for name in line if "sha256" not in name and name != "weights"} for line in lines]
    (tmp_path / "out/table.json").write_text(json.dumps(lines))
    with pytest.raises(InputError, match="of an earlier version"):
        plan_export(here / "a", evaluation=tmp_path / "out")
    evaluate.main(["--model", "a/best.keras", "--dataset", "folder:data", "--protocol", "center", "--out", str(tmp_path / "out")])
    assert "2 rows in" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "out/table.csv").weights.isna().tolist() == [True, True, False]


def test_names_that_tell_nets_apart():
    assert naming.named_models(["x/a/best.keras", "x/b/best.keras", "N=c"]) == {
        "a/best.keras": "x/a/best.keras", "b/best.keras": "x/b/best.keras", "N": "c",
    }  # fmt: skip
    with pytest.raises(InputError, match="Several models have the same name"):
        naming.named_models(["a", "a"])


def test_images_are_the_same_by_whatever_path(tested, here, monkeypatch):
    (here / "link").symlink_to("data")
    monkeypatch.setattr("keras_vgg.inference.network.Network.posteriors", None)  # cannot be called: nothing is computed again
    for path in (here / "data", "link"):
        evaluate.main(["--model", "a/best.keras", "--dataset", f"folder:{path}", "--protocol", "center", "--out", "out"])
    assert len(pd.read_csv("out/table.csv")) == 2
    assert (
        naming.dataset_slug("folder:data") == naming.dataset_slug(f"folder:{here / 'data'}") == naming.dataset_slug("folder:link")
    )


def some(names, fingerprints, **facts):
    values = np.full((len(names), 2), 0.5, np.float32)
    return Posteriors(values, np.zeros(len(names), int), np.array(names), ("a", "b"), facts, fingerprints)


def test_fused_by_content_and_not_by_name(tmp_path):
    first, same = some(["x/1.jpg", "x/2.jpg"], np.array([5, 6])), some(["/y/1.jpg", "/y/2.jpg"], np.array([5, 6]))
    fuse([first, same]).save(tmp_path / "fused.npz")
    assert Posteriors.read(tmp_path / "fused.npz").fingerprints.tolist() == [5, 6]
    with pytest.raises(InputError, match=r"different images at 1 indices, such as x/2.jpg and x/2.jpg"):
        fuse([first, some(["x/1.jpg", "x/2.jpg"], np.array([5, 7]))])
    assert fuse([first, some(["x/1.jpg", "x/2.jpg"], None)]).fingerprints.tolist() == [5, 6]  # by name, of old files


# --- What is replaced while it is read ------------------------------------------------------------------------------------


def test_rows_are_of_the_net_that_was_loaded(tmp_path, monkeypatch):
    """`fit` puts another best net in its place just after it was loaded."""
    write_run(tmp_path / "run")
    write_run(tmp_path / "new", seed=5)
    load = net_files.NetFile.load

    def load_and_replace(self, **options):
        network = load(self, **options)
        shutil.copy(tmp_path / "new/best.keras", tmp_path / "beside")
        (tmp_path / "beside").replace(tmp_path / "run/best.keras")
        return network

    def values(folder):
        sources = {"n": open_net_file(str(tmp_path / "run"))}
        rows = [Row(("n",), "center", (None,))]
        return evaluation_run.evaluate(dataset(), sources, rows, folder, say=lambda line: None)[0].values

    with monkeypatch.context() as patch:
        patch.setattr(net_files.NetFile, "load", load_and_replace)
        values(tmp_path / "kept")
    np.testing.assert_array_equal(values(tmp_path / "kept"), values(tmp_path / "fresh"))


def test_a_file_replaced_while_it_is_loaded_is_loaded_again(tmp_path, monkeypatch):
    write_run(tmp_path / "run")
    write_run(tmp_path / "new", seed=5)
    load, times = transfer.load_model, []

    def load_and_replace(path, **options):
        model = load(path, **options)
        times.append(1)
        if len(times) == 1:
            (tmp_path / "new/best.keras").replace(path)
        return model

    run = open_net_file(str(tmp_path / "run"))
    monkeypatch.setattr(transfer, "load_model", load_and_replace)
    model = run.load_model()
    assert len(times) == 2
    monkeypatch.undo()
    assert digest_of_net(model) == digest(tmp_path / "run")


def test_an_image_replaced_after_the_survey_is_refused(tmp_path, monkeypatch):
    write_run(tmp_path / "run")
    paths = []
    for number, encoded in enumerate(ENCODED[:3]):
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(encoded)
    split = splits.files(list(map(str, paths)), np.zeros(3, np.int32))
    data = Dataset({"train": split, "validation": split}, CLASSES, "x")
    look = evaluation_run.look_through

    def look_and_replace(*args, **options):
        found = look(*args, **options)
        paths[1].write_bytes(ENCODED[4])
        return found

    monkeypatch.setattr(evaluation_run, "look_through", look_and_replace)
    lines, sources = [], {"n": open_net_file(str(tmp_path / "run"))}
    result = evaluation_run.evaluate(data, sources, [Row(("n",), "center", (None,))], tmp_path / "out", say=lines.append)[0]
    assert np.isnan(result.values).any(axis=1).tolist() == [False, True, False]
    assert any("1.jpg, the file changed during the run" in line for line in lines)


# --- What is served is what was tested ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flip", "pooling", "dense"),
    [(True, "floor", True), (False, "ceil", True), (True, "ceil", False)],
)
def test_served_by_default_is_what_is_tested_predicted_and_extracted(tmp_path, monkeypatch, flip, pooling, dense):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run", random_flip=flip)
    write_images(tmp_path / "data")
    same = ["--pooling", pooling] if pooling != "floor" else []
    protocol, whole = ([], []) if dense else (["--protocol", "center"], ["--no-dense"])
    evaluate.main(["--model", "run", "--dataset", "folder:data", "--out", "out", *same, *protocol])
    extract.main(["--model", "run", "--dataset", "folder:data", "--split", "validation", "--out", "found.npz", *same, *whole])
    (line,) = json.loads((tmp_path / "out/table.json").read_text())
    tested, described = Posteriors.read(tmp_path / "out" / line["posteriors"]), DescriptorFile.read("found.npz")
    np.testing.assert_array_equal(described.fingerprints, tested.fingerprints)
    plan = plan_export("run", **({"pooling": pooling} if same else {}), **({} if dense else {"dense": False}))
    assert plan.protocol.flip is flip
    (tmp_path / "labels.txt").write_text("\n".join(plan.labels))
    variables, known = [v.value for v in plan.network.model.variables], plan.card["net"]["sha256"]
    served = Served(plan.network, variables, str(tmp_path / "labels.txt"), plan.protocol, known)
    encoded = tf.constant([(tmp_path / name).read_bytes() for name in tested.images])
    signatures = served.signatures()
    np.testing.assert_allclose(signatures["classify"](encoded)["probabilities"], tested.values, atol=1e-5)
    np.testing.assert_allclose(signatures["features"](encoded)["features"], described.features, atol=1e-5)
    run = open_net_file("run")
    views = passes("dense" if dense else "center", (run.default_scale,), flip=run.flip)
    said = prediction.predict(run.load(pooling=pooling), [str(tmp_path / name) for name in tested.images], views)
    np.testing.assert_allclose(said.posteriors, tested.values, atol=1e-5)


def test_a_net_that_does_not_say_how_it_was_trained_is_served_as_it_is_tested(place, tmp_path):
    shutil.copy(place / "a/best.keras", tmp_path / "alone.keras")
    protocol = plan_export(tmp_path / "alone.keras", labels=CLASSES).protocol
    assert protocol.flip is open_net_file(str(tmp_path / "alone.keras")).flip is True
    assert plan_export(tmp_path / "alone.keras", labels=CLASSES, flip=False).protocol.flip is False


def test_ceil_is_for_nets_with_their_top(place):
    with pytest.raises(InputError, match="`pooling` ceil needs a net with its top"):
        FeatureNetwork(net(include_top=False), "block5_pool", pooling="ceil")


def test_the_centre_crop_is_for_nets_with_their_top():
    with pytest.raises(InputError, match=r"center crop needs a net with its top\. Received: vgg_a without"):
        FeatureNetwork(net(include_top=False), "block5_pool", dense=False)


# --- Classes and ties -----------------------------------------------------------------------------------------------------

IDS = ("n01440764", *(f"n{2000000 + label:08}" for label in range(998)), "n15075141")


def test_imagenet_by_id_name_and_number(monkeypatch):
    names = tuple(f"name {label}" for label in range(1000))
    monkeypatch.setattr(class_labels, "imagenet_classes", lambda: tuple(zip(IDS, names, strict=True)))
    numbers = tuple(f"class {label}" for label in range(1000))
    for other in (names, numbers):
        assert class_labels.same_classes(IDS, other)
    assert not class_labels.same_classes(IDS[::-1], names)
    assert not class_labels.same_classes(IDS, tuple(f"{name}!" for name in names))
    assert not class_labels.same_classes(CLASSES, CLASSES[::-1])


def test_own_imagenet_runs_are_fused_with_public_weights(monkeypatch):
    first = some(["1"], np.array([3]))
    values = np.full((1, 1000), 1e-3, np.float32)
    ours, public = (Posteriors(values, first.labels, first.images, each, {}, first.fingerprints) for each in (
        IDS, tuple(f"class {label}" for label in range(1000)),
    ))  # fmt: skip
    assert fuse([ours, public]).classes == IDS


def test_other_classes_are_told_before_any_pass(place, tmp_path, monkeypatch):
    shutil.copy(place / "b/best.keras", tmp_path / "unnamed.keras")  # its classes have no names
    sources = {"a": open_net_file(str(place / "a")), "b": open_net_file(str(tmp_path / "unnamed.keras"))}
    monkeypatch.setattr(net_files.NetFile, "load", None)  # nothing is to be loaded
    with pytest.raises(InputError, match="must predict the same classes"):
        evaluation_run.evaluate(dataset(), sources, [Row(("a", "b"), "center", (None, None))], tmp_path, say=lambda line: None)


def test_one_rule_for_ties():
    posteriors, labels = np.array([[0.4, 0.4, 0.2]] * 2), np.array([0, 1])
    assert [metrics.top_k_error(posteriors[[n]], labels[[n]], 1) for n in (0, 1)] == [0, 1]
    assert metrics.confusion(posteriors, labels).tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert metrics.best_first(posteriors[0], 2).tolist() == tf.math.top_k(posteriors[0], 2).indices.numpy().tolist() == [0, 1]


def test_images_and_their_labels():
    known = digest_of_images(np.array([1, 2]), LABELS[:2])
    assert known == digest_of_images(np.array([1, 2], np.int64), LABELS[:2].astype(np.int32))
    assert known != digest_of_images(np.array([1, 2]), 1 + LABELS[:2])
    assert known != digest_of_images(np.array([2, 1]), LABELS[:2])
