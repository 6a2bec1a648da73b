"""TensorFlow Datasets, read at any index.

Epochs visit examples in their own order, which sequential reading does not support. Shards in TFDS's `array_record` format are
indexed; for TFRecord shards, the format of most prepared datasets, an index of record offsets is built from the headers alone,
which reads 12 bytes per record, and kept on disk (`kept_index`).
"""

import os
import pathlib
import struct
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from keras_vgg.data import kept_index, sets
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.split import Split
from keras_vgg.errors import InputError
from keras_vgg.support.paths import path_of

_HEADER = struct.Struct("<QI")  # length and its checksum; the data and its checksum follow
_FOOTER_BYTES = 4
_STRINGS = {"output_types": [tf.string], "output_shapes": [tf.TensorShape([])]}


def open_tfds(name: str) -> Dataset:
    """Returns the TFDS dataset `NAME[/CONFIG]`, preparing it if necessary, or a prepared one in a folder.

    Splits are recognized by their names, see `sets.NAMES`.

    Args:
        name: a TFDS name, or the path of a folder with `dataset_info.json` and `features.json`, such as
            `/data/imagenet2012/5.1.0`, written by any code.

    Raises:
        InputError: if TFDS does not have it or cannot prepare it, or it lacks the features `image` and `label`.
    """
    import tensorflow_datasets as tfds

    builder = open_builder(name)
    features = builder.info.features
    if not {"image", "label"} <= set(features):
        raise InputError(f"tfds:{name} must have features image and label. Received: {', '.join(features)}.")
    image, label = features["image"], features["label"]
    if not isinstance(image, tfds.features.Image) or not isinstance(label, tfds.features.ClassLabel):
        kinds = f"image {type(image).__name__}, label {type(label).__name__}"
        raise InputError(f"tfds:{name} must have an image and a class label per example. Received: {kinds}.")
    found = sets.by_set(builder.info.splits)
    if not found:
        raise InputError(f"tfds:{name} must have a split train, validation or test. Received: {', '.join(builder.info.splits)}.")
    splits = {each: _split(builder, found[each]) for each in sets.NAMES if each in found}
    return Dataset(splits, tuple(label.names), f"TFDS {builder.info.full_name}")


def _split(builder, name: str) -> Split:
    reader, features = records_of(builder, name), builder.info.features
    example = reading_of(features, ("image", "label"), reader)

    def read(index):
        found = example(index)
        return found["image"], tf.cast(found["label"], tf.int32)

    return Split(len(reader), read, names_in(builder, name), file_name_of=file_names(features, reader))


def records_of(builder, name: str) -> "TFRecords | ArrayRecords":
    """Returns the records of a split.

    Raises:
        InputError: if the file format does not support random access.
    """
    shards = [os.fspath(path) for path in builder.info.splits[name].filepaths]
    if (kind := builder.info.file_format.value) not in _READERS:
        raise InputError(
            f"TFDS datasets must be stored as {' or '.join(_READERS)}, which support random access. Received: "
            f"{builder.info.full_name} in {kind}; prepare it again with one of these as its file_format."
        )
    return _READERS[kind](shards)


def reading_of(features, names: Iterable[str], reader) -> Callable:
    """Returns a graph function from an index to the features `names` of its record, with `image` still encoded."""
    import tensorflow_datasets as tfds

    wanted = {name: features[name] for name in names}
    decoders = {"image": tfds.decode.SkipDecoding()} if "image" in wanted else {}
    specs = tfds.decode.PartialDecoding(wanted, decoders=decoders).extract_features(features)

    def example(index):
        return specs.deserialize_example(reader.record(index), decoders=decoders)

    return example


def names_in(builder, name: str) -> Callable[[int], str]:
    """Returns a function from an index in a split to the example's name in messages."""
    return lambda index: f"{builder.info.full_name}/{name}[{index}]"


def file_names(features, reader) -> Callable[[int], str] | None:
    """Returns a function that reads the file name from a record, if the dataset stores it, as ImageNet does; else `None`."""
    import tensorflow_datasets as tfds

    if "file_name" not in features or not isinstance(features["file_name"], tfds.features.Text):
        return None
    specs = tfds.decode.PartialDecoding({"file_name": features["file_name"]}).extract_features(features)

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def name_in(record):
        return specs.deserialize_example(record)["file_name"]

    return lambda index: name_in(reader.read(index)).numpy().decode(errors="replace")


class TFRecords:
    """Records of TFRecord files at any index, in the order of the files.

    Args:
        paths: the files; their index is kept on disk, see `kept_index`.

    Raises:
        InputError: if one is truncated.
    """

    def __init__(self, paths: list[str]):
        self._paths = paths
        offsets = [index["offsets"] for index in kept_index.index_of(paths, _index, "TFRecord 1")]
        shards = np.repeat(np.arange(len(paths)), [len(each) for each in offsets])
        self._places = np.stack([shards, np.concatenate(offsets)], axis=1)  # (n, 2): shard, offset
        names = [os.fsencode(path) for path in paths]
        self._path_tensor, self._place_tensor = tf.constant(names, tf.string), tf.constant(self._places)

    def __len__(self):
        return len(self._places)

    def record(self, index):
        """Returns the record as a scalar string, in a graph or eagerly.

        TensorFlow's own reader starts at the record and verifies its checksums. It costs as much as a call of `read`, but several
        threads run it at once, while Python's lock would let one read after another.
        """
        shard, offset = tf.unstack(tf.gather(self._place_tensor, index))
        path = tf.gather(self._path_tensor, shard)[tf.newaxis]
        # `tf.data.TFRecordDataset`, which has no argument for the first byte.
        onward = tf.raw_ops.TFRecordDatasetV2(filenames=path, compression_type="", buffer_size=0, byte_offsets=offset[tf.newaxis])
        one = tf.raw_ops.TakeDataset(input_dataset=onward, count=1, **_STRINGS)
        return tf.raw_ops.DatasetToSingleElement(dataset=one, **_STRINGS)[0]

    def read(self, index: int) -> bytes:
        """Returns the record's bytes, without a look at their checksum; safe to call from several threads."""
        shard, offset = self._places[index].tolist()
        # Opened each time, which costs microseconds: ImageNet has more shards than many processes may have open files.
        with open(self._paths[shard], "rb", buffering=0) as file:
            file.seek(offset)
            length, _ = _HEADER.unpack(file.read(_HEADER.size))
            data = file.read(length)
        if len(data) != length:
            raise OSError(f"{self._paths[shard]} is truncated within record {index}.")
        return data


def _index(path: str) -> kept_index.Arrays:
    return {"offsets": record_offsets(path)}


def record_offsets(path: str) -> np.ndarray:
    """Returns the offset of each record in a TFRecord file, `(n,)` int64."""
    offsets: list[int] = []
    position = 0
    size = os.path.getsize(path)
    with open(path, "rb", buffering=0) as file:
        while position < size:
            header = os.pread(file.fileno(), _HEADER.size, position)
            length = _HEADER.unpack(header)[0] if len(header) == _HEADER.size else size
            if position + _HEADER.size + length + _FOOTER_BYTES > size:
                raise InputError(f"{path} must be a complete TFRecord file. Received: one truncated within record {len(offsets)}.")
            offsets.append(position)
            position += _HEADER.size + length + _FOOTER_BYTES
    return np.array(offsets, np.int64)


class ArrayRecords:
    """Records of ArrayRecord files at any index, in the order of the files."""

    def __init__(self, paths: list[str]):
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        self._source = ArrayRecordDataSource(paths)

    def __len__(self):
        return len(self._source)

    def record(self, index):
        """Returns the record as a scalar string, in a graph or eagerly."""
        return tf.ensure_shape(tf.numpy_function(self.read, [index], tf.string, stateful=False), [])

    def read(self, index: int) -> bytes:
        """Returns the record's bytes."""
        return self._source.__getitems__([int(index)])[0]


_READERS: dict[str, type[TFRecords] | type[ArrayRecords]] = {"tfrecord": TFRecords, "array_record": ArrayRecords}
_METADATA = ("dataset_info.json", "features.json")


def open_builder(name: str):
    """Returns TFDS's builder of a prepared dataset.

    Args:
        name: as for `open_tfds`.

    Raises:
        InputError: if TFDS does not have it or cannot prepare it, or the folder is not a TFDS dataset.
    """
    import tensorflow_datasets as tfds

    folder = path_of(name)
    if folder.is_dir() or name.startswith((".", "/", "~")):
        return _builder_of_folder(folder)
    try:
        builder = tfds.builder(name)
        builder.download_and_prepare()
    except Exception as error:  # any error of TFDS (unknown name, no network, manual download) is reported in its own words
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"`tfds:` must name a dataset that TFDS can load or prepare. Received: {name} ({reason}).") from error
    return builder


def _builder_of_folder(folder: pathlib.Path):
    import tensorflow_datasets as tfds

    try:
        if missing := [name for name in _METADATA if not (folder / name).is_file()]:
            raise ValueError(f"no {missing[0]} in it")
        return tfds.builder_from_directory(folder)
    except Exception as error:  # as above
        below = sorted(path.parent for path in folder.glob(f"*/{_METADATA[0]}"))
        others = "use tfds.folder_dataset.write_metadata to write them for your own TFRecord files"
        told = f"; pass {below[0]}" if below else f"; {others}"
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"`tfds:` must name a TFDS dataset, or a folder with {' and '.join(_METADATA)}. Received: {folder} ({reason}){told}."
        ) from error
