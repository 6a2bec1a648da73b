"""A study as data: which nets are trained from which, and which table rows test them. Imports no TensorFlow."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_vgg import recipe
from keras_vgg.errors import InputError
from keras_vgg.evaluation.recipe import Row
from keras_vgg.precision import checked
from keras_vgg.reproduction.claims import Claim, Place, place_of

TEST = "test"

NET_A = "net A"
"""A start of the initialization study: the first four convolutions and the FC layers of a trained net A (Sec. 3.1)."""


@dataclasses.dataclass(frozen=True)
class Training:
    """A training of a study, with any seed.

    Attributes:
        name: name of its recipe, such as `d-384`.
        fields: fields of `recipe.Recipe`, without dataset, seed and start.
        starts_from: the training whose weights it starts from, if any.
        start: name of the start, in the initialization study.
    """

    name: str
    fields: Mapping[str, Any]
    starts_from: str | None
    start: str | None = None

    @property
    def recipe(self) -> recipe.Recipe:
        """The whole recipe, with dataset and start left open."""
        return recipe.resolve({"dataset": "open"}, self.fields)


@dataclasses.dataclass(frozen=True)
class TableRow:
    """A row of a table.

    Attributes:
        row: the row as in `evaluate`, whose models are the table's names of `trainings`.
        trainings: in the order of its models.
        claim: the paper's claim about it relative to another row.
    """

    row: Row
    trainings: tuple[str, ...]
    claim: Claim | None


@dataclasses.dataclass(frozen=True)
class Study:
    """Trainings, tests and tables.

    Attributes:
        name: name of its file.
        title: title of the report.
        dataset: training data, as for `keras_vgg.fit`.
        split: split that nets are tested on.
        held_out: fraction of the training images of each class that is held out for testing; 0 to test on `split` as it is.
        seeds: number of trainings per net.
        margin: difference, as a fraction of the images, below which errors count as equal.
        threads: cores per training; 0 for all.
        trainings: by name, each after the one it starts from.
        tables: rows by name of the table.
        starts: of the initialization study: trainings by name.
        start_seeds: number of trainings per start, at most `seeds`.
        evaluate: settings of tests, such as `precision`.
        class_names: display names of classes in the report, by their names in the dataset.
        sizes: size of the dataset that the study is meant for: `train`, `validation`, `test`, `classes`, `image_bytes`.
    """

    name: str
    title: str
    dataset: str
    split: str
    held_out: float
    seeds: int
    margin: float
    threads: int
    trainings: Mapping[str, Training]
    tables: Mapping[str, tuple[TableRow, ...]]
    starts: Mapping[str, Training]
    start_seeds: int
    evaluate: Mapping[str, Any]
    sizes: Mapping[str, int]
    class_names: Mapping[str, str]

    def seeds_of(self, training: str) -> range:
        """Returns the seeds of a training or a start."""
        return range(min(self.seeds, self.start_seeds) if training in self.starts else self.seeds)

    @property
    def places(self) -> dict[Place, TableRow]:
        """All rows by position."""
        return {place_of(table, each.row): each for table, rows in self.tables.items() for each in rows}

    @property
    def claims(self) -> dict[Place, Claim]:
        """The paper's claims by row."""
        return {place: each.claim for place, each in self.places.items() if each.claim}

    def tests_of(self, training: str) -> tuple[Row, ...]:
        """Returns the distinct tests of a net: all rows that it is part of, with this net alone."""
        found: dict[tuple, Row] = {}
        for each in self.places.values():
            if training in each.trainings:
                scales = each.row.scales[each.trainings.index(training)]
                alone = Row((training,), each.row.protocol, (scales,), each.row.flip)
                found.setdefault((alone.protocol, alone.scales, alone.flip), alone)
        return tuple(found.values())

    def changed(self, *, precision: str | None = None, **given) -> "Study":
        """Returns the study with the given attributes replaced.

        Args:
            precision: compute precision of trainings and tests, one of `precision.PRECISIONS`.
            given: attributes by name.

        Raises:
            InputError: for an invalid number of seeds, or an unknown precision.
        """
        if given.get("dataset") not in (None, self.dataset):
            given |= {"sizes": {}}  # the sizes were those of another dataset
        if precision is not None:
            said = {"precision": checked(precision)}
            given |= {"evaluate": {**self.evaluate, **said}}
            for name in ("trainings", "starts"):
                changed = {key: _with_fields(each, said) for key, each in getattr(self, name).items()}
                given |= {name: changed}
        study = dataclasses.replace(self, **{name: value for name, value in given.items() if value is not None})
        if not isinstance(study.seeds, int) or study.seeds < 1:
            raise InputError(f"`seeds` must be at least 1. Received: {study.seeds}.")
        if not isinstance(study.held_out, int | float) or not 0 <= study.held_out < 1:
            raise InputError(f"`held_out` must be a fraction of the training images, in [0, 1). Received: {study.held_out}.")
        if study.held_out and study.split != TEST:
            raise InputError(f"`split` must be test if `held_out` creates a test set. Received: split {study.split}.")
        if not 0 <= study.margin < 1:
            raise InputError(f"`margin` must be a fraction of the images, in [0, 1). Received: {study.margin}.")
        return study


def _with_fields(training: Training, fields: Mapping[str, Any]) -> Training:
    return dataclasses.replace(training, fields={**training.fields, **fields})
