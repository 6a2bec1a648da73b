"""How differences between workers are told, and digests of their images. That workers end together is in test_multi_worker.py."""

import dataclasses
import json
import shutil
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from logical_clusters import make_cluster

from keras_vgg.data.datasets import open_dataset
from keras_vgg.data.split import in_memory
from keras_vgg.data.split_digest import digest_of_contents, digest_of_listing
from keras_vgg.errors import InputError
from keras_vgg.recipe import Recipe
from keras_vgg.tasks.classification import Classification
from keras_vgg.training import agreement as agreement_module
from keras_vgg.training.agreement import Agreement, difference
from keras_vgg.training.worker_facts import worker_facts

HOSTS = tuple(f"host{number}:1" for number in range(6))


def statement(**items):
    return {"items": [[name, str(value)] for name, value in items.items()]}


def test_equal_workers_agree():
    assert difference([statement(seed=5, epochs=3)] * 3, HOSTS[:3]) is None


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        ([statement(seed=5), statement(seed=6)], "Worker 2 (host1:1) differs from worker 1 in seed: 6, not 5. "),
        ([statement(seed=5), statement(seed=6), statement(seed=6)], "Worker 1 (host0:1) differs from worker 2 in seed: 5, not 6. "),
        ([statement(a=1), statement(b=1)], "Worker 2 (host1:1) differs from worker 1 in a: nothing, not 1, b: 1, not nothing. "),
        (
            [statement(**dict.fromkeys("abcdefg", 0)), statement(**dict.fromkeys("abcdefg", 1))],
            "Worker 2 (host1:1) differs from worker 1 in a: 1, not 0, b: 1, not 0, c: 1, not 0, d: 1, not 0, e: 1, not 0, and "
            "2 other items. ",
        ),
        (
            [statement(a=number) for number in range(6)],
            "Worker 2 (host1:1) differs from worker 1 in a: 1, not 0; worker 3 (host2:1) differs from worker 1 in a: 2, not 0; "
            "worker 4 (host3:1) differs from worker 1 in a: 3, not 0; and 2 other workers. ",
        ),
    ],
)
def test_differences_are_told_by_worker_and_item(statements, told):
    assert difference(statements, HOSTS) == f"{told}Start all workers with the same command and the same data."


def test_a_failed_worker_is_told_rather_than_differences():
    statements = [statement(seed=5), {"failed": "The dataset is gone."}, statement(seed=6)]
    assert difference(statements, HOSTS) == "Worker 2 (host1:1) cannot start: The dataset is gone."


def test_a_single_worker_agrees_with_itself():
    with Agreement(make_cluster(2)) as agreement:
        agreement.reach({"seed": "5"})
    with pytest.raises(KeyError), Agreement(make_cluster(2)):
        raise KeyError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images") / "all"
    for number, name in enumerate([f"{kind}/{letter}.png" for kind in ("cats", "dogs") for letter in "abcdefgh"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(root / name, np.full((40, 40, 3), number, np.uint8), scale=False)
    return root


def facts(path, **changed):
    dataset = open_dataset(f"folder:{path}")
    recipe = Recipe(**{"dataset": f"folder:{path}", "crop": 32, "scale": 32} | changed)
    return worker_facts(recipe, make_cluster(1), dataset, Classification(dataset.classes), 4, None, None, [])


def test_the_same_images_elsewhere_are_the_same(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "deeper" / "copy")
    assert facts(folder) == facts(tmp_path / "deeper" / "copy")


def test_every_setting_is_compared_but_paths(folder):
    ours = facts(folder)
    for name, value in {"seed": 6, "max_bad_fraction": 0.5, "jit": True, "weight_decay": 0.0, "micro_batch": 2}.items():
        assert {key for key, told in facts(folder, **{name: value}).items() if told != ours[key]} == {name}
    assert facts(folder, init_from="elsewhere") == ours
    assert len(ours) >= len(dataclasses.fields(Recipe))


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        (lambda root: (root / "cats" / "b.png").rename(root / "cats" / "bb.png"), (True, False)),
        (lambda root: (root / "cats" / "b.png").rename(root / "dogs" / "z.png"), (True, True)),
        (lambda root: shutil.copy(root / "cats" / "a.png", root / "dogs" / "a.png"), (False, True)),
    ],
)
def test_a_split_is_identified_by_names_labels_and_contents(folder, tmp_path, changed, differs):
    shutil.copytree(folder, tmp_path / "copy")
    before = open_dataset(f"folder:{tmp_path}/copy").sets["train"]
    digests = [digest_of_listing(before), digest_of_contents(before)]
    changed(tmp_path / "copy")
    after = open_dataset(f"folder:{tmp_path}/copy").sets["train"]
    found = [digest_of_listing(after), digest_of_contents(after)]
    assert tuple(ours != theirs for ours, theirs in zip(digests, found, strict=True)) == differs


def test_contents_of_a_large_split_are_compared_in_part():
    images = [bytes([number]) for number in range(9)]
    whole = in_memory(images, np.zeros(9), "whole")
    for place, is_read in ((0, True), (1, False), (4, True), (7, False), (8, True)):
        other = in_memory([*images[:place], b"x", *images[place + 1 :]], np.zeros(9), "whole")
        assert (digest_of_contents(whole, most=3) != digest_of_contents(other, most=3)) == is_read
        assert digest_of_contents(whole) != digest_of_contents(other)


def test_a_worker_that_has_to_wait_with_its_failure_says_so(monkeypatch, capfd):
    """Otherwise nothing would be seen of it until the slowest of the others can be told."""
    agreement, said = Agreement(dataclasses.replace(make_cluster(1), my_replicas=range(0))), threading.Event()

    def gather(statement, cluster):
        assert json.loads(statement) == {"failed": "no such\nfolder"}
        assert said.wait(60)
        raise tf.errors.InternalError(None, None, "the others are gone")

    def say(line, **options):
        print(line, **options)
        said.set()

    monkeypatch.setattr(agreement_module, "_PATIENCE", 0.01)
    monkeypatch.setattr(agreement_module, "_gather", gather)
    monkeypatch.setattr(agreement_module, "print", say, raising=False)
    with pytest.raises(InputError, match="no such"), agreement:
        raise InputError("no such\nfolder")
    assert capfd.readouterr().err == "cannot start: no such folder; waiting for the other workers, to end them too\n"
