"""Collects the results of a study from the files of its nodes: the figures of the report, as one value for JSON."""

import statistics

import numpy as np
import pandas as pd

from keras_vgg.errors import InputError
from keras_vgg.evaluation.run import PASSES
from keras_vgg.inference.code_digest import digest_of_code
from keras_vgg.inference.row_cache import seconds_in
from keras_vgg.reproduction.statistics import LEVEL, verdicts
from keras_vgg.reproduction.study import Study, Training
from keras_vgg.reproduction.work_folder import WorkFolder
from keras_vgg.support import files

LEARNT, STUCK, DIVERGED = "learnt", "stuck", "diverged"
_STUCK = 0.02  # an error within this share of chance counts as nothing learned


def gather(study: Study, work: WorkFolder) -> dict:
    """Returns the results of a finished study: `tables` with verdicts, `trainings`, `starts`, `data` and `took`.

    Raises:
        InputError: if a node's file is missing or damaged.
    """
    data = work.data_facts()
    if not work.is_of(study):
        raise InputError(f"{work.path} was prepared for another dataset than the study's; run the workflow again.")
    tables = {name: _read(work.table(name))["rows"] for name in study.tables}
    for row in (row for rows in tables.values() for row in rows if row["claim"]):
        row["claim"]["verdict"] = None  # where the paper makes no claim
    claims = claims_of(tables)
    for claim, verdict in zip(claims, verdicts([(each["p"], each["p_contrary"]) for each in claims]), strict=True):
        claim["verdict"] = verdict
    trainings = [_training(study, work, each) for each in study.trainings.values()]
    starts = [_start(study, work, each, data["classes"]) for each in study.starts.values()]
    return {
        "study": study.name,
        "title": study.title,
        "seeds": study.seeds,
        "margin": study.margin,
        "level": LEVEL,
        "data": {name: fact for name, fact in data.items() if name != "dataset"},  # a path; the digests identify the images
        "tables": tables,
        "trainings": trainings,
        "starts": starts,
        "took": _took(study, work, trainings, starts),
        "code sha256": digest_of_code(),
    }


def claims_of(tables: dict[str, list[dict]]) -> list[dict]:
    """Returns the paper's claims about rows, where it makes one."""
    return [row["claim"] for rows in tables.values() for row in rows if row["claim"] and row["claim"]["says"]]


def _read(path) -> dict:
    try:
        return files.read_json(path, dict)
    except (OSError, ValueError) as error:
        raise InputError(
            f"The study must be complete. Received: {path}, missing or damaged ({error}); run the workflow again."
        ) from error


def _training(study: Study, work: WorkFolder, training: Training) -> dict:
    summaries, curves = _runs(study, work, training)
    return _described(training) | {
        "begins_from": training.starts_from,
        "parameters": summaries[0]["parameters"],
        "epochs": [each["epochs"] for each in summaries],
        "seconds": [each["seconds"] for each in summaries],
        "images_per_second": [each["images_per_second"] for each in summaries],
        "best_sha256": [each["best_sha256"] for each in summaries],
        "curves": curves,
    }


def _start(study: Study, work: WorkFolder, training: Training, classes: int) -> dict:
    summaries, curves = _runs(study, work, training)
    errors = [each.get("best_val_top1_error") for each in summaries]
    ends = [_end(summary, error, 1 - 1 / classes) for summary, error in zip(summaries, errors, strict=True)]
    recipe = training.recipe
    drawn = f"gaussian, deviation {recipe.init_deviation:g}" if recipe.init == "gaussian" else recipe.init
    facts = {"start": training.start, "drawn": drawn, "ends": ends, "top1_error": errors}
    return _described(training) | facts | {"seconds": [each["seconds"] for each in summaries], "curves": curves}


def _end(summary: dict, error: float | None, chance: float) -> str:
    if summary["ended_by"] == DIVERGED:
        return DIVERGED
    return STUCK if error is None or error > chance * (1 - _STUCK) else LEARNT


def _described(training: Training) -> dict:
    recipe = training.recipe
    low, high = recipe.scales
    return {"name": training.name, "net": recipe.net, "S": str(low) if low == high else f"[{low}; {high}]"}


def _runs(study: Study, work: WorkFolder, training: Training) -> tuple[list[dict], list[dict]]:
    """Returns the summaries of a training's runs, and for each its loss and its errors on the validation set by epoch."""
    summaries, curves = [], []
    for seed in study.seeds_of(training.name):
        folder = work.run(training.name, seed)
        summaries.append(_read(folder / "summary.json"))
        log = folder / "log.csv"
        table = pd.read_csv(log) if log.exists() else pd.DataFrame()  # missing if it diverged in its first epoch
        wanted = ("loss", "val_loss", "val_top1_error")
        curves.append({name: table[name].round(6).tolist() if name in table else [] for name in wanted})
    return summaries, curves


def _took(study: Study, work: WorkFolder, trainings: list[dict], starts: list[dict]) -> dict:
    tests = [work.tests(training, seed) for training in study.trainings for seed in study.seeds_of(training)]
    summary = _read(work.run(next(iter(study.trainings)), 0) / "summary.json")
    return {
        "trainings_hours": sum(sum(each["seconds"]) for each in trainings) / 3600,
        "starts_hours": sum(sum(each["seconds"]) for each in starts) / 3600,
        "tests_hours": sum(seconds_in(folder / PASSES) for folder in tests) / 3600,
        "tensorflow": summary["tensorflow"],
        "keras": summary["keras"],
    }


def mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    """Returns the mean over seeds and their standard deviation, `None` for a single seed."""
    return float(np.mean(values)), statistics.stdev(values) if len(values) > 1 else None
