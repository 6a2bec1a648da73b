"""What a VGG net sees in an image, for other ends than telling its class: `perceptual_model`, `gram_matrix`, `PerceptualLoss`.

Importing the package costs nothing, as with `keras_vgg`; the module that defines a name is imported when the name is asked for.
"""

import importlib

_HOMES = {"perceptual_model": "perceptual", "gram_matrix": "losses", "PerceptualLoss": "losses"}
__all__ = list(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
