"""What a VGG net sees in an image, for other ends than telling its class: activations, Gram matrices, losses, LPIPS and DISTS.

Importing the package costs nothing, as with `keras_vgg`; the module that defines a name is imported when the name is asked for.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what `__getattr__` gives, for type checkers and editors
    from keras_vgg.features.distance_losses import DISTS, LPIPS, DISTSMetric, LPIPSMetric, dists, lpips
    from keras_vgg.features.distances import dists_model, lpips_model
    from keras_vgg.features.losses import PerceptualLoss, gram_matrix
    from keras_vgg.features.neighbours import PrecisionRecall, precision_recall
    from keras_vgg.features.perceptual import perceptual_model
else:  # unseen by those, to whom it would mean that any name is there

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
