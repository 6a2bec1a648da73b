"""Normalization of class names: a name is one class, whatever its Unicode form and the whitespace around it."""

import unicodedata
from collections.abc import Iterable


def class_name(text: str) -> str:
    """Returns a name without surrounding whitespace, in Unicode's NFC: macOS stores `é` as `e` and an accent."""
    return unicodedata.normalize("NFC", text.strip())


def notes_on(classes: Iterable[str]) -> list[str]:
    """Returns a warning for each pair of classes that differ only in case."""
    seen: dict[str, str] = {}
    notes = []
    for name in classes:
        if (other := seen.setdefault(name.casefold(), name)) != name:
            notes.append(f"Warning: the classes {other} and {name} differ only in case; they are treated as two classes.")
    return notes
