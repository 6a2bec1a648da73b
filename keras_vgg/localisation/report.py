"""Reports of a test of localisers: table rows, tables of images and classes, a sheet of boxes."""

import pathlib

import numpy as np
import pandas as pd
import tensorflow as tf

from keras_vgg.data.boxes.drawing import outlined
from keras_vgg.data.split import Split
from keras_vgg.evaluation.metrics import wilson_interval
from keras_vgg.evaluation.single import thumbnail
from keras_vgg.identity import digests_of, short
from keras_vgg.localisation.boxes import clipped, overlap
from keras_vgg.localisation.results import Localised
from keras_vgg.localisation.scoring import LocalisationScore
from keras_vgg.support import files, plot_style, sheet

ON_SHEET = 12
"""Photographs on a sheet."""

_SIDE = 240  # pixels of a photograph's shorter side
_TRUE, _FOUND = plot_style.rgb(plot_style.TRUE_BOX), plot_style.rgb(plot_style.BEST_BOX)


def table_line(result: Localised) -> dict:
    """Returns the table row of a result, errors in percent with their 95% confidence intervals.

    If the class is known, there is one guess; `class wrong` and `box wrong` are the two parts of the top-5 error.
    """
    line = {"net": result.facts["net"], "weights": short(result.facts["nets sha256"])}
    line |= {name: result.facts[name] for name in ("S", "Q", "protocol", "settings")}
    line |= _figures(result.score, known=result.facts["class known"])
    line |= {name: value for name, value in result.facts.items() if name.startswith("paper ")}
    line |= {"data": result.facts["data"], "images": len(result.labels)}
    line |= {"counted": int(result.score.counted.sum()), "broken": int((result.truth.labels < 0).sum()), "images/s": ""}
    return line | digests_of(result.facts)


def _figures(score: LocalisationScore, *, known: bool) -> dict:
    counted = int(score.counted.sum())
    found: dict[str, float] = {}
    for k, error in ((1, score.top1_error), (5, score.top5_error)):
        if (known and k == 5) or not counted:
            continue
        low, high = wilson_interval(error, counted)
        found |= {f"top-{k} error": 100 * error, f"top-{k} low": 100 * low, f"top-{k} high": 100 * high}
    return found if known else found | {"class wrong": 100 * score.top5_class_wrong, "box wrong": 100 * score.top5_box_wrong}


def shown(line: dict) -> dict:
    """Returns a row's errors with confidence intervals, the parts of the top-5 error, and the paper's errors."""
    found = {}
    for k in (1, 5):
        has = f"top-{k} error" in line
        told = f"{line[f'top-{k} error']:.1f} ({line[f'top-{k} low']:.1f}–{line[f'top-{k} high']:.1f})" if has else ""
        found[f"top-{k} error (95%)"] = told
    for part in ("class wrong", "box wrong"):
        found[part] = f"{line[part]:.1f}" if part in line else ""
    paper = [line.get(f"paper top-{k}") for k in (1, 5)]
    return found | {"paper": " / ".join(f"{value:.1f}" for value in paper if value is not None)}


def best_overlaps(result: Localised) -> np.ndarray:
    """Returns the largest IoU of each image's first guess with any true box, `(N,)` float64, whatever its class; 0 for none."""
    return overlap(result.boxes[:, :1], result.truth.boxes).max(axis=1, initial=0.0)


def write_tables(folder: pathlib.Path, name: str, result: Localised) -> None:
    """Writes `<name>-images.csv` and `<name>-classes.csv`: one row per image and one per class, with digests.

    Boxes are edges in pixels, at the annotation's image size.
    """
    score, classes = result.score, np.array([*result.classes, ""])
    right = score.right_top1 if result.facts["class known"] else score.right_top5
    images = pd.DataFrame(
        {
            "image": result.images,
            "class": classes[result.truth.labels],
            "predicted class": classes[result.labels[:, 0]],
            "rating": result.ratings[:, 0],
            **{edge: result.boxes[:, 0, axis] for axis, edge in enumerate(("x_min", "y_min", "x_max", "y_max"))},
            "IoU": best_overlaps(result),
            "right": right,
            "counts": score.counted,
        }
    )
    counted = images[images["counts"]]
    grouped = counted.groupby("class", sort=False)
    of_classes = pd.DataFrame(
        {"images": grouped.size(), "error": 100 * (1 - grouped["right"].mean()), "mean IoU": grouped["IoU"].mean()}
    ).reindex([each for each in result.classes if each in set(counted["class"])])
    digests = digests_of(result.facts)
    for what, table in (("images", images), ("classes", of_classes.reset_index(names="class"))):
        files.write_text(folder / f"{name}-{what}.csv", table.assign(**digests).to_csv(index=False))


def draw_boxes(folder: pathlib.Path, name: str, result: Localised, split: Split) -> None:
    """Writes `<name>-boxes.png`: evenly sampled photographs with true boxes (blue) and the first predicted one (orange)."""
    path = folder / f"{name}-boxes.png"
    with files.telling(path):
        path.unlink(missing_ok=True)
    overlaps, pictures, captions = best_overlaps(result), [], []
    readable = np.flatnonzero(result.truth.labels >= 0)
    for place in readable[np.linspace(0, len(readable) - 1, min(ON_SHEET, len(readable))).round().astype(int)]:
        try:
            pixels = thumbnail(split, int(place), _SIDE)
        except tf.errors.OpError:  # the file has been deleted in the meantime
            continue
        frame = result.truth.frames[place]
        found = clipped(result.boxes[place, :1] / frame, (1, 1))
        pictures.append(outlined(outlined(pixels, result.truth.boxes[place] / frame, _TRUE, 3), found, _FOUND, 3))
        label = result.labels[place, 0]
        captions.append(f"{result.classes[label]}\nIoU {overlaps[place]:.2f}" if label >= 0 else "no prediction")
    if not pictures:
        return
    facts = {key: result.facts[key] for key in ("net", "S", "Q", "protocol", "settings", "data")} | digests_of(result.facts)
    title = f"{_title(result.facts)}: true boxes blue, predicted boxes orange"
    sheet.draw(path, pictures, captions, title=title, facts=facts, columns=4, side=2.2)


def _title(facts: dict) -> str:
    """Returns a title with the net; trivial guesses have no Q, and those without training no digest."""
    digest = f" ({short(facts['nets sha256'])})" if facts["nets sha256"] else ""
    return ", ".join([facts["net"] + digest, facts["protocol"], *([f"Q = {facts['Q']}"] if facts["Q"] else [])])
