"""The paper's training (Sec. 3.1) on one or many devices and machines, with schedules, checkpoints and run folders.

From Python: `fit` trains like the command `keras_vgg.fit`, with Keras callbacks; `load_data`, `SGD` and `PlateauSchedule` are for
your own `compile` and `fit`.

As with `keras_vgg`, importing the package costs nothing: the module that defines a name is imported on first access.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names of `__getattr__`, for type checkers and editors
    from keras_vgg.training.batches import load_data
    from keras_vgg.training.fitting import fit
    from keras_vgg.training.optimizer import SGD
    from keras_vgg.training.plateau import PlateauSchedule
    from keras_vgg.training.trainer import Stopped
else:  # hidden from type checkers, which would otherwise accept any name

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = ["SGD", "PlateauSchedule", "Stopped", "fit", "load_data"]
_HOMES = {"fit": "fitting", "load_data": "batches", "SGD": "optimizer", "PlateauSchedule": "plateau", "Stopped": "trainer"}


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
