"""The workflow as Snakemake runs it: the ImageNet graph without data, clusters, and a small study killed and gone on with."""

import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest

from keras_vgg.reproduction.work_folder import WorkFolder

ROOT = pathlib.Path(__file__).parents[1]
RECIPE = 'arch = "{arch}"\nwidth = 0.05\ncrop = 32\nscale = 32\nlimit_images = 64\nbatch_size = 32\nepochs = 1\n'
TABLE = """
[models]
A = "runs/small-a"
B = "runs/small-b"

[[rows]]
models = ["A"]
protocol = "dense"
scales = [32]
paper = { top1_error = 29.6, top5_error = 10.4 }

[[rows]]
models = ["B"]
protocol = "center"
scales = [34]
paper = { top1_error = 28.7, top5_error = 9.9 }
claim = { says = "better", against = { models = ["A"], protocol = "dense" } }

[[rows]]
models = ["A", "B"]
protocol = "dense"
scales = { A = [32], B = [32, 34] }
paper = { top1_error = 28.0, top5_error = 9.0 }
claim = { says = "better", against = { models = ["A"] } }
"""
STUDY = """
title = "Digits"
dataset = "digits"
split = "val"
seeds = 2
threads = 1
trainings = ["small-a", "small-b"]
tables = ["small"]

[initialisation]
archs = ["small-b"]
seeds = 1
starts = { "net A" = { init = "gaussian" }, "literal" = { init = "gaussian", init_deviation = 20.0 } }
"""


def snakemake(*arguments, folder, start=subprocess.run, **options):
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow/Snakefile"), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return start(command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)


def jobs(told):
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", told, re.MULTILINE)}


@pytest.mark.parametrize("profile", ["default", "slurm", "kubernetes"])
def test_the_imagenet_graph_has_twelve_trainings_and_four_tables(tmp_path, profile):
    """A dry run by the engine itself, here and on clusters, which are not run anywhere here."""
    study, profile = f"study={ROOT / 'recipes/paper.toml'}", str(ROOT / "workflow/profiles" / profile)
    made = snakemake("--dry-run", "--profile", profile, "--config", study, f"work={tmp_path}/work", folder=tmp_path)
    assert made.returncode == 0, made.stdout
    expected = {"prepare": 1, "train": 12, "test": 12, "table": 4, "report": 1, "all": 1, "total": 31}
    assert jobs(made.stdout) == expected
    begins = re.findall(r"recipes/([\w-]+)\.toml --seed 0 --init-from \S+/runs/([\w-]+)/seed-0", made.stdout)
    assert dict(begins)["d-jitter"] == "d-384"
    assert len(begins) == 10


def test_a_mistake_is_one_line(tmp_path):
    made = snakemake("--dry-run", "--config", f"study={ROOT / 'recipes/paper.toml'}", "seeds=0", folder=tmp_path)
    assert made.returncode == 1
    assert "`seeds` must be at least 1. Received: 0." in made.stdout


@pytest.mark.slow
def test_a_study_that_was_killed_resumes(tmp_path):
    for net in ("A", "B"):
        (tmp_path / f"small-{net.lower()}.toml").write_text(RECIPE.format(arch=net))
    with open(tmp_path / "small-b.toml", "a") as recipe:
        recipe.write('init_from = "runs/small-a"\n')
    (tmp_path / "small.toml").write_text(TABLE)
    (tmp_path / "study.toml").write_text(STUDY)
    work = tmp_path / "work"
    arguments = ["--config", "study=study.toml", "work=work"]
    first = snakemake(*arguments, folder=tmp_path, start=subprocess.Popen, start_new_session=True)
    finished = itertools.islice((line for line in first.stdout if line.startswith("Finished jobid")), 2)
    assert sum("(Rule: train)" in line for line in finished) == 1  # behind `prepare`
    os.killpg(first.pid, signal.SIGKILL)  # Snakemake and the nodes that it runs
    first.communicate()
    before = {path: path.stat().st_mtime_ns for path in work.glob("runs/*/*/summary.json")}
    second = snakemake(*arguments, folder=tmp_path)
    assert second.returncode == 0, second.stdout
    assert any(path.stat().st_mtime_ns == written for path, written in before.items())  # what was done is not done again
    check_report(work)
    check_report_without_images(tmp_path, work)
    assert json.loads((work / "runs/small-b-from-literal/seed-0/summary.json").read_text())["ended_by"] == "diverged"
    assert "Nothing to be done" in snakemake(*arguments, folder=tmp_path).stdout
    check_change(tmp_path, work, arguments)
    check_lock(tmp_path, work, arguments)
    check_failure(tmp_path, work, arguments)


def check_report(work):
    """Its figures are those of the nodes' own files."""
    outcome = json.loads((work / "report.json").read_text())
    rows = outcome["tables"]["small"]
    for seed in (0, 1):
        tested = json.loads((work / f"tests/small-a/seed-{seed}/table.json").read_text())
        row = next(line for line in tested if (line["protocol"].partition(",")[0], line["Q"]) == ("dense", "32"))
        assert rows[0]["top1_error"][seed] == pytest.approx(row["top-1 error"], abs=1e-3)
        summary = json.loads((work / f"runs/small-a/seed-{seed}/summary.json").read_text())
        assert rows[0]["nets sha256"][seed] == summary["best_sha256"]
    means = [sum(row["top1_error"]) / 2 for row in rows]
    assert rows[1]["claim"]["difference"] == pytest.approx((means[1] - means[0]) / 100, abs=1e-6)
    assert rows[2]["nets sha256"][0].count(" + ") == 1
    assert [each["ends"] for each in outcome["starts"]][1] == ["diverged"]
    page = (work / "report.html").read_text()
    assert page.count("<svg") == 4  # differences, trainings, starts, confusion
    assert "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", page)  # holds everything within itself
    markdown = (work / "report.md").read_text()
    for picture in re.findall(r"\]\((report/[^)]*)\)", markdown):
        assert (work / picture).exists()


def check_report_without_images(folder, work):
    command = [sys.executable, "-m", "keras_vgg.reproduce", "report", "study.toml", "--work", str(work)]
    made = subprocess.run([*command, "--out", "published", "--without-images"], cwd=folder, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    whole, without = (place / "report.json" for place in (work, folder / "published"))
    assert json.loads(without.read_text())["tables"] == json.loads(whole.read_text())["tables"]
    assert list(work.glob("report/*.png"))
    assert not list((folder / "published").rglob("*.png"))
    for name in ("report.html", "report.md"):
        assert "Heat maps" in (work / name).read_text()
        assert "Heat maps" not in (folder / "published" / name).read_text()
        assert "<img" not in (folder / "published" / name).read_text()


def check_change(folder, work, arguments):
    """A study that says something else is done again so far as it does."""
    study = folder / "study.toml"
    study.write_text(study.read_text().replace('title = "Digits"', 'title = "Digits"\nmargin = 0.02'))
    assert jobs(snakemake("--dry-run", *arguments, folder=folder).stdout) == {"table": 1, "report": 1, "all": 1, "total": 3}


def check_lock(folder, work, arguments):
    """Two workflows do not share a folder; a first one that was killed holds none."""
    with WorkFolder(work).claim():
        made = snakemake(*arguments, folder=folder)
    assert made.returncode == 1
    assert "is in use by another workflow" in made.stdout


def check_failure(folder, work, arguments):
    """A node that fails names itself, and what does not need it goes on."""
    shutil.rmtree(work / "tests")
    (work / "runs/small-b/seed-1/best.keras").write_bytes(b"damaged")
    made = snakemake(*arguments, folder=folder)
    assert made.returncode == 1
    assert "Error in rule test:" in made.stdout
    assert "training=small-b, seed=1" in made.stdout
    assert (work / "tests/small-b/seed-0/table.json").exists()
    assert not (work / "tests/small-b/seed-1/table.json").exists()
