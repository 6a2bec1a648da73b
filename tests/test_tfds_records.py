import concurrent.futures
import io
import os
import pathlib
import typing

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from keras_vgg.data import datasets, tfds_records
from keras_vgg.data import split as splits
from keras_vgg.data.pipeline import View, micro_batches
from keras_vgg.errors import InputError

CLASSES = ("cat", "dog", "emu")
SIZES = {"train": 50, "validation": 7}


def png(color):
    buffer = io.BytesIO()
    Image.new("RGB", (33, 32), color).save(buffer, "PNG")
    return buffer.getvalue()


def color_of(split, i):
    return (i, 200, 0) if split == "train" else (i, 0, 200)


class Colors(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Solid colours: the red channel tells the number of the example, which tells the label."""

    VERSION = tfds.core.Version("1.0.0")
    SPLITS: typing.ClassVar = SIZES

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(self.features()))

    def features(self):
        # An example may hold more than we read.
        return {
            "file_name": tfds.features.Text(),
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=CLASSES),
        }

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self.SPLITS}

    def _generate_examples(self, split):
        for i in range(self.SPLITS[split]):
            yield i, {"file_name": f"{i}.png", "image": io.BytesIO(png(color_of(split, i))), "label": i % 3}


class ColorsConfigured(Colors):
    """With configurations; `blue` has other images than `red`."""

    BUILDER_CONFIGS = (tfds.core.BuilderConfig(name="red"), tfds.core.BuilderConfig(name="blue"))

    def _generate_examples(self, split):
        for i in range(5):
            color = (0, 0, 255) if self.builder_config.name == "blue" else (255, 0, 0)
            yield i, {"file_name": f"{i}.png", "image": io.BytesIO(png(color)), "label": i % 3}


class ColorsTest(Colors):
    """With a test split instead of a validation split."""

    SPLITS: typing.ClassVar = {"train": 20, "test": 4}


class ColorsAlone(Colors):
    """With a training split alone."""

    SPLITS: typing.ClassVar = {"train": 30}


class ColorsUntrained(Colors):
    """Without a training split."""

    SPLITS: typing.ClassVar = {"validation": 4}


class ColorsUnlabelled(Colors):
    """Without labels."""

    def features(self):
        return {"image": tfds.features.Image()}

    def _generate_examples(self, split):
        yield 0, {"image": io.BytesIO(png((1, 2, 3)))}


class ColorsRated(Colors):
    """With numbers for labels."""

    def features(self):
        return super().features() | {"label": tfds.features.Scalar(tf.float32)}


class ColorsFiles(Colors, skip_registration=True):
    """Known to TFDS by its files alone, as what somebody else prepared."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder of prepared data sets, in several shards, as TFRecord and as array_record."""
    folder = tmp_path_factory.mktemp("tfds")
    shards = tfds.download.DownloadConfig(num_shards=3)
    for file_format in ("tfrecord", "array_record"):
        ColorsFiles(data_dir=folder / file_format, file_format=file_format).download_and_prepare(download_config=shards)
    return folder


def use(monkeypatch, folder):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", os.fspath(folder))  # what TFDS_DATA_DIR sets at import


@pytest.fixture(params=["tfrecord", "array_record"])
def colors(request, prepared, monkeypatch):
    use(monkeypatch, prepared / request.param)
    suffix = {"tfrecord": ".tfrecord-", "array_record": ".array_record-"}[request.param]
    assert len([name for name in os.listdir(prepared / request.param / "colors_files/1.0.0") if f"train{suffix}" in name]) == 3
    return tfds_records.open_tfds("colors_files")


def read_by_tfds(name, split):
    """The examples as TFDS itself reads them, shard after shard."""
    builder, decoders = tfds.builder(name), {"image": tfds.decode.SkipDecoding()}
    if builder.info.file_format.value == "array_record":
        examples = builder.as_data_source(split=split, decoders=decoders)
    else:
        in_turn = tfds.ReadConfig(interleave_cycle_length=1)
        examples = builder.as_dataset(split=split, shuffle_files=False, read_config=in_turn, decoders=decoders).as_numpy_iterator()
    return [(example["image"], int(example["label"])) for example in examples]


def all_of(split):
    return [split.read(tf.constant(index, tf.int64)) for index in range(split.size)]


@pytest.mark.parametrize("name", SIZES)
def test_examples_at_any_index_are_those_that_tfds_reads(colors, name):
    split, expected = getattr(colors, name), read_by_tfds("colors_files", name)
    assert split.size == len(expected) == SIZES[name]
    read = tf.function(split.read, input_signature=[tf.TensorSpec([], tf.int64)])
    for index in np.random.default_rng(0).permutation(split.size):
        encoded, label = read(tf.constant(index))
        assert (encoded.numpy(), int(label)) == expected[index]
    assert label.dtype == tf.int32


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_prepared_folder_is_read_without_the_code_that_made_it(prepared, tmp_path, monkeypatch, file_format):
    use(monkeypatch, prepared / file_format)
    expected = read_by_tfds("colors_files", "validation")
    use(monkeypatch, tmp_path)  # where there is nothing by that name
    folder = prepared / file_format / "colors_files" / "1.0.0"
    split = datasets.open_dataset(f"tfds:{folder}").validation
    assert split.size == len(expected)
    encoded, label = split.read(tf.constant(3, tf.int64))
    assert (encoded.numpy(), int(label)) == expected[3]
    with pytest.raises(
        InputError, match=r"a folder with dataset_info.json and features.json\. Received: .*/colors_files \(no .*; pass .*1\.0\.0"
    ):
        datasets.open_dataset(f"tfds:{folder.parent}")
    with pytest.raises(InputError, match=r"use tfds\.folder_dataset\.write_metadata to write them"):
        datasets.open_dataset(f"tfds:{tmp_path}")


def test_what_cannot_be_read_in_any_order_is_refused(prepared, monkeypatch):
    use(monkeypatch, prepared / "tfrecord")
    monkeypatch.setattr(tfds_records, "_READERS", {"array_record": tfds_records.ArrayRecords})  # as if TFRecord were parquet
    with pytest.raises(InputError, match=r"Received: colors_files/1.0.0 in tfrecord; prepare it again"):
        tfds_records.open_tfds("colors_files")


def test_labels_belong_to_their_images(colors):
    seen = []
    for index in range(colors.train.size):
        encoded, label = colors.train.read(tf.constant(index, tf.int64))
        red, green, blue = tf.io.decode_png(encoded)[0, 0].numpy().tolist()
        assert (green, blue) == (200, 0)
        assert int(label) == red % 3
        seen.append(red)
    assert sorted(seen) == list(range(50))
    assert colors.classes == CLASSES


def test_names_and_description(colors):
    assert colors.train.name_of(4) == "colors_files/1.0.0/train[4]"
    assert colors.validation.name_of(0) == "colors_files/1.0.0/validation[0]"
    assert colors.description == "TFDS colors_files/1.0.0"
    # What its file was called stands in the record, which has been shuffled.
    for index, (encoded, _) in enumerate(read_by_tfds("colors_files", "validation")):
        red = int(tf.io.decode_png(encoded)[0, 0, 0])
        assert colors.validation.file_name(index) == f"{red}.png"
    everything = splits.joined([colors.train, colors.validation]).subset(np.array([55, 3]))
    assert [everything.file_name(place) for place in (0, 1)] == [colors.validation.file_name(5), colors.train.file_name(3)]


def test_in_the_pipeline(colors):
    rows = [(0, np.array([49, 0, 25])), (0, np.array([1, -1, 48]))]
    view = View(crop=32, scales=(32, 32))
    batches = micro_batches(colors.train, lambda: iter(rows), 3, view, on_broken=pytest.fail)
    expected = read_by_tfds("colors_files", "train")
    for (_, row), batch in zip(rows, batches.as_numpy_iterator(), strict=True):
        for place, index in enumerate(row):
            if index >= 0:
                assert batch.targets[place] == expected[index][1] == batch.images[place][0, 0, 0] % 3
        assert batch.weights.tolist() == (row >= 0).tolist()


def test_tfrecords_are_read_without_python(prepared, monkeypatch):
    """A call of Python would hold its lock: one image after another, however many processors there are."""
    use(monkeypatch, prepared / "tfrecord")
    read = tf.function(tfds_records.open_tfds("colors_files").train.read, input_signature=[tf.TensorSpec([], tf.int64)])
    graph = read.get_concrete_function().graph.as_graph_def()
    kinds = {
        node.op for nodes in (graph, *(each.node_def for each in graph.library.function)) for node in getattr(nodes, "node", nodes)
    }
    assert "TFRecordDatasetV2" in kinds
    assert not {kind for kind in kinds if "PyFunc" in kind}


def test_an_index_is_built_once(prepared, monkeypatch):
    use(monkeypatch, prepared / "tfrecord")
    expected = [encoded.numpy() for encoded, _ in all_of(tfds_records.open_tfds("colors_files").train)]
    monkeypatch.setattr(tfds_records, "record_offsets", lambda path: pytest.fail(f"{path} was read again"))
    assert [encoded.numpy() for encoded, _ in all_of(tfds_records.open_tfds("colors_files").train)] == expected


def test_a_record_that_changed_within_costs_itself_alone(tmp_path):
    path = tmp_path / "a.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for letter in (b"x", b"y", b"z"):
            writer.write(letter * 100)
    records = tfds_records.TFRecords([str(path)])
    content = path.read_bytes()
    path.write_bytes(content[:150] + b"?" + content[151:])
    assert [records.record(tf.constant(place)).numpy()[:1] for place in (0, 2)] == [b"x", b"z"]
    with pytest.raises(tf.errors.DataLossError, match="corrupted record"):
        records.record(tf.constant(1))


@pytest.mark.parametrize(("file_format", "reader"), [("tfrecord", "TFRecords"), ("array_record", "ArrayRecords")])
def test_records_are_read_from_several_threads(prepared, monkeypatch, file_format, reader):
    use(monkeypatch, prepared / file_format)
    shards = [os.fspath(path) for path in tfds.builder("colors_files").info.splits["train"].filepaths]
    records = getattr(tfds_records, reader)(shards)
    expected = [records.read(index) for index in range(len(records))]
    assert len(set(expected)) == 50
    indices = np.random.default_rng(0).integers(0, 50, 2000)
    fresh = getattr(tfds_records, reader)(shards)  # whose files are not open yet
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for index, record in zip(indices, pool.map(fresh.read, indices), strict=True):
            assert record == expected[index]


def test_unprepared_data_set_is_prepared(tmp_path, monkeypatch):
    use(monkeypatch, tmp_path)
    dataset = tfds_records.open_tfds("colors_test")
    assert (dataset.train.size, dataset.validation.size, dataset.test.size) == (18, 2, 4)  # `test` steers no training
    assert "validation: 2 images held out of 20 training images" in dataset.training_notes[0]
    assert "/train[" in dataset.validation.name_of(0)
    assert (tmp_path / "colors_test" / "1.0.0").is_dir()
    assert dataset.test.name_of(0).endswith("test[0]")


@pytest.mark.parametrize(("config", "color"), [("red", (255, 0, 0)), ("blue", (0, 0, 255))])
def test_configuration_is_heeded(tmp_path, monkeypatch, config, color):
    use(monkeypatch, tmp_path)
    dataset = tfds_records.open_tfds(f"colors_configured/{config}")
    encoded, _ = dataset.train.read(tf.constant(2, tf.int64))
    assert tuple(tf.io.decode_png(encoded)[0, 0].numpy()) == color
    assert dataset.description == f"TFDS colors_configured/{config}/1.0.0"


def test_a_tenth_is_held_out_where_there_is_no_other_split(tmp_path, monkeypatch):
    use(monkeypatch, tmp_path)
    dataset = tfds_records.open_tfds("colors_alone")
    assert (dataset.train.size, dataset.validation.size) == (27, 3)
    splits = dataset.train, dataset.validation
    images = {split.read(tf.constant(index, tf.int64))[0].numpy() for split in splits for index in range(split.size)}
    assert len(images) == 30


def test_a_set_to_test_with_alone(tmp_path, monkeypatch):
    use(monkeypatch, tmp_path)
    dataset = tfds_records.open_tfds("colors_untrained")
    assert list(dataset.splits) == ["validation"]
    with pytest.raises(
        InputError, match=r"The dataset must have training images\. Received: TFDS colors_untrained.* validation images only"
    ):
        _ = dataset.train


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_data_set", r"`tfds:` must name a dataset that TFDS can load or prepare\. Received: no_such_data_set \("),
        ("colors_configured/green", r"Received: colors_configured/green \(.*green"),
        ("colors_unlabelled", "tfds:colors_unlabelled must have features image and label. Received: image"),
        ("colors_rated", "tfds:colors_rated must have an image and a class label .*image Image, label Scalar"),
    ],
)
def test_unusable_data_set_is_named(tmp_path, monkeypatch, name, message):
    use(monkeypatch, tmp_path)
    with pytest.raises(InputError, match=message):
        tfds_records.open_tfds(name)


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_truncated_shard_is_named(prepared, tmp_path, cut):
    path = next((prepared / "tfrecord" / "colors_files" / "1.0.0").glob("*train*00001*"))
    truncated = tmp_path / path.name
    truncated.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError, match=r"train.*00001.* must be a complete TFRecord file.*truncated within record \d+"):
        tfds_records.TFRecords([str(path), str(truncated)])


def test_shard_cut_off_within_a_header_is_named(tmp_path):
    path = tmp_path / "a.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"first")
    path.write_bytes(path.read_bytes() + b"\x05\x00")
    with pytest.raises(InputError, match=r"a\.tfrecord must be .*truncated within record 1"):
        tfds_records.record_offsets(path)


def test_offsets_by_hand(tmp_path):
    path = tmp_path / "a.tfrecord"
    records = [b"x" * 10, b"", b"y" * 3]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    # Eight bytes of length and twice four of checksum around each record.
    assert tfds_records.record_offsets(path).tolist() == [0, 26, 42]
    reader = tfds_records.TFRecords([str(path)])
    assert [reader.read(i) for i in range(len(reader))] == records


def test_empty_shard_among_others(tmp_path):
    paths = [tmp_path / f"{i}.tfrecord" for i in range(3)]
    for i, path in enumerate(paths):
        with tf.io.TFRecordWriter(os.fspath(path)) as writer:
            if i != 1:
                writer.write(b"%d" % i)
    reader = tfds_records.TFRecords(list(map(str, paths)))
    assert [reader.read(i) for i in range(len(reader))] == [b"0", b"2"]


def test_shard_that_shrinks_while_being_read_costs_its_own_records(tmp_path):
    path = pathlib.Path(tmp_path / "a.tfrecord")
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"x" * 100)
        writer.write(b"y" * 100)
    reader = tfds_records.TFRecords([str(path)])
    path.write_bytes(path.read_bytes()[:150])
    assert reader.read(0) == reader.record(tf.constant(0)).numpy() == b"x" * 100
    with pytest.raises(OSError, match=r"a\.tfrecord is truncated within record 1"):
        reader.read(1)
    with pytest.raises(tf.errors.DataLossError, match="truncated record"):
        reader.record(tf.constant(1))
