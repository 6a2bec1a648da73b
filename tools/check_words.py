#!/usr/bin/env python3
"""Refuses phrases of the old style in code, recipes and pages: `python tools/check_words.py`, which `make lint` runs.

The phrases are regular expressions in `tools/words/banned.txt`, one a line; `docs/style.md` says what to write instead.
"""

import json
import pathlib
import re
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[1]
PHRASES = ROOT / "tools" / "words" / "banned.txt"
CHECKED = ("keras_vgg", "notebooks", "recipes", "tools", "workflow", "docs", "*.md", "mkdocs.yml", "Makefile")
SUFFIXES = {".py", ".ipynb", ".md", ".toml", ".j2", ".yml", ".yaml", ".smk", ""}
EXEMPT = {ROOT / "docs" / "style.md"}
"""Names the phrases in order to refuse them."""


def read_phrases(path: pathlib.Path = PHRASES) -> re.Pattern[str]:
    """Returns an expression that matches any of the phrases in a file, whatever their case."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return re.compile("|".join(f"(?:{line})" for line in lines if line and not line.startswith("#")), re.IGNORECASE)


def checked_files(root: pathlib.Path = ROOT) -> Iterator[pathlib.Path]:
    """Yields the files whose words are checked."""
    for place in (found for pattern in CHECKED for found in sorted(root.glob(pattern))):
        paths = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
        yield from (path for path in paths if path.suffix in SUFFIXES and path not in EXEMPT)


def find_phrases(path: pathlib.Path, phrases: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """Yields the number of each line of a file that contains a phrase, and the phrase; of a notebook, lines of its source."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    for number, line in enumerate(text.splitlines(), start=1):
        if found := phrases.search(line):
            yield number, found[0]


def main() -> int:
    """Prints each phrase found with its place; returns 1 if there are any."""
    phrases = read_phrases()
    found = [(path, *each) for path in checked_files() for each in find_phrases(path, phrases)]
    for path, number, phrase in found:
        print(f'{path.relative_to(ROOT)}:{number}: "{phrase}"; see docs/style.md')
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
