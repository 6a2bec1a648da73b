"""Hooks of `mkdocs.yml`: pages outside docs/ are part of the site, examples in docstrings are code, and functions have arguments.

Links in pages are relative to the file in the repository, as GitHub follows them. Here they become relative to the page of the
site. Docstrings are read from the source; nothing imports the package.
"""

import os
import pathlib
import re

import griffe
from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[1]
OUTSIDE = ("BUILD.md", "CHANGELOG.md", "CONTRIBUTING.md", "Dockerfile", "recipes/README.md", "recipes/*/*")
PAGES = "docs/"
EXAMPLE = re.compile(r"^( *)>>> .*(?:\n\1\S.*|\n\1 +\S.*)*", re.MULTILINE)
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
        return f"[{text}]({os.path.relpath(path.removeprefix(PAGES), os.path.dirname(source) or '.')}{anchor})"

    return LINK.sub(rewritten, markdown)


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
    assert made.docstring
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
    parsing = {"parser": build.docstring.parser, "parser_options": build.docstring.parser_options}
    function.docstring = griffe.Docstring(text, lineno=made.lineno, parent=function, **parsing)
    return function
