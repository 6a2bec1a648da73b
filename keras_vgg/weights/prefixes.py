"""Prefixes that wrappers add to array names of a PyTorch model: `module.`, `_orig_mod.`, `model.`, `backbone.` etc."""

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

_OWN = "features"
"""Prefix of every array of a VGG net without its top, and thus part of the net."""


def without_prefix(arrays: Mapping[str, Value]) -> dict[str, Value]:
    """Returns arrays by their names within the model, without the prefix common to all, except for that of the net itself.

    >>> from keras_vgg.weights.prefixes import without_prefix
    >>> without_prefix({"_orig_mod.model.features.0.weight": 1, "_orig_mod.model.classifier.0.bias": 2})
    {'features.0.weight': 1, 'classifier.0.bias': 2}
    """
    found = dict(arrays)
    while True:
        before = {name.partition(".")[0] if "." in name else None for name in found}
        if len(before) != 1 or before & {None, _OWN}:
            return found
        found = {name.partition(".")[2]: value for name, value in found.items()}
