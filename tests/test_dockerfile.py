"""`Dockerfile`, read as Docker would read it: what it copies is there and enough, and what it starts is what the package has."""

import pathlib
import re
import shlex
import tomllib

import pytest

from keras_vgg import __main__ as front
from keras_vgg import export, fit, serve

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
INSTRUCTIONS = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "RUN", "WORKDIR"}


def instructions():
    """`[(name, rest)]`, without comments and with continued lines joined."""
    plain = "\n".join(line for line in TEXT.splitlines() if not line.startswith("#"))
    return [tuple(line.split(None, 1)) for line in plain.replace("\\\n", " ").splitlines() if line.strip()]


def rest_of(name):
    return [rest for each, rest in instructions() if each == name]


def copied():
    """`{source: where it goes}`."""
    found = {}
    for rest in rest_of("COPY"):
        *sources, target = rest.split()
        assert len(sources) == 1 or target.endswith("/")  # Docker refuses several into what is no folder
        found |= {source: target + source if target.endswith("/") else target for source in sources}
    return found


def test_it_is_made_of_known_instructions_from_the_usual_place():
    assert {name for name, _ in instructions()} <= INSTRUCTIONS
    assert instructions()[0][0] == "FROM"  # an ARG before it would not be seen after it
    (base,) = rest_of("FROM")
    version = re.fullmatch(r"python:(\d+)\.(\d+)-slim", base).groups()  # no host: Docker's own registry
    least = re.fullmatch(r">=(\d+)\.(\d+)", PROJECT["project"]["requires-python"]).groups()
    assert tuple(map(int, version)) >= tuple(map(int, least))


def test_what_it_copies_is_all_that_the_package_is_made_of():
    project, setuptools = PROJECT["project"], PROJECT["tool"]["setuptools"]
    data = [pattern for patterns in setuptools["data-files"].values() for pattern in patterns]
    needed = {"pyproject.toml", project["readme"], *project["license-files"], *(pattern.partition("/")[0] for pattern in data)}
    needed |= {pattern.rstrip("*") for pattern in setuptools["packages"]["find"]["include"]}
    assert set(copied()) == needed
    assert all((ROOT / source).exists() for source in copied())
    assert copied() == {source: f"/src/{source}" for source in copied()}  # beside each other, as in a checkout
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())
    assert "*" in ignored


def test_it_installs_extras_that_there_are():
    (argument,) = rest_of("ARG")
    name, _, default = argument.partition("=")
    (run,) = rest_of("RUN")
    installed = next(word for word in shlex.split(run.partition("&&")[0]) if word.startswith("/src"))
    assert installed == f"/src[${{{name}}}]"
    given = {default, *re.findall(rf"--build-arg {name}=(\S+)", TEXT)}
    extras = set(PROJECT["project"]["optional-dependencies"])
    assert all(set(each.split(",")) <= extras for each in given)
    assert len(given) == 2


def test_it_starts_what_the_package_has_at_the_ports_that_are_open():
    assert rest_of("ENTRYPOINT") == ['["keras-vgg"]']
    assert PROJECT["project"]["scripts"]["keras-vgg"] == f"{front.__name__}:{front.main.__name__}"
    (ports,) = rest_of("EXPOSE")
    assert ports.split() == ["8500", "8501"]


class _ReadError(Exception):
    """Raised once a command has understood its flags."""


def test_the_commands_in_its_comments_are_understood(monkeypatch):
    told = re.findall(r"^#   docker run (.+?) keras_vgg (\w+) (.+)$", TEXT, re.MULTILINE)
    assert [command for _, command, _ in told] == ["fit", "export", "serve"]
    for flags, _, _ in told:
        assert '-v "$PWD:/work"' in flags
    assert rest_of("WORKDIR") == ["/work"]

    def understood(*_):
        raise _ReadError

    modules = {"fit": fit, "export": export, "serve": serve}
    monkeypatch.setattr("keras_vgg.support.extras.require", understood)
    for _, command, arguments in told:
        with pytest.raises(_ReadError):
            modules[command].main(shlex.split(arguments))
    flags, _, arguments = told[-1]
    assert re.findall(r"-p (\d+):(\d+)", flags) == [("8500", "8500"), ("8501", "8501")]
    assert "--host 0.0.0.0" in arguments  # else only the container itself could ask
