"""TensorFlow Datasets, read at any index.

An epoch visits its examples in an order of our own, so that sequential reading will not do. Shards in TFDS's `array_record`
format are indexed; for TFRecord shards, what most prepared data sets are, an index of record offsets is made by hopping
from header to header, which reads 12 bytes a record.
"""

import os
import pathlib
import struct
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from keras_vgg.data import sets
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.split import Split
from keras_vgg.errors import InputError
from keras_vgg.support.paths import path_of

_HEADER = struct.Struct("<QI")  # length, checksum of the length; the data and its checksum follow
_FOOTER_BYTES = 4


def open_tfds(name: str) -> Dataset:
    """Returns the TFDS data set `NAME[/CONFIG]`, prepared first if it is not yet, or the one that lies prepared in a folder.

    Splits are told by their names, see `sets.NAMES`.

    Args:
        name: a name of TFDS, or the path of a folder with `dataset_info.json` and `features.json`, such as
            `/data/imagenet2012/5.1.0`: whoever made it, by whatever code.

    Raises:
        InputError: if TFDS does not know it, cannot prepare it, or it has no image and class label by these names.
    """
    import tensorflow_datasets as tfds

    builder = open_builder(name)
    features = builder.info.features
    if not {"image", "label"} <= set(features):
        raise InputError(f"tfds:{name} must have features image and label. Received: {', '.join(features)}.")
    image, label = features["image"], features["label"]
    if not isinstance(image, tfds.features.Image) or not isinstance(label, tfds.features.ClassLabel):
        kinds = f"image {type(image).__name__}, label {type(label).__name__}"
        raise InputError(f"tfds:{name} must have an image and a class label for each example. Received: {kinds}.")
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
        InputError: for files that cannot be read in any order.
    """
    shards = [os.fspath(path) for path in builder.info.splits[name].filepaths]
    if (kind := builder.info.file_format.value) not in _READERS:
        raise InputError(
            f"TFDS's data must lie in files of {' or '.join(_READERS)}, which can be read in any order. Received: "
            f"{builder.info.full_name} in {kind}; prepare it again with one of these as its file_format."
        )
    return _READERS[kind](shards)


def reading_of(features, names: Iterable[str], reader) -> Callable:
    """Returns a graph function from an index to the features `names` of its record, `image` being encoded still."""
    import tensorflow_datasets as tfds

    wanted = {name: features[name] for name in names}
    decoders = {"image": tfds.decode.SkipDecoding()} if "image" in wanted else {}
    specs = tfds.decode.PartialDecoding(wanted, decoders=decoders).extract_features(features)

    def example(index):
        record = tf.ensure_shape(tf.numpy_function(reader.read, [index], tf.string, stateful=False), [])
        return specs.deserialize_example(record, decoders=decoders)

    return example


def names_in(builder, name: str) -> Callable[[int], str]:
    """Returns what tells an example's name in messages, from its index in a split."""
    return lambda index: f"{builder.info.full_name}/{name}[{index}]"


def file_names(features, reader) -> Callable[[int], str] | None:
    """Returns what tells the name of a record's file by reading the record, where the data set keeps it, as ImageNet's does."""
    import tensorflow_datasets as tfds

    if "file_name" not in features or not isinstance(features["file_name"], tfds.features.Text):
        return None
    specs = tfds.decode.PartialDecoding({"file_name": features["file_name"]}).extract_features(features)

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def name_in(record):
        return specs.deserialize_example(record)["file_name"]

    return lambda index: name_in(reader.read(index)).numpy().decode(errors="replace")


class TFRecords:
    """Records of TFRecord files at any index, in the order of the files."""

    def __init__(self, paths: list[str]):
        self._paths = paths
        offsets = [record_offsets(path) for path in paths]
        self._starts = np.concatenate(offsets)
        self._shards = np.repeat(np.arange(len(paths)), [len(o) for o in offsets])

    def __len__(self):
        return len(self._starts)

    def read(self, index: int) -> bytes:
        """Returns the record's bytes; safe to call from several threads."""
        shard = int(self._shards[index])
        # Opened anew each time, which costs microseconds: ImageNet has more shards than a process may often have open files.
        with open(self._paths[shard], "rb", buffering=0) as file:
            file.seek(int(self._starts[index]))
            length, _ = _HEADER.unpack(file.read(_HEADER.size))
            data = file.read(length)
        if len(data) != length:
            raise OSError(f"{self._paths[shard]} ends within record {index}.")
        return data


def record_offsets(path: str) -> np.ndarray:
    """Returns where each record of a TFRecord file starts, `(n,)` int64."""
    offsets: list[int] = []
    position = 0
    size = os.path.getsize(path)
    with open(path, "rb", buffering=0) as file:
        while position < size:
            file.seek(position)
            header = file.read(_HEADER.size)
            length = _HEADER.unpack(header)[0] if len(header) == _HEADER.size else size
            if position + _HEADER.size + length + _FOOTER_BYTES > size:
                raise InputError(f"{path} must be a whole TFRecord file. Received: one that ends within record {len(offsets)}.")
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

    def read(self, index: int) -> bytes:
        """Returns the record's bytes."""
        return self._source.__getitems__([int(index)])[0]


_READERS: dict[str, type[TFRecords] | type[ArrayRecords]] = {"tfrecord": TFRecords, "array_record": ArrayRecords}
_METADATA = ("dataset_info.json", "features.json")


def open_builder(name: str):
    """Returns TFDS's builder of a data set that is there and prepared.

    Args:
        name: as for `open_tfds`.

    Raises:
        InputError: if TFDS does not know it or cannot prepare it, or its folder is none of TFDS's.
    """
    import tensorflow_datasets as tfds

    folder = path_of(name)
    if folder.is_dir() or name.startswith((".", "/", "~")):
        return _builder_of_folder(folder)
    try:
        builder = tfds.builder(name)
        builder.download_and_prepare()
    except Exception as error:  # whatever TFDS raises (unknown name, no network, manual download) is told, with its own words
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"`tfds:` must name a data set that TFDS has or can prepare. Received: {name} ({reason}).") from error
    return builder


def _builder_of_folder(folder: pathlib.Path):
    import tensorflow_datasets as tfds

    try:
        if missing := [name for name in _METADATA if not (folder / name).is_file()]:
            raise ValueError(f"no {missing[0]} there")
        return tfds.builder_from_directory(folder)
    except Exception as error:  # as above
        below = sorted(path.parent for path in folder.glob(f"*/{_METADATA[0]}"))
        others = "tfds.folder_dataset.write_metadata writes them for TFRecord files of your own"
        told = f"; {below[0]} has" if below else f"; {others}"
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"`tfds:` must name a data set of TFDS, or a folder with {' and '.join(_METADATA)}. "
            f"Received: {folder} ({reason}){told}."
        ) from error
