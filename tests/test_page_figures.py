"""Tables that pages include: the pages are up to date, and the report of a miniature is shown as it is."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import page_figures  # noqa: E402

PAGES = [
    path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/*.md")) if "[[[cog" in path.read_text()
]


def claim(models, says="better", verdict="holds", protocol="dense", q="64"):
    against = {"table": "table3", "models": models, "protocol": protocol, "Q": q}
    return {"says": says, "against": against, "verdict": verdict}


def row(models, errors, told=None, protocol="dense", paper=(28.7, 9.9)):
    named = dict(zip(("top1_error", "top5_error"), paper, strict=False))
    return {
        "models": models,
        "protocol": protocol,
        "S": "64",
        "Q": "64",
        "top1_error": errors,
        "top5_error": [20.0, 22.0, 24.0],
    } | {
        "paper": named,
        "claim": told,
    }


REPORT = {
    "seeds": 3,
    "machine": "two cores",
    "data": {"images": {"train": 7000, "validation": 1000, "test": 3000}, "split": "test", "classes": 20},
    "took": {"trainings_hours": 1.5, "starts_hours": 0.2, "tests_hours": 0.1, "tensorflow": "2.21.0", "keras": "3.15.0"},
    "trainings": [{}] * 12,
    "starts": [
        {"net": "A", "start": "Glorot", "ends": ["learnt"], "top1_error": [0.613]},
        {"net": "A", "start": "gaussian 0.1", "ends": ["diverged"], "top1_error": [None]},
        {"net": "E", "start": "Glorot", "ends": ["stuck"], "top1_error": [0.95]},
    ],
    "tables": {
        "table3": [
            row(["A/256"], [50.0, 52.0, 54.0]),
            row(["B/256"], [49.0, 50.0, 51.0], claim(["A/256"])),
            row(["B/384"], [49.0, 50.0, 51.0], claim(["B/256"], None, None)),
        ],
        "table5": [row(["D/jitter"], [45.0, 45.0, 45.0], claim(["D/jitter"], "better", "inconclusive"), protocol="both")],
        "table6": [row([f"{net}/256" for net in "ABCDE"], [44.0, 44.5, 45.0], claim(["D/jitter"], verdict="does not hold"))],
    },
}


@pytest.fixture
def reported(tmp_path, monkeypatch):
    (tmp_path / "report.json").write_text(json.dumps(REPORT), encoding="utf-8")
    monkeypatch.setattr(page_figures, "MINIATURE", tmp_path)
    return tmp_path


def cells(lines):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_without_a_report_the_miniature_was_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(page_figures, "MINIATURE", tmp_path)
    for lines in (page_figures.miniature("table3"), page_figures.miniature_starts(), page_figures.miniature_facts()):
        assert lines == [page_figures.NOT_RUN]


def test_the_miniature_stands_beside_the_paper(reported):
    first, second, third = cells(page_figures.miniature("table3"))
    assert first == ["A/256", "dense", "28.7", "52.0 ± 2.0", "22.0 ± 2.0", "", ""]
    assert second == ["B/256", "dense", "28.7", "50.0 ± 1.0", "22.0 ± 2.0", "better than A/256", "holds"]
    assert third[-2:] == ["none (next to B/256)", ""]
    (both,) = cells(page_figures.miniature("table5"))
    assert (both[1], *both[-2:]) == ("multi-crop & dense", "better than dense", "inconclusive")
    (fused,) = cells(page_figures.miniature("table6"))
    assert (fused[0], *fused[-2:]) == ("5 nets", "better than D/jitter", "does not hold")


def test_the_miniature_has_its_facts_and_its_starts(reported):
    assert cells(page_figures.miniature_starts()) == [["A", "61.3", "diverged"], ["E", "stuck at chance", ""]]
    told = "\n".join(page_figures.miniature_facts())
    assert "3,000 for the tests; 20 classes" in told
    assert "trainings 1h30m" in told
    assert "3 claims: holds 1, does not hold 1, inconclusive 1." in told


def test_charts_of_the_miniature_are_shown_where_there_are_any(reported, monkeypatch):
    assert not [line for line in page_figures.miniature("table3") if line.startswith("![")]
    monkeypatch.setattr(page_figures, "DOCS", reported.parent)
    (reported / "report").mkdir()
    (reported / "report" / "differences-table3.svg").write_text("<svg/>")
    assert page_figures.miniature("table3")[-1].endswith(f"({reported.name}/report/differences-table3.svg)")


def test_a_table_of_results_is_taken_whole():
    lines = page_figures.table_under("With predicted classes")
    assert lines[0].startswith("| localizer | top-1 error")
    assert lines[-1].startswith("| all thirteen combined")
    with pytest.raises(ValueError, match="must have the heading 'No such'"):
        page_figures.table_under("No such")


def test_all_our_tests_are_shown():
    found = cells(page_figures.tests_run_here())
    assert len(found) == 20
    assert found[2] == ["flowers17", "jitter", "[72;104]", "72, 88, 104", "dense", "31.6 (26.4–37.4)", "6.2 (3.9–9.8)"]
    assert found[-1][:2] == ["Imagenette", "jitter"]


def test_pages_include_what_their_sources_say():
    pytest.importorskip("cogapp")
    made = re.search(r"COG := \$\(BIN\)/cog (.*)\n", (ROOT / "Makefile").read_text())
    assert made
    assert made[1] == '-I tools -p "from page_figures import *"'
    command = [sys.executable, "-m", "cogapp", "--check", "-I", "tools", "-p", "from page_figures import *", *map(str, PAGES)]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert finished.returncode == 0, f"`make pages` updates them: {finished.stdout}{finished.stderr}"
