"""Table 1 of the paper as data, and facts computed from it. Imports no TensorFlow.

A net is a row of `CONFIGS`: the builder, the counts, the matching of weight files, layer names and the choices of `--arch`
follow from it, so that adding a net means adding a row.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Collection, Iterator

from keras_vgg.errors import InputError

TRAINING_SIZE = 224
"""Side of the square crop the paper trains on, in pixels."""

GAUSSIAN_DEVIATION = 0.01
"""Standard deviation of the random kernels of Sec. 3.1.

The paper says "10⁻² variance". Taken literally (deviation 0.1), the deep nets diverge at once; with deviation 0.01, as the Caffe
community used, net A trains and the deeper nets stall, as the paper reports.
"""


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A convolution with "same" padding, followed by ReLU.

    Attributes:
        filters: number of output channels.
        kernel: side of its square kernel.
        stride: stride in both directions.
        lrn: whether local response normalization follows (Sec. 2.3: no improvement).
    """

    filters: int
    kernel: int = 3
    stride: int = 1
    lrn: bool = False


@dataclasses.dataclass(frozen=True)
class Pooling:
    """A max-pooling without padding.

    Attributes:
        size: side of its square window.
        stride: stride in both directions; windows overlap if it is smaller than `size`.
    """

    size: int = 2
    stride: int = 2


@dataclasses.dataclass(frozen=True)
class Config:
    """A net: blocks of convolutions, each ending in a max-pooling, then its head: fully connected layers and `predictions`.

    Batch normalization is not part of it: every net can be built with or without (`batch_norm` of `build_vgg` and recipes).

    Attributes:
        arch: its name, for the paper's nets the column letter in Table 1.
        blocks: the convolutions of each block.
        fc_units: sizes of `fc1`, `fc2`, …, each followed by ReLU; at least one, unless `global_pooling`.
        pooling: the pooling at the end of every block.
        global_pooling: whether the head takes the mean over all positions of the last map instead of the map itself: fewer
            parameters, and images of any size.
        known_as: other common names, case-insensitive; the suffix `BN` or `_bn` means with batch norm.

    Raises:
        InputError: for a net without blocks or without FC layers, or a block without convolutions.
    """

    arch: str
    blocks: tuple[tuple[Convolution, ...], ...]
    fc_units: tuple[int, ...] = (4096, 4096)
    pooling: Pooling = Pooling()
    global_pooling: bool = False
    known_as: tuple[str, ...] = ()

    def __post_init__(self):
        if not (self.blocks and all(self.blocks) and (self.fc_units or self.global_pooling)):
            raise InputError(f"A net must have blocks of convolutions and FC layers. Received: {self}.")

    @functools.cached_property
    def pooled(self) -> "Config":
        """The same convolutions followed by global average pooling and `predictions`, named e.g. `D-pool`."""
        known_as = tuple(f"{name}{_POOLED}" for name in self.known_as)
        return dataclasses.replace(self, arch=f"{self.arch}{_POOLED}", fc_units=(), global_pooling=True, known_as=known_as)

    @property
    def depth(self) -> int:
        """Number of weight layers, as in the common names (VGG11 … VGG19)."""
        return sum(map(len, self.blocks)) + len(self.top)

    @property
    def stride(self) -> int:
        """Distance in pixels between adjacent positions of the last pooling's map."""
        return math.prod(convolution.stride for convolution in self.convolutions.values()) * self.pooling.stride ** len(self.blocks)

    def side(self, places: int = 1) -> int:
        """Returns the input size in pixels that gives the last pooling `places` positions per side; for one, the smallest input.

        >>> from keras_vgg.configs import get_config
        >>> get_config("D").side(7)
        224
        """
        side = places
        for block in reversed(self.blocks):
            side = (side - 1) * self.pooling.stride + self.pooling.size
            side *= math.prod(convolution.stride for convolution in block)  # "same" padding
        return side

    @property
    def halvings(self) -> str:
        """Description of the layers that make the map smaller than the image."""
        words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
        poolings = f"{words[len(self.blocks)] if len(self.blocks) < len(words) else len(self.blocks)} poolings"
        has_strides = any(convolution.stride > 1 for convolution in self.convolutions.values())
        return f"{poolings} and strides" if has_strides else poolings

    @property
    def convolutions(self) -> dict[str, Convolution]:
        """`{name of the layer: convolution}`, in order."""
        return {f"block{block}_conv{conv}": convolution for block, conv, convolution in self.places()}

    @property
    def lrn_layers(self) -> tuple[str, ...]:
        """Names of the local response normalization layers, in order."""
        return tuple(lrn_name(block, conv) for block, conv, convolution in self.places() if convolution.lrn)

    @property
    def fully_connected(self) -> dict[str, int]:
        """`{name of the layer: units}` before `predictions`, in order."""
        return {f"fc{number}": units for number, units in enumerate(self.fc_units, start=1)}

    @property
    def top(self) -> tuple[str, ...]:
        """Names of the layers with weights after the last pooling."""
        return (*self.fully_connected, "predictions")

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """Names of the layers whose activations serve as descriptors: the FC layers, last first, and the last pooling."""
        return (*reversed(self.fully_connected), f"block{len(self.blocks)}_pool")

    def places(self) -> Iterator[tuple[int, int, Convolution]]:
        """Yields block, number within the block (both from 1) and convolution, in order."""
        for block, convolutions in enumerate(self.blocks, start=1):
            for conv, convolution in enumerate(convolutions, start=1):
                yield block, conv, convolution

    @property
    def told_by(self) -> tuple:
        """The properties of the net that its weights show at any width: layer names and kernel sizes."""
        return tuple((name, each.kernel) for name, each in self.convolutions.items()), self.top


def _table_1(*kernels: tuple[int, ...], lrn: bool = False) -> tuple[tuple[Convolution, ...], ...]:
    """Returns the blocks of a net of Table 1 from its kernel sizes; LRN follows only the first convolution."""
    return tuple(
        tuple(Convolution(filters, kernel, lrn=lrn and block == conv == 0) for conv, kernel in enumerate(sizes))
        for block, (filters, sizes) in enumerate(zip((64, 128, 256, 512, 512), kernels, strict=True))
    )


CONFIGS = {
    config.arch: config
    for config in (
        Config("A", _table_1((3,), (3,), (3, 3), (3, 3), (3, 3)), known_as=("VGG11",)),
        Config("A-LRN", _table_1((3,), (3,), (3, 3), (3, 3), (3, 3), lrn=True), known_as=("VGG11LRN",)),
        Config("B", _table_1((3, 3), (3, 3), (3, 3), (3, 3), (3, 3)), known_as=("VGG13",)),
        Config("C", _table_1((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)), known_as=("VGG16C",)),
        Config("D", _table_1((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)), known_as=("VGG16",)),
        Config("E", _table_1((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)), known_as=("VGG19",)),
    )
}

_POOLED = "-pool"

HEADS = ("fc", "pool")
"""Kinds of heads: the paper's FC layers, or `predictions` after global average pooling."""

STRIDE = CONFIGS["A"].stride
"""Stride of the nets of Table 1."""


def with_lrn(layers: Collection[str]) -> tuple[str, ...] | None:
    """Returns the nets that have these LRN layers, which have no weights; `None`, for any net, if there are none."""
    if not layers:
        return None
    return tuple(arch for arch, config in every_net().items() if config.lrn_layers == tuple(layers)) or None


def every_net() -> dict[str, Config]:
    """Returns the rows of `CONFIGS` followed by their variants with a pooled head, by name."""
    pooled = [config.pooled for config in CONFIGS.values() if not config.global_pooling]
    return CONFIGS | {config.arch: config for config in pooled}


def with_head(arch: str, head: str | None) -> str:
    """Returns the name of the net with the convolutions of net `arch` and one of `HEADS`; `None` keeps its own head."""
    base = next(config for config in CONFIGS.values() if arch in (config.arch, config.pooled.arch))
    return arch if head is None else base.pooled.arch if head == "pool" else base.arch


def distinct() -> tuple[str, ...]:
    """Returns the nets that weights can distinguish, the first of those that look alike: A-LRN's look like A's."""
    first: dict[tuple, str] = {}
    for arch, config in every_net().items():
        first.setdefault(config.told_by, arch)
    return tuple(first.values())


def feature_layers() -> tuple[str, ...]:
    """Returns the names of the layers of all nets whose activations are used as descriptors."""
    return tuple(dict.fromkeys(layer for config in CONFIGS.values() for layer in config.feature_layers))


def net_called(name: str) -> tuple[str, bool]:
    """Returns the name in `every_net` of the net with a common name, and whether that name implies batch norm.

    >>> from keras_vgg.configs import net_called
    >>> net_called("VGG16"), net_called("vgg16_bn"), net_called("D")
    (('D', False), ('D', True), ('D', False))

    Raises:
        InputError: for an unknown name; the message lists the known ones.
    """
    nets = every_net()
    if name in nets:
        return name, False
    wanted = _plain(name)
    for arch, config in nets.items():
        for known in map(_plain, (arch, *config.known_as)):
            if wanted in (known, f"{known}bn"):
                return arch, wanted != known
    others = ", ".join(name for config in CONFIGS.values() for name in config.known_as)
    raise InputError(f"`arch` must be one of {', '.join(CONFIGS)}, or {others}. Received: {name!r}.")


def arch_called(name: str) -> str:
    """Returns the name in `every_net` of the net with a common name, ignoring batch norm; raises like `net_called`."""
    return net_called(name)[0]


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()


def get_config(arch: str) -> Config:
    """Returns the net `arch`: a row of `CONFIGS`, one with a pooled head (`D-pool`), or a common name of either.

    Raises:
        InputError: (a `ValueError`) for an unknown name, or one that implies batch norm, which is not part of a row.
    """
    if arch in CONFIGS:  # called often, e.g. when matching weights
        return CONFIGS[arch]
    nets = every_net()
    if arch in nets:
        return nets[arch]
    arch, batch_norm = net_called(arch)
    if batch_norm:
        raise InputError(f"`arch` must name a net without batch norm; pass batch_norm=True for that. Received: {arch} with it.")
    return nets[arch]


def scaled_width(units: int, width: float) -> int:
    """Returns `units` times `width`, rounded, at least one; raises `InputError` unless `width` is positive and finite."""
    if not 0 < width < math.inf:
        raise InputError(f"`width` must be positive. Received: width={width}.")
    return max(1, round(units * width))


POOL_LAYER = "avg_pool"
"""Name of the global average pooling layer."""


@dataclasses.dataclass(frozen=True)
class LayerFacts:
    """Facts about a layer, known without building it.

    Attributes:
        name: its name in the Keras model.
        shape: output shape without the batch axis: `(height, width, channels)` or `(units,)`.
        receptive_field: side of the square of input pixels that one output value depends on; `None` after flattening, where
            it is the whole input.
        parameters: number of trainable parameters.
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
    """Returns the layers of net `arch` in order, including pooling and normalization.

    >>> from keras_vgg.configs import layer_facts
    >>> sum(layer.parameters for layer in layer_facts("D"))
    138357544
    """
    config = get_config(arch)
    rows, columns, channels = input_shape
    field, stride = 1, 1
    facts = []
    for block, convolutions in enumerate(config.blocks, start=1):
        for conv, convolution in enumerate(convolutions, start=1):
            filters = scaled_width(convolution.filters, width)
            weights = convolution.kernel**2 * channels * filters
            field += (convolution.kernel - 1) * stride
            stride *= convolution.stride
            rows, columns = -(-rows // convolution.stride), -(-columns // convolution.stride)
            shape = (rows, columns, filters)
            facts.append(LayerFacts(f"block{block}_conv{conv}", shape, field, weights + filters, weights * rows * columns))
            channels = filters
            if convolution.lrn:
                facts.append(LayerFacts(lrn_name(block, conv), shape, field))
        pooling = config.pooling
        field, stride = field + (pooling.size - 1) * stride, stride * pooling.stride
        rows, columns = ((side - pooling.size) // pooling.stride + 1 for side in (rows, columns))
        facts.append(LayerFacts(f"block{block}_pool", (rows, columns, channels), field))
    if config.global_pooling:
        facts.append(LayerFacts(POOL_LAYER, (channels,), None))
    inputs = channels if config.global_pooling else rows * columns * channels
    fully_connected = {name: scaled_width(units, width) for name, units in config.fully_connected.items()}
    for name, units in (fully_connected | {"predictions": classes}).items():
        facts.append(LayerFacts(name, (units,), None, inputs * units + units, inputs * units))
        inputs = units
    return facts


def lrn_name(block: int, conv: int) -> str:
    """Returns the name of the LRN layer after a convolution: `block1_lrn` after the first of a block, else e.g. `block1_lrn2`."""
    return f"block{block}_lrn{'' if conv == 1 else conv}"


def parameter_count(arch: str, **kwargs) -> int:
    """Returns the number of parameters of net `arch`; keyword arguments as for `layer_facts`."""
    return sum(layer.parameters for layer in layer_facts(arch, **kwargs))


def activation_values(arch: str, **kwargs) -> int:
    """Returns the number of output values of all layers for one image, kept in a training step; arguments as `layer_facts`."""
    return sum(math.prod(layer.shape) for layer in layer_facts(arch, **kwargs))
