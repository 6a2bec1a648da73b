"""Class names as people write them: the same name is one class, however its letters and the blanks around it are stored."""

import unicodedata
from collections.abc import Iterable


def class_name(text: str) -> str:
    """Returns a name without blanks around it, its letters composed (Unicode's NFC): macOS stores `é` as `e` and an accent."""
    return unicodedata.normalize("NFC", text.strip())


def notes_on(classes: Iterable[str]) -> list[str]:
    """Returns a line for people on each two classes that differ by capitals alone."""
    seen: dict[str, str] = {}
    notes = []
    for name in classes:
        if (other := seen.setdefault(name.casefold(), name)) != name:
            notes.append(f"Warning: the classes {other} and {name} differ by capitals alone; they are taken for two.")
    return notes
