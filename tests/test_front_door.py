"""What `import keras_vgg` alone gives, and that examples in docstrings run as typed."""

import ast
import doctest
import importlib
import pathlib
import pickle
import subprocess
import sys

import keras
import pytest

import keras_vgg

PACKAGE = pathlib.Path(keras_vgg.__file__).parent
PLUMBING = {"__main__", "identity", "input_layers", "randomness", "support"}
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for path in PACKAGE.rglob("*.py")
)
FRESH = """
import sys
import keras_vgg
assert not {name for name in sys.modules if name.startswith(("tensorflow", "keras.", "numpy", "keras_vgg."))}
assert {"applications", "models", "recipe", "fit"} <= set(dir(keras_vgg))
import rlcompleter
assert rlcompleter.Completer({"keras_vgg": keras_vgg}).complete("keras_vgg.appl", 0) == "keras_vgg.applications"
print(keras_vgg.applications.VGG19(weights=None).count_params())
"""


def test_the_sentence_that_the_package_was_ordered_for():
    finished = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert finished.stdout == "143667240\n", finished.stderr


def test_every_public_module_is_reached_and_known_to_type_checkers():
    there = {name.split(".")[1] for name in MODULES if "." in name}
    assert set(keras_vgg.__all__) == there - PLUMBING
    assert set(keras_vgg.__all__) <= set(dir(keras_vgg))
    (block,) = (node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if isinstance(node, ast.If))
    assert [alias.name for node in block.body for alias in node.names] == keras_vgg.__all__
    for name in keras_vgg.__all__:
        assert getattr(keras_vgg, name) is importlib.import_module(f"keras_vgg.{name}")
    with pytest.raises(AttributeError, match="module 'keras_vgg' has no attribute 'aplications'"):
        _ = keras_vgg.aplications


@pytest.mark.parametrize(("module", "net"), [("vgg16", "VGG16"), ("vgg19", "VGG19")])
def test_the_modules_of_keras_applications_are_here_too(module, net):
    ours, theirs = (getattr(package.applications, module) for package in (keras_vgg, keras))
    assert {name for name in dir(theirs) if not name.startswith("_")} <= set(dir(ours))
    assert importlib.import_module(f"keras_vgg.applications.{module}") is ours
    assert getattr(ours, net) is getattr(keras_vgg.applications, net)
    assert pickle.loads(pickle.dumps(getattr(ours, net))) is getattr(ours, net)
    assert {"preprocess_input", "decode_predictions"} <= set(dir(keras_vgg.applications.imagenet_utils))


def examples():
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
            for test in doctest.DocTestFinder().find(importlib.import_module(name), name):
                if test.examples:
                    yield pytest.param(test, id=test.name)


@pytest.mark.parametrize("example", examples())
def test_examples_run_after_nothing_but_what_they_say(example):
    example.globs.clear()
    example.globs["__name__"] = "__main__"
    told = []
    assert doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(example, out=told.append).failed == 0, "".join(told)


def test_a_path_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    model = keras_vgg.models.build_vgg("A", input_shape=(32, 32, 3), width=1 / 64, include_top=False)
    model.save_weights(tmp_path / "net.weights.h5")
    assert keras_vgg.weights.weight_file.find_file("~/net.weights.h5") == tmp_path / "net.weights.h5"
    with pytest.raises(ValueError, match="which does not exist"):
        keras_vgg.applications.VGG11(weights="~/other.weights.h5")
    with pytest.raises(ValueError, match="net") as raised:
        keras_vgg.applications.VGG11(weights="~/net.weights.h5", include_top=False)
    assert "does not exist" not in str(raised.value)  # the file was read, and is of a narrower net
