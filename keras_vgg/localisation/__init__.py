"""Localization as in the paper's Appendix A: boxes, their overlap and scoring. `Locator` finds boxes in one image.

The package imports lazily, like `keras_vgg`: accessing a name imports the module that defines it.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names of `__getattr__`, for type checkers and editors
    from keras_vgg.localisation.single import Locator
else:  # hidden from those, which would take any name to exist

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.single"), name)


__all__ = ["Locator"]


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
