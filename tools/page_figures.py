"""Figures and tables that pages include: each is computed from its one source, a recipe, the table of nets or a report.

A page includes one between two comments, `<!-- [[[cog show(table_2()) ]]] -->` and `<!-- [[[end]]] -->`. `make pages` writes what
stands between them, and `make lint` refuses a page where it differs. Imports no TensorFlow.
"""

import contextlib
import io
import itertools
import json
import pathlib
import re
import statistics
import tomllib
from collections.abc import Iterable, Sequence
from typing import Any

from keras_vgg import configs, describe
from keras_vgg.reproduction import plan
from keras_vgg.reproduction.study_file import read_study
from keras_vgg.reproduction.work_folder import WorkFolder
from keras_vgg.support.progress import duration

ROOT = pathlib.Path(__file__).parents[1]
RECIPES = ROOT / "recipes"
DOCS = ROOT / "docs"
MINIATURE = DOCS / "paper-miniature"
"""The report of `make paper-miniature` that the page of the paper shows: `report.json`, with its charts in `report/`."""

NOT_RUN = "Not run yet."
VERDICTS = ("holds", "does not hold", "inconclusive")
_SETS = {"256": "256", "384": "384", "jitter": "[256; 512]"}
_CLASSIFIERS = [f"{net}-256" for net in ("a", "a-lrn", "b", "c", "d", "e")] + [
    f"{net}-{scale}" for scale in ("384", "jitter") for net in "cde"
]
_LOCALIZERS = ("d-384-scr-fc", "d-384-pcr-fc", "d-384-pcr", "d-256-pcr")
_REGRESSIONS = {"scr": "one box", "pcr": "a box per class"}
_TUNED = {"fc": "FC layers", "all": "all"}
_PROTOCOLS = {"both": "multi-crop & dense"}
_RESULTS = RECIPES / "README.md"
_TESTED = re.compile(
    r"^ *(?P<net>\w+(?: \+ \w+)?) +(?P<weights>[0-9a-f]{8}(?: \+ [0-9a-f]{8})?) +(?P<S>\S+(?: \+ \S+)?) +(?P<Q>\d+(?:, \d+)*) +"
    r"(?P<protocol>center|dense|multi-crop|both) +(?P<top1>\S+ \(\S+\)) +(?P<top5>\S+ \(\S+\))",
    re.MULTILINE,
)
_TESTED_ON = ("flowers17", "flowers17", "flowers17", "Imagenette")  # the nets in the order of their outputs
_DATA = {"voc2007": "VOC-2007", "voc2012": "VOC-2012", "caltech101": "Caltech-101", "caltech256": "Caltech-256"}


def show(lines: Iterable[str]) -> None:
    """Puts lines into the page, set off by blank lines, without which Markdown would take them for part of the comment."""
    import cog  # which exists only while cog runs

    cog.outl("\n".join(["", *lines, ""]))


def table_1() -> list[str]:
    """Table 1: the output of `python -m keras_vgg.describe`."""
    return _console(_output(describe.main, []))


def table_2() -> list[str]:
    """Table 2: parameters of each net, exact and in millions as the paper rounds them."""
    counts = [configs.parameter_count(arch) for arch in configs.CONFIGS]
    rows = [
        ["the paper, millions", *(f"{count / 1e6:.0f}" for count in counts)],
        ["exactly, with biases", *(f"{count:,}" for count in counts)],
    ]
    return _table(["", *configs.CONFIGS], rows)


def layers_of_digits() -> list[str]:
    """The net of `recipes/quickstart.toml`, layer by layer."""
    made = tomllib.loads((RECIPES / "quickstart.toml").read_text(encoding="utf-8"))
    flags = ["--arch", made["arch"], "--size", str(made["crop"]), "--classes", "10", "--width", str(made["width"])]
    return _console(_output(describe.main, flags), command=f"python -m keras_vgg.describe {' '.join(flags)}")


def errors_of(table: str) -> list[str]:
    """The paper's errors in Tables 3 to 6, from the table's recipe."""
    rows = []
    for row in _rows(table):
        nets = [_net(name) for name in row["models"]]
        scales = row["scales"]
        rows.append(
            [
                " + ".join(net for net, _ in nets) if len(nets) <= 2 else f"{len(nets)} nets of the submission",
                nets[0][1] if len({scale for _, scale in nets}) == 1 else "",
                ", ".join(map(str, scales)) if isinstance(scales, list) else "of each net",
                _PROTOCOLS.get(row["protocol"], row["protocol"]),
                _errors(row["paper"]),
                " ".join(f"`{_recipe(name)}`" for name in row["models"]),
            ]
        )
    return _table(["net", "S", "Q", "test", "top-1 / top-5 error", "recipes"], rows)


def boxes_of(table: str) -> list[str]:
    """The paper's localization errors in Tables 8 to 10, from the table's recipe."""
    made = _read(RECIPES / f"{table}.toml")
    rows = []
    for row in made["rows"]:
        scales = row["scales"].values() if isinstance(row["scales"], dict) else [row["scales"]]
        rows.append(
            [
                " + ".join(row["localisers"]),
                "; ".join(", ".join(map(str, each)) for each in scales),
                " ".join(f"`{pathlib.Path(made['localisers'][name]).name}`" for name in row["localisers"]),
                next(iter(row["paper"].values())),
            ]
        )
    measured = "error, class known" if table == "table8" else "top-5 error"
    return _table(["localizer" if table == "table8" else "localizer, by its S", "Q", "recipes", measured], rows)


def table_11() -> list[str]:
    """The paper's results in Table 11, from its recipe."""
    made = _read(RECIPES / "table11.toml")
    found: dict[str, dict[str, str]] = {}
    for row in made["rows"]:
        (value,) = row["paper"].values()
        told = " ± ".join(map(str, value)) if isinstance(value, list) else str(value)
        found.setdefault(" & ".join(row["models"]), {})[row["data"]] = told
    kinds = {name: "mean AP" if each["protocol"] == "multi-label" else "mean class recall" for name, each in made["data"].items()}
    headings = [f"{_DATA[name]}, {kinds[name]}" for name in made["data"]]
    return _table(["descriptors of", *headings], [[nets, *(each[name] for name in made["data"])] for nets, each in found.items()])


def tests_run_here() -> list[str]:
    """Our tests by the protocols of Sec. 3.2 as a table, from the outputs on the page of recipes."""
    found = [line.groupdict() for line in _TESTED.finditer(_RESULTS.read_text(encoding="utf-8"))]
    names = dict(zip(dict.fromkeys(each["weights"] for each in found), _TESTED_ON, strict=True))
    rows = [
        [
            names[each["weights"]],
            each["net"],
            each["S"],
            each["Q"],
            _PROTOCOLS.get(each["protocol"], each["protocol"]),
            each["top1"],
            each["top5"],
        ]
        for each in found
    ]
    return _table(["images", "network", "S", "Q", "test", "top-1 error (95%)", "top-5 error (95%)"], rows)


def table_under(heading: str) -> list[str]:
    """The first table under a heading of the page of recipes, which has the results of what was run."""
    _, found, below = _RESULTS.read_text(encoding="utf-8").partition(f"# {heading}\n")
    if not found:
        raise ValueError(f"{_RESULTS.name} must have the heading {heading!r}.")
    lines = below.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    return list(itertools.takewhile(lambda line: line.startswith("|"), lines[start:]))


def recipes_of_the_paper() -> list[str]:
    """All classifiers of Tables 3 and 4 with the paper's errors, from their recipes."""
    rows = []
    for name in _CLASSIFIERS:
        made = _read(RECIPES / f"{name}.toml")
        start = pathlib.Path(made["init_from"]).name if "init_from" in made else None
        scale = _SETS[name.rpartition("-")[2]]
        rows.append([f"`{name}`", made["arch"], scale, f"`{start}`" if start else "random", *_by_scales(made["paper"])])
    return _table(["recipe", "net", "S", "starts from", "paper, one Q", "paper, several Q"], rows)


def recipes_of_localizers() -> list[str]:
    """All localizers of Tables 8 to 10 with the paper's errors, from their recipes."""
    made = {name: _read(RECIPES / f"{name}.toml") for name in _LOCALIZERS}
    dense = {name: _box_errors(name) for name in _LOCALIZERS}
    rows = [
        [
            f"`{name}`",
            _REGRESSIONS[each["regression"]],
            _TUNED[each.get("tune", "all")],
            f"`{pathlib.Path(each['init_from']).name}`",
            each["paper"].get("known_class", {}).get("error", ""),
            dense[name],
        ]
        for name, each in made.items()
    ]
    return _table(["recipe", "regression", "tuned", "starts from", "paper, class known", "paper, dense"], rows)


def plan_of_the_paper() -> list[str]:
    """The plan of `recipes/paper.toml`, shortened: the first nodes, and the totals."""
    study, work = read_study(RECIPES / "paper.toml"), WorkFolder.at(ROOT / "runs" / "no-such-study")  # where no data were prepared
    told = plan.told(plan.make_plan(study, work)).splitlines()
    nodes = next(number for number, line in enumerate(told) if line.lstrip().startswith("node"))
    totals = next(number for number, line in enumerate(told) if line.startswith("total, "))
    # The last column, the source of each speed, is the widest by far.
    width = told[totals + 1].index(" MB/s") + len(" MB/s")
    machines = [line[:width].rstrip() for line in told[totals + 1 : told.index("", totals)]]
    lines = ["…", *told[nodes : nodes + 4], "…", "", told[totals], *machines, "", told[-1]]
    return _console(lines, command="python -m keras_vgg.reproduce plan recipes/paper.toml")


def miniature(table: str) -> list[str]:
    """Our errors beside the paper's in one of Tables 3 to 6, from the report of the miniature, if there is one."""
    report = _report()
    if report is None:
        return [NOT_RUN]
    rows = []
    for row in report["tables"][table]:
        claim = row["claim"] or {"says": None, "verdict": None}
        rows.append(
            [
                _label(row["models"]),
                _PROTOCOLS.get(row["protocol"], row["protocol"]),
                f"{row['paper']['top1_error']:.1f}" if "top1_error" in row["paper"] else "",
                _spread(row["top1_error"]),
                _spread(row["top5_error"]),
                _said(row) if row["claim"] else "",
                claim["verdict"] or "",
            ]
        )
    headings = ["net", "test", "paper, top-1 error", "ours, top-1 error", "ours, top-5 error", "claim of the paper", "verdict"]
    lines = _table(headings, rows)
    chart = MINIATURE / "report" / f"differences-{table}.svg"
    if chart.exists():
        lines += ["", f"![Differences of {table} with their confidence intervals]({chart.relative_to(DOCS).as_posix()})"]
    return lines


def miniature_starts() -> list[str]:
    """The initialization study of the miniature (Sec. 3.1), if there is a report."""
    report = _report()
    if report is None:
        return [NOT_RUN]
    starts = list(dict.fromkeys(each["start"] for each in report["starts"]))
    found: dict[str, dict[str, str]] = {}
    for each in report["starts"]:
        ends = [
            f"{100 * error:.1f}" if end == "learnt" else "stuck at chance" if end == "stuck" else end
            for end, error in zip(each["ends"], each["top1_error"], strict=True)
        ]
        found.setdefault(each["net"], {})[each["start"]] = ", ".join(ends)
    return _table(["net", *starts], [[net, *(each.get(start, "") for start in starts)] for net, each in found.items()])


def miniature_facts() -> list[str]:
    """Data, seeds, machine and time of the miniature, if there is a report."""
    report = _report()
    if report is None:
        return [NOT_RUN]
    data, took = report["data"], report["took"]
    images = data["images"]
    hours = {name: duration(3600 * took[f"{name}_hours"]) for name in ("trainings", "starts", "tests")}
    rows = [row["claim"] for each in report["tables"].values() for row in each]
    verdicts = [claim["verdict"] for claim in rows if claim and claim["says"]]
    counts = ", ".join(f"{verdict} {verdicts.count(verdict)}" for verdict in VERDICTS)
    return [
        f"- Images: {images['train']:,} for training, {images['validation']:,} for validation, {images[data['split']]:,} for the "
        f"tests; {data['classes']} classes.",
        f"- Trainings: {len(report['trainings'])} nets, {report['seeds']} random seeds each.",
        f"- Machine: {report['machine']}; TensorFlow {took['tensorflow']}, Keras {took['keras']}.",
        f"- Computing time, summed over processes, some of them parallel: trainings {hours['trainings']}, initializations "
        f"{hours['starts']}, tests {hours['tests']}.",
        f"- Verdicts on the paper's {len(verdicts)} claims: {counts}.",
    ]


def _report() -> dict[str, Any] | None:
    path = MINIATURE / "report.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _label(models: Sequence[str]) -> str:
    return " + ".join(models) if len(models) <= 2 else f"{len(models)} nets"


def _said(row: dict[str, Any]) -> str:
    other = row["claim"]["against"]
    if list(other["models"]) != list(row["models"]):
        name = _label(other["models"])
    elif other["protocol"] != row["protocol"]:
        name = _PROTOCOLS.get(other["protocol"], other["protocol"])
    else:
        name = f"Q = {other['Q']}"
    says = row["claim"]["says"]
    return f"none (next to {name})" if says is None else f"like {name}" if says == "alike" else f"{says} than {name}"


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.fmean(values):.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


def _read(path: pathlib.Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _rows(table: str) -> list[dict[str, Any]]:
    return _read(RECIPES / f"{table}.toml")["rows"]


def _net(name: str) -> tuple[str, str]:
    arch, _, scale = name.partition("/")
    return arch, _SETS[scale]


def _recipe(name: str) -> str:
    return name.lower().replace("/", "-")


def _errors(paper: dict[str, float]) -> str:
    return f"{paper['top1_error']:.1f} / {paper['top5_error']:.1f}"


def _by_scales(paper: dict[str, Any]) -> list[str]:
    kinds = [paper.get(kind) for kind in ("single_scale", "multi_scale")]
    return [f"{_errors(each)} at {', '.join(map(str, each['scales']))}" if each else "" for each in kinds]


def _box_errors(name: str) -> str:
    """The errors in Table 9 of a localizer alone, and for the first of them that of both."""
    told = []
    for row in _rows("table9"):
        nets = [{"256": "d-256-pcr", "384": "d-384-pcr"}[each] for each in row["localisers"]]
        error = next(iter(row["paper"].values()))
        if nets == [name]:
            told.append(f"{error} at {', '.join(map(str, row['scales']))}")
        elif name == nets[0]:
            told.append(f"with `{nets[1]}` {error}")
    return "; ".join(told)


def _output(main, arguments: list[str]) -> list[str]:
    with contextlib.redirect_stdout(io.StringIO()) as told:
        main(arguments)
    return [line.rstrip() for line in told.getvalue().rstrip().splitlines()]


def _console(lines: Iterable[str], command: str = "python -m keras_vgg.describe") -> list[str]:
    return ["```console", f"$ {command}", *lines, "```"]


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [f"| {' | '.join(map(str, line))} |".replace("|  |", "| |").replace("|  |", "| |") for line in [headings, *rows]]
    return [lines[0], f"|{'---|' * len(headings)}", *lines[1:]]
