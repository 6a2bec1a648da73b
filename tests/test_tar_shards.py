"""WebDataset's tar files: samples at any index, sets and classes by name, and what is refused."""

import io
import tarfile

import numpy as np
import pytest
import tensorflow as tf
from small_images import ENCODED

from keras_vgg.data import datasets, tar_shards
from keras_vgg.errors import InputError

EXTENSIONS = ["jpg", "png", "PNG", "jpg", "jpeg", "png", "seg.png"]  # as `small_images` encodes; the last is no image of its sample


def write_shard(path, numbers, *, mode="w", label="{}", folder=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for number in numbers:
            parts = {EXTENSIONS[number % 6]: ENCODED[number], "cls": label.format(number % 3).encode() + b"\n", "json": b"{}"}
            for extension, content in parts.items():
                info = tarfile.TarInfo(f"{folder}ILSVRC2012_val_{number:08}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def test_samples_at_any_index(tmp_path):
    write_shard(tmp_path / "flowers-train-000.tar", [0, 1, 2, 3])
    write_shard(tmp_path / "flowers-train-001.tar", [4, 5, 6], folder="./deep/")
    write_shard(tmp_path / "validation" / "0.tar", [7, 8])
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\ndog\n")
    dataset = datasets.open_dataset(f"wds:{tmp_path}")
    assert dataset.classes == ("ant", "bee", "cat", "dog")
    assert [dataset.train.size, dataset.validation.size, dataset.test] == [7, 2, None]
    read = tf.function(dataset.train.read, input_signature=[tf.TensorSpec([], tf.int64)])
    for number in (5, 0, 6, 3):
        encoded, label = read(tf.constant(number, tf.int64))
        assert (encoded.numpy(), int(label)) == (ENCODED[number], number % 3)
    assert dataset.train.name_of(5) == "flowers-train-001.tar/./deep/ILSVRC2012_val_00000005.png"
    assert dataset.description == f"3 tar files {tmp_path.name}"


def test_an_index_is_built_once(tmp_path, monkeypatch):
    write_shard(tmp_path / "train-0.tar", [0, 1, 2, 3])
    write_shard(tmp_path / "train-1.tar", [4, 5, 6, 7], label="{}", folder="caf\udce9/")  # a name that is not UTF-8

    def found():
        split = datasets.open_dataset(f"wds:{tmp_path}").sets["train"]
        examples = [split.read(tf.constant(index, tf.int64)) for index in range(split.size)]
        return [(image.numpy(), int(label), split.name_of(index)) for index, (image, label) in enumerate(examples)]

    expected, members, read = found(), tar_shards._members, []
    assert [image for image, _, _ in expected] == [ENCODED[number] for number in range(8)]
    monkeypatch.setattr(tar_shards, "_members", lambda shard: (read.append(shard.name), members(shard))[1])
    assert found() == expected
    assert read == []
    write_shard(tmp_path / "train-1.tar", [4, 5, 6, 8], folder="x/")
    assert [image for image, _, _ in found()] == [ENCODED[number] for number in (0, 1, 2, 3, 4, 5, 6, 8)]
    assert read == ["train-1.tar"]


def test_one_file_with_names_of_classes(tmp_path):
    path = write_shard(tmp_path / "all.tar", range(6), label="class {}")
    dataset = datasets.open_dataset(f"wds:{path}")
    assert dataset.classes == ("class 0", "class 1", "class 2")
    assert list(dataset.sets) == ["train"]
    labels = [int(dataset.sets["train"].read(tf.constant(index, tf.int64))[1]) for index in range(6)]
    assert labels == [0, 1, 2, 0, 1, 2]


def test_an_image_that_is_gone_costs_itself_alone(tmp_path):
    path = write_shard(tmp_path / "a.tar", range(4))
    split = datasets.open_dataset(f"wds:{path}").sets["train"]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    read = tf.function(split.read, input_signature=[tf.TensorSpec([], tf.int64)])
    assert read(tf.constant(0, tf.int64))[0].numpy() == ENCODED[0]
    with pytest.raises(tf.errors.OpError, match="truncated within a file"):
        read(tf.constant(3, tf.int64))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda path: path.unlink(), r"must name a tar file or a folder of them\. Received: .*, a folder without tar files"),
        (lambda path: write_shard(path, [1], mode="w:gz"), r"a\.tar must be a complete, uncompressed tar file"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:4000]),
            r"a\.tar must be a complete, uncompressed tar file.*(truncated within|unexpected end|truncated at the end)",
        ),
        (lambda path: write_shard(path, []), "must contain images. Received: none in"),
        (
            lambda path: write_shard(path, [1], label=""),
            r"must contain the number or the name of a class\. Received: 1 empty files",
        ),
        (lambda path: write_shard(path.parent / "b-val.tar", [1]), r"must contain a set.*Received: a\.tar without a set"),
        (lambda path: (path.parent / "classes.txt").write_text("ant\nbee\n"), "Received: 2 names for numbers up to 2"),
    ],
)
def test_what_is_no_data_set_is_told(tmp_path, change, told):
    path = write_shard(tmp_path / "a.tar", range(6))
    change(path)
    with pytest.raises(InputError, match=told):
        datasets.open_dataset(f"wds:{tmp_path}")


def test_a_sample_without_its_class_is_named(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("x/1.jpg")
        info.size = len(ENCODED[0])
        tar.addfile(info, io.BytesIO(ENCODED[0]))
    with pytest.raises(
        InputError, match=r"Received: 1 without `\.cls` with its class, such as x/1; .* class folders \(folder:PATH\)"
    ):
        datasets.open_dataset(f"wds:{path}")


def test_the_order_of_files_in_a_tar_does_not_part_samples(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in [("2.cls", b"1"), ("1.png", ENCODED[1]), ("2.png", ENCODED[2]), ("1.cls", b"0")]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    split = datasets.open_dataset(f"wds:{tmp_path}").sets["train"]
    read = [split.read(tf.constant(index, tf.int64)) for index in range(2)]
    assert [(image.numpy(), int(label)) for image, label in read] == [(ENCODED[1], 0), (ENCODED[2], 1)]
    assert np.array_equal([split.name_of(index) for index in range(2)], ["a.tar/1.png", "a.tar/2.png"])
