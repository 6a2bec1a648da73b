"""VGG (Simonyan & Zisserman, ICLR 2015), the whole system, on TensorFlow and Keras 3.

`import keras_vgg` makes every public module available, as in `keras_vgg.applications.VGG19(weights=None)`. Importing the package
costs nothing: a module is imported on first use, and TensorFlow by the modules that need it, so that `--help`, `configs` and
`recipe` respond at once.
"""

import importlib
import sys
from typing import TYPE_CHECKING

if sys.platform == "win32":  # it has neither the locks nor the signals that runs and files rely on
    raise ImportError("keras_vgg runs on Linux; on Windows, use it within WSL (Windows Subsystem for Linux)")

if TYPE_CHECKING:  # what `__getattr__` returns, for type checkers and editors
    from keras_vgg import (
        applications,
        class_names,
        client,
        compare,
        comparison,
        configs,
        convert,
        data,
        describe,
        descriptors,
        errors,
        evaluate,
        evaluation,
        export,
        extract,
        features,
        fine_tuning,
        fit,
        fully_convolutional,
        inference,
        layers,
        linear,
        local_serving,
        localisation,
        localise,
        look,
        mixed_precision,
        models,
        optimizers,
        precision,
        predict,
        preprocessing,
        recipe,
        recipe_bounds,
        regression,
        remote,
        reproduce,
        reproduction,
        saved_model,
        schedules,
        serve,
        serving,
        style,
        tasks,
        training,
        transfer,
        transfer_eval,
        weights,
    )
else:  # hidden from them, since they would accept any name

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return importlib.import_module(f"{__name__}.{name}")


class _OnTensorFlow:
    """Checks that Keras uses the TensorFlow backend before a module of the package imports Keras."""

    @staticmethod
    def find_spec(name, path, target=None):
        if name.startswith(f"{__name__}.") and not name.startswith((f"{__name__}.support", f"{__name__}.errors")):
            from keras_vgg.support import backend

            backend.require_for(name, path)


sys.meta_path.insert(0, _OnTensorFlow)

__version__ = "0.1.0"
__all__ = [
    "applications",
    "class_names",
    "client",
    "compare",
    "comparison",
    "configs",
    "convert",
    "data",
    "describe",
    "descriptors",
    "errors",
    "evaluate",
    "evaluation",
    "export",
    "extract",
    "features",
    "fine_tuning",
    "fit",
    "fully_convolutional",
    "inference",
    "layers",
    "linear",
    "local_serving",
    "localisation",
    "localise",
    "look",
    "mixed_precision",
    "models",
    "optimizers",
    "precision",
    "predict",
    "preprocessing",
    "recipe",
    "recipe_bounds",
    "regression",
    "remote",
    "reproduce",
    "reproduction",
    "saved_model",
    "schedules",
    "serve",
    "serving",
    "style",
    "tasks",
    "training",
    "transfer",
    "transfer_eval",
    "weights",
]


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
