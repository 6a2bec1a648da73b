"""A prepared dataset of TFDS in which a record is damaged."""

import pathlib
import shutil

from keras_vgg.data.tfds_records import record_offsets


def damage_a_record(dataset: pathlib.Path, split: str, copy: pathlib.Path) -> str:
    """Copies a dataset of TFRecords to `copy` with a bit of the first record of `split` flipped; returns its name for commands."""
    shutil.copytree(dataset, copy)
    (shard,) = copy.glob(f"*-{split}.tfrecord-*")
    content = bytearray(shard.read_bytes())
    first, second = record_offsets(str(shard))[:2]
    content[(first + second) // 2] ^= 1
    shard.write_bytes(content)
    return f"tfds:{copy}"
