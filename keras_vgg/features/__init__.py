"""VGG features for purposes other than classification: activations, Gram matrices, losses, LPIPS and DISTS.

The package imports lazily, like `keras_vgg`: accessing a name imports the module that defines it.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names of `__getattr__`, for type checkers and editors
    from keras_vgg.features.distance_losses import DISTS, LPIPS, DISTSMetric, LPIPSMetric, dists, lpips
    from keras_vgg.features.distances import dists_model, lpips_model
    from keras_vgg.features.losses import PerceptualLoss, gram_matrix
    from keras_vgg.features.neighbours import PrecisionRecall, precision_recall
    from keras_vgg.features.perceptual import perceptual_model
else:  # hidden from those, which would take any name to exist

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = [
    "DISTS",
    "LPIPS",
    "DISTSMetric",
    "LPIPSMetric",
    "PerceptualLoss",
    "PrecisionRecall",
    "dists",
    "dists_model",
    "gram_matrix",
    "lpips",
    "lpips_model",
    "perceptual_model",
    "precision_recall",
]
_HOMES = {"perceptual_model": "perceptual", "gram_matrix": "losses", "PerceptualLoss": "losses"}
_HOMES |= {"lpips_model": "distances", "dists_model": "distances"}
_HOMES |= dict.fromkeys(("PrecisionRecall", "precision_recall"), "neighbours")
_HOMES |= dict.fromkeys(("DISTS", "LPIPS", "DISTSMetric", "LPIPSMetric", "dists", "lpips"), "distance_losses")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
