"""The micro-batch: an even share of the batch that fits, the same one after a stop, another one on other replicas."""

import itertools
import math
import os

import numpy as np
import psutil
import pytest
from logical_clusters import make_cluster

from keras_vgg import fit
from keras_vgg.data.order import Layout, even_share
from keras_vgg.recipe import Recipe
from keras_vgg.support import gpu_memory
from keras_vgg.training import checkpoint, memory
from keras_vgg.training.micro_batch import choose

GIB = 2**30


def places(batch, micro_batch, replicas):
    return Layout(batch, micro_batch, replicas).micro_steps(batch, 0) * replicas * micro_batch


@pytest.mark.parametrize(
    ("batch", "replicas", "group", "fits", "expected"),
    [
        (128, 3, 1, 1000, 43),
        (128, 3, 1, 42, 22),  # two micro-batches each
        (16, 4, 1, 16, 4),
        (256, 1, 1, 17, 16),
        (53, 1, 1, 64, 53),
        (2, 4, 1, 8, 1),
        (128, 3, 32, 1000, 64),  # four groups: two replicas have two of them
        (128, 3, 32, 40, 32),
        (100, 1, 32, 5, 32),  # a group is never divided
    ],
)
def test_even_shares_by_hand(batch, replicas, group, fits, expected):
    assert even_share(batch, replicas, at_most=fits, group=group) == expected


@pytest.mark.parametrize("group", [1, 2, 8])
def test_no_other_micro_batch_that_fits_computes_fewer_rounds_or_fewer_places_in_them(group):
    for batch, replicas, fits in itertools.product((1, 7, 64, 100, 128), (1, 2, 3, 4, 8), (1, 3, 16, 43, 200)):
        share = even_share(batch, replicas, at_most=fits, group=group)
        assert share % group == 0
        others = range(group, max(fits, group) + 1, group)
        assert share in others
        rounds = {other: Layout(batch, other, replicas).micro_steps(batch, 0) for other in others}
        fewest = min(rounds.values())
        assert rounds[share] == fewest
        assert places(batch, share, replicas) == min(places(batch, other, replicas) for other in others if rounds[other] == fewest)


def test_what_fits_is_an_upper_bound_not_rounded_down(monkeypatch):
    """Net D at 224 x 224 takes 120 MB an image, so that 53 fit where 64 do not."""
    recipe = Recipe(arch="D")
    monkeypatch.setattr(memory, "_CPU_BYTES", 100 * GIB)
    free = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free._replace(available=16 * GIB))
    fits = memory.images_that_fit(recipe, 1000, 1, 1, pytest.fail)
    assert 48 < fits < 64
    told = []
    assert choose(recipe, 10_000, 1000, make_cluster(1), None, told.append) == math.ceil(256 / math.ceil(256 / fits))
    assert told == []


SMALL = Recipe(width=0.02, crop=32, scale=32, batch_size=52)


@pytest.mark.parametrize(("replicas", "expected"), [(1, 52), (2, 26), (4, 13)])
def test_a_resumed_run_chooses_anew_on_other_replicas(replicas, expected):
    told = []
    kept = {"micro_batch": 52, "replicas": 1}
    assert choose(SMALL, 1000, 10, make_cluster(replicas), kept, told.append) == expected
    if replicas == 1:  # the same sums in the same order
        assert told == []
    else:
        (line,) = told
        assert line.startswith(f"micro-batches of {expected} instead of 52, since the run has {replicas} replicas instead of 1")


def test_on_the_same_replicas_it_stays_whatever_is_free(monkeypatch):
    monkeypatch.setattr(memory, "_CPU_BYTES", 1)  # now one image would fit
    assert choose(SMALL, 1000, 10, make_cluster(2), {"micro_batch": 26, "replicas": 2}, pytest.fail) == 26
    assert choose(SMALL, 1000, 10, make_cluster(2), None, pytest.fail) == 1


def test_a_run_of_a_version_that_kept_no_replicas_stays_as_it_was():
    told = []
    assert choose(SMALL, 1000, 10, make_cluster(4), {"micro_batch": 52}, told.append) == 52
    assert told == ["Warning: batches of 52 in micro-batches of 52 leave 3 of 4 replicas idle; pass --micro-batch 13"]


def test_small_datasets_have_smaller_batches():
    assert choose(SMALL, 20, 10, make_cluster(4), None, pytest.fail) == 5


@pytest.mark.parametrize(
    ("fields", "replicas", "told"),
    [
        (
            {"batch_size": 16, "micro_batch": 16},
            4,
            "batches of 16 in micro-batches of 16 leave 3 of 4 replicas idle; pass --micro-batch 4",
        ),
        (
            {"batch_size": 128, "micro_batch": 32},
            3,
            "batches of 128 in micro-batches of 32 leave 2 of 3 replicas idle in the last of 2 rounds; pass --micro-batch 22",
        ),
        ({"batch_size": 128, "micro_batch": 43}, 3, None),
        ({"batch_size": 256, "micro_batch": 53}, 1, None),  # 9 places in 265 are empty, but nobody is idle
        ({"batch_size": 2, "micro_batch": 1}, 4, None),  # there is nothing better
        ({"batch_size": 32, "micro_batch": 32, "batch_norm": True}, 4, None),  # a group is not divided
        (
            {"batch_size": 64, "micro_batch": 64, "batch_norm": True},
            2,
            "batches of 64 in micro-batches of 64 leave 1 of 2 replicas idle; pass --micro-batch 32",
        ),
    ],
)
def test_an_explicit_micro_batch_is_kept_but_idle_replicas_are_told(fields, replicas, told):
    lines = []
    recipe = Recipe(crop=32, scale=32, **fields)
    assert choose(recipe, 1000, 10, make_cluster(replicas), None, lines.append) == fields["micro_batch"]
    assert lines == ([f"Warning: {told}"] if told else [])
    if told:
        better = int(told.rpartition(" ")[2])
        assert places(recipe.batch_size, better, replicas) < places(recipe.batch_size, recipe.micro_batch, replicas)


def test_what_it_chose_and_for_whom_is_kept(tmp_path, capsys):
    fields = ("--width", "0.02", "--crop", "32", "--scale", "32", "--epochs", "1", "--limit-images", "26", "--no-jit")
    assert fit.main([*fields, "--batch-size", "13", "--workdir", str(tmp_path / "run"), "--replicas", "2"]) is None
    values = checkpoint.read_values(tmp_path / "run" / "state.zip")
    assert (values["micro_batch"], values["replicas"]) == (7, 2)
    assert "batches of 13 in micro-batches of 7 per replica" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_begun_on_one_replica_goes_on_evenly_on_four_and_ends_with_the_same_weights(tmp_path, capsys):
    fields = ["--width", "0.02", "--crop", "32", "--jitter", "32", "40", "--color", "--limit-images", "104", "--batch-size", "52"]
    alone, more = ([*fields, "--workdir", str(tmp_path / name)] for name in ("alone", "more"))
    fit.main([*alone, "--epochs", "2"])
    fit.main([*more, "--epochs", "1"])
    assert "micro-batches of 52 per replica" in capsys.readouterr().out
    fit.main([*more, "--epochs", "2", "--replicas", "4"])
    told = capsys.readouterr().out
    assert "micro-batches of 13 instead of 52" in told
    assert "micro-batches of 13 per replica" in told
    expected, values = checkpoint.load(tmp_path / "alone" / "state.zip")
    found, resumed = checkpoint.load(tmp_path / "more" / "state.zip")
    assert (resumed["position"]["epoch"], resumed["replicas"]) == (values["position"]["epoch"], 4)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)


A100, OTHER = "NVIDIA A100-SXM4-40GB", "NVIDIA GeForce RTX 3060"


def driver_tool(folder, monkeypatch, output, code=0):
    """Puts an executable named nvidia-smi first on the path, which answers as the driver's tool does, and only what it knows."""
    tool = folder / "nvidia-smi"
    known = "--query-gpu=name,memory.total,mig.mode.current --format=csv,noheader,nounits"
    tool.write_text(f'#!/bin/sh\n[ "$*" = "{known}" ] || exit 2\ncat <<"END"\n{output}\nEND\nexit {code}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("output", "names", "expected"),
    [
        (f"{A100}, 40960, Disabled", [A100], 40960),
        (f"{A100}, 40960, Disabled\n{OTHER}, 12288, [N/A]", [A100, OTHER], 12288),
        # CUDA_VISIBLE_DEVICES, by number or UUID, leaves TensorFlow the second one, or the first.
        (f"{OTHER}, 12288, [N/A]\n{A100}, 40960, Disabled", [A100], 40960),
        (f"{OTHER}, 12288, [N/A]\n{A100}, 40960, Disabled", [OTHER], 12288),
        (f"{OTHER}, 12288, [N/A]\n{OTHER}, 8192, [N/A]", [OTHER], 8192),  # which of them is not known
        ("NVIDIA GB10, [N/A], [N/A]", ["NVIDIA GB10"], None),  # memory shared with the CPU
        (f"{A100}, 40960, Disabled\nNVIDIA GB10, [N/A], [N/A]", [A100], 40960),
        (f"{A100}, 40960, Disabled\n{A100}, [Unknown Error], Disabled", [A100], None),
        (f"{A100}, 40960, Enabled", [f"{A100} MIG 1g.5gb"], 4291),
        (f"{A100}, 40960, Enabled", [f"{A100} MIG 3g.20gb", f"{A100} MIG 1c.2g.10gb"], 8583),
        (f"{A100}, 40960, Enabled", [A100], None),  # a part of it, but which?
        (f"{A100}, 40960, Disabled", ["NVIDIA H100"], None),
        (f"{A100}, 40960, Disabled", ["GPU"], None),
        ("No devices were found", [A100], None),
        ("", [A100], None),
    ],
)
def test_the_memory_of_the_gpus_that_tensorflow_sees(tmp_path, monkeypatch, output, names, expected):
    driver_tool(tmp_path, monkeypatch, output)
    found = gpu_memory.smallest(names)
    assert found == expected if expected is None else found // 2**20 == expected


def test_without_an_answer_it_is_unknown(tmp_path, monkeypatch):
    driver_tool(tmp_path, monkeypatch, f"{A100}, 40960, Disabled", code=9)
    assert gpu_memory.smallest([A100]) is None
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert gpu_memory.smallest([A100]) is None
    assert gpu_memory.smallest([f"{A100} MIG 2g.10gb"]) // 10**9 == 9
