"""The paper's training (Sec. 3.1): one step for one device, many and many machines; schedule, checkpoints, runs.

From Python: `fit` trains what the command `keras_vgg.fit` does, with Keras callbacks; `load_data`, `SGD` and `PlateauSchedule` are
for a `compile` and `fit` of one's own.

Importing the package costs nothing, as with `keras_vgg`; the module that defines a name is imported when the name is asked for.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what `__getattr__` gives, for type checkers and editors
    from keras_vgg.training.batches import load_data
    from keras_vgg.training.fitting import fit
    from keras_vgg.training.optimizer import SGD
    from keras_vgg.training.plateau import PlateauSchedule
    from keras_vgg.training.trainer import Stopped
else:  # unseen by those, to whom it would mean that any name is there

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = ["SGD", "PlateauSchedule", "Stopped", "fit", "load_data"]
_HOMES = {"fit": "fitting", "load_data": "batches", "SGD": "optimizer", "PlateauSchedule": "plateau", "Stopped": "trainer"}


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
