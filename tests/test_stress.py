"""The tool that lets writes fail and kills processes, with a handful of trials."""

import csv
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc compiles what lets writes fail")
def test_failing_writes_of_a_conversion_end_in_one_line(tmp_path):
    out = tmp_path / "writes.csv"
    command = [sys.executable, "tools/stress.py", "writes", "--commands", "convert-pth", "--count", "2", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["error"] for row in rows] == ["ENOSPC", "EDQUOT", "EIO"] * 2
    assert any(row["outcome"] == "one line, nothing lost" for row in rows)


def test_a_killed_conversion_ends_as_an_undisturbed_one_but_for_what_it_left_beside(tmp_path):
    out = tmp_path / "kills.csv"
    command = [sys.executable, "tools/stress.py", "kills", "--commands", "convert-pth", "--count", "2", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["kills"]) for row in rows) >= 2
    assert {row["outcome"] for row in rows} <= {"as undisturbed", "fault: left beside"}
