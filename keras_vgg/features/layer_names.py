"""Names of a net's activations. Imports no TensorFlow.

Two naming schemes are accepted. Keras: the output of the layer with that name, `block3_conv3`, `block3_pool`, and with batch norm
`block3_bn3`, `block3_relu3`. Caffe and the papers: `conv3_3` is the convolution before batch norm and ReLU, `bn3_3` is before the
ReLU, `relu3_3` after it, `pool3` after pooling. Without batch norm, Keras layers include their ReLU, so `block3_conv3` is
`relu3_3`; with it, `block3_conv3` is `conv3_3`.
"""

import dataclasses
import difflib
from collections.abc import Iterator, Sequence

from keras_vgg.configs import get_config, lrn_name
from keras_vgg.errors import InputError


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation of a net.

    Attributes:
        name: name of its output in the papers' scheme.
        kind: `"conv"`, `"bn"`, `"relu"`, `"lrn"` or `"pool"`.
        layer: the Keras layer that contains it; the same one for `"conv"` and `"relu"` without batch norm.
        block: its block, from 1.
        is_output: whether it is the output of that layer.
    """

    name: str
    kind: str
    layer: str
    block: int
    is_output: bool = True


def steps(arch: str, *, batch_norm: bool = False) -> Iterator[Step]:
    """Yields the steps of a net before its top, in order."""
    config = get_config(arch)
    for block, convolutions in enumerate(config.blocks, start=1):
        for conv, each in enumerate(convolutions, start=1):
            place, convolution = f"{block}_{conv}", f"block{block}_conv{conv}"
            yield Step(f"conv{place}", "conv", convolution, block, is_output=batch_norm)
            if batch_norm:
                yield Step(f"bn{place}", "bn", f"block{block}_bn{conv}", block)
            yield Step(f"relu{place}", "relu", f"block{block}_relu{conv}" if batch_norm else convolution, block)
            if each.lrn:
                yield Step(f"lrn{block}" if conv == 1 else f"lrn{place}", "lrn", lrn_name(block, conv), block)
        yield Step(f"pool{block}", "pool", f"block{block}_pool", block)


def resolve(layers: Sequence[str], arch: str, *, batch_norm: bool = False) -> dict[str, str]:
    """Returns `{name as given: name of the step}` for the activations in `layers`.

    >>> from keras_vgg.features.layer_names import resolve
    >>> resolve(["block3_conv3", "conv4_1"], "D")
    {'block3_conv3': 'relu3_3', 'conv4_1': 'conv4_1'}

    Raises:
        InputError: for an unknown name, suggesting similar ones; for no names, or duplicates.
    """
    if isinstance(layers, str) or not layers:
        raise InputError(f"`layers` must be a sequence of layer names, e.g. ('block3_conv3',). Received: layers={layers!r}.")
    if len(set(layers)) < len(layers):
        raise InputError(f"`layers` must name each layer once. Received: layers={tuple(layers)}.")
    known: dict[str, str] = {}
    for step in steps(arch, batch_norm=batch_norm):
        known |= {step.name: step.name} | ({step.layer: step.name} if step.is_output else {})
    for name in layers:
        if name not in known:
            net = f"net {arch}{' with batch norm' if batch_norm else ''} before its top"
            near = difflib.get_close_matches(str(name), known, 3, cutoff=0.7)
            told = f"similar names: {', '.join(near)}" if near else f"known: block1_conv1 … {step.layer}, relu1_1 … {step.name}"
            raise InputError(f"`layers` must be layers of {net}. Received: {name!r}; {told}.")
    return {name: known[name] for name in layers}


def up_to(layers: Sequence[str], arch: str, *, batch_norm: bool = False) -> list[Step]:
    """Returns the steps from the image to the deepest of `layers`."""
    wanted = set(resolve(layers, arch, batch_norm=batch_norm).values())
    whole = list(steps(arch, batch_norm=batch_norm))
    return whole[: 1 + max(index for index, step in enumerate(whole) if step.name in wanted)]
