"""Names of the sets of a dataset, as folders, TFDS splits and values in the `split` column of a CSV file."""

import re
from collections.abc import Iterable

TRAIN, VALIDATION, TEST = "train", "validation", "test"

NAMES = {
    TRAIN: ("train", "training"),
    VALIDATION: ("val", "validation", "valid", "dev", "eval"),
    TEST: ("test", "testing"),
}
"""Case-insensitive names of each set; if several exist, the first is used."""

PREFIXES = ("seg", "img", "image", "images", "ilsvrc2012_img")
SUFFIXES = ("set", "split", "data", "img", "image", "images", "folder")
"""What may precede and follow a name: `seg_train`, `training_set`, `test-images`."""

_NAME = re.compile(
    rf"(?:(?:{'|'.join(PREFIXES)})[ _-]?)?({'|'.join(name for names in NAMES.values() for name in names)})"
    rf"(?:[ _-]?(?:{'|'.join(SUFFIXES)}))?\d*"
)
_SET_OF = {name: each for each, names in NAMES.items() for name in names}


def set_called(name: str) -> str | None:
    """Returns `"train"`, `"validation"` or `"test"` for a name such as `Training_Set`, `None` if it means no set."""
    return _SET_OF[match.group(1)] if (match := _NAME.fullmatch(name.strip().lower())) else None


def by_set(names: Iterable[str]) -> dict[str, str]:
    """Returns which of `names` means which set, `{set: name}`, without missing sets.

    Among several names for a set, the first in the table is used, preferably without capitals, prefix or suffix.
    """
    found: dict[str, str] = {}
    for name in sorted(names, key=_rank):
        if (each := set_called(name)) is not None:
            found.setdefault(each, name)
    return found


def _rank(name: str) -> tuple:
    lowered = name.strip().lower()
    plain = [each for names in NAMES.values() for each in names]
    return (plain.index(lowered) if lowered in plain else len(plain), name != lowered, name)
