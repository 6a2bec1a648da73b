"""From nets and images to files of descriptors: every image once, whatever the batch and the kills; what is left out and told."""

import importlib.util
import io
import json
import os
import pathlib
import re
import shutil
import sys

import h5py
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from run_folders import without_flips, write_run
from small_images import CLASSES, ENCODED, LABELS, TRUNCATED, encode, write_images
from small_nets import WANTS, net

from keras_vgg import extract, preprocessing
from keras_vgg.data import images as image_ops
from keras_vgg.data import split as splits
from keras_vgg.data.dataset import Dataset
from keras_vgg.descriptors import extraction, inputs, network
from keras_vgg.descriptors.descriptor import DescriptorProtocol
from keras_vgg.descriptors.descriptor_file import DescriptorFile
from keras_vgg.descriptors.extraction import open_feature_source
from keras_vgg.descriptors.network import FeatureNetwork
from keras_vgg.errors import InputError
from keras_vgg.fully_convolutional import to_fully_convolutional
from keras_vgg.identity import digest_of_net
from keras_vgg.inference import batches, passes, row_cache
from keras_vgg.support import entry

pytestmark = pytest.mark.usefixtures("graphs_as_traced", "images_surveyed_once", "layers_loaded_once")

SHARED = pathlib.Path(__file__).parents[2] / "shared"
BROKEN = [*ENCODED[:3], TRUNCATED, *ENCODED[3:9], b"no image", *ENCODED[9:]]  # the truncated one is in a batch with others


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="module")
def top_off(tmp_path_factory):
    """A legacy `.h5` file of convolutions alone, like the public ones."""
    path = tmp_path_factory.mktemp("weights") / "notop.h5"
    model = net(include_top=False, seed=5)
    with h5py.File(path, "w") as file:
        layers = [layer for layer in model.layers if layer.weights]
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{kind}:0" for kind in ("kernel", "bias")]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, values in zip(names, layer.get_weights(), strict=True):
                group[name] = values
    return path


@pytest.fixture
def seen(monkeypatch):
    """Shapes of the images that went through a net in each call."""
    shapes, original = [], FeatureNetwork.see

    def counted(self, images, views, which=None):
        shapes.append(tuple(images.shape))
        return original(self, images, views)

    monkeypatch.setattr(FeatureNetwork, "see", counted)
    return shapes


def split_of(encoded=ENCODED, labels=None):
    return splits.in_memory(list(encoded), np.arange(len(encoded)) % 7 if labels is None else labels, "test")


def extracted(folder, paths, encoded=ENCODED, *, batch=32, devices=(None,), say=lambda line: None, **protocol):
    sources = [open_feature_source(str(path), preprocessing="caffe" if str(path).endswith(".h5") else None) for path in paths]
    return extraction.extract(
        split_of(encoded), sources, DescriptorProtocol(**protocol), folder, batch=batch, devices=devices, say=say
    )


def view(encoded, scale):
    height, width = image_ops.encoded_size(encoded).numpy()
    return image_ops.decode_whole(encoded, image_ops.rescaled_size(int(height), int(width), scale)).numpy()


def means(model, layer, wants, encoded, scale):
    """By another route, image by image: a model of copies, its map averaged in NumPy, `(n, channels)` for each image."""
    up_to = keras.Model(model.input, model.get_layer(layer).output)
    rows = []
    for each in encoded:
        pixels = view(each, scale)
        maps = [np.array(up_to(wants(image[np.newaxis])))[0] for image in (pixels, pixels[:, ::-1])]
        rows.append(np.mean([each.mean(axis=(0, 1)) for each in maps], axis=0))
    return np.array(rows)


def length_one(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def dense(run):
    return to_fully_convolutional(keras.saving.load_model(run / "best.keras"))


@pytest.fixture(scope="module")
def by_scale(dense):
    return [means(dense, "fc2", WANTS, ENCODED, scale) for scale in (36, 40)]


# --- The library ----------------------------------------------------------------------------------------------------------


def test_descriptors_are_those_by_hand(tmp_path, run, by_scale):
    at_40 = extracted(tmp_path, [run])  # the middle of the jitter
    np.testing.assert_allclose(at_40.values, length_one(by_scale[1]), atol=1e-5)
    averaged = extracted(tmp_path, [run], scales=(36, 40))
    np.testing.assert_allclose(averaged.values, length_one(np.mean(by_scale, axis=0)), atol=1e-5)
    stacked = extracted(tmp_path, [run], scales=(36, 40), combine="stack")
    np.testing.assert_allclose(stacked.values, length_one(np.concatenate(by_scale, axis=1)), atol=1e-5)
    plain = extracted(tmp_path, [run], normalize=False)
    np.testing.assert_allclose(plain.values, by_scale[1], rtol=1e-4, atol=1e-5)
    assert plain.values.dtype == np.float32
    assert (plain.labels.dtype, plain.labels.tolist()) == (np.int64, [n % 7 for n in range(len(ENCODED))])
    assert plain.names.tolist() == [f"test[{n}]" for n in range(len(ENCODED))]
    assert plain.problems == {}


def test_several_nets_are_stacked_with_and_without_top(tmp_path, run, top_off, dense):
    found = extracted(tmp_path, [run, top_off], layer="block5_pool", scales=(40,))
    model = net(include_top=False, seed=5, side=None)
    parts = [
        length_one(means(dense, "block5_pool", WANTS, ENCODED, 40)),
        length_one(means(model, "block5_pool", preprocessing.CAFFE, ENCODED, 40)),
    ]
    np.testing.assert_allclose(found.values, np.concatenate(parts, axis=1) / 2**0.5, atol=1e-5)


def test_every_image_once_in_batches_of_like_shape(tmp_path, run, seen):
    expected = extracted(tmp_path / "one", [run], scales=(40,)).values
    assert sum(shape[0] for shape in seen) == len(ENCODED)
    assert len(seen) < len(ENCODED) - 3  # several went together
    assert network.load(open_feature_source(str(run)), "fc2")._functions[True].experimental_get_tracing_count() == 1
    for batch, devices in ((1, (None,)), (3, (None,)), (2, ("CPU:0", "CPU:1"))):
        seen.clear()
        found = extracted(tmp_path / f"{batch}", [run], scales=(40,), batch=batch, devices=devices).values
        assert sum(shape[0] for shape in seen) == len(ENCODED)
        assert batch > 1 or len(seen) > 8
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.slow
def test_what_is_there_is_not_computed_again(tmp_path, run, top_off, seen):
    def computed(paths, **options):
        seen.clear()
        extracted(tmp_path, paths, **options)
        return sum(shape[0] for shape in seen)

    number, conv = len(ENCODED), {"layer": "block5_pool"}
    assert computed([run], scales=(40,), **conv) == number
    assert computed([run], scales=(36, 40), combine="stack", **conv) == number  # only 36 is new
    assert computed([run], scales=(36, 40), normalize=False, **conv) == 0
    assert computed([run, top_off], scales=(40,), **conv) == number
    assert computed([run], scales=(40,), layer="block5_pool", flip=True) == 0  # as the net was trained
    assert computed([run], scales=(40,), layer="block5_pool", flip=False) == number
    assert computed([run], scales=(40,), encoded=ENCODED[5::-1], **conv) == 0  # another set of images, all of which are there
    assert computed([run], scales=(40,), encoded=[encode(60, 50, 3, "PNG", 99), *ENCODED[3:]], **conv) == 1
    assert computed([run], scales=(40,), layer="fc2") == number


def test_facts_say_whether_mirror_images_counted(tmp_path, run):
    nets = [open_feature_source(str(each)) for each in (run, without_flips(run, tmp_path / "unflipped"))]
    flips = {}
    for flip in (None, True, False):
        facts = extraction.facts_of(nets, ["digest"] * len(nets), DescriptorProtocol(flip=flip))
        flips[flip] = [facts["flip"], *(each["flip"] for each in facts["nets"])]
    assert flips == {None: [None, True, False], True: [True] * 3, False: [False] * 3}


def interrupt(calls, *arguments, **options):
    """Extracts until a net was called so many times."""
    original, left = FeatureNetwork.see, [calls]

    def see(self, images, views, which=None):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return original(self, images, views)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureNetwork, "see", see)
        with pytest.raises(KeyboardInterrupt):
            extracted(*arguments, **options)


@pytest.mark.slow
def test_killed_and_started_again_the_bits_are_the_same(tmp_path, run, seen):
    # Batches of at most 3: the truncated image is in one of 50x70 with others that go on.
    options = {"encoded": BROKEN, "scales": (36, 40), "batch": 12}
    whole = extracted(tmp_path / "whole", [run], **options)
    batches = sorted(seen)
    assert sum(shape[0] for shape in batches) == 2 * len(ENCODED)
    assert max(shape[0] for shape in batches) > 1
    seen.clear()
    for after in (1, 3, len(batches) // 2):
        interrupt(after, tmp_path / "killed", [run], **options)
    resumed = extracted(tmp_path / "killed", [run], **options)
    assert sorted(seen) == batches  # or another kernel might come to other bits
    assert resumed.values.tobytes() == whole.values.tobytes()
    assert resumed.problems == whole.problems


def test_progress_goes_over_all_nets_and_scales(tmp_path, run, monkeypatch):
    stream = io.StringIO()
    interrupt(1, tmp_path, [run], scales=(36, 40), batch=1)
    monkeypatch.setattr("keras_vgg.support.progress._FILE_SECONDS", 0.0)
    monkeypatch.setattr("keras_vgg.inference.images.survey", batches.survey)  # again, to be seen at it
    source = open_feature_source(str(run))
    protocol = DescriptorProtocol(scales=(36, 40))
    extraction.extract(split_of(), [source], protocol, tmp_path, batch=1, say=lambda line: None, stream=stream)
    looking, *lines = stream.getvalue().splitlines()
    assert looking.startswith("scanning images  ")
    assert lines[0] == "net A, dense at 36: 1 image already done"
    assert len(lines) == 2 * len(ENCODED)
    assert lines[1].startswith("net A, dense at 36  ")
    assert lines[-1].startswith("net A, dense at 40  ")
    assert lines[-1].endswith("Mpixels/s  0s left")


def test_images_that_cannot_be_used(tmp_path, run, monkeypatch):
    monkeypatch.setattr(passes, "MAX_PIXELS", 7000)
    for _ in range(2):  # the second finds all passes done
        said = []
        found = extracted(tmp_path, [run], BROKEN, scales=(40,), say=said.append)
        assert np.flatnonzero(np.isnan(found.values).any(axis=1)).tolist() == [3, 4, 10]
        assert np.flatnonzero(np.isnan(found.values).all(axis=1)).tolist() == [3, 4, 10]
        assert list(found.problems) == ["test[3]", "test[10]", "test[4]"]
        assert found.problems["test[4]"] == "40x182 pixels at Q=40, more than 7,000"
        assert found.labels[10] == -1
        assert said[-1] == f"3 images could not be used: {tmp_path / 'broken_images.csv'}"
        listed = pd.read_csv(tmp_path / "broken_images.csv")
        assert dict(zip(listed.image, listed.reason, strict=True)) == found.problems


def test_a_net_that_overflows_is_told(tmp_path, run, monkeypatch):
    folder = shutil.copytree(run, tmp_path / "large")
    model = keras.saving.load_model(folder / "best.keras")
    model.get_layer("fc2").kernel.assign(model.get_layer("fc2").kernel * 1e38)
    model.save(folder / "best.keras")
    preprocessing.attach(folder / "best.keras", WANTS)
    monkeypatch.setattr(row_cache, "_BYTES", 2 * 4 * 205)  # two rows at a time
    said = []
    found = extracted(tmp_path / "out", [folder], ENCODED[:3], scales=(40,), say=said.append)
    assert np.isnan(found.values).all()
    assert found.problems == {f"test[{n}]": "the net's features are not finite: it overflowed" for n in range(3)}
    assert "features of 3 images are not finite, such as test[0]: the net overflowed" in said


def test_mistakes_are_told_before_images_are_read(tmp_path, run, top_off, monkeypatch):
    monkeypatch.setattr(extraction, "look_through", lambda split: pytest.fail("images were read"))
    with pytest.raises(InputError, match=r"The net .*notop\.h5 \(without top\) has no layer 'fc2'; similar names: .*block5_pool"):
        extracted(tmp_path, [run, top_off])
    with pytest.raises(InputError, match=r"`scales` must be at least the net's input, 32 pixels. Received: 31"):
        extracted(tmp_path, [run], scales=(40, 31))
    with pytest.raises(InputError, match=r"at least one net"):
        extracted(tmp_path, [])


def test_large_files_are_written_some_rows_at_a_time(tmp_path, run, monkeypatch):
    kinds = [".npz", *([".parquet"] if importlib.util.find_spec("pyarrow") else [])]

    def written(folder):
        found = extracted(tmp_path / folder, [run], BROKEN, scales=(36, 40))
        content = DescriptorFile(found.values, found.labels, found.names, None, CLASSES, {"layer": "fc2"})
        assert all(content.save(tmp_path / f"{folder}{kind}") == len(ENCODED) for kind in kinds)
        return found.values.tobytes()

    whole = written("whole")
    monkeypatch.setattr(row_cache, "_BYTES", 3 * 4 * 205)  # three rows
    assert written("parts") == whole
    for kind in kinds:
        in_one, in_parts = (DescriptorFile.read(tmp_path / f"{name}{kind}").features for name in ("whole", "parts"))
        np.testing.assert_array_equal(in_parts, in_one)
    assert (tmp_path / "parts.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_a_store_begins_as_numpy_would_write_it(tmp_path, monkeypatch):
    monkeypatch.setattr(row_cache, "_BYTES", 3 * 4 * 5)  # three rows at a time
    made = row_cache.RowCache(tmp_path, ["net"], np.arange(1, 11), 5, {"net": "a"})
    np.save(tmp_path / "expected.npy", np.full((10, 5), np.nan, np.float32))
    assert (tmp_path / f"{made.key}.rows.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


# --- The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(run, top_off, tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(run, folder / "run")
    shutil.copy(top_off, folder / "notop.h5")
    write_images(folder / "data", [*ENCODED, TRUNCATED], [*LABELS, 2])
    return folder


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


@pytest.mark.parametrize("name", ["all.npz", "all.parquet"])
def test_a_file_says_what_it_holds(here, run, capsys, name, by_scale):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    extract.main(["--model", "run", "--dataset", "folder:data", "--scales", "36", "40", "--out", name])
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("20 images")
    assert said[-2] == f"{name}: descriptors of 19 images, 205 each, 1 image left out"
    found = DescriptorFile.read(name)
    assert found.features.shape == (19, 205)
    assert found.features.dtype == np.float32
    assert found.split.tolist() == ["train"] * 7 + ["validation"] * 12
    assert found.classes == CLASSES
    assert found.labels[:7].tolist() == list(range(7))
    order = [int(pathlib.Path(image).stem) for image in found.images[7:]]
    assert found.labels[7:].tolist() == LABELS[order].tolist()
    np.testing.assert_allclose(found.features[7:], length_one(np.mean(by_scale, axis=0))[order], atol=1e-5)
    facts = found.facts
    assert (facts["layer"], facts["scales"], facts["flip"], facts["combine"]) == ("fc2", [36, 40], True, "average")
    (told,) = facts["nets"]
    assert (told["net"], told["path"], told["scales"]) == ("A", "run", [36, 40])
    assert told["sha256"] == digest_of_net(open_feature_source("run").load_model())
    assert list(facts["problems"]) == [str(pathlib.Path("data") / "val" / "c" / "012.jpg")]
    listed = pd.read_csv("all.parts/broken_images.csv")
    assert listed.image.tolist() == list(facts["problems"])
    expected = {"nets sha256": told["sha256"], "images sha256": facts["images sha256"], "code sha256": facts["code sha256"]}
    assert listed[list(expected)].to_dict("records") == [expected]
    assert not list(pathlib.Path("all.parts/descriptors").iterdir())


def test_npz_is_plain_numpy(here):
    extract.main(["--model", "run", "--dataset", "folder:data", "--split", "validation", "--keep-broken", "--out", "kept.npz"])
    with np.load("kept.npz", allow_pickle=False) as stored:
        assert set(stored) == {"features", "labels", "images", "split", "places", "fingerprints", "classes", "facts"}
        assert stored["features"].shape == (13, 205)
        assert np.isnan(stored["features"]).any(axis=1).sum() == np.isnan(stored["features"]).all(axis=1).sum() == 1
        assert set(stored["split"]) == {"validation"}
        assert json.loads(str(stored["facts"]))["nets"][0]["scales"] == [40]


def test_parquet_is_a_plain_table(here):
    pytest.importorskip("pyarrow")
    arguments = ["--model", "run", "--dataset", "folder:data", "--split", "train", "--out"]
    extract.main([*arguments, "train.parquet"])
    extract.main([*arguments, "train.npz"])
    table = pd.read_parquet("train.parquet")
    assert table.columns.tolist() == ["image", "label", "place", "split", "fingerprint", "features"]
    np.testing.assert_array_equal(np.stack(table.features), DescriptorFile.read("train.npz").features)


def test_image_files(here, top_off, tmp_path, capsys):
    flags = ["--model", "notop.h5", "--layer", "block5_pool", "--scales", "40", "--no-flip", "--no-normalize"]
    for number, content in enumerate(ENCODED[:3]):
        (tmp_path / f"{number}.png").write_bytes(content)
    extract.main([*flags, "--images", str(tmp_path / "*.png"), "--out", str(tmp_path / "out.npz")])
    found = DescriptorFile.read(tmp_path / "out.npz")
    assert found.labels.tolist() == [-1] * 3
    assert found.split is None
    assert found.classes == ()
    assert [pathlib.Path(image).name for image in found.images] == ["0.png", "1.png", "2.png"]
    model = net(include_top=False, seed=5, side=None)
    expected = [np.array(model(preprocessing.CAFFE(view(each, 40)[np.newaxis])))[0].mean(axis=(0, 1)) for each in ENCODED[:3]]
    np.testing.assert_allclose(found.features, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--dataset folder:data --layer fc3", r"The net run has no layer 'fc3'; similar names: .*fc2"),
        ("--dataset folder:data --layer fc2 --model notop.h5", r"The net notop\.h5 \(without top\) has no layer 'fc2'"),
        ("--dataset folder:data --model missing", r"Expected a run folder .* Received: missing"),
        ("--dataset folder:missing", r"missing"),
        ("--dataset flowers", r"`dataset` must be"),
        ("--images missing.jpg", r"matches no file"),
        ("", r"Pass either --dataset .* or --images"),
        ("--dataset digits --images a.jpg", r"Pass either"),
        ("--images run --split train", r"`--split` and `--limit-images` apply to datasets"),
        ("--images run --limit-images 3", r"`--split` and `--limit-images` apply to datasets"),
        ("--dataset folder:data --layer pool5", r"The net run has no layer 'pool5'; similar names: .*block5_pool"),
        ("--dataset folder:data --scales 20", r"at least the net's input, 32 pixels. Received: 20"),
        ("--dataset folder:data --scales 0", r"`scales` must be positive"),
        ("--dataset folder:data --batch 0", r"`--batch` must be at least 1"),
        ("--dataset folder:data --replicas 9", r"`replicas` must be between 1"),
        ("--dataset folder:data --out new.csv", r"must end in \.npz or \.parquet. Received: new\.csv"),
        ("--dataset folder:data --out no/new.npz", r"in an existing folder. Received: no/new\.npz"),
        ("--dataset folder:data --out data.npz", r"Expected a file in an existing folder. Received: data\.npz"),
        ("--dataset folder:data --out blocked.npz", r"Expected a writable folder. Received: blocked\.parts"),
        ("--dataset folder:data --combine max", r"invalid choice"),
        ("--dataset folder:data --limit-images 0", r"`limit_images` must be at least 1. Received: 0"),
        ("--dataset folder:data --limit-images -5", r"`limit_images` must be at least 1. Received: -5"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(here, monkeypatch, capsys, arguments, told):
    flags = ["--model", "run", "--preprocessing", "caffe", "--out", "mistake.npz", *arguments.split()]
    monkeypatch.setattr(sys, "argv", ["extract", *flags])
    pathlib.Path("data.npz").mkdir(exist_ok=True)
    pathlib.Path("blocked.parts").touch()
    with pytest.raises(SystemExit) as ended:
        entry.run(extract.main)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(told, line), line
    assert not pathlib.Path("mistake.npz").exists()


def test_none_that_can_be_used_is_a_mistake_and_keeps_the_file_that_is_there(here, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    out = tmp_path / "out.npz"
    out.write_bytes(b"earlier")
    with pytest.raises(InputError, match=r"The only image could not be used; see .*out\.parts for the reasons"):
        extract.main(["--model", "run", "--images", str(tmp_path / "a.jpg"), "--out", str(out)])
    assert out.read_bytes() == b"earlier"
    assert pd.read_csv(tmp_path / "out.parts" / "broken_images.csv").image.tolist() == [str(tmp_path / "a.jpg")]


def test_names_that_are_not_utf8(here, tmp_path):
    for name in (b"\xff.png", "ü.png".encode()):
        (tmp_path / os.fsdecode(name)).write_bytes(ENCODED[0])
    (tmp_path / os.fsdecode(b"\xfe.png")).write_bytes(b"no image")
    extract.main(["--model", "run", "--images", str(tmp_path), "--out", "names.npz"])
    found = DescriptorFile.read("names.npz")
    assert sorted(pathlib.Path(name).name for name in found.images) == ["\\xff.png", "ü.png"]
    assert [pathlib.Path(name).name for name in found.facts["problems"]] == ["\\xfe.png"]


def test_a_listing_may_name_a_broken_image_twice(here, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(ENCODED[0])
    (tmp_path / "b.png").write_bytes(b"no image")
    (tmp_path / "c.png").write_bytes(ENCODED[1])
    rows = [
        f"{tmp_path / name}.png,{label},{split}" for split in ("train", "val") for name, label in zip("abcb", "xyxy", strict=True)
    ]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,split", *rows]))
    extract.main(["--model", "run", "--dataset", f"csv:{tmp_path / 'list.csv'}", "--split", "train", "--out", "twice.npz"])
    assert "twice.npz: descriptors of 2 images, 205 each, 2 images left out\n" in capsys.readouterr().out
    assert DescriptorFile.read("twice.npz").places.tolist() == [0, 2]


def test_a_configuration_of_channels_first_does_not_matter(here):
    keras.config.set_image_data_format("channels_first")
    try:
        extract.main(["--model", "run", "--dataset", "folder:data", "--out", "first.npz"])
    finally:
        keras.config.set_image_data_format("channels_last")
    extract.main(["--model", "run", "--dataset", "folder:data", "--out", "last.npz"])
    np.testing.assert_array_equal(DescriptorFile.read("first.npz").features, DescriptorFile.read("last.npz").features)


def test_without_pyarrow_there_is_no_parquet(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"Parquet files need pyarrow, .*; pip install pyarrow, or pass a name that ends in \.npz"):
        extract.main(["--model", "run", "--dataset", "folder:data", "--out", "new.parquet"])


def test_files_that_are_none(here):
    pathlib.Path("empty.npz").write_bytes(b"")
    np.savez("other.npz", features=np.zeros(3))
    for name in ("empty.npz", "other.npz", "missing.npz"):
        with pytest.raises(InputError, match=f"Expected a descriptor file of keras_vgg.extract. Received: {name} "):
            DescriptorFile.read(name)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"features": np.zeros(3)}, r"features of shape \(3,\)"),
        ({"features": np.full((3, 2), "a")}, r"features of shape \(3, 2\) <U1"),
        ({"images": np.array(["a"])}, r"images of shape \(1,\) <U1 for 3 features"),
        ({"labels": np.zeros(3)}, r"labels of shape \(3,\) float64"),
        ({"labels": np.array([0, 1, 2])}, r"labels from 0 to 2 for 2 classes"),
        ({"split": np.array(["train"] * 2)}, r"split of shape \(2,\)"),
        ({"places": np.array([0, 2, 2])}, r"places that do not increase"),
        ({"facts": np.array("[]")}, r"facts that do not describe nets"),
        ({"facts": np.array('{"nets": [3]}')}, r"facts that do not describe nets"),
    ],
)
def test_files_of_other_programs(tmp_path, changed, told):
    good = {"features": np.ones((3, 2), np.float32), "labels": np.array([0, 1, 1]), "images": np.array(["a", "b", "c"])}
    good |= {"classes": np.array(["x", "y"]), "facts": np.array("{}"), "split": np.array(["train"] * 3)}
    np.savez(tmp_path / "good.npz", **good)
    assert DescriptorFile.read(tmp_path / "good.npz").places.tolist() == [0, 1, 2]
    np.savez(tmp_path / "bad.npz", **good | changed)
    with pytest.raises(InputError, match=f"Expected a descriptor file of keras_vgg.extract. Received: .*bad.npz .{told}"):
        DescriptorFile.read(tmp_path / "bad.npz")


def test_both_splits_joined_are_read_in_order():
    train, validation = split_of(ENCODED[:3]), split_of(ENCODED[5:7], np.array([6, 5]))
    found = inputs.of_dataset(Dataset({"train": train, "validation": validation}, CLASSES, "a test"))
    assert found.parts.tolist() == ["train"] * 3 + ["validation"] * 2
    sets = {"train": train, "validation": validation, "test": validation}
    tested = inputs.of_dataset(Dataset(sets, CLASSES, "a test", ("a line",)))
    assert tested.parts.tolist() == [*found.parts, "test", "test"]
    assert tested.split.read(tf.constant(6, tf.int64))[0].numpy() == ENCODED[6]
    assert tested.notes == ("a line",)
    read = [found.split.read(tf.constant(index, tf.int64)) for index in range(found.split.size)]
    assert [encoded.numpy() for encoded, _ in read] == [*ENCODED[:3], *ENCODED[5:7]]
    assert [int(label) for _, label in read] == [0, 1, 2, 6, 5]
    assert [found.split.name_of(index) for index in (0, 2, 3)] == ["test[0]", "test[2]", "test[0]"]


# --- The authors' convolutions --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs real weights and images")
def test_real_convolutions_agree_with_keras_applications(tmp_path):
    weights = SHARED / "weights" / "vgg16_notop_keras.h5"
    paths = sorted((SHARED / "data" / "flowers17" / "val").rglob("*.jpg"))[::30][:3]
    encoded = [path.read_bytes() for path in paths]
    model = keras.applications.VGG16(weights=None, include_top=False)
    model.load_weights(weights)

    def wants(pixels):
        return keras.applications.vgg16.preprocess_input(np.array(pixels, np.float32))

    expected = means(model, "block5_pool", wants, encoded, 72)
    source = open_feature_source(str(weights))
    protocol = DescriptorProtocol("block5_pool", scales=(72,))
    found = extraction.extract(split_of(encoded), [source], protocol, tmp_path, say=lambda line: None)
    np.testing.assert_allclose(found.values, length_one(expected), atol=1e-4)
    plain = DescriptorProtocol("block5_pool", scales=(72,), normalize=False)
    found = extraction.extract(split_of(encoded), [source], plain, tmp_path, say=lambda line: None)
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-3)
