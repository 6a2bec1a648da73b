"""A table of a study over all seeds: errors of each row, and differences from the row that the paper compares it with."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from keras_vgg.errors import InputError
from keras_vgg.evaluation.metrics import ranks
from keras_vgg.evaluation.report import read_tables
from keras_vgg.evaluation.results import Posteriors, fuse
from keras_vgg.reproduction.claims import Place
from keras_vgg.reproduction.statistics import difference, p_values
from keras_vgg.reproduction.study import Study, TableRow
from keras_vgg.reproduction.work_folder import WorkFolder
from keras_vgg.support import files

TOP = (1, 5)


@dataclasses.dataclass(frozen=True)
class Measured:
    """The predictions of a row's nets with each seed.

    Attributes:
        row: the row.
        posteriors: one for each seed, all of the same images.
    """

    row: TableRow
    posteriors: Sequence[Posteriors]

    @functools.cached_property
    def ranks(self) -> np.ndarray:
        """`(seeds, images)` int64: number of classes ranked above the right one."""
        return np.stack([ranks(each.values, each.labels) for each in self.posteriors])

    def wrong(self, k: int) -> np.ndarray:
        """`(seeds, images)` bool: whether the true class is not among the `k` best."""
        return self.ranks >= k


def measure_table(study: Study, work: WorkFolder, table: str) -> dict:
    """Returns a table: its rows in the order of its recipe, errors in percent by seed, differences as fractions of the images.

    Raises:
        InputError: for a table that is not part of the study, or tests that are missing or of another net than the run's.
    """
    if table not in study.tables:
        raise InputError(f"The table must be one of {', '.join(study.tables)}. Received: {table}.")
    places = {place: each for place, each in study.places.items() if place.table == table}
    return {"table": table, "seeds": study.seeds, "rows": [_line(study, work, place) for place in places]}


def _line(study: Study, work: WorkFolder, place: Place) -> dict:
    each = study.places[place]
    found = measured(study, work, place)
    first = found.posteriors[0]
    line: dict = {"models": place.models, "protocol": place.protocol, "S": first.facts["S"], "Q": first.facts["Q"]}
    line |= {"images": len(first.labels), "images sha256": first.facts["images sha256"]}
    line["nets sha256"] = [posteriors.facts["nets sha256"] for posteriors in found.posteriors]
    for k in TOP:
        line[f"top{k}_error"] = [round(100 * float(share), 4) for share in found.wrong(k).mean(axis=1)]
    line["paper"] = dict(each.row.paper)
    line["claim"] = _compared(study, work, found, place) if each.claim else None
    return line


def _compared(study: Study, work: WorkFolder, found: Measured, place: Place) -> dict:
    claim = study.claims[place]
    other = measured(study, work, claim.against)
    tested = {each.facts["images sha256"] for each in (*found.posteriors, *other.posteriors)}
    if len(tested) > 1:
        raise InputError(f"{place} and {claim.against} were tested on different images; remove the tests and run the study again.")
    told = difference(found.wrong(1), other.wrong(1))
    held, contrary = p_values(claim.says, told, study.margin) if claim.says else (None, None)
    low, high = told.interval()
    paper = [each.row.row.paper.get("top1_error", np.nan) for each in (found, other)]
    return {
        "says": claim.says,
        "against": dataclasses.asdict(claim.against) | {"Q": other.posteriors[0].facts["Q"]},
        "difference": told.mean,
        "of_seeds": told.seeds.tolist(),
        "errors": [*map(_number, told.errors)],
        "interval": [_number(low), _number(high)],
        "p": held,
        "p_contrary": contrary,
        "paper_difference": _number(round(paper[0] - paper[1], 4)),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value  # JSON has no NaN


def measured(study: Study, work: WorkFolder, place: Place) -> Measured:
    """Returns the test results of a row; several nets are fused (Sec. 4.4).

    Raises:
        InputError: as `measure_table`.
    """
    each, by_seed = study.places[place], []
    for seed in range(study.seeds):
        nets = [_tested(work, each, number, seed) for number in range(len(each.trainings))]
        by_seed.append(fuse(nets) if len(nets) > 1 else nets[0])
    return Measured(each, by_seed)


def _tested(work: WorkFolder, each: TableRow, number: int, seed: int) -> Posteriors:
    training, scales = each.trainings[number], each.row.scales[number]
    folder = work.tests(training, seed)
    wanted = ", ".join(map(str, scales)) if scales else None
    for line in read_tables(folder):
        if line["protocol"].partition(",")[0] == each.row.protocol and wanted in (None, line["Q"]):
            _check_net(work, training, seed, line["nets sha256"])
            return Posteriors.read(folder / line["posteriors"])
    raise InputError(
        f"{training} must have been tested with seed {seed}, {each.row.protocol} at {wanted}. Received: no such row in {folder}."
    )


def _check_net(work: WorkFolder, training: str, seed: int, digest: str) -> None:
    path = work.run(training, seed) / "summary.json"
    try:
        best = files.read_json(path, dict)["best_sha256"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"Expected the summary of a run. Received: {path}, missing or damaged ({error}).") from error
    if best != digest:
        raise InputError(
            f"{work.tests(training, seed)} must test the best net of its run. Received: tests of {digest[:8]}, a run whose best "
            f"net is {best[:8]}; remove the tests and run the study again."
        )
