"""`~` is the user's folder wherever a path is taken: in every flag of every command, in recipes, in the library."""

import importlib
import pathlib
import sys

import numpy as np
import pytest

from keras_vgg import recipe, style
from keras_vgg.descriptors.descriptor_file import DescriptorFile
from keras_vgg.errors import InputError
from keras_vgg.evaluation.recipe import read_evaluation
from keras_vgg.evaluation.results import Posteriors
from keras_vgg.features.layer_weights import open_layers
from keras_vgg.linear.recipe import read_transfer
from keras_vgg.serving.plan import _given_labels
from keras_vgg.support import cli, files, paths
from keras_vgg.training.run_folder import RunFolder

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tools"))

COMMANDS = [
    f"keras_vgg.{name}" for name in ("fit", "evaluate", "predict", "look", "extract", "transfer_eval", "style", "export", "convert")
]
COMMANDS += ["keras_vgg.client", "keras_vgg.describe", "dense_to_conv", "benchmark", "stress"]
NO_PATHS = {
    *("arch", "freeze", "layer", "only", "leave_out", "licence", "class_name"),  # names and texts
    *("url", "name", "label"),  # of what is served
    *("content_layers", "style_layers"),
}
"""Flags that take text which is no path. A new flag is one of these, or has `type=cli.path`."""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~/x", "HOME/x"),
        ("~", "HOME"),
        ("folder:~/x", "folder:HOME/x"),
        ("csv:~/x.csv", "csv:HOME/x.csv"),
        ("voc:~/VOC2007", "voc:HOME/VOC2007"),
        ("another:~/x", "another:HOME/x"),
        ("D=~/x", "D=HOME/x"),
        ("caltech 101=folder:~/x", "caltech 101=folder:HOME/x"),
        ("~/lr=0.1", "HOME/lr=0.1"),
        ("~nobody-of-this-name/x", "~nobody-of-this-name/x"),
        ("runs/a~/x", "runs/a~/x"),
        ("tfds:caltech101", "tfds:caltech101"),
        ("imagenet", "imagenet"),
    ],
)
def test_a_path_may_begin_within_a_word(home, text, expected):
    assert paths.expanded(text) == expected.replace("HOME", str(home))


@pytest.mark.parametrize(
    "text",
    ["gs://bucket/run", "s3://b/x", "D=gs://bucket/run", "folder:gs://b/x", "x=csv:s3://b/x", "https://host/cat.jpg"],
)
def test_a_path_of_another_machine_is_refused(text, capsys):
    """A run in it would lie in a folder `gs:` here, and be lost with the machine."""
    with pytest.raises(InputError, match=r"Paths must be local. Received: .*; download it, or mount it"):
        paths.expanded(text)
    parser = cli.Parser()
    parser.add_argument("--workdir", type=cli.path)
    with pytest.raises(SystemExit):
        parser.parse_args(["--workdir", text])
    assert capsys.readouterr().err.startswith(f"Argument --workdir: Paths must be local. Received: {text}")
    with pytest.raises(InputError, match="Paths must be local"):
        RunFolder(pathlib.Path("gs://bucket/run"))


@pytest.mark.parametrize("text", ["C:/x", "tfds:imagenet2012", "folder:/x", "a:b", "runs/gs:/x", "voc:./x", "another:/x"])
def test_a_path_of_this_machine_may_have_colons(text):
    assert paths.expanded(text) == text


class CaughtError(Exception):
    pass


def parsers_of(command, monkeypatch):
    """The parser of a command as its `main` makes it, and those within it."""

    def catch(self, argv=None, namespace=None):
        raise CaughtError(self)

    main = importlib.import_module(command).main
    with monkeypatch.context() as patched:
        patched.setattr(cli.Parser, "parse_args", catch)
        with pytest.raises(CaughtError) as caught:
            main([])
    found = list(caught.value.args)
    for parser in found:  # grows
        choices = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
        found += [inner for each in choices for inner in each.values() if isinstance(inner, cli.Parser)]
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_that_takes_a_path_expands_it(home, command, monkeypatch):
    actions = [action for parser in parsers_of(command, monkeypatch) for action in parser._actions]
    ours = [each for each in actions if not type(each).__module__.startswith("absl.") and each.dest != "undefok"]
    of_text = [each for each in ours if each.nargs != 0 and not each.choices and each.type in (None, str)]
    assert {action.dest for action in of_text} <= NO_PATHS
    of_paths = [action for action in actions if action.type is cli.path]
    assert of_paths or command.endswith("describe")
    for action in of_paths:
        for text in ("{}/x", "folder:{}/x", "NAME={}/x", "NAME=folder:{}/x"):
            assert action.type(text.format("~")) == text.format(home), action.option_strings


def test_recipes_say_what_flags_say(home):
    path = home / "recipe.toml"
    path.write_text('dataset = "folder:~/x"\ninit_from = "~/a"\n')
    assert recipe.read_recipe("~/recipe.toml") == {"dataset": f"folder:{home}/x", "init_from": f"{home}/a"}
    path.write_text('dataset = "csv:~/x"\n[models]\nD = "~/d"\n[[rows]]\nprotocol = "dense"\n')
    found = read_evaluation(path)
    assert (found.dataset, found.models) == (f"csv:{home}/x", {"D": f"{home}/d"})
    path.write_text('[models]\nD = "~/d"\n[data.x]\ndataset = "voc:~/x"\nprotocol = "multi-label"\n[[rows]]\ndata = "x"\n')
    found = read_transfer(path)
    assert (found.data["x"].dataset, found.models) == (f"voc:{home}/x", {"D": f"{home}/d"})
    path.write_text('content = "~/a.jpg"\nstyle = "~/b.jpg"\nweights = "~/w"\nout = "~/o.png"\nsize = 99\n')
    assert style._read_recipe("~/recipe.toml") == {
        "content": f"{home}/a.jpg", "style": f"{home}/b.jpg", "weights": f"{home}/w", "out": f"{home}/o.png", "size": 99,
    }  # fmt: skip


def test_a_home_folder_that_nobody_has_is_a_path_like_any_other(monkeypatch, tmp_path):
    """`pathlib` raises a RuntimeError for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~nobody-of-this-name").mkdir()
    assert RunFolder("~nobody-of-this-name").path.is_dir()
    with pytest.raises(InputError, match=r"A recipe must be a readable TOML file. Received: ~no-such-user/x.toml"):
        files.read_recipe_file("~no-such-user/x.toml")


def test_the_library_takes_what_commands_take(home):
    files.write_text("~/labels.txt", "a\nb\n")
    assert _given_labels("~/labels.txt") == ("a", "b")
    values, labels, images = np.ones((1, 2), np.float32), np.zeros(1, np.int64), np.array(["1.jpg"])
    Posteriors(values, labels, images, ("a", "b"), {}).save("~/p.npz")
    assert Posteriors.read("~/p.npz").classes == ("a", "b")
    DescriptorFile(values, labels, images, None, ("a", "b"), {}).save("~/d.npz")
    assert DescriptorFile.read("~/d.npz").images == ["1.jpg"]
    (home / "net.pth").write_bytes(b"")
    with pytest.raises(InputError, match="which is empty"):  # it was found
        open_layers("~/net.pth", arch="A", batch_norm=False)
