"""The convolutions and matrix products of a net, as data: every contestant has to compute them. Imports no framework."""

import dataclasses
import math

from keras_vgg import configs

FORWARD, TO_INPUTS, TO_WEIGHTS = "forward", "backward data", "backward weights"
"""Directions: from inputs and weights to outputs; from the outputs' gradient to that of the inputs, and to that of the weights."""

_CLASSIFIER = "predictions"


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer with weights.

    Attributes:
        name: as in the net.
        inputs: `(B, height, width, C)` of a convolution, `(B, units)` of a fully connected layer.
        weights: `(kernel, kernel, C, filters)`, or `(units, units)`.
        outputs: as `inputs`.
        stride: of a convolution, whose padding is "same".
    """

    name: str
    inputs: tuple[int, ...]
    weights: tuple[int, ...]
    outputs: tuple[int, ...]
    stride: int = 1

    @property
    def is_convolution(self) -> bool:
        """Whether it is a convolution; otherwise it is a matrix product."""
        return len(self.weights) == 4

    @property
    def keeps_float32(self) -> bool:
        """Whether it is computed in float32 even under a mixed policy, as the classifier is."""
        return self.name == _CLASSIFIER

    @property
    def multiply_adds(self) -> int:
        """Multiply-accumulate operations, the same in each direction, including those on padding."""
        return math.prod(self.weights) * math.prod(self.outputs[:-1])


@dataclasses.dataclass(frozen=True)
class Product:
    """An elementary operation: a layer in one direction."""

    layer: Layer
    direction: str

    def __str__(self):
        return f"{self.layer.name}, {self.direction}"


def layers(arch: str, images: tuple[int, int, int, int], *, classes: int, width: float = 1.0) -> list[Layer]:
    """Returns the layers with weights of net `arch`, in order, for images of its input size, `(B, height, width, 3)`."""
    batch, *shape = images
    convolutions = configs.get_config(arch).convolutions
    found, before = [], tuple(shape)
    for layer in configs.layer_facts(arch, input_shape=(shape[0], shape[1], shape[2]), classes=classes, width=width):
        if layer.name in convolutions:
            convolution = convolutions[layer.name]
            weights = (convolution.kernel, convolution.kernel, before[-1], layer.shape[-1])
            found.append(Layer(layer.name, (batch, *before), weights, (batch, *layer.shape), convolution.stride))
        elif layer.parameters:
            found.append(_fully_connected(layer.name, batch, math.prod(before), layer.shape[-1]))
        before = layer.shape
    return found


def dense_layers(
    arch: str, images: tuple[int, int, int, int], *, crop: int, classes: int, width: float = 1.0, last: str = _CLASSIFIER
) -> list[Layer]:
    """Returns the layers of a net with an input of `crop` pixels, applied to larger images as a fully convolutional net.

    Its fully connected layers are matrix products, with a row per position, as in ours: as convolutions they are slower.

    Args:
        arch, classes, width: the net.
        images: `(B, height, width, 3)`.
        crop: side of the net's input.
        last: the last computed layer, with or without weights.
    """
    batch, height, columns, channels = images
    own = layers(arch, (batch, crop, crop, channels), classes=classes, width=width)
    facts = configs.layer_facts(arch, input_shape=(height, columns, channels), classes=classes, width=width)
    seen = [layer for layer in layers(arch, images, classes=classes, width=width) if layer.is_convolution]
    last_map = next(layer.shape for layer in reversed(facts) if len(layer.shape) == 3)
    fully_connected = [layer for layer in own if not layer.is_convolution]
    field = math.isqrt(fully_connected[0].weights[0] // last_map[-1])  # side of the feature map that the first of them takes
    places = batch * math.prod(side - field + 1 for side in last_map[:2])
    seen += [_fully_connected(layer.name, places, *layer.weights) for layer in fully_connected]
    names = [layer.name for layer in facts]
    computed = set(names[: names.index(last) + 1])
    return [layer for layer in seen if layer.name in computed]


def _fully_connected(name: str, rows: int, inputs: int, outputs: int) -> Layer:
    return Layer(name, (rows, inputs), (inputs, outputs), (rows, outputs))


def forward(computed: list[Layer]) -> list[Product]:
    """Returns the products of a forward pass."""
    return [Product(layer, FORWARD) for layer in computed]


def training(computed: list[Layer]) -> list[Product]:
    """Returns the products of a forward and a backward pass, in this order; images have no gradient."""
    first = computed[0]
    backward = [
        Product(layer, direction)
        for layer in reversed(computed)
        for direction in (TO_WEIGHTS, TO_INPUTS)
        if (layer, direction) != (first, TO_INPUTS)
    ]
    return forward(computed) + backward
