"""Indexes that are built once: where they are kept, files that changed, kept indexes that are damaged."""

import concurrent.futures
import json
import multiprocessing
import os
import pathlib

import numpy as np
import pytest

from keras_vgg.data import kept_index
from keras_vgg.data.kept_index import index_of
from keras_vgg.errors import InputError
from keras_vgg.support import files


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "keras_vgg"


@pytest.fixture
def shards(tmp_path):
    paths = []
    for name in ("a", "deep/b", "c"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 10)
        paths.append(path)
    return paths


class Built:
    """Builds an index, and counts."""

    def __init__(self):
        self.paths = []

    def __call__(self, path):
        self.paths.append(pathlib.Path(path).name)
        content = pathlib.Path(path).read_bytes()
        return {"bytes": np.frombuffer(content, np.uint8), "places": np.arange(2 * len(content)).reshape(-1, 2)}


def opened(shards, kind="test 1"):
    """What an opening finds, and which files it had to read."""
    build = Built()
    found = index_of(shards, build, kind)
    for path, arrays in zip(shards, found, strict=True):
        expected = Built()(path)
        assert set(arrays) == set(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(arrays[name], array)
            assert arrays[name].dtype == array.dtype
    return sorted(build.paths)


def kept_in(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix == ".index" and path.is_file())


def test_files_are_read_once(shards, tmp_path):
    assert opened(shards) == ["a", "b", "c"]
    assert [path.parent for path in kept_in(tmp_path)] == [tmp_path / "data"]
    assert opened(shards) == []
    assert opened(list(map(str, shards))) == []
    assert opened(shards, "test 2") == ["a", "b", "c"]  # another kind of index
    assert opened(shards[:2]) == ["a", "b"]  # other files together
    assert opened(shards) == []
    assert index_of([], Built(), "test 1") == []


def test_relative_names_and_another_mount_are_the_same_files(shards, tmp_path, monkeypatch):
    opened(shards)
    monkeypatch.chdir(tmp_path)
    assert opened([path.relative_to(tmp_path) for path in shards]) == []
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    assert opened([tmp_path / "elsewhere" / path.relative_to(tmp_path / "data") for path in shards]) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: (path.write_bytes(b"y" * 10), os.utime(path, ns=(0, 12345))),
        lambda path: (path.unlink(), path.write_bytes(b"z" * 10), os.utime(path, ns=(0, 54321))),
    ],
    ids=["truncated", "longer", "of the same length", "replaced"],
)
def test_a_file_that_changed_is_read_again_alone(shards, change):
    opened(shards)
    change(shards[1])
    assert opened(shards) == ["b"]
    assert opened(shards) == []


def test_an_index_damaged_anywhere_is_built_anew(shards, tmp_path):
    opened(shards)
    (kept,) = kept_in(tmp_path)
    whole = kept.read_bytes()
    places = [0, 31, 32, len(whole) // 2, len(whole) - 1, *np.random.default_rng(0).integers(0, len(whole), 20).tolist()]
    for place in places:
        kept.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert opened(shards) == ["a", "b", "c"]
        assert opened(shards) == []
    for rest in (b"", whole[:20], whole[:32], whole[:-1], whole + b"x"):
        kept.write_bytes(rest)
        assert opened(shards) == ["a", "b", "c"]
    assert kept.read_bytes() == whole


def test_where_the_data_cannot_be_written_the_cache_keeps_it(shards, tmp_path, cache):
    opened(shards)
    (kept,) = kept_in(tmp_path)
    kept.unlink()
    kept.mkdir()  # cannot be replaced by a file, not even by root
    assert opened(shards) == ["a", "b", "c"]
    assert [path.parent for path in kept_in(tmp_path)] == [cache]
    assert opened(shards) == []
    assert not [path for path in kept.parent.iterdir() if path.name.startswith(".writing")]


def test_one_that_is_out_of_date_and_cannot_be_replaced_does_not_hide_the_cache(shards, tmp_path, cache, monkeypatch):
    opened(shards)
    shards[1].write_bytes(b"changed")
    replacing = files.replacing

    def replacing_elsewhere(path, *more):
        if path.parent == tmp_path / "data":
            raise InputError("permission denied")
        return replacing(path, *more)

    monkeypatch.setattr(files, "replacing", replacing_elsewhere)
    assert opened(shards) == ["b"]
    assert [path.parent for path in kept_in(tmp_path)] == [cache, tmp_path / "data"]
    assert opened(shards) == []


@pytest.mark.parametrize("blocked", [False, True])
def test_without_a_home_it_is_kept_beside_the_data_or_not_at_all(shards, tmp_path, monkeypatch, blocked):
    opened(shards)
    if blocked:
        (kept,) = kept_in(tmp_path)
        kept.unlink()
        kept.mkdir()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    assert opened(shards) == (["a", "b", "c"] if blocked else [])
    assert not (tmp_path / "~").exists()


def test_the_cache_tells_folders_apart(tmp_path, cache):
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_bytes(b"same" if folder == "one" else b"same size"[:4])
        os.utime(tmp_path / folder / "a", ns=(0, 7))
        opened([tmp_path / folder / "a"], "blocked")
        (kept,) = kept_in(tmp_path / folder)
        kept.unlink()
        kept.mkdir()
        assert opened([tmp_path / folder / "a"], "blocked") == ["a"]
    assert len(kept_in(cache)) == 2


def test_where_nothing_can_be_written_it_is_built_each_time(shards, tmp_path, monkeypatch):
    opened(shards)
    (kept,) = kept_in(tmp_path)
    kept.unlink()
    kept.mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert opened(shards) == opened(shards) == ["a", "b", "c"]


def test_an_error_of_one_file_keeps_nothing(shards, tmp_path):
    def build(path):
        if path.endswith("b"):
            raise InputError("damaged")
        return Built()(path)

    with pytest.raises(InputError, match="damaged"):
        index_of(shards, build, "test 1")
    assert kept_in(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        index_of([*shards, tmp_path / "missing"], Built(), "test 1")


def _open_often(shards, times):
    for _ in range(times):
        opened(shards)
        for path in kept_in(shards[0].parent):
            path.unlink(missing_ok=True)
    return True


def test_processes_at_once_do_not_harm_each_other(shards):
    """Each finds, builds, writes and removes the same index; `opened` compares what each gets."""
    with concurrent.futures.ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("fork")) as pool:
        assert all(pool.map(_open_often, [shards] * 4, [40] * 4))
    opened(shards)
    assert opened(shards) == []


def test_texts_of_any_kind_come_back():
    values = ["a/b.jpg", "", "\udcff not UTF-8", "snow ☃", "line\nbreak\0", '"']
    array = kept_index.texts(values)
    assert array.dtype == np.uint8
    assert kept_index.texts_in(array) == values
    assert json.loads(array.tobytes()) == values
