"""Flags of all commands: one name for one thing; former names and American spellings are accepted, but not shown."""

import collections
import contextlib
import importlib
import io
import re

import pytest

from keras_vgg.__main__ import AMERICAN, COMMANDS
from keras_vgg.recipe import Recipe, read_recipe
from keras_vgg.support import cli
from keras_vgg.weights import catalogue


class StoppedError(Exception):
    pass


def parser_of(name, monkeypatch):
    """The parser of a command, which `main` makes."""
    made = []

    def stop(self, *given, **more):
        made.append(self)
        raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr(cli.Parser, "parse_args", stop)
        with pytest.raises(StoppedError):
            importlib.import_module(f"keras_vgg.{name}").main([])
    return made[0]


@pytest.fixture(scope="module")
def parsers():
    with pytest.MonkeyPatch.context() as patched:
        yield {name: parser_of(name, patched) for name in COMMANDS}


def shown_by(parser):
    """`{flag: action}` of the flags in a parser's help."""
    return {flag: action for action in parser._actions for flag in action.option_strings}


OTHER_NAMES = [
    ("export", "--model m --out o", "--top-k 3", "--top 3"),
    ("export", "--model m --out o", "--labels f", "--classes f"),
    ("export", "--model m --out o", "--features fc1", "--layer fc1"),
    ("export", "--model m --out o", "--version 3", "--model-version 3"),
    ("export", "--model m --out o", "--license MIT", "--licence MIT"),
    ("export", "--model m --out o", "--labeled=digits", "--labelled=digits"),
    ("export", "--model m --out o", "--localizer l --localizer-scales 64 72", "--localiser l --localiser-scales 64 72"),
    ("predict", "a.jpg --model m", "--top-k 3", "--top 3"),
    ("predict", "a.jpg --model m", "--localizer l", "--localiser l"),
    ("client", "a.jpg --url u", "--name n", "--model-name n"),
    ("client", "a.jpg --url u", "--batch 3", "--images-per-request 3"),
    ("client", "a.jpg --url u", "--localize", "--localise"),
    ("serve", "", "--model_base_path m --model_name n --rest_api_port 1", "--model m --model-name n --rest-port 1"),
    ("serve", "--model m", "--rest-api-port=1 --file_system_poll_wait_seconds 2", "--rest-port=1 --poll-seconds 2"),
    ("fit", "", "--flip", "--random-flip"),
    ("fit", "", "--no-flip", "--no-random-flip"),
    ("fit", "", "--task localization", "--task localisation"),
]


@pytest.mark.parametrize(("name", "needed", "other", "now"), OTHER_NAMES)
def test_other_names_mean_the_same_and_are_not_shown(parsers, name, needed, other, now):
    parser = parsers[name]
    assert parser.parse_args([*needed.split(), *other.split()]) == parser.parse_args([*needed.split(), *now.split()])
    text = parser.format_help()
    for flag, shown in ((o, n) for o, n in zip(other.split(), now.split(), strict=True) if o.startswith("--") and o != n):
        assert f"{flag.split('=')[0]} " not in text.replace("\n", " ")
        assert shown.split("=")[0] in text


@pytest.mark.parametrize("flag", ["--license", "--localizer", "--labeled"])
def test_a_spelling_of_a_flag_that_a_command_does_not_have_is_named_as_it_was_given(parsers, flag, capsys):
    with pytest.raises(SystemExit, match="2"):
        parsers["describe"].parse_args([flag, "x"])
    assert f"{flag} x" in capsys.readouterr().err


def test_after_two_dashes_there_are_no_flags():
    parser = cli.Parser()
    parser.add_argument("--new")
    parser.add_argument("paths", nargs="*")
    parser.also_accept("--new", "--old")
    parsed = parser.parse_args(["--old", "1", "--", "--old"])
    assert (parsed.new, parsed.paths) == ("1", ["--old"])


DIFFERENT = {
    "--classes": "describe: their number; elsewhere a file with their names",
    "--dataset": "transfer_eval: of several with names",
    "--features": "a file that client writes and transfer_eval reads, which takes several",
    "--label": "serve names a version, client asks for it",
    "--layer": "export: of the layers that its signature can have",
    "--merge-threshold": "localise: a row each",
    "--model": "of several nets with names, or a folder of exports",
    "--out": "a file, a folder or either",
    "--pooling": "style: of the net, as in Gatys et al.",
    "--precision": "style: no float16",
    "--protocol": "transfer_eval: how to split; localise: not of crops",
    "--weights": "describe: a list",
}
"""Flags whose values differ between commands, and why."""


def test_a_flag_takes_the_same_values_in_all_commands(parsers):
    taken = collections.defaultdict(set)
    for name, parser in parsers.items():
        for flag, action in shown_by(parser).items():
            if name != "fit":  # whose metavars are the names of a recipe's fields
                taken[flag].add((action.metavar, str(action.nargs), str(action.choices)))
    assert {flag for flag, values in taken.items() if len(values) > 1} == set(DIFFERENT)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_has_help_that_does_not_show_a_missing_default(parsers, name):
    with contextlib.redirect_stdout(io.StringIO()) as text, pytest.raises(SystemExit):
        parsers[name].parse_args(["--help"])
    assert "default: None" not in text.getvalue()
    assert "--helpfull" not in text.getvalue()
    assert all(action.help for action in shown_by(parsers[name]).values())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_net_in_the_example_of_a_command_is_a_run_or_public(parsers, name):
    for net in re.findall(r"--model (\S+)", parsers[name].description):
        net = net.rstrip("`.")
        assert net.split("/")[0] in ("runs", "models") or catalogue.called(net)


def test_american_commands_and_tasks(tmp_path):
    assert {AMERICAN[name] for name in AMERICAN} <= set(COMMANDS)
    assert Recipe(task="localization") == Recipe(task="localisation")
    (tmp_path / "recipe.toml").write_text('task = "localization"\n')
    assert Recipe(**read_recipe(tmp_path / "recipe.toml")).task == "localisation"
