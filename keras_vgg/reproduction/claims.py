"""The paper's claims about rows of its tables, compared with other rows. Stored in the table recipes (`recipes/table3.toml`):

claim = { says = "better", against = { table = "table3", models = ["C/256"], protocol = "dense" } }

Fields omitted in `against` are those of the row itself; without `says` the rows are compared without a verdict.
"""

import dataclasses
from collections.abc import Mapping

from keras_vgg.errors import InputError
from keras_vgg.evaluation.recipe import Row

BETTER, NO_BETTER, ALIKE = "better", "no better", "alike"
SAYINGS = (BETTER, NO_BETTER, ALIKE)
"""A lower error; not a lower one; neither lower nor higher."""

_KEYS = {"says", "against"}
_AGAINST_KEYS = {"table", "models", "protocol"}


@dataclasses.dataclass(frozen=True, order=True)
class Place:
    """The position of a row; no table has two rows with the same nets and protocol."""

    table: str
    models: tuple[str, ...]
    protocol: str

    def __str__(self) -> str:
        return f"{' + '.join(self.models)}, {self.protocol} ({self.table})"


@dataclasses.dataclass(frozen=True)
class Claim:
    """The paper's claim about a row's error relative to that of another row.

    Attributes:
        says: one of `SAYINGS`; `None` where the paper gives only figures.
        against: the other row.
    """

    says: str | None
    against: Place


def place_of(table: str, row: Row) -> Place:
    """Returns the position of a row."""
    return Place(table, row.models, row.protocol)


def claim_of(table: str, row: Row) -> Claim | None:
    """Returns the claim about a row; `None` for a reference row without one.

    Raises:
        InputError: for unknown keys or values of the wrong type.
    """
    if not row.claim:
        return None
    told = f"Recipe {table}, {' + '.join(row.models)}: `claim`"
    against = row.claim.get("against", {})
    if not isinstance(against, Mapping) or {*row.claim} - _KEYS or {*against} - _AGAINST_KEYS:
        raise InputError(f"{told} must be {{ says, against = {{ table, models, protocol }} }}. Received: {row.claim}.")
    if row.claim.get("says") not in (None, *SAYINGS):
        raise InputError(f"{told}: `says` must be one of {', '.join(SAYINGS)}. Received: {row.claim.get('says')!r}.")
    models = against.get("models", list(row.models))
    names = [against.get("table", table), against.get("protocol", row.protocol), *(models if isinstance(models, list) else [None])]
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"{told}: `against` must contain strings, its `models` a list of strings. Received: {against!r}.")
    other = Place(names[0], tuple(names[2:]), names[1])
    if other == place_of(table, row):
        raise InputError(f"{told}: `against` must name another row. Received: {against!r}, which is the row itself.")
    return Claim(row.claim.get("says"), other)
