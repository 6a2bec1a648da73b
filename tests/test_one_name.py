"""`keras-vgg COMMAND` and `python -m keras_vgg COMMAND` are `python -m keras_vgg.COMMAND`."""

import importlib.metadata
import os
import pathlib
import subprocess
import sys

import pytest

import keras_vgg
from keras_vgg.__main__ import COMMANDS

PACKAGE = pathlib.Path(keras_vgg.__file__).parent


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    )


def test_every_command_is_there():
    is_command = [path.stem for path in PACKAGE.glob("*.py") if "entry.run(main" in path.read_text() and path.stem != "__main__"]
    assert sorted(COMMANDS) == sorted(is_command)


def test_it_is_installed():
    (script,) = [each for each in importlib.metadata.distribution("keras_vgg").entry_points if each.name == "keras-vgg"]
    assert script.value == "keras_vgg.__main__:main"


@pytest.mark.parametrize(
    ("name", "module"), [("describe", "describe"), ("transfer-eval", "transfer_eval"), ("localize", "localise")]
)
def test_a_command_says_the_same_under_both_names(name, module):
    assert run("keras_vgg", name, "--help").stdout == run(f"keras_vgg.{module}", "--help").stdout != ""


def test_a_command_ends_as_it_does():
    together, alone = (run(*start, "--size", "31") for start in (("keras_vgg", "describe"), ("keras_vgg.describe",)))
    assert (together.returncode, together.stderr) == (alone.returncode, alone.stderr)
    assert together.returncode == 2


def test_what_there_is():
    listed = run("keras_vgg")
    assert listed.returncode == 0
    assert all(f"  {command} " in listed.stdout for command in COMMANDS)
    assert run("keras_vgg", "--version").stdout == f"keras_vgg {keras_vgg.__version__}\n"


@pytest.mark.parametrize(("name", "told"), [("evaluat", "did you mean evaluate?"), ("nothing", "expected one of fit, evaluate")])
def test_a_slip_is_one_line(name, told):
    ended = run("keras_vgg", name)
    assert ended.returncode == 2
    assert told in ended.stderr
    assert ended.stderr.count("\n") == 1
