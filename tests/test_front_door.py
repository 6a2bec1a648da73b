"""What `import keras_vgg` alone gives, and that examples in docstrings run as typed."""

import ast
import doctest
import importlib
import inspect
import pathlib
import pickle
import re
import subprocess
import sys
import tomllib

import keras
import pytest

import keras_vgg

PACKAGE = pathlib.Path(keras_vgg.__file__).parent
PLUMBING = {
    "diagram",
    "kernel_copies",
    "__main__",
    "heads",
    "identity",
    "input_layers",
    "philox",
    "randomness",
    "resizing",
    "support",
}
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for path in PACKAGE.rglob("*.py")
)
PUBLIC = (
    *(f"applications.{name}" for name in keras_vgg.applications.__all__ if name.startswith("VGG")),
    "class_names.for_model",
    "features.PerceptualLoss",
    "features.gram_matrix",
    "features.perceptual_model",
    "fully_convolutional.to_fully_convolutional",
    "models.build_vgg",
    "preprocessing.for_model",
    "preprocessing.ImageTransform",
    "saved_model.export_saved_model",
    "training.fit",
    "training.load_data",
    "transfer.init_from_net_a",
    "transfer.load_model",
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
    blocks = [node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if isinstance(node, ast.If)]
    (block,) = (node for node in blocks if ast.unparse(node.test) == "TYPE_CHECKING")
    assert [alias.name for node in block.body for alias in node.names] == keras_vgg.__all__
    for name in keras_vgg.__all__:
        assert getattr(keras_vgg, name) is importlib.import_module(f"keras_vgg.{name}")
    with pytest.raises(AttributeError, match="module 'keras_vgg' has no attribute 'aplications'"):
        _ = keras_vgg.aplications


@pytest.mark.parametrize("package", [keras_vgg.features, keras_vgg.training])
def test_what_a_package_offers_is_known_to_type_checkers_and_at_hand(package):
    (block,) = (node for node in ast.parse(source_of(package.__name__)).body if isinstance(node, ast.If))
    told = {alias.name: node.module for node in block.body for alias in node.names}
    assert set(told) == set(package.__all__) <= set(dir(package))
    for name, module in told.items():
        assert getattr(package, name) is getattr(importlib.import_module(module), name)


USER = """
import keras_vgg
from keras_vgg.features import gram_matrix

net = keras_vgg.applications.VGG19(include_top=False, weights=None, input_shape=(64, 64, 3), dropout=0.5)
small = keras_vgg.models.build_vgg("D", width=0.25, initializer="he")
done: keras_vgg.transfer.Transferred = keras_vgg.transfer.init_from_net_a(net, small)
wants: keras_vgg.preprocessing.Preprocessing = keras_vgg.preprocessing.for_model(small)
model = keras_vgg.features.perceptual_model("D", ("relu1_2",), value_range=(0, 1))
keras_vgg.features.PerceptualLoss(model, style={"relu1_2": 0.1})
dense = keras_vgg.fully_convolutional.to_fully_convolutional(small, activation=None)
keras_vgg.saved_model.export_saved_model(net, "models/vgg", scales=(256, 384), top_k=3).path.name
arch: str = keras_vgg.recipe.Recipe(jitter=(256, 512)).arch
losses: list = keras_vgg.training.fit("quickstart", workdir="runs/a").history["loss"]
small.fit(keras_vgg.training.load_data("quickstart").train)

keras_vgg.applications.VGG19(clases=10)  # Unexpected keyword argument "clases"
keras_vgg.applications.vgg16.VGG16BN(classes="10")  # "classes"? has incompatible type "str"; expected "int"
keras_vgg.models.build_vgg("D", widht=0.25)  # Unexpected keyword argument "widht"
keras_vgg.saved_model.export_saved_model(net, "models/vgg", topk=3)  # Unexpected keyword argument "topk"
keras_vgg.features.perceptual_model(layers=3)  # has incompatible type "int"; expected "Sequence
keras_vgg.transfer.init_from_net_a(net)  # Missing positional argument "net_a"
keras_vgg.training.fit("quickstart", epochs=3)  # Unexpected keyword argument "epochs"
keras_vgg.recipe.Recipe(epoch=3)  # Unexpected keyword argument "epoch"
keras_vgg.aplications  # has no attribute "aplications"
keras_vgg.applications.VGG17  # has no attribute "VGG17"
"""


def test_a_type_checker_sees_the_front_door(tmp_path):
    """All that it says of a user's program is what is wrong there."""
    program = tmp_path / "user.py"
    program.write_text(USER, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(program)]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE.parent)
    told = dict(re.findall(r"^.*user\.py:(\d+): error: (.*)$", finished.stdout, re.MULTILINE))
    wrong = {str(number): line.partition("  # ")[2] for number, line in enumerate(USER.splitlines(), 1) if "  # " in line}
    assert {number: bool(re.search(wrong.get(number, "nothing"), text)) for number, text in told.items()} == dict.fromkeys(
        wrong, True
    ), finished.stdout + finished.stderr


def test_types_come_with_the_package():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["package-data"]["keras_vgg"][0] == "py.typed"
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize(("module", "net"), [("vgg16", "VGG16"), ("vgg19", "VGG19")])
def test_the_modules_of_keras_applications_are_here_too(module, net):
    ours, theirs = (getattr(package.applications, module) for package in (keras_vgg, keras))
    assert {name for name in dir(theirs) if not name.startswith("_")} <= set(dir(ours))
    assert importlib.import_module(f"keras_vgg.applications.{module}") is ours
    assert getattr(ours, net) is getattr(keras_vgg.applications, net)
    assert pickle.loads(pickle.dumps(getattr(ours, net))) is getattr(ours, net)
    assert {"preprocess_input", "decode_predictions"} <= set(dir(keras_vgg.applications.imagenet_utils))


def source_of(name):
    path = PACKAGE.parent.joinpath(*name.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


def examples():
    for name in MODULES:
        if ">>> " in source_of(name):
            for test in doctest.DocTestFinder().find(importlib.import_module(name), name):
                if test.examples:
                    yield pytest.param(test, id=test.name)


@pytest.mark.parametrize("module", [name for name in MODULES if ">>> " in source_of(name)])
def test_every_example_is_found(module):
    """`doctest` overlooks what it takes for another module's, such as what a decorator made."""
    found = [example for test in doctest.DocTestFinder().find(importlib.import_module(module), module) for example in test.examples]
    assert len(found) == sum(line.lstrip().startswith(">>> ") for line in source_of(module).splitlines())


def test_only_what_needs_public_files_or_other_libraries_is_skipped():
    skipped = {name for name in MODULES if "doctest: +SKIP" in source_of(name)}
    assert skipped == {
        "keras_vgg.descriptors.extraction",
        "keras_vgg.features.distance_losses",
        "keras_vgg.features.distances",
        "keras_vgg.localisation.single",
        "keras_vgg.serving.formats",
        "keras_vgg.weights.caffe_files",
        "keras_vgg.weights.caffe_proto",
        "keras_vgg.weights.download",
    }


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_has_help_with_an_example_that_runs(name):
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(f"keras_vgg.{module}"), attribute)
    told = doctest.DocTestParser().get_examples(inspect.getdoc(found))
    assert told
    assert not any(doctest.SKIP in example.options for example in told)
    assert not any(each.kind is each.VAR_KEYWORD for each in inspect.signature(found).parameters.values())


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
