"""What parts of the package need beyond the required libraries: the table, and what is said where one is missing."""

import importlib.metadata
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

from keras_vgg.errors import InputError
from keras_vgg.support import extras

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_IN_ALL = {"docs", "gpu", "litert", "onnx", "openvino"}
COMES_ALONG = {"requests"}  # TensorFlow itself imports it
LIBRARIES = sorted({library for extra in extras.EXTRAS.values() for library in extra.libraries} - COMES_ALONG)
BLOCKED = f"""
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
for library in {LIBRARIES}:
    sys.modules[library] = None
"""
"""As if nothing were installed but what `pip install keras_vgg` brings."""
RUN = "import runpy; runpy.run_module('keras_vgg.{}', run_name='__main__')"


def named(requirements):
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


def run(program, *arguments):
    return subprocess.run([sys.executable, "-c", BLOCKED + program, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT)


def test_the_table_is_that_of_the_project():
    listed = PROJECT["optional-dependencies"]
    assert set(listed) - {"all", "gpu"} == set(extras.EXTRAS)
    for name, extra in extras.EXTRAS.items():
        assert named(listed[name]) == set(extra.libraries.values()), name
    required = named(PROJECT["dependencies"])
    assert not required & {name for extra in extras.EXTRAS.values() for name in extra.libraries.values()}


def test_all_is_all_but_other_engines_and_the_pages():
    (everything,) = PROJECT["optional-dependencies"]["all"]
    told = set(re.fullmatch(r"keras_vgg\[(.+)\]", everything)[1].split(","))
    assert told == set(PROJECT["optional-dependencies"]) - NOT_IN_ALL - {"all"}


def test_one_library_has_one_range():
    """Extras that share a library must not exclude each other."""
    ranges = {}
    for name, requirements in PROJECT["optional-dependencies"].items():
        for requirement in requirements if name not in NOT_IN_ALL | {"all"} else ():
            library = re.match(r"[\w-]+", requirement)[0]
            assert ranges.setdefault(library, requirement) == requirement


def test_the_table_of_build_md_has_every_extra():
    text = (ROOT / "BUILD.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `\[(\w+)\]` \| [^|]+ \| ([^|]*?) ?\|$", text, re.MULTILINE))
    for name, extra in extras.EXTRAS.items():
        assert set(rows[name].split(", ")) == set(extra.libraries.values()), name
    assert set(rows) == set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("name", sorted(set(extras.EXTRAS) - NOT_IN_ALL))
def test_names_to_import_and_to_install_belong_together(name):
    installed = importlib.metadata.packages_distributions()
    for library, distribution in extras.EXTRAS[name].libraries.items():
        assert distribution.lower() in {each.lower().replace("_", "-") for each in installed[library]}


def test_what_is_missing_is_an_import_error_and_a_mistake_of_input(monkeypatch):
    monkeypatch.setitem(sys.modules, "tenacity", None)
    told = r"^TensorFlow Serving needs tenacity, which is not installed; pip install 'keras_vgg\[serve\]' installs it\.$"
    for error in (ImportError, InputError):
        with pytest.raises(error, match=told):
            extras.require("serve")
        with pytest.raises(error, match=told), extras.needed("serve"):
            import tenacity  # noqa: F401
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(InputError, match=r"needs requests, tenacity, which are not installed; .* installs them\.$"):
        extras.require("serve")


def test_what_is_no_extra_stays_what_it_is():
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_library'"), extras.needed("serve"):
        import no_such_library  # noqa: F401
    assert extras.told(ModuleNotFoundError("No module named 'no_such_library'", name="no_such_library")) is None


COMMANDS = {
    "fit --recipe recipes/quickstart.toml": "Training needs matplotlib, tensorboard, which are",
    "evaluate --model net --dataset folder:images": "Testing needs matplotlib, scikit-learn, scipy, which are",
    "localise --model net --dataset folder:images": "Testing needs matplotlib, scikit-learn, scipy, which are",
    "predict conftest.py --model net --heatmap where.png": "Drawing pictures needs matplotlib, which is",
    "look --model net --filters f.png": "Drawing pictures needs matplotlib, which is",
    "transfer_eval --model net --dataset folder:images": "Training linear SVMs needs scikit-learn, scipy, which are",
    "style --content a.jpg --style b.jpg": "Style transfer needs pillow, scipy, which are",
    "export --model net --out models/vgg": "TensorFlow Serving needs tensorflow-serving-api, tenacity, which are",
    "export --model net --out net.onnx --format onnx": "The format onnx needs onnx, tf2onnx, onnxruntime, which are",
    "export --model net --out net.tflite --format litert": "The format litert needs ai-edge-litert, ai-edge-quantizer, which are",
    "export --model net --out net.xml --format openvino --quantize int8 --calibrate photographs": (
        "The format openvino needs openvino, nncf, which are"
    ),
    "serve --model models/vgg": "TensorFlow Serving needs tensorflow-serving-api, tenacity, which are",
    "client photo.jpg --url localhost:8500": "TensorFlow Serving needs tensorflow-serving-api, tenacity, which are",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_say_at_once_in_one_line_which_extra_to_install(command):
    module, *arguments = command.replace("conftest.py", __file__).split()
    finished = run(RUN.format(module), *arguments)
    assert finished.returncode == 2
    assert finished.stdout == ""
    told = rf"{re.escape(COMMANDS[command])} not installed; pip install 'keras_vgg\[\w+\]' installs (it|them)\.\n"
    assert re.fullmatch(told, finished.stderr), finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_library_that_nobody_asked_for_beforehand_is_told_in_one_line_too():
    program = "from keras_vgg.support import entry\ndef main(argv):\n    import sklearn.datasets\nentry.run(main)"
    finished = run(program)
    assert (finished.returncode, finished.stdout) == (2, "")
    told = "Loading the embedded digits needs scikit-learn, which is not installed; pip install 'keras_vgg[digits]' installs it.\n"
    assert finished.stderr == told


def test_training_on_the_digits_takes_what_loads_them(tmp_path):
    program = "del sys.modules['matplotlib'], sys.modules['tensorboard']\n" + RUN.format("fit")
    finished = run(program, "--recipe", "recipes/quickstart.toml", "--workdir", tmp_path / "run")
    assert finished.returncode == 2
    assert finished.stderr.startswith(
        "Loading the embedded digits needs pillow, scikit-learn, which are not installed; pip install"
    )
    assert not (tmp_path / "run").exists()


NETS = """
import importlib, keras_vgg
assert keras_vgg.applications.VGG19(weights=None).count_params() == 143_667_240
net = keras_vgg.features.perceptual_model("D", ("relu1_2",), weights=None, preprocessing="caffe")
keras_vgg.describe.main(["--arch", "D"])
refused = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except keras_vgg.errors.InputError as error:
        refused.append(name)
print(*refused)
"""
NEED_EXTRAS = {
    "keras_vgg.features.style_transfer",
    "keras_vgg.localisation.compiled_merging",
    "keras_vgg.linear.classify",
    "keras_vgg.linear.protocols",
    "keras_vgg.linear.recipe",
    "keras_vgg.linear.report",
    "keras_vgg.linear.run",
    "keras_vgg.linear.squared_hinge",
    "keras_vgg.linear.svm",
    "keras_vgg.local_serving.grpc_services",
    "keras_vgg.local_serving.json_tensors",
    "keras_vgg.local_serving.rest",
    "keras_vgg.local_serving.servable",
    "keras_vgg.local_serving.server",
    "keras_vgg.local_serving.versions",
    "keras_vgg.remote.grpc_transport",
    "keras_vgg.remote.sending",
    "keras_vgg.remote.session",
}


def test_without_extras_there_are_nets_and_modules_say_what_they_need():
    paths = [path.relative_to(ROOT).with_suffix("") for path in sorted((ROOT / "keras_vgg").rglob("*.py"))]
    names = [".".join(path.parts) for path in paths if path.stem not in ("__init__", "__main__", "hdf5_child")]
    finished = run(NETS, *names)
    assert finished.returncode == 0, finished.stderr
    assert "138,357,544 parameters" in finished.stdout
    assert set(finished.stdout.splitlines()[-1].split()) == NEED_EXTRAS
