"""JSON from files of others, which may contain anything."""

import json
from typing import Any


def parse(text: str | bytes) -> Any:
    """Returns the content of JSON text.

    Raises:
        ValueError: if it is not JSON, is nested too deeply, repeats a key, of which readers take different values, or contains
            NaN or infinity, which JSON does not have.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it repeats the key {next(name for name in names if names.count(name) > 1)!r}")
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"it contains {constant}")
