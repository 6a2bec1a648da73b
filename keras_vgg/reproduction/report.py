"""The report of a study: a self-contained HTML page, the same in Markdown with separate charts, and the data.

Writes `report.html`; `report.md` with `report/*.svg`; and `report.json`, the data of both.
"""

import base64
import dataclasses
import importlib.resources
import math
import pathlib
from typing import IO, Any

import numpy as np

from keras_vgg.data.datasets import open_dataset
from keras_vgg.evaluation.confusion_matrix import NAMED
from keras_vgg.evaluation.metrics import confusion, most_confused
from keras_vgg.identity import short
from keras_vgg.reproduction import examples, figures
from keras_vgg.reproduction.claims import ALIKE, Place
from keras_vgg.reproduction.examples import Hardest
from keras_vgg.reproduction.outcome import claims_of, gather, mean_and_deviation
from keras_vgg.reproduction.probe import machine
from keras_vgg.reproduction.statistics import FAILS, HOLDS, OPEN
from keras_vgg.reproduction.study import Study
from keras_vgg.reproduction.tables import measured
from keras_vgg.reproduction.work_folder import WorkFolder, write_json
from keras_vgg.support import extras, files, plot_style
from keras_vgg.support.counts import counted
from keras_vgg.support.progress import duration, speed

_MINUS = "−"
_CONFUSED = 10  # pairs of classes that the report lists


def write_report(
    study: Study,
    work: WorkFolder,
    *,
    out: pathlib.Path | None = None,
    with_images: bool = True,
    stream: IO[str] | None = None,
) -> str:
    """Writes the report of a finished study, and returns its verdicts as text.

    Args:
        study: the study.
        work: its work folder.
        out: folder of the report; by default the work folder.
        with_images: whether the report shows images of the dataset, whose license may not allow publication.
        stream: for progress, or `None`.

    Raises:
        InputError: if a node's file is missing or damaged, or the report cannot be written.
    """
    looked = _look(study, work)
    outcome = gather(study, work) | looked.facts | {"machine": machine()}
    charts, pictures = _charts(outcome) | looked.charts, looked.pictures if with_images else {}
    page = (out or work.path) / work.report.name
    beside = page.with_suffix("")
    files.make_folder(beside)
    write_json(page.with_suffix(".json"), outcome)
    for name, svg in charts.items():
        files.write_text(beside / f"{name}.svg", _alone(svg))
    for name, group in pictures.items():
        for number, picture in enumerate(group, 1):
            picture["file"] = f"{beside.name}/{name}-{number}.png"
            with files.replacing(beside / f"{name}-{number}.png") as written:
                pathlib.Path(written).write_bytes(base64.b64decode(picture["picture"]))
    values = {
        "outcome": outcome,
        "claims": claims_of(outcome["tables"]),
        "charts": charts,
        "pictures": pictures,
        "folder": beside.name,
    }
    files.write_text(page.with_suffix(".md"), render("report.md.j2", values))
    files.write_text(page, render("report.html.j2", values))
    return f"{verdicts_told(outcome)}\n\n{page}"


def render(template: str, values: dict[str, Any]) -> str:
    """Returns a rendered template of this package."""
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
        "label": label_of, "counted": counted, "said": said, "error": _error,
    }  # fmt: skip
    return environment.get_template(template).render(**values)


def spread(values: list[float]) -> str:
    """Returns a mean over seeds and its deviation as text, `41.3 ± 0.8`."""
    mean, deviation = mean_and_deviation(values)
    return f"{mean:.1f}" if deviation is None else f"{mean:.1f} ± {deviation:.1f}"


def points(share: float) -> str:
    """Returns a difference of shares in points, with its sign: `+1.3`, `−0.4`."""
    return signed(100 * share)


def signed(number: float) -> str:
    """Returns a number with its sign and one decimal."""
    rounded = f"{abs(number):.1f}"
    return rounded if rounded == "0.0" else f"{'+' if number > 0 else _MINUS}{rounded}"


def _interval(ends: list[float | None]) -> str:
    return "" if ends[0] is None or ends[1] is None else f"{points(ends[0])} to {points(ends[1])}"


def _error(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def label_of(row: dict) -> str:
    """Returns the label of a row: its nets, or their number."""
    models = row["models"]
    return " + ".join(models) if len(models) <= 2 else f"{len(models)} nets"


def other_label(row: dict) -> str:
    """Returns a short label of the row that another is compared with: only what differs."""
    other = row["claim"]["against"]
    if list(other["models"]) != list(row["models"]):
        return label_of(other)
    return other["protocol"] if other["protocol"] != row["protocol"] else f"Q = {other['Q']}"


def said(row: dict) -> str:
    """Returns the paper's claim about a row, as "better than B/256"."""
    says, other = row["claim"]["says"], other_label(row)
    return {None: f"(next to {other})", ALIKE: f"like {other}"}.get(says, f"{says} than {other}")


def verdicts_told(outcome: dict) -> str:
    """Returns the numbers of the paper's claims by verdict, as text."""
    found = [claim["verdict"] for claim in claims_of(outcome["tables"])]
    counts = ", ".join(f"{found.count(verdict)} {verdict}" for verdict in (HOLDS, FAILS, OPEN))
    return f"of {counted(len(found), 'claim')}: {counts}"


def _charts(outcome: dict) -> dict[str, str]:
    charts = {}
    for name, rows in outcome["tables"].items():
        compared = [
            row["claim"] | {"label": f"{label_of(row)}, {row['protocol']} vs. {other_label(row)}"} for row in rows if row["claim"]
        ]
        if compared:
            charts[f"differences-{name}"] = figures.differences(compared)
    charts["trainings"] = figures.trainings(outcome["trainings"])
    if outcome["starts"]:
        charts["starts"] = figures.starts(outcome["starts"], math.log(outcome["data"]["classes"]))
    return charts


@dataclasses.dataclass(frozen=True)
class _Looked:
    """Results on single images, in addition to figures.

    Attributes:
        facts: facts for the report.
        charts: SVG by name.
        pictures: groups of pictures by name, see `examples`.
    """

    facts: dict[str, Any]
    charts: dict[str, str]
    pictures: dict[str, list[dict]]


def _look(study: Study, work: WorkFolder) -> _Looked:
    """Reads the posteriors of all rows, one row at a time."""
    dataset = open_dataset(work.dataset_of(study))
    names = [study.class_names.get(name, name) for name in dataset.classes]
    errors: dict[Place, float] = {}
    hardest = None
    for place in study.places:
        row = measured(study, work, place)
        errors[place] = float(row.wrong(1).mean())
        if len(place.models) == 1:
            hardest = hardest or Hardest.among(row.posteriors[0])
            hardest.add(row)
    best = min(errors, key=errors.__getitem__)
    counts = np.sum([confusion(each.values, each.labels) for each in measured(study, work, best).posteriors], axis=0)
    facts: dict[str, Any] = {"best": dataclasses.asdict(best) | {"top1_error": 100 * errors[best]}}
    facts["confused"] = [
        {"right": names[right], "guess": names[guess], "images": images}
        for right, guess, images in most_confused(counts, _CONFUSED)
    ]
    charts = {"confusion": figures.confusion(counts, names)} if len(names) <= NAMED else {}
    pictures: dict[str, list[dict]] = {}
    if hardest is not None:
        facts["wrong_for_all"] = int((hardest.wrong & hardest.readable).sum())
        pictures["hardest"] = hardest.pictures(dataset.split(study.split))
    dense = [place for place in study.places if len(place.models) == 1 and place.protocol == "dense"]
    if dense:
        sees = min(dense, key=errors.__getitem__)
        facts["sees"] = sees.models[0]
        row = measured(study, work, sees)
        pictures["heatmaps"] = examples.seen(study, work, row.row.trainings[0], row, dataset)
    for picture in (each for group in pictures.values() for each in group):
        picture |= {key: names[picture[key]] for key in ("right", "guess") if key in picture}
    return _Looked(facts, charts, pictures)


def _alone(svg: str) -> str:
    """Returns a chart as a separate file: on white, since it does not inherit a page's color."""
    return svg.replace("currentColor", plot_style.INK).replace("<svg ", f'<svg style="background:{plot_style.PAPER}" ', 1)
