"""Freezes layers of a net by name. Imports no TensorFlow."""

import difflib
from collections.abc import Collection, Mapping

from keras_vgg import configs
from keras_vgg.errors import InputError


def frozen_layers(arch: str, freeze: str | None) -> tuple[str, ...]:
    """Returns the names of the layers that `freeze` selects, in the order of the net.

    >>> from keras_vgg.training.freezing import frozen_layers
    >>> frozen_layers("A", "block1-block2, fc1")
    ('block1_conv1', 'block2_conv1', 'fc1')

    Args:
        arch: a net of Table 1.
        freeze: layers with weights (`block3_conv2`, `fc1`), blocks (`block3`), `convolutions` (all five blocks), or ranges of
            these (`block1-block4`), separated by commas; `None` for none.

    Raises:
        InputError: for an unknown name, a reversed range, or if no layer is left to train.
    """
    if freeze is None:
        return ()
    layers = [layer.name for layer in configs.layer_facts(arch) if layer.parameters]
    named = _named(layers)
    frozen = set()
    for part in freeze.split(","):
        ends = [end.strip() for end in part.split("-")]
        if unknown := [end for end in ends if end not in named]:
            raise InputError(_unknown(arch, unknown[0], named))
        start, end = layers.index(named[ends[0]][0]), layers.index(named[ends[-1]][-1])
        if len(ends) > 2 or start > end:
            raise InputError(f"A range of `freeze` must run from one layer to a later one. Received: {part.strip()!r}.")
        frozen.update(layers[start : end + 1])
    if len(frozen) == len(layers):
        raise InputError(f"`freeze` must leave at least one layer to train. Received: {freeze!r}, which freezes all of net {arch}.")
    return tuple(layer for layer in layers if layer in frozen)


def _named(layers: list[str]) -> dict[str, list[str]]:
    named = {layer: [layer] for layer in layers}
    convolutions = [layer for layer in layers if layer.startswith("block")]
    for layer in convolutions:
        named.setdefault(layer.split("_")[0], []).append(layer)
    return named | {"convolutions": convolutions}


def _unknown(arch, name, named) -> str:
    near = difflib.get_close_matches(name, named, 3)
    blocks = [name for name in named if name.startswith("block") and "_" not in name]
    head = [name for name in named if not name.startswith("block") and name != "convolutions"]
    told = (
        f"did you mean {', '.join(near)}?" if near else f"available: {blocks[0]} … {blocks[-1]}, convolutions, {', '.join(head)}."
    )
    return f"`freeze` must name layers or blocks of net {arch} that have weights. Received: {name!r}; {told}"


def freeze(model, frozen: Collection[str]) -> int:
    """Makes the layers `frozen` untrainable: they have no gradient, and neither L2 nor momentum changes them.

    Batch norm is frozen with its convolution: it then normalizes by its moving statistics and does not update them.

    Args:
        model: a net of `build_vgg`, changed in place, before the optimizer is built.
        frozen: names of layers, as from `frozen_layers`.

    Returns:
        The number of frozen parameters.
    """
    chosen = [layer for layer in model.layers if layer.weights and layer.name.replace("_bn", "_conv") in frozen]
    for layer in chosen:
        layer.trainable = False
    return sum(layer.count_params() for layer in chosen)


def check_copied(frozen: Collection[str], left_random: Mapping[str, str]) -> None:
    """Raises `InputError` if a frozen layer is among those left random, `{name: reason}`, since it would never be trained."""
    if untaught := [name for name in frozen if name in left_random]:
        raise InputError(
            f"`freeze` must name layers that `init_from` provides. Received: {', '.join(untaught)}, left as initialized "
            f"({left_random[untaught[0]]})."
        )
