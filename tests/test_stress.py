"""The tool that lets writes fail, kills processes and damages files, with a handful of trials."""

import csv
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))


def stress(out, *arguments):
    """Runs the tool; returns its rows."""
    command = [sys.executable, "tools/stress.py", *arguments, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with open(out, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc compiles what lets writes fail")
def test_failing_writes_of_a_conversion_end_in_one_line(tmp_path):
    rows = stress(tmp_path / "writes.csv", "writes", "--commands", "convert-pth", "--count", "2")
    assert [row["error"] for row in rows] == ["ENOSPC", "EDQUOT", "EIO"] * 2
    outcomes = [row["outcome"] for row in rows]
    assert "one line, nothing lost" in outcomes
    assert {*outcomes} <= {"one line, nothing lost", "succeeded, all whole"}  # what is only looked at may fail


@pytest.mark.slow
def test_a_killed_conversion_ends_as_an_undisturbed_one_and_leaves_nothing_beside(tmp_path):
    rows = stress(tmp_path / "kills.csv", "kills", "--commands", "convert-pth", "--count", "1")
    assert sum(int(row["kills"]) for row in rows) >= 1
    assert {row["outcome"] for row in rows} == {"as undisturbed"}


@pytest.mark.slow
def test_damaged_files_are_read_or_refused(tmp_path):
    rows = stress(tmp_path / "damage.csv", "damage", "--what", "images", "--count", "20")
    assert [(row["number"], row["reader"]) for row in rows[:3]] == [("0", "training"), ("0", "testing"), ("0", "serving")]
    assert len(rows) == 60
    assert {row["outcome"] for row in rows} == {"refused in one line", "read the same", "read otherwise"}


@pytest.mark.slow
def test_crashes_hangs_and_memory_are_put_down_to_their_trial_and_the_others_go_on(tmp_path, monkeypatch):
    from stressing import batches

    monkeypatch.setattr(batches, "LONGEST", 4.0)  # a gigabyte takes a second to fill
    here = batches._resident(os.getpid(), "VmRSS")  # which forked children start with
    monkeypatch.setattr(batches, "MOST_MEMORY", here + 2**29)
    found = {}
    trials = ["whole", "crash", "whole too", "hang", "memory", "traceback", "the last"]
    batches.run(trials, lambda: misbehave, lambda trial, outcome, told: found.update({trial: outcome}), folder=tmp_path, size=3)
    assert found == {
        "whole": "read", "crash": "fault: signal 9", "whole too": "read", "hang": "fault: hang", "memory": "fault: memory",
        "traceback": "fault: traceback", "the last": "read",
    }  # fmt: skip


def misbehave(trial):
    if trial == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if trial == "hang":
        time.sleep(60)
    if trial == "memory":
        from stressing import batches

        len(b"x" * (batches.MOST_MEMORY + 2**28))  # whatever a forked child starts with: file-backed pages it may not have
    if trial == "traceback":
        raise KeyError(trial)
    return "read"


def test_a_number_is_always_the_same_damage():
    from stressing import damage

    content = bytes(range(256)) * 40
    drawn = [damage.damaged(content, random.Random(number)) for number in range(200)]
    assert drawn == [damage.damaged(content, random.Random(number)) for number in range(200)]
    assert {way for way, _ in drawn} == {"flip", "zeros", "truncate", "double", "lengthen"}
    assert sum(changed == content for _, changed in drawn) < 5


def test_calls_of_each_kind_on_each_file_are_drawn_before_a_second_of_any():
    from stressing import writes

    calls = [("write", "run/.writing-f773fe26f892-30830-1.state.zip")] * 50 + [("open", "run/log.csv"), ("write", "run/log.csv")]
    calls += [("write", "run/.writing-1-2-3.state.zip"), ("rename", "run/state.zip")]
    drawn = writes._drawn(calls, random.Random(0))
    assert sorted(drawn) == [*range(1, 55)]
    assert {51, 52, 54} < {*drawn[:4]}
