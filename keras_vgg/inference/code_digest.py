"""A digest of the code that computes rows, so that cached rows are never reused after the code has changed."""

import ast
import functools
import hashlib
import importlib.abc
import importlib.util

import keras
import tensorflow as tf

_ROOTS = ("keras_vgg.inference.passes", "keras_vgg.inference.network", "keras_vgg.descriptors.network")
"""Modules that process images; whatever they import from the package counts too."""

_APART = {"keras_vgg", "keras_vgg.errors", "keras_vgg.support.files", "keras_vgg.support.progress", "keras_vgg.inference.net_files",
          "keras_vgg.inference.row_cache"}  # fmt: skip
"""Modules that pixels and rows do not depend on: weights behind `source` have a digest of their own."""


@functools.cache
def digest_of_code(*more: str) -> str:
    """Returns the SHA-256, in hexadecimal, of the modules that compute pixels and rows, and of the TensorFlow and Keras versions.

    Only the syntax of a module counts, not comments, docstrings and layout. Computed once per process.

    Args:
        *more: dotted names of further modules that compute rows; what they import counts too.
    """
    whole = hashlib.sha256(f"{tf.__version__} {keras.__version__}".encode())
    for name, tree in sorted(modules(*more).items()):
        whole.update(f"{name} {ast.dump(without_docstrings(tree))}".encode())
    return whole.hexdigest()


def modules(*more: str) -> dict[str, ast.Module]:
    """Returns `{dotted name: syntax tree}` of the modules that count."""
    found: dict[str, ast.Module] = {}
    wanted = [*_ROOTS, *more]
    while wanted:
        name = wanted.pop()
        if name in found or name in _APART:
            continue
        found[name] = ast.parse(_source_of(name))
        wanted += _imported(found[name])
    return found


def _source_of(name: str) -> str:
    spec = importlib.util.find_spec(name)
    source = spec.loader.get_source(name) if spec and isinstance(spec.loader, importlib.abc.InspectLoader) else None
    if source is None:
        raise ImportError(f"the source of {name} is missing, so its digest cannot be computed")
    return source


def without_docstrings(tree: ast.AST) -> ast.AST:
    """Removes docstrings and other string statements from a tree in place, and returns it."""
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [each for each in body if not _is_text(each)]
    return tree


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imported(tree: ast.Module) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""  # empty for relative imports, which are not used here
            names += [f"{module}.{alias.name}" for alias in node.names] + [module]
    return [name for name in names if name.startswith("keras_vgg.") and _is_module(name)]


def _is_module(name: str) -> bool:
    parent = importlib.util.find_spec(name.rpartition(".")[0])
    if parent is None or parent.submodule_search_locations is None:
        return False  # a name defined in a module, not a module itself
    return importlib.util.find_spec(name) is not None
