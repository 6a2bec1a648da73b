"""The first node of a study: checks its data, holds out images for testing, and writes the recipes for all other nodes."""

import os
from typing import IO, Any

import numpy as np
import pandas as pd
import tensorflow as tf
import tomli_w

from keras_vgg import randomness
from keras_vgg.data.dataset import Dataset
from keras_vgg.data.datasets import open_dataset
from keras_vgg.data.sets import TEST, TRAIN, VALIDATION
from keras_vgg.data.split import Split
from keras_vgg.data.untuned import arrays
from keras_vgg.errors import InputError
from keras_vgg.identity import digest_of_images
from keras_vgg.inference.images import look_through
from keras_vgg.reproduction.study import Study, Training
from keras_vgg.reproduction.work_folder import WorkFolder, write_json
from keras_vgg.support import files

_SAMPLED = 1000
_HELD_OUT_DRAW = 3  # epoch whose shuffling order is used; epochs 0 to 2 of seed 0 are used elsewhere


def prepare(study: Study, work: WorkFolder, *, stream: IO[str] | None = None) -> dict:
    """Writes the files that the study's trainings and tests read, and returns facts about the data.

    Args:
        study: the study.
        work: its work folder.
        stream: where to show progress, if anywhere.

    Raises:
        InputError: for data that cannot be opened or have no images to test on, or files that cannot be written.
    """
    files.make_folder(work.path / "recipes")
    dataset = open_dataset(study.dataset)
    described = dataset.description
    if study.held_out:
        files.write_text(work.listing, hold_out(study, dataset).to_csv(index=False))
        dataset = open_dataset(work.dataset_of(study))
    facts = {"title": study.title, "dataset": study.dataset, "held_out": study.held_out, "split": study.split}
    facts |= {"description": described, "classes": len(dataset.classes)} | _look_through(dataset, study, stream)
    for training in (*study.trainings.values(), *study.starts.values()):
        files.write_text(work.recipe(training.name), training_recipe(study, training, work))
    for training in study.trainings.values():
        files.write_text(work.test_recipe(training.name), evaluation_recipe(study, training, work))
    write_json(work.prepared, facts)
    return facts


def hold_out(study: Study, dataset: Dataset) -> pd.DataFrame:
    """Returns a listing of the images with their labels and splits, with a share of each class's training images held out.

    Every call returns the same images, whatever the seeds of trainings. An existing test set is left unchanged.

    Raises:
        InputError: if the images are not files.
    """
    if study.dataset.partition(":")[0] not in ("folder", "csv"):
        raise InputError(f"`held_out` requires images in files, folder:PATH or csv:FILE. Received: {study.dataset}; set it to 0.")
    rows = []
    for name, split in dataset.sets.items():
        labels, uses = split.labels(), np.full(split.size, name, object)
        if name == TRAIN and TEST not in dataset.sets:
            for label in range(len(dataset.classes)):
                uses[_drawn(np.flatnonzero(labels == label), study.held_out)] = TEST
        rows += [(_absolute(split.name_of(i)), dataset.classes[labels[i]], uses[i]) for i in range(split.size)]
    return pd.DataFrame(rows, columns=["path", "label", "split"])


def _drawn(indices: np.ndarray, share: float) -> np.ndarray:
    order = randomness.epoch_order(len(indices), seed=0, epoch=_HELD_OUT_DRAW)
    return indices[
        order[: min(round(share * len(indices)), len(indices) - 1)]
    ]  # at least one image of the class remains for training


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # does not resolve links, whose targets may move


def _look_through(dataset: Dataset, study: Study, stream: IO[str] | None) -> dict:
    facts: dict[str, Any] = {"images": {}, "images sha256": {}, "broken": {}}
    if study.split not in dataset.splits:
        raise InputError(f"The study tests on the split {study.split}. Received: {dataset.description}, which does not have it.")
    for name in dict.fromkeys((TRAIN, VALIDATION, study.split)):
        images, unusable = look_through(dataset.split(name), stream=stream)
        facts["images"][name] = images.split.size
        facts["images sha256"][name] = digest_of_images(images.survey.fingerprints, images.survey.labels)
        facts["broken"][name] = [f"{image}: {reason}" for image, reason in unusable.rows()]
    sizes = images.survey.sizes[images.survey.sizes[:, 0] > 0]  # of the last split, which is tested
    return facts | {"aspect": float(np.mean(sizes.max(1) / sizes.min(1))), "image_bytes": _mean_bytes(dataset.train)}


def _mean_bytes(split: Split) -> float:
    """Returns the mean size of an image file, from a sample."""
    some = np.linspace(0, split.size - 1, min(split.size, _SAMPLED)).astype(np.int64)
    found = tf.data.Dataset.from_tensor_slices(some).map(lambda index: tf.strings.length(split.read(index)[0])).ignore_errors()
    return float(np.mean([*arrays(found)]))


def training_recipe(study: Study, training: Training, work: WorkFolder) -> str:
    """Returns the recipe file of a training, including its data; its start and seed are flags of the command."""
    values = {"dataset": work.dataset_of(study)} | {key: _plain(value) for key, value in training.fields.items()}
    begins = f", initialized from {training.starts_from}" if training.starts_from else ""
    return f"# {training.name}{begins}, written by keras_vgg.reproduce for the study {study.name}.\n{tomli_w.dumps(values)}"


def evaluation_recipe(study: Study, training: Training, work: WorkFolder) -> str:
    """Returns the evaluation recipe for the tests of a net."""
    rows: list[dict] = []
    flips = {row.flip for row in study.tests_of(training.name)}
    if len(flips) > 1:
        raise InputError(f"{training.name} must be tested with mirror images in all tables or in none. Received: both.")
    flip = {} if None in flips else {"flip": flips.pop()}
    for row in study.tests_of(training.name):
        scales = {"scales": [*row.scales[0]]} if row.scales[0] else {}
        rows.append({"models": [*row.models], "protocol": row.protocol} | scales)
    values = {
        "dataset": work.dataset_of(study),
        **study.evaluate,
        **flip,
        "models": {training.name: str(work.run(training.name, 0))},
    }
    head = f"# Tests of {training.name}, written by keras_vgg.reproduce for the study {study.name}.\n"
    return head + tomli_w.dumps(values | {"rows": rows})


def _plain(value):
    return list(value) if isinstance(value, tuple) else value
