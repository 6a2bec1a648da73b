"""The file layout of a study: recipes, runs, tests and tables by name and seed. Imports no TensorFlow."""

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
    """Paths of a study's files, all in one folder.

    Attributes:
        path: the folder.
    """

    path: pathlib.Path

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> "WorkFolder":
        """Returns the work folder for a path given by the user."""
        return cls(paths.path_of(path))

    def claim(self) -> IO[str]:
        """Creates the folder and locks it for this process; returns the lock, held until it is closed or the process ends.

        Raises:
            InputError: if the folder is not writable, or another workflow uses it.
        """
        files.make_folder(self.path)
        return files.lock(self.path, f"{self.path} is in use by another workflow; wait for it to finish, or pass another `work`.")

    @property
    def prepared(self) -> pathlib.Path:
        """Facts about the data: see `data_facts`."""
        return self.path / "prepared.json"

    @property
    def listing(self) -> pathlib.Path:
        """Listing of the images with their splits, if some training images are held out for testing."""
        return self.path / "images.csv"

    @property
    def report(self) -> pathlib.Path:
        """The report as an HTML page."""
        return self.path / "report.html"

    def recipe(self, training: str) -> pathlib.Path:
        """The recipe of a training, for `keras_vgg.fit`."""
        return self.path / "recipes" / f"{training}.toml"

    def test_recipe(self, training: str) -> pathlib.Path:
        """The recipe of a net's tests, for `keras_vgg.evaluate`."""
        return self.path / "recipes" / f"test-{training}.toml"

    def run(self, training: str, seed: int | str) -> pathlib.Path:
        """The run folder of a training."""
        return self.path / "runs" / training / f"seed-{seed}"

    def tests(self, training: str, seed: int | str) -> pathlib.Path:
        """The folder of a net's posteriors."""
        return self.path / "tests" / training / f"seed-{seed}"

    def table(self, name: str) -> pathlib.Path:
        """A table of the study over all seeds."""
        return self.path / "tables" / f"{name}.json"

    def dataset_of(self, study: Study) -> str:
        """The dataset that nets are trained on: the study's, or the listing with images held out."""
        return f"csv:{self.listing}" if study.held_out else study.dataset

    def is_of(self, study: Study) -> bool:
        """Whether the results of `prepare` match the study's dataset, `held_out` and `split`."""
        facts = self.data_facts()
        return all(facts.get(name) == getattr(study, name) for name in ("dataset", "held_out", "split"))

    def data_facts(self) -> dict:
        """Returns the results of `prepare`: `dataset`, `description`, `classes`, and by split `images`, `images sha256`,
        `broken`.

        Raises:
            InputError: if it has not been run.
        """
        if not self.prepared.exists():
            raise InputError(f"{self.path} is not prepared (no {self.prepared.name}); run keras_vgg.reproduce prepare.")
        try:
            return files.read_json(self.prepared, dict)
        except ValueError as error:
            raise InputError(f"Expected a file of keras_vgg.reproduce prepare. Received: {self.prepared} ({error}).") from error


def write_json(path: pathlib.Path, values: dict) -> None:
    """Writes values as JSON atomically, creating the folder if needed."""
    files.make_folder(path.parent)
    files.write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
