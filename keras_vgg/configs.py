"""Table 1 of the paper as data, and what follows from it by arithmetic alone. Imports no TensorFlow.

Every convolution has stride 1, "same" padding and ReLU; every block ends in 2x2 max-pooling with stride 2; then come
`fc1` 4096, `fc2` 4096 and `predictions`. A net is therefore told by the kernel sizes of its convolutions.
"""

import dataclasses
import math
from collections.abc import Iterator

from keras_vgg.errors import InputError

FILTERS = (64, 128, 256, 512, 512)
STRIDE = 2 ** len(FILTERS)
"""Pixels from one place of block5_pool's map to the next; so many a side must have, or five poolings leave nothing of it."""

FC_UNITS = 4096
TRAINING_SIZE = 224
"""Side of the square crop the paper trains on, in pixels."""


@dataclasses.dataclass(frozen=True)
class Config:
    """One column of Table 1.

    Attributes:
        arch: the net's letter.
        kernels: for each of the five blocks the kernel sizes of its convolutions.
        lrn: whether local response normalisation follows the first convolution (Sec. 2.3: of no use).
    """

    arch: str
    kernels: tuple[tuple[int, ...], ...]
    lrn: bool = False

    @property
    def depth(self) -> int:
        """Number of weight layers, by which the nets are commonly named (VGG11 … VGG19)."""
        return sum(map(len, self.kernels)) + 3

    @property
    def convolutions(self) -> Iterator[tuple[int, int, int]]:
        """Block, number within the block (both from 1) and kernel size of every convolution, in order."""
        for block, kernels in enumerate(self.kernels, start=1):
            for conv, kernel in enumerate(kernels, start=1):
                yield block, conv, kernel


CONFIGS = {
    config.arch: config
    for config in (
        Config("A", ((3,), (3,), (3, 3), (3, 3), (3, 3))),
        Config("A-LRN", ((3,), (3,), (3, 3), (3, 3), (3, 3)), lrn=True),
        Config("B", ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3))),
        Config("C", ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1))),
        Config("D", ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))),
        Config("E", ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3))),
    )
}


def get_config(arch: str) -> Config:
    """Returns the row of `CONFIGS` for `arch`; `ValueError` names the choices if there is none."""
    if arch not in CONFIGS:
        raise InputError(f"`arch` must be one of {', '.join(CONFIGS)}. Received: arch={arch!r}.")
    return CONFIGS[arch]


def scaled_width(units: int, width: float) -> int:
    """`units` times `width`, rounded, at least one; `InputError` for a width that is not positive and finite."""
    if not 0 < width < math.inf:
        raise InputError(f"`width` must be positive. Received: width={width}.")
    return max(1, round(units * width))


@dataclasses.dataclass(frozen=True)
class LayerFacts:
    """What is known of a layer without building it.

    Attributes:
        name: its name in the Keras model.
        shape: output shape without the batch axis: `(height, width, channels)` or `(units,)`.
        receptive_field: side of the square of input pixels that one output value sees; `None` past the flattening, where a
            value sees the whole input.
        parameters: number of trainable numbers.
        multiply_adds: multiply-accumulate operations for one image.
    """

    name: str
    shape: tuple[int, ...]
    receptive_field: int | None
    parameters: int = 0
    multiply_adds: int = 0


def layer_facts(
    arch: str,
    *,
    input_shape: tuple[int, int, int] = (TRAINING_SIZE, TRAINING_SIZE, 3),
    classes: int = 1000,
    width: float = 1.0,
) -> list[LayerFacts]:
    """Returns the layers of net `arch` in order, pooling and normalisation included.

    >>> from keras_vgg.configs import layer_facts
    >>> sum(layer.parameters for layer in layer_facts("D"))
    138357544
    """
    config = get_config(arch)
    rows, columns, channels = input_shape
    field, stride = 1, 1
    facts = []
    for block, (kernels, filters) in enumerate(zip(config.kernels, FILTERS, strict=True), start=1):
        filters = scaled_width(filters, width)
        for conv, kernel in enumerate(kernels, start=1):
            weights = kernel * kernel * channels * filters
            field += (kernel - 1) * stride
            name = f"block{block}_conv{conv}"
            shape = (rows, columns, filters)
            facts.append(LayerFacts(name, shape, field, weights + filters, weights * rows * columns))
            channels = filters
            if config.lrn and block == conv == 1:
                facts.append(LayerFacts("block1_lrn", shape, field))
        field, stride = field + stride, stride * 2
        rows, columns = rows // 2, columns // 2
        facts.append(LayerFacts(f"block{block}_pool", (rows, columns, channels), field))
    inputs = rows * columns * channels
    fc = scaled_width(FC_UNITS, width)
    for name, units in (("fc1", fc), ("fc2", fc), ("predictions", classes)):
        facts.append(LayerFacts(name, (units,), None, inputs * units + units, inputs * units))
        inputs = units
    return facts


def parameter_count(arch: str, **kwargs) -> int:
    """Number of parameters of net `arch`; keyword arguments as for `layer_facts`."""
    return sum(layer.parameters for layer in layer_facts(arch, **kwargs))


def activation_values(arch: str, **kwargs) -> int:
    """Number of values that all layers put out for one image: what a training step must keep; arguments as `layer_facts`."""
    return sum(math.prod(layer.shape) for layer in layer_facts(arch, **kwargs))
