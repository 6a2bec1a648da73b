"""Keras set to compute on something else than TensorFlow, by the environment or its configuration file, is told in a line."""

import json
import os
import pathlib
import subprocess
import sys
import types

import pytest

from keras_vgg.support import backend

ROOT = pathlib.Path(__file__).parents[1]
IMAGE = ROOT / "recipes" / "pictures" / "style.png"
BY_VARIABLE = (
    "keras_vgg requires the TensorFlow backend, but the environment variable KERAS_BACKEND sets Keras to 'torch'; "
    "set KERAS_BACKEND=tensorflow, or unset it."
)
COMMANDS = {
    "fit": "--recipe quickstart --workdir {folder}/run",
    "evaluate": "--model vgg16 --dataset folder:recipes",
    "localise": "--model vgg16 --dataset folder:recipes",
    "predict": "{file} --model vgg16",
    "look": "--model vgg16 --filters {folder}/f.png",
    "extract": "--model vgg16 --images {file} --out {folder}/f.npz",
    "transfer_eval": "--model vgg16 --dataset folder:recipes",
    "style": "--content {file} --style {file} --out {folder}/s.png",
    "export": "--model vgg16 --out {folder}/models",
    "convert": "{file} {folder}/net.keras",
}
RUN = """
import contextlib, io, json, runpy, sys
told = {}
for command, arguments in json.loads(sys.argv[1]).items():
    sys.argv = [command, *arguments]
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            runpy.run_module(f"keras_vgg.{command}", run_name="__main__")
        except SystemExit as ended:
            told[command] = ended.code, errors.getvalue()
print(json.dumps(told))
assert "keras" not in sys.modules
"""


def run(program, *arguments, **environment):
    finished = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=ROOT, env=os.environ | environment
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_commands_say_so_in_a_line_and_do_nothing(tmp_path):
    arguments = {name: flags.format(file=IMAGE, folder=tmp_path).split() for name, flags in COMMANDS.items()}
    told = json.loads(run(RUN, json.dumps(arguments), KERAS_BACKEND="torch"))
    assert told == {name: [2, BY_VARIABLE + "\n"] for name in COMMANDS}
    assert not list(tmp_path.iterdir())


def test_modules_that_import_keras_say_so_and_others_go_on():
    program = """if True:
        import sys
        import keras_vgg.configs, keras_vgg.recipe, keras_vgg.remote.rest_transport, keras_vgg.weights.catalogue
        keras_vgg.describe.main(["--arch", "D"])
        for name in ("models", "applications", "transfer", "preprocessing", "features.perceptual", "saved_model"):
            try:
                __import__("keras_vgg." + name)
            except ImportError as error:
                assert isinstance(error, ValueError)
                print(error)
        assert "keras" not in sys.modules
    """
    lines = run(program, KERAS_BACKEND="torch").splitlines()
    assert "138,357,544 parameters" in "".join(lines)
    assert lines[-6:] == [BY_VARIABLE] * 6


@pytest.mark.parametrize(
    ("content", "variable", "is_refused"),
    [
        ('{"backend": "jax"}', "", True),
        ('{"backend": "jax"}', "tensorflow", False),  # which goes before the file
        ('{"backend": "tensorflow"}', "", False),
        ('{"epsilon": 1e-7}', "", False),
        ("{", "", False),
    ],
)
def test_the_configuration_file(content, variable, is_refused, tmp_path, monkeypatch):
    (tmp_path / "keras.json").write_text(content)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", variable)
    monkeypatch.setitem(sys.modules, "keras", None)  # as if it were still to be imported
    if not is_refused:
        backend.require_tensorflow()
        return
    with pytest.raises(backend.BackendError) as raised:
        backend.require_tensorflow()
    assert str(raised.value) == (
        f"keras_vgg requires the TensorFlow backend, but {tmp_path / 'keras.json'} sets Keras to 'jax'; "
        'set KERAS_BACKEND=tensorflow, or "backend": "tensorflow" in that file.'
    )


def test_keras_itself_takes_it_from_there(tmp_path):
    """The setting that is read here is the one that Keras reads, which has no backend of this name."""
    (tmp_path / "keras.json").write_text('{"backend": "nowhere"}')
    program = """if True:
        try:
            import keras
        except ValueError as error:
            print(error)
        import keras_vgg
        try:
            keras_vgg.models
        except ImportError as error:
            print(error)
    """
    told = run(program, KERAS_HOME=str(tmp_path), KERAS_BACKEND="").splitlines()
    assert "nowhere" in told[0]
    assert told[1].startswith(f"keras_vgg requires the TensorFlow backend, but {tmp_path / 'keras.json'} sets Keras to 'nowhere'")


def test_keras_that_is_imported_already(monkeypatch):
    config = types.SimpleNamespace(backend=lambda: "jax")
    monkeypatch.setitem(sys.modules, "keras", types.SimpleNamespace(config=config))
    with pytest.raises(
        backend.BackendError, match=r"but an earlier import in this program sets Keras to 'jax'; set KERAS_BACKEND=tensor"
    ):
        backend.require_tensorflow()
    monkeypatch.setattr(config, "backend", lambda: "tensorflow")
    monkeypatch.setenv("KERAS_BACKEND", "torch")  # too late to matter
    backend.require_tensorflow()
