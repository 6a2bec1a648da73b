"""The API page: what its tool reads from the source is what `help` tells."""

import inspect
import pathlib

import pytest

from keras_vgg import applications

griffe = pytest.importorskip("griffe")
pytest.importorskip("mkdocs")
ROOT = pathlib.Path(__file__).parents[1]
NETS = [name for name in applications.__all__ if name.startswith("VGG")]


@pytest.fixture(scope="module")
def read():
    """The package as the page's tool reads it, which never imports it."""
    names = ("Examples", "Applications")
    extensions = griffe.load_extensions(*(f"{ROOT}/tools/pages.py:{name}" for name in names))
    return griffe.load("keras_vgg", search_paths=[ROOT], extensions=extensions, allow_inspection=False, docstring_parser="google")


def test_the_page_uses_these_extensions():
    assert "extensions: [tools/pages.py:Examples, tools/pages.py:Applications]" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NETS)
def test_nets_have_their_arguments_and_help(read, name):
    shown, real = read["applications"][name], getattr(applications, name)
    assert shown.is_function
    assert shown.is_public
    parameters = [each for each in inspect.signature(real).parameters.values() if each.name != "name"]
    assert [(each.name, each.default) for each in shown.parameters if each.name != "name"] == [
        (each.name, repr(each.default)) for each in parameters
    ]
    assert str(shown.returns) == "keras.Model"
    assert "parameters" in {section.kind.value for section in shown.docstring.parsed}  # a table, not text
    lines, told = shown.docstring.value.split("\n"), inspect.getdoc(real).split("\n")
    assert lines[0] == told[0]  # "Returns net D of Table 1 …"
    assert f"applications.{name}(" in shown.docstring.value
    assert {"Args:", "Returns:", "Raises:"} <= set(lines)
