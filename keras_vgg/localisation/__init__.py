"""Localisation as in the paper's Appendix A: boxes, how near they are and what counts as found. `Locator` finds them in one image.

Importing the package costs nothing, as with `keras_vgg`; the module that defines a name is imported when the name is asked for.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what `__getattr__` gives, for type checkers and editors
    from keras_vgg.localisation.single import Locator
else:  # unseen by those, to whom it would mean that any name is there

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.single"), name)


__all__ = ["Locator"]


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
