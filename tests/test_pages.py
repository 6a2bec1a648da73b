"""README and the pages: their links lead somewhere, their Python names exist, their commands take the flags they show."""

import ast
import functools
import importlib
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/*.md"), *ROOT.glob("notebooks/*.md")})
BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\[\]]*\]\((?!https?:|mailto:)([^()\s#]*)(?:#([^()\s]*))?\)")
COMMAND = re.compile(r"python -m (keras_vgg\.\w+)((?: [^\n|&>#\\]*(?:\\\n)?)*)")


def blocks(page, *languages):
    return [found["text"] for found in BLOCK.finditer(page.read_text(encoding="utf-8")) if found["language"] in languages]


def anchors(page):
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.name} links to {target}#{anchor}"


def test_a_link_to_a_module_leads_to_the_api_on_the_site():
    """Where `tools/pages.py` finds no module for it, the site has text in place of the link."""
    documented = re.findall(r"^::: (\S+)", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    for page in PAGES:
        for target, _ in LINK.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
            path = (page.parent / target).resolve().relative_to(ROOT)
            if path.suffix == ".py" and path.parts[0] == "keras_vgg":
                name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
                assert any(f"{name}.".startswith(f"{module}.") for module in documented), f"{page.name} links to {target}"


def python_blocks():
    return [
        pytest.param(text, id=f"{page.name}-{number}")
        for page in PAGES
        if page.name != "CONTRIBUTING.md"  # whose blocks are lines to put among others
        for number, text in enumerate(blocks(page, "python"))
    ]


@pytest.mark.parametrize("text", python_blocks())
def test_python_blocks_use_names_that_exist(text):
    """They compile, and every name that they take from our package is there."""
    tree = ast.parse(text)
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "keras_vgg":
            module = importlib.import_module(node.module)
            for alias in node.names:
                imported[alias.asname or alias.name] = getattr(module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "keras_vgg":
                    imported[alias.asname or "keras_vgg"] = importlib.import_module(alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imported:
            owner = imported[node.value.id]
            if isinstance(owner, type(sys)):
                assert hasattr(owner, node.attr), f"{owner.__name__}.{node.attr}"


@functools.cache
def flags_of(*command):
    told = subprocess.run([sys.executable, "-m", *command, "--help"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return set(re.findall(r"(?<![\w-])(--?[a-zA-Z][\w-]*)", told))


def commands():
    found = []
    for page in PAGES:
        for text in blocks(page, "", "bash", "console"):
            found += [(page.name, module, rest.replace("\\\n", " ")) for module, rest in COMMAND.findall(text)]
    return sorted({*found})


@pytest.mark.parametrize(("page", "module", "rest"), commands())
def test_commands_take_the_flags_that_a_page_shows(page, module, rest):
    words = shlex.split(rest.replace("…", ""), posix=False)
    used = {word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    command = [module, words[0]] if module == "keras_vgg.reproduce" else [module]
    assert used <= flags_of(*command), f"{page}: python -m {module}{rest}"


def test_there_is_something_to_check():
    assert len(commands()) > 40
    assert len(python_blocks()) > 15
