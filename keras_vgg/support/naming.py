"""Default names of nets, datasets and result folders."""

import hashlib
import os
import pathlib
import re

from keras_vgg.errors import InputError
from keras_vgg.support import paths

_LONGEST_SLUG = 120  # bytes, well below the 255 of file systems, to leave space for prefixes and suffixes


def name_and_path(text: str) -> tuple[str | None, str]:
    """Returns the two parts of a flag `[NAME=]PATH`; `None` if there is no name, as for a path that contains an = itself."""
    is_named = re.match(r"[\w.+/-]+=", text) and not os.path.exists(text)  # runs/lr=0.1 is a path
    name, path = text.split("=", 1) if is_named else (None, text)
    return name, path


def named_models(given: list[str]) -> dict[str, str]:
    """Returns `{name: path}` of flags `--model [NAME=]PATH`.

    A net without a name is named after its file or folder, with as many parent folders as are needed to distinguish it.

    Raises:
        InputError: if a name or a path is given twice.
    """
    pairs = [name_and_path(model) for model in given]
    tails = [pathlib.Path(path).parts for name, path in pairs if name is None]
    names = []
    for name, path in pairs:
        parts = pathlib.Path(path).parts
        lengths = range(1, len(parts) + 1)
        length = next((n for n in lengths if sum(each[-n:] == parts[-n:] for each in tails) < 2), 1)
        names.append(name or "/".join(parts[-length:]))
    if len(set(names)) < len(names):
        raise InputError("Several models have the same name; name them with --model NAME=PATH.")
    return {name: path for name, (_, path) in zip(names, pairs, strict=True)}


def dataset_slug(dataset: str) -> str:
    """Returns the name of a dataset for use in folder names: the same for all spellings of the path to a folder or list.

    Names need not be unique; what is stored in such folders is identified by its content.
    """
    kind, colon, path = dataset.partition(":")
    if kind != "tfds" and path:
        dataset = f"{kind}{colon}{paths.path_of(path).resolve().name}"
    return slug(dataset)


def slug(text: str) -> str:
    """Returns `text` as a name for a file or folder; long text is cut and made unique by a hash."""
    name = re.sub(r"[^\w.-]+", "-", text).strip("-")
    if len(name.encode()) <= _LONGEST_SLUG:
        return name
    return f"{name.encode()[: _LONGEST_SLUG - 9].decode(errors='ignore')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
