"""Who may import whom, read from the syntax tree; and the map of the package in BUILD.md."""

import ast
import collections
import os
import pathlib
import re
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "keras_vgg"

# Imports run downward. A part is a module or a package of `keras_vgg`; what is in no level is a command, above all of them.
LEVELS = (
    ("errors", "philox", "regression", "resizing"),
    ("randomness",),
    ("precision",),
    ("support",),
    ("configs", "input_layers", "optimizers", "schedules"),
    ("class_names", "diagram", "heads", "layers", "preprocessing", "remote", "local_serving"),
    ("models", "data", "identity", "kernel_copies", "mixed_precision"),
    ("weights", "tasks"),
    ("transfer", "fully_convolutional", "recipe_bounds"),
    ("recipe",),
    ("fine_tuning",),
    ("training", "inference", "applications"),
    ("evaluation", "descriptors", "features"),
    ("localisation", "comparison", "reproduction"),
    ("linear", "serving"),
    ("saved_model",),
)
STRANGERS = {
    "data": {"layers", "models", "transfer", "preprocessing", "recipe"},
    "models": {"data", "recipe"},
    "weights": {"data", "recipe"},
    "transfer": {"data", "models", "recipe"},
    "layers": {"data", "models"},
    "training": {"weights", "fully_convolutional"},
    "fully_convolutional": {"data", "models", "weights", "recipe"},
    "tasks": {"layers", "preprocessing", "models", "identity"},
    "recipe": {"layers", "preprocessing", "models", "data", "identity", "weights"},
    "inference": {"models"},
    "evaluation": {"models", "training"},
    "remote": {"recipe", "configs"},
    "local_serving": {"configs", "randomness", "schedules", "input_layers"},
    "descriptors": {"training"},
    "features": {"training", "inference"},
    "linear": {"models", "layers", "preprocessing", "recipe", "weights", "transfer", "training", "applications", "evaluation"},
    "serving": {"training", "applications"},
    "saved_model": {"training", "applications", "evaluation"},
    "applications": {"data", "recipe", "transfer"},
}
"""Parts that do not know each other although their levels would let them."""


def level_of(part):
    return next((level for level, parts in enumerate(LEVELS) if part in parts), len(LEVELS))


def modules():
    """`{dotted name: path}` of every module of the package."""
    named = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


MODULES = modules()


def imports_of(name):
    """Dotted names that a module imports anywhere in it, not for type checkers alone; of our own, the modules."""
    found = set()
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    unseen = {node for block in ast.walk(tree) if _is_for_type_checkers(block) for node in ast.walk(block)}
    for node in set(ast.walk(tree)) - unseen:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} must import by absolute names, line {node.lineno}"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
    return found


def _is_for_type_checkers(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def own_imports_of(name):
    return {imported for imported in imports_of(name) if imported.split(".")[0] == "keras_vgg"}


def part_of(name):
    return name.split(".")[1] if "." in name else ""


def test_the_modules_are_found():
    assert {"keras_vgg", "keras_vgg.configs", "keras_vgg.data.images", "keras_vgg.training.step"} <= set(MODULES)
    assert own_imports_of("keras_vgg.models") == {"keras_vgg.configs", "keras_vgg.errors", "keras_vgg.layers"}
    assert {part for level in LEVELS for part in level} <= {part_of(name) for name in MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_imports_exist_and_run_downward(name):
    part = part_of(name)
    for imported in own_imports_of(name):
        assert imported in MODULES, f"{name} imports {imported}, which is not there"
        other = part_of(imported)
        if other not in ("", part):
            assert level_of(other) < level_of(part), f"{name} imports {imported}, which stands above or beside it"
            assert other not in STRANGERS.get(part, ()), f"{name} imports {imported}; the two must not know each other"


def test_no_module_imports_itself_by_a_detour():
    remaining = {name: own_imports_of(name) & set(MODULES) for name in MODULES}
    while free := [name for name, imported in remaining.items() if not imported & set(remaining)]:
        for name in free:
            del remaining[name]
    assert not remaining, f"these import each other: {', '.join(remaining)}"


@pytest.mark.parametrize("name", MODULES)
def test_the_library_imports_neither_tools_nor_tests(name):
    assert not {imported.split(".")[0] for imported in imports_of(name)} & {"tools", "tests", "recipes", "conftest", "pytest"}


def test_the_map_names_every_module_and_no_other():
    """In the rows of its folder; folders themselves are the rows."""
    rows = re.findall(r"^\| `(\w+)/` \| (.+) \|$", (PACKAGE.parent / "BUILD.md").read_text(encoding="utf-8"), re.MULTILINE)
    told = collections.Counter((folder, name) for folder, text in rows for name in re.findall(r"`(\w+)`", text))
    files = {(path.parent.name, path.stem) for path in MODULES.values() if path.stem != "__init__"}
    assert not files - set(told), "modules that BUILD.md's map does not name"
    assert not {where for where in set(told) - files if where[0] in {folder for folder, _ in files}}, "names that are no modules"
    assert {where for where, times in told.items() if times > 1} == set()


def test_what_must_answer_at_once_imports_no_tensorflow():
    program = """if True:
        import sys
        import keras_vgg, keras_vgg.configs, keras_vgg.recipe, keras_vgg.describe, keras_vgg.fit
        import keras_vgg.support.cli, keras_vgg.support.files
        import keras_vgg.convert, keras_vgg.weights.catalogue, keras_vgg.export, keras_vgg.client
        import keras_vgg.extract, keras_vgg.transfer_eval, keras_vgg.style
        import keras_vgg.training, keras_vgg.remote.session, keras_vgg.remote.rest_transport
        import keras_vgg.serve, keras_vgg.local_serving.ports
        print([name for name in ("tensorflow", "keras", "tensorflow_datasets") if name in sys.modules])
    """
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert finished.stdout.strip() == "[]"


HELP = """if True:
    import contextlib, importlib, io, sys
    before = set(sys.modules)
    command = importlib.import_module("keras_vgg." + sys.argv.pop())
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        command.main(["--help"])
    print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))
    print(*sorted({"asyncio", "email", "http", "importlib.metadata", "multiprocessing", "ssl"} & (set(sys.modules) - before)))
"""


COMMANDS = [part_of(name) for name in MODULES if level_of(part_of(name)) == len(LEVELS) and part_of(name) not in ("", "__main__")]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_imports_no_library_but_that_of_flags(name):
    """And `tomli_w`, which is small; nothing slow of the standard library either."""
    program = [sys.executable, "-c", HELP, name]
    finished = subprocess.run(program, capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    libraries, slow = finished.stdout.splitlines()
    assert set(libraries.split()) <= {"keras_vgg", "absl", "tomli_w"}
    assert slow == ""


def test_help_does_not_start_twice():
    """As training does for huge pages."""
    settings = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    program = [sys.executable, "-X", "importtime", "-m", "keras_vgg.fit", "--help"]
    finished = subprocess.run(program, capture_output=True, text=True, check=True, cwd=PACKAGE.parent, env=settings)
    imported = [line.rpartition("|")[2].strip() for line in finished.stderr.splitlines()]
    assert imported.count("keras_vgg.support.cli") == 1


def test_pipelines_are_iterated_without_tuning():
    """By `data.untuned`, which says why, and with as many calls in parallel as there are cores."""
    of_pipelines = {"as_numpy_iterator", "AUTOTUNE"}
    for path in sorted(PACKAGE.rglob("*.py")):
        used = {node.attr for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Attribute)}
        assert path.name == "untuned.py" or not used & of_pipelines, path


def test_no_test_module_imports_another():
    """What several need is in a module without tests, or a fixture in `conftest.py`."""
    tests = sorted(pathlib.Path(__file__).parent.glob("*.py"))
    names = {path.stem for path in tests if path.stem.startswith("test_") or path.stem == "conftest"}
    for path in tests:
        taken = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                taken |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                taken |= {node.module, *(alias.name for alias in node.names)}
        assert not taken & names, f"{path.name} imports {', '.join(taken & names)}"


def test_conftest_imports_no_tensorflow():
    program = "import conftest, sys; print([name for name in ('tensorflow', 'keras', 'numpy') if name in sys.modules])"
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=pathlib.Path(__file__).parent
    )
    assert finished.stdout.strip() == "[]"
