"""Optional dependencies, and the extras that install them.

`pip install keras_vgg` is enough for nets, their weights and their features; `pip install "keras_vgg[train]"` adds what training
needs. Missing libraries are reported in one line: by `require` before work begins, and by `needed` around the imports themselves.
"""

import contextlib
import dataclasses
import importlib.util
from collections.abc import Iterator, Sequence

from keras_vgg.errors import InputError


@dataclasses.dataclass(frozen=True)
class Extra:
    """An extra of the package.

    Attributes:
        purpose: what needs it, as the subject of a sentence.
        libraries: `{name to import: name to install}`.
    """

    purpose: str
    libraries: dict[str, str]


EXTRAS = {
    "boxes": Extra("Merging boxes", {"numba": "numba"}),
    "digits": Extra("Loading the embedded digits", {"PIL": "pillow", "sklearn": "scikit-learn"}),
    "docs": Extra("Building the documentation", {"material": "mkdocs-material", "mkdocstrings": "mkdocstrings"}),
    "evaluate": Extra("Testing", {"matplotlib": "matplotlib", "sklearn": "scikit-learn", "scipy": "scipy"}),
    "litert": Extra("The format litert", {"ai_edge_litert": "ai-edge-litert", "ai_edge_quantizer": "ai-edge-quantizer"}),
    "onnx": Extra("The format onnx", {"onnx": "onnx", "tf2onnx": "tf2onnx", "onnxruntime": "onnxruntime"}),
    "openvino": Extra("The format openvino", {"openvino": "openvino", "nncf": "nncf"}),
    "paper": Extra(
        "The reproduction study",
        {
            "snakemake": "snakemake",
            "snakemake_interface_common": "snakemake-interface-common",
            "jinja2": "jinja2",
            "matplotlib": "matplotlib",
            "PIL": "pillow",
            "sklearn": "scikit-learn",
            "scipy": "scipy",
            "tensorboard": "tensorboard",
        },
    ),
    "plots": Extra("Drawing pictures", {"matplotlib": "matplotlib"}),
    "safetensors": Extra("Weights in .safetensors files", {"safetensors": "safetensors"}),
    "serve": Extra(
        "TensorFlow Serving",
        {"tensorflow_serving": "tensorflow-serving-api", "requests": "requests", "tenacity": "tenacity"},
    ),
    "style": Extra("Style transfer", {"PIL": "pillow", "scipy": "scipy"}),
    "train": Extra("Training", {"matplotlib": "matplotlib", "tensorboard": "tensorboard"}),
    "transfer": Extra("Training linear SVMs", {"sklearn": "scikit-learn", "scipy": "scipy"}),
}
"""By name, as in `pyproject.toml`."""


class MissingError(InputError, ImportError):
    """A library of an extra is not installed."""


def require(name: str) -> None:
    """Checks that all libraries of an extra are installed, without importing them.

    Raises:
        MissingError: if one is missing, with the extra that installs it.
    """
    if missing := [library for library in EXTRAS[name].libraries if importlib.util.find_spec(library) is None]:
        raise _missing(name, missing)


@contextlib.contextmanager
def needed(name: str) -> Iterator[None]:
    """Context for imports of an extra's libraries.

    Raises:
        MissingError: if one is missing, with the extra that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (library := _library_of(error)) not in EXTRAS[name].libraries:
            raise
        raise _missing(name, [library]) from error


def told(error: ModuleNotFoundError) -> MissingError | None:
    """Returns the error to raise instead if the library belongs to an extra, else `None`."""
    library = _library_of(error)
    extra = next((name for name, extra in EXTRAS.items() if library in extra.libraries), None)
    return _missing(extra, [library]) if extra else None


def _library_of(error: ModuleNotFoundError) -> str:
    return (error.name or "").partition(".")[0]


def _missing(name: str, libraries: Sequence[str]) -> MissingError:
    names = ", ".join(EXTRAS[name].libraries[library] for library in libraries)
    verb, they = ("is", "it") if len(libraries) == 1 else ("are", "them")
    return MissingError(
        f"{EXTRAS[name].purpose} needs {names}, which {verb} not installed; pip install 'keras_vgg[{name}]' installs {they}."
    )
