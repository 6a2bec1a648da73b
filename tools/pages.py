"""Hooks of `mkdocs.yml`: pages outside docs/ are part of the site, and examples in docstrings are code.

Links in pages are relative to the file in the repository, as GitHub follows them. Here they become relative to the page of the
site; a link to a module leads to the API. Docstrings are read from the source; nothing imports the package.
"""

import os
import pathlib
import re

import griffe
from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[1]
OUTSIDE = ("BUILD.md", "CHANGELOG.md", "CONTRIBUTING.md", "Dockerfile", "recipes/README.md", "recipes/*.toml", "recipes/*/*")
PAGES = "docs/"
EXAMPLE = re.compile(r"^( *)>>> .*(?:\n\1\S.*|\n\1 +\S.*)*", re.MULTILINE)
MODULE = re.compile(r"^::: (\S+)", re.MULTILINE)
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s#:]+)(#[^()\s]*)?\)")


def on_files(files, config):
    """Adds the files outside docs/ under their paths in the repository."""
    for path in sorted(path for pattern in OUTSIDE for path in ROOT.glob(pattern)):
        name = path.relative_to(ROOT).as_posix()
        files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown, page, config, files):
    """Rewrites the links of a page to other files of the repository."""
    source = page.file.src_uri
    folder = os.path.dirname(os.path.relpath(page.file.abs_src_path, ROOT))

    def rewritten(link):
        text, target, anchor = link.groups(default="")
        path = os.path.normpath(os.path.join(folder, target))
        if not (ROOT / path).exists():
            return link[0]  # MkDocs reports it
        if (ROOT / path).is_dir():
            return text  # GitHub shows directories; the site has no page for them
        if path.endswith(".py"):
            module = documented(path)
            if module is None:
                return text
            path, anchor = f"{PAGES}api.md", f"#{module}"
        return f"[{text}]({os.path.relpath(path.removeprefix(PAGES), os.path.dirname(source) or '.')}{anchor})"

    return LINK.sub(rewritten, markdown)


def documented(path):
    """Returns the module of a file, or the nearest package around it, that the API page documents; `None` without one."""
    known = MODULE.findall((ROOT / PAGES / "api.md").read_text(encoding="utf-8"))
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return max((each for each in known if f"{name}.".startswith(f"{each}.")), key=len, default=None)


class Examples(griffe.Extension):
    """Fences the doctests of docstrings, which Markdown would take for text."""

    def on_object(self, *, obj, **kwargs):
        """Fences those of one object."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(r"\1```pycon\n\g<0>\n\1```", obj.docstring.value)
