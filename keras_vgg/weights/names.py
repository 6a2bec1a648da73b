"""Layer names of the nets in each framework, and which net a file contains, by its names and shapes.

| here and keras.applications | torchvision           | timm                   | Caffe     |
|-----------------------------|-----------------------|------------------------|-----------|
| `block1_conv1`              | `features.0`          | `features.0`           | `conv1_1` |
| `fc1`, `fc2`, `predictions` | `classifier.0, .3, .6`| `pre_logits.fc1, .fc2`, `head.fc` | `fc6`, `fc7`, `fc8` |
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

from keras_vgg.configs import distinct, get_config

VARIABLES = {"conv": ("kernel", "bias"), "bn": ("gamma", "beta", "moving_mean", "moving_variance"), "fc": ("kernel", "bias")}
"""Variables of each kind of layer, in Keras' order."""

_TORCH_VARIABLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def weight_layers(arch: str, *, batch_norm: bool = False, include_top: bool = True) -> Iterator[tuple[str, str]]:
    """Yields name and kind (a key of `VARIABLES`) of a net's layers with weights, in order."""
    config = get_config(arch)
    for block, conv, _ in config.places():
        yield f"block{block}_conv{conv}", "conv"
        if batch_norm:
            yield f"block{block}_bn{conv}", "bn"
    if include_top:
        for name in config.top:
            yield name, "fc"


def is_fc(layer: str) -> bool:
    """Returns whether a layer with weights is fully connected (in the top), by its name."""
    return not layer.startswith("block")


def _keras_layers(arch, batch_norm):
    return {name: name for name, _ in weight_layers(arch, batch_norm=batch_norm)}


_CLASSES = {"conv": "conv2d", "bn": "batch_normalization", "fc": "dense"}


def _named_by_number(arch, batch_norm, name):
    counts, named = dict.fromkeys(_CLASSES, 0), {}
    for layer, kind in weight_layers(arch, batch_norm=batch_norm):
        named[layer] = name(kind, counts[kind])
        counts[kind] += 1
    return named


def _numbered_layers(arch, batch_norm):
    # Earlier versions of Keras 3 name the layers in a .weights.h5 file only by class and number.
    return _named_by_number(arch, batch_norm, lambda kind, number: f"{_CLASSES[kind]}_{number}" if number else _CLASSES[kind])


def _torch_features(arch, batch_norm):
    # torch.nn.Sequential counts every module: convolution, batch norm, ReLU and, at a block's end, pooling.
    names, index, last_block = {}, 0, 1
    for block, conv, _ in get_config(arch).places():
        index += block != last_block
        last_block = block
        names[f"block{block}_conv{conv}"] = f"features.{index}"
        if batch_norm:
            names[f"block{block}_bn{conv}"] = f"features.{index + 1}"
        index += 3 if batch_norm else 2
    return names


def _torchvision_layers(arch, batch_norm):
    # Each layer but the last is followed by ReLU and dropout.
    return _torch_features(arch, batch_norm) | {name: f"classifier.{3 * i}" for i, name in enumerate(get_config(arch).top)}


def _timm_layers(arch, batch_norm):
    names = {name: f"pre_logits.{name}" for name in get_config(arch).fully_connected} | {"predictions": "head.fc"}
    return _torch_features(arch, batch_norm) | names


def _caffe_layers(arch, batch_norm):
    config = get_config(arch)  # its FC layers are numbered on from the blocks
    convolutions = {f"block{block}_conv{conv}": f"conv{block}_{conv}" for block, conv, _ in config.places()}
    return convolutions | {name: f"fc{number}" for number, name in enumerate(config.top, start=len(config.blocks) + 1)}


def _by_position(layer, variables):
    return {variable: f"{layer}/{number}" for number, variable in enumerate(variables)}


def _by_torch_name(layer, variables):
    return {variable: f"{layer}.{_TORCH_VARIABLES[variable]}" for variable in variables}


@dataclasses.dataclass(frozen=True)
class Scheme:
    """A naming scheme for layers and their variables.

    Attributes:
        name: where it is used.
        layers: function from net and batch norm to `{our layer: its layer}`.
        variables: function from its layer and our variables to `{our variable: name of the array}`.
        keras_layout: whether arrays have Keras' layout; otherwise that of PyTorch and Caffe.
        with_batch_norm: whether it exists for nets with batch norm.
    """

    name: str
    layers: Callable[[str, bool], dict[str, str]]
    variables: Callable[[str, tuple[str, ...]], dict[str, str]]
    keras_layout: bool = False
    with_batch_norm: bool = True

    def arrays(self, arch: str, *, batch_norm: bool = False, include_top: bool = True) -> dict[tuple[str, str], str]:
        """Returns `{(layer, variable): name of the array}` of a net, in the order of its layers."""
        theirs = self.layers(arch, batch_norm)
        return {
            (layer, variable): array
            for layer, kind in weight_layers(arch, batch_norm=batch_norm, include_top=include_top)
            for variable, array in self.variables(theirs[layer], VARIABLES[kind]).items()
        }


KERAS = Scheme("Keras", _keras_layers, _by_position, keras_layout=True)
KERAS_NUMBERED = Scheme("Keras, numbered", _numbered_layers, _by_position, keras_layout=True)
TORCHVISION = Scheme("torchvision", _torchvision_layers, _by_torch_name)
TIMM = Scheme("timm", _timm_layers, _by_torch_name)
CAFFE = Scheme("Caffe", _caffe_layers, _by_position, with_batch_norm=False)
SCHEMES = (KERAS, KERAS_NUMBERED, TORCHVISION, TIMM, CAFFE)


def by_order(shapes: Mapping[str, tuple[int, ...]]) -> Scheme:
    """Returns the naming scheme of a file in Keras' layout whose layers only their order identifies.

    Args:
        shapes: `{<layer>/<number>: shape}` in layer order, as in Keras before version 3.
    """
    axes = {array.rpartition("/")[0]: len(shape) for array, shape in reversed(list(shapes.items()))}  # of each first array
    kinds = {"conv": 4, "bn": 1, "fc": 2}
    found = {kind: [layer for layer in reversed(axes) if axes[layer] == number] for kind, number in kinds.items()}

    def name(kind: str, number: int) -> str:
        return found[kind][number] if number < len(found[kind]) else f"{_CLASSES[kind]} number {number + 1}"

    return Scheme("Keras, by order", lambda arch, batch_norm: _named_by_number(arch, batch_norm, name), _by_position, True)


@dataclasses.dataclass(frozen=True)
class Match:
    """The net that the arrays of a file match, exactly or most closely.

    Attributes:
        scheme, arch, batch_norm, include_top: the net and how its arrays are named.
        missing: arrays of the net that are not in the file.
        extra: arrays in the file that are not part of the net.
        other_kernels: arrays of convolutions whose kernel size differs from the net's.
    """

    scheme: Scheme
    arch: str
    batch_norm: bool
    include_top: bool
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    other_kernels: tuple[str, ...] = ()

    def __str__(self):
        return net_name(self.arch, batch_norm=self.batch_norm, include_top=self.include_top)

    @property
    def flattens(self) -> bool:
        """Whether it has a top that takes the flattened last map, which fixes the map's size."""
        return self.include_top and not get_config(self.arch).global_pooling

    @property
    def arrays(self) -> dict[tuple[str, str], str]:
        """`{(layer, variable): name of the array}` of the net."""
        return self.scheme.arrays(self.arch, batch_norm=self.batch_norm, include_top=self.include_top)

    @property
    def distance(self) -> int:
        """Zero for a file with exactly this net."""
        return len(self.missing) + len(self.extra) + len(self.other_kernels)

    @property
    def is_hopeless(self) -> bool:
        """Whether more than half of the net is missing, or more arrays are extra than the net has."""
        return 2 * len(self.missing) > len(self.arrays) or len(self.extra) > len(self.arrays)

    @property
    def problem(self) -> str:
        """How the file differs from this net, with the first layers concerned."""
        layers = {array: layer for (layer, _), array in self.arrays.items()}
        for told, arrays in (
            ("lacks", self.missing),
            ("also contains", self.extra),
            ("has another kernel size in", self.other_kernels),
        ):
            if arrays:
                some = [f"{layers[array]} ({array})" if array in layers else array for array in arrays[:3]]
                return f"{told} {', '.join(some)}{' and others' if len(arrays) > 3 else ''}"
        return "nothing"


def net_name(arch: str, *, batch_norm: bool = False, include_top: bool = True) -> str:
    """Returns a display name of a net."""
    return f"net {arch}{' with batch norm' if batch_norm else ''}{'' if include_top else ' without the top'}"


def closest(
    shapes: Mapping[str, tuple[int, ...]],
    archs: Sequence[str] | None = None,
    batch_norm: Sequence[bool] = (False, True),
    schemes: Sequence[Scheme] = SCHEMES,
) -> Match:
    """Returns the net that the arrays of a file match most closely, among `archs` with or without `batch_norm`.

    `None` stands for all nets that weights can distinguish.
    """
    archs = archs or distinct()
    candidates = (
        _match(shapes, Match(scheme, arch, with_batch_norm, include_top))
        for scheme in schemes
        for arch in archs
        for with_batch_norm in batch_norm
        if scheme.with_batch_norm or not with_batch_norm
        for include_top in (True, False)
    )
    return min(candidates, key=lambda match: match.distance)


def _match(shapes, match: Match) -> Match:
    arrays = match.arrays
    kernel_axes = slice(0, 2) if match.scheme.keras_layout else slice(2, 4)
    kernels = {arrays[name, "kernel"]: each.kernel for name, each in get_config(match.arch).convolutions.items()}
    wanted = set(arrays.values())
    return dataclasses.replace(
        match,
        missing=tuple(array for array in arrays.values() if array not in shapes),
        extra=tuple(array for array in shapes if array not in wanted),
        other_kernels=tuple(
            array
            for array, kernel in kernels.items()
            if len(shapes.get(array, ())) == 4 and tuple(shapes[array][kernel_axes]) != (kernel, kernel)
        ),
    )
