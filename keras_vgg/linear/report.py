"""What a transfer evaluation leaves for people: the table with the paper's figures, and each class' own."""

import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_vgg import files
from keras_vgg.linear.classify import Outcome

TITLES = {
    "mean_class_recall": "mean class recall",
    "accuracy": "accuracy",
    "mean_ap_11_point": "mAP (11-point)",
    "mean_ap_area": "mAP (area)",
}


def lines_of(outcomes: Sequence[Outcome], facts: dict, paper: dict) -> list[dict]:
    """Returns a line for each measure.

    `value` is the mean over splits and `deviation` the sample standard deviation (n - 1), `None` of a single split. The paper does
    not say which deviation is its own.

    Args:
        outcomes: of each split.
        facts: what was tested, at the front of each line.
        paper: by measure, the paper's figure and deviation.
    """
    lines = []
    for measure in outcomes[0].measures:
        values = [outcome.measures[measure] for outcome in outcomes]
        figure, deviation = paper.get(measure, (None, None))
        lines.append(
            facts
            | {
                "measure": TITLES[measure],
                "value": float(np.mean(values)),
                "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
                "paper": figure,
                "paper deviation": deviation,
                "values": " ".join(f"{value:.2f}" for value in values),
                "C": " ".join(f"{outcome.cost:g}" for outcome in outcomes),
                "train images": outcomes[0].train_images,
                "test images": outcomes[0].test_images,
            }
        )
    return lines


def class_lines(outcomes: Sequence[Outcome], facts: dict, classes: Sequence[str]) -> list[dict]:
    """Returns a line for each measure and class: the mean over splits."""
    return [
        {"net": facts["net"], "data": facts["data"], "measure": TITLES[measure], "class": name, "value": value}
        for measure in outcomes[0].by_class
        for name, value in zip(classes, np.mean([outcome.by_class[measure] for outcome in outcomes], axis=0), strict=True)
    ]


def format_table(lines: Sequence[dict]) -> str:
    """Returns the table for people, in percent."""
    rows = []
    for line in lines:
        row = {name: line[name] for name in ("net", "data", "protocol", "Q", "C", "measure")}
        row["ours"] = _shown(line["value"], line["deviation"])
        row["paper"] = _shown(line["paper"], line["paper deviation"])
        rows.append(row)
    shown = pd.DataFrame(rows)
    return shown.loc[:, (shown != "").any()].to_string(index=False)


def write(folder: pathlib.Path, lines: Sequence[dict], of_classes: Sequence[dict]) -> None:
    """Writes `table.csv`, `table.json` and `classes.csv`."""
    table = pd.DataFrame(lines)
    files.write_text(folder / "table.csv", table.to_csv(index=False))
    files.write_text(folder / "table.json", table.to_json(orient="records", indent=2) + "\n")
    files.write_text(folder / "classes.csv", pd.DataFrame(of_classes).to_csv(index=False))


def _shown(value: float | None, deviation: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if deviation is None else f"{value:.1f} ± {deviation:.1f}"
