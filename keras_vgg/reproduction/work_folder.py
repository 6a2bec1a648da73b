"""Where a study's files lie: recipes, runs, tests and tables by name and seed. Imports no TensorFlow."""

import dataclasses
import json
import os
import pathlib
from typing import IO

from keras_vgg.errors import InputError
from keras_vgg.reproduction.study import Study
from keras_vgg.support import files, paths


@dataclasses.dataclass(frozen=True)
class WorkFolder:
    """Paths of a study's work, all below one folder.

    Attributes:
        path: the folder.
    """

    path: pathlib.Path

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> "WorkFolder":
        """Returns the folder at a path as a user writes it."""
        return cls(paths.path_of(path))

    def claim(self) -> IO[str]:
        """Makes the folder and locks it to this process; returns what holds the lock, until it is closed or the process ends.

        Raises:
            InputError: if it cannot be written, or a workflow is at work there.
        """
        files.make_folder(self.path)
        return files.lock(self.path, f"{self.path} is in use by another workflow; wait for it, or give another `work`.")

    @property
    def prepared(self) -> pathlib.Path:
        """What the data are: see `data_facts`."""
        return self.path / "prepared.json"

    @property
    def listing(self) -> pathlib.Path:
        """The images with what each is for, where some for training are held out for tests."""
        return self.path / "images.csv"

    @property
    def report(self) -> pathlib.Path:
        """The report, as a page."""
        return self.path / "report.html"

    def recipe(self, training: str) -> pathlib.Path:
        """The recipe of a training, for `keras_vgg.fit`."""
        return self.path / "recipes" / f"{training}.toml"

    def test_recipe(self, training: str) -> pathlib.Path:
        """What a net is tested with, for `keras_vgg.evaluate`."""
        return self.path / "recipes" / f"test-{training}.toml"

    def run(self, training: str, seed: int | str) -> pathlib.Path:
        """The run folder of a training."""
        return self.path / "runs" / training / f"seed-{seed}"

    def tests(self, training: str, seed: int | str) -> pathlib.Path:
        """Posteriors of a net."""
        return self.path / "tests" / training / f"seed-{seed}"

    def table(self, name: str) -> pathlib.Path:
        """A table of the study over all seeds."""
        return self.path / "tables" / f"{name}.json"

    def dataset_of(self, study: Study) -> str:
        """The data that nets are trained on: those of the study, or the listing of them."""
        return f"csv:{self.listing}" if study.held_out else study.dataset

    def is_of(self, study: Study) -> bool:
        """Whether what `prepare` found is of the study's data, held out and tested as the study says now."""
        facts = self.data_facts()
        return all(facts.get(name) == getattr(study, name) for name in ("dataset", "held_out", "split"))

    def data_facts(self) -> dict:
        """Returns what `prepare` found: `dataset`, `description`, `classes`, and by set `images`, `images sha256` and `broken`.

        Raises:
            InputError: if it has not been run.
        """
        if not self.prepared.exists():
            raise InputError(f"{self.path} must be prepared. Received: no {self.prepared.name}; run keras_vgg.reproduce prepare.")
        try:
            return files.read_json(self.prepared, dict)
        except ValueError as error:
            raise InputError(f"Expected what keras_vgg.reproduce prepare wrote. Received: {self.prepared} ({error}).") from error


def write_json(path: pathlib.Path, values: dict) -> None:
    """Writes values as JSON, its folder made where there is none; whole or not at all."""
    files.make_folder(path.parent)
    files.write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
