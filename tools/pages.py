"""Hooks of `mkdocs.yml`: pages outside docs/ and notebooks are part of the site, examples in docstrings are code, and functions
have arguments.

Links in pages are relative to the file in the repository, as GitHub follows them. Here they become relative to the page of the
site; a link to a module leads to the API. Notebooks become Markdown with their kept outputs, so that they look like other pages
and their links are checked. Docstrings are read from the source; nothing imports the package or executes a notebook.
"""

import base64
import json
import os
import pathlib
import re
from collections.abc import Iterator

import griffe
from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = "notebooks/*.ipynb"
OUTSIDE = ["BUILD.md", "CHANGELOG.md", "CONTRIBUTING.md", "Dockerfile", "recipes/README.md", "recipes/*.toml", "recipes/*/*"]
OUTSIDE += ["notebooks/README.md", "notebooks/*.py", NOTEBOOKS]
PICTURES = {"image/png": ".png", "image/jpeg": ".jpg"}
PAGES = "docs/"
EXAMPLE = re.compile(r"^( *)>>> .*(?:\n\1\S.*|\n\1 +\S.*)*", re.MULTILINE)
MODULE = re.compile(r"^::: (\S+)", re.MULTILINE)
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s#:]+)(#[^()\s]*)?\)")


def on_files(files, config):
    """Adds the files outside docs/ under their paths in the repository."""
    for path in sorted(path for pattern in OUTSIDE for path in ROOT.glob(pattern)):
        name = path.relative_to(ROOT).as_posix()
        files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    for path in sorted(ROOT.glob(NOTEBOOKS)):
        name = path.relative_to(ROOT).with_suffix("").as_posix()
        markdown, pictures = page_of(json.loads(path.read_text(encoding="utf-8")), path.name)
        files.append(File.generated(config, f"{name}.md", content=markdown))
        for picture, content in pictures.items():
            files.append(File.generated(config, f"{os.path.dirname(name)}/{picture}", content=content))
    return files


def page_of(notebook: dict, name: str) -> tuple[str, dict[str, bytes]]:
    """Returns a notebook as Markdown, and the pictures that the Markdown expects beside it, by name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for kind, content in _outputs(cell):
            if kind in PICTURES:
                picture = f"{pathlib.Path(name).stem}-{len(pictures)}{PICTURES[kind]}"
                parts.append(f"![Output]({picture})")
                pictures[picture] = base64.b64decode(content)
            elif kind == "text/html":
                parts.append(f'<div class="output">\n{content.strip()}\n</div>')
            else:
                parts.append(f"```text\n{content.strip()}\n```")
    title, rest = parts[0].split("\n", 1)
    parts[0] = f"{title}\n\n*A Jupyter notebook with its outputs: [{name}]({name}); [how to run it](README.md).*\n{rest}"
    return "\n\n".join(parts) + "\n", pictures


def _outputs(cell: dict) -> Iterator[tuple[str, str]]:
    """Yields the outputs of a cell: the kind shown, and its content."""
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            yield "text/plain", "".join(output["text"])
        else:
            kind = next(kind for kind in (*PICTURES, "text/html", "text/plain") if kind in output["data"])
            yield kind, "".join(output["data"][kind])


def on_page_markdown(markdown, page, config, files):
    """Rewrites the links of a page to other files of the repository."""
    source = page.file.src_uri
    of_notebook = page.file.abs_src_path is None
    folder = os.path.dirname(source if of_notebook else os.path.relpath(page.file.abs_src_path, ROOT))

    def rewritten(link):
        text, target, anchor = link.groups(default="")
        path = os.path.normpath(os.path.join(folder, target))
        if not (ROOT / path).exists():
            return link[0]  # MkDocs reports it
        if (ROOT / path).is_dir():
            return text  # GitHub shows directories; the site has no page for them
        if path.startswith("keras_vgg/"):
            module = documented(path)
            if module is None:
                return text
            path, anchor = f"{PAGES}api.md", f"#{module}"
        if path.endswith(".ipynb") and text != os.path.basename(path):  # a link with the file's name downloads it
            path = f"{path.removesuffix('.ipynb')}.md"
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


class Applications(griffe.Extension):
    """Shows the functions that `as_function` makes, such as `VGG16`, as `help` does: with arguments and docstring of `build`."""

    def on_package(self, *, pkg, **kwargs):
        """Replaces those of `keras_vgg.applications`."""
        if pkg.name != "keras_vgg":
            return
        build = pkg["applications.building.Application.build"]
        for module in pkg["applications"].modules.values():
            for name, made in list(module.attributes.items()):
                if str(made.value).startswith("as_function("):
                    module.set_member(name, _function(made, build))


def _function(made: griffe.Attribute, build: griffe.Function) -> griffe.Function:
    """Returns the function that an assignment makes of the method `build`."""
    assert made.docstring  # the string below the assignment
    assert build.docstring
    net = made.docstring.value.rstrip(".")  # "Net D of Table 1"
    text = build.docstring.value.replace("the net", net[0].lower() + net[1:], 1).replace("VGG16(", f"{made.name}(")
    function = griffe.Function(
        made.name,
        lineno=made.lineno,
        endlineno=made.endlineno,
        parameters=griffe.Parameters(*(each for each in build.parameters if each.name != "self")),
        returns=build.returns,
        parent=made.parent,
    )
    function.docstring = griffe.Docstring(
        text,
        lineno=made.lineno,
        parent=function,
        parser=build.docstring.parser,
        parser_options=build.docstring.parser_options,
    )
    return function
