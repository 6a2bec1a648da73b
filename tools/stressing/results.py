"""Outcomes of trials as a CSV file, a row a trial, appended as they come: a tool that was stopped goes on where it was."""

import csv
import pathlib
from collections.abc import Iterable

import pandas as pd


class Results:
    """The rows of a tool.

    Args:
        path: the CSV file.
        columns: its columns; the last two are `outcome` and `told`.
        key: how many of the columns tell one trial from another.
    """

    def __init__(self, path: pathlib.Path, columns: Iterable[str], key: int):
        self.path, self._columns, self._key = path, tuple(columns), key
        self.rows = []
        if path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                self.rows = [row for row in list(csv.reader(file))[1:] if len(row) == len(self._columns)]
        self._known = {tuple(row[:key]) for row in self.rows}

    def has(self, *key) -> bool:
        """Whether a trial was made."""
        return tuple(map(str, key)) in self._known

    def add(self, *row) -> None:
        """Enters a trial."""
        new = not self.path.exists()
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(self._columns)
            writer.writerow(row)
        self.rows.append([*map(str, row)])
        self._known.add(tuple(self.rows[-1][: self._key]))

    def table(self, by: str) -> str:
        """Returns the numbers of outcomes by a column, as a table in Markdown."""
        frame = pd.DataFrame(self.rows, columns=self._columns)
        if frame.empty:
            return "no trials"
        counts = pd.crosstab(frame[by], frame["outcome"], margins=True, margins_name="all")
        lines = [f"| {by} | {' | '.join(counts.columns)} |", "|---" * (len(counts.columns) + 1) + "|"]
        return "\n".join(
            lines + [f"| {name} | {' | '.join(map(str, row))} |" for name, row in zip(counts.index, counts.values, strict=True)]
        )

    @property
    def faults(self) -> list[list[str]]:
        """The rows whose outcome is a fault."""
        return [row for row in self.rows if row[-2].startswith("fault")]
