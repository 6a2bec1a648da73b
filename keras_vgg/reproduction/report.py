"""The report of a study: one page that holds everything within itself, the same in Markdown with its charts beside it, and data.

`report.html`; `report.md` with `report/*.svg`; `report.json`, all figures as data, from which both are made.
"""

import base64
import importlib.resources
import math
import pathlib
from typing import IO, Any

import numpy as np

from keras_vgg.data.datasets import open_dataset
from keras_vgg.evaluation.metrics import confusion
from keras_vgg.identity import short
from keras_vgg.reproduction import examples, figures
from keras_vgg.reproduction.outcome import gather, mean_and_deviation
from keras_vgg.reproduction.probe import machine
from keras_vgg.reproduction.statistics import FAILS, HOLDS, OPEN
from keras_vgg.reproduction.study import Study
from keras_vgg.reproduction.tables import measured
from keras_vgg.reproduction.work_folder import WorkFolder, write_json
from keras_vgg.support import extras, files
from keras_vgg.support.progress import duration, speed

_MINUS = "−"


def write_report(study: Study, work: WorkFolder, *, stream: IO[str] | None = None) -> str:
    """Writes the report of a study whose nodes are done, and returns its verdicts for people.

    Raises:
        InputError: if a node's file is missing or damaged, or nothing can be written.
    """
    outcome = gather(study, work) | {"machine": machine()}
    charts = _charts(study, outcome)
    pictures = _pictures(study, work, outcome, charts)
    write_json(work.path / "report.json", outcome)
    beside = work.report.with_suffix("")
    files.make_folder(beside)
    for name, svg in charts.items():
        files.write_text(beside / f"{name}.svg", _alone(svg))
    for name, group in pictures.items():
        for number, picture in enumerate(group, 1):
            picture["file"] = f"{beside.name}/{name}-{number}.png"
            with files.replacing(beside / f"{name}-{number}.png") as written:
                pathlib.Path(written).write_bytes(base64.b64decode(picture["picture"]))
    values = {"outcome": outcome, "claims": _claims(outcome), "charts": charts, "pictures": pictures, "folder": beside.name}
    files.write_text(work.report.with_suffix(".md"), render("report.md.j2", values))
    files.write_text(work.report, render("report.html.j2", values))
    return f"{verdicts_told(outcome)}\n\n{work.report}"


def render(template: str, values: dict[str, Any]) -> str:
    """Returns a template of this package, filled in."""
    with extras.needed("paper"):
        import jinja2

    loader = jinja2.FunctionLoader(lambda name: (importlib.resources.files(__package__) / name).read_text(encoding="utf-8"))
    environment = jinja2.Environment(
        loader=loader,
        autoescape=template.endswith(".html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "spread": spread, "points": points, "duration": duration, "speed": speed, "short": short, "interval": _interval,
    }  # fmt: skip
    return environment.get_template(template).render(**values)


def spread(values: list[float]) -> str:
    """Returns a mean over seeds and its deviation for people, `41.3 ± 0.8`."""
    mean, deviation = mean_and_deviation(values)
    return f"{mean:.1f}" if deviation is None else f"{mean:.1f} ± {deviation:.1f}"


def points(share: float) -> str:
    """Returns a difference of shares in points, with its sign: `+1.3`, `−0.4`."""
    return signed(100 * share)


def signed(number: float) -> str:
    """Returns a number with its sign and one digit behind the point."""
    rounded = f"{abs(number):.1f}"
    return rounded if rounded == "0.0" else f"{'+' if number > 0 else _MINUS}{rounded}"


def _interval(ends: list[float | None]) -> str:
    return "" if ends[0] is None or ends[1] is None else f"{points(ends[0])} to {points(ends[1])}"


def label_of(row: dict) -> str:
    """Returns what a row is called: its nets, or how many there are."""
    models = row["models"]
    return " + ".join(models) if len(models) <= 2 else f"{len(models)} nets"


def verdicts_told(outcome: dict) -> str:
    """Returns how many of the paper's claims hold."""
    found = [claim["verdict"] for claim in _claims(outcome)]
    counts = ", ".join(f"{found.count(verdict)} {verdict}" for verdict in (HOLDS, FAILS, OPEN))
    return f"of {len(found)} claims: {counts}"


def _claims(outcome: dict) -> list[dict]:
    return [row["claim"] for rows in outcome["tables"].values() for row in rows if row["claim"]]


def _charts(study: Study, outcome: dict) -> dict[str, str]:
    charts = {}
    for name, rows in outcome["tables"].items():
        for row in rows:
            row["label"] = label_of(row)
            if row["claim"]:
                row["claim"]["other"] = _other(row)
        claims = [
            row["claim"] | {"label": f"{row['label']}, {row['protocol']} against {row['claim']['other']}"}
            for row in rows
            if row["claim"]
        ]
        charts[f"differences-{name}"] = figures.differences(claims)
    charts["trainings"] = figures.trainings(outcome["trainings"])
    if outcome["starts"]:
        charts["starts"] = figures.starts(outcome["starts"], math.log(outcome["data"]["classes"]))
    return charts


def _other(row: dict) -> str:
    """Returns the row that another is set against in few words: what of it differs."""
    other = row["claim"]["against"]
    if list(other["models"]) != list(row["models"]):
        return label_of(other)
    return other["protocol"] if other["protocol"] != row["protocol"] else "one scale"


def _pictures(study: Study, work: WorkFolder, outcome: dict, charts: dict[str, str]) -> dict[str, list[dict]]:
    dataset = open_dataset(work.dataset_of(study))
    names = [study.class_names.get(name, name) for name in dataset.classes]
    places = list(study.places)
    alone = [place for place in places if len(place.models) == 1]
    rows = {place: measured(study, work, place) for place in places}
    mean_of = {place: float(rows[place].wrong(1).mean()) for place in places}
    best = min(places, key=lambda place: mean_of[place])
    counts = sum(confusion(each.values, each.labels) for each in rows[best].posteriors)
    charts["confusion"] = figures.confusion(np.asarray(counts), names)
    outcome["best"] = {"models": best.models, "protocol": best.protocol, "table": best.table, "top1_error": 100 * mean_of[best]}
    of_nets = [rows[place] for place in alone]
    outcome["wrong_for_all"] = examples.count_wrong_for_all(of_nets)
    outcome["images"] = len(of_nets[0].posteriors[0].labels)
    best_net = min((place for place in alone if place.protocol == "dense"), key=lambda place: mean_of[place])
    looks = examples.seen(study, work, study.places[best_net].trainings[0], rows[best_net], dataset)
    outcome["looks"] = best_net.models[0]
    found = {"hardest": examples.hardest(of_nets, dataset, study.split), "looks": looks}
    for group in found.values():
        for picture in group:
            for key in ("right", "guess"):
                if key in picture:
                    picture[key] = names[picture[key]]
    return found


def _alone(svg: str) -> str:
    """Returns a chart as a file of its own: on white, since a page's colour does not reach it."""
    return svg.replace("currentColor", "#1a1a1a").replace("<svg ", '<svg style="background:#ffffff" ', 1)
