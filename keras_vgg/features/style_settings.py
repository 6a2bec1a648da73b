"""The settings of style transfer, as one frozen dataclass. Imports no TensorFlow."""

import dataclasses
import math

from keras_vgg.errors import InputError
from keras_vgg.precision import BFLOAT16, FLOAT32

POOLINGS, OPTIMIZERS, INITS = ("max", "avg"), ("lbfgs", "adam"), ("content", "noise")
COMPUTED_IN = (FLOAT32, BFLOAT16)
"""Without float16, whose smallest numbers exceed most gradients of a picture."""


def _field(default, help: str, choices: tuple[str, ...] = ()):
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of style transfer; each field's help is in its metadata.

    The default layers are in the first three blocks, which is fast on a CPU; Gatys et al. take content from `block4_conv2` and
    style from the first convolution of all five.

    Raises:
        InputError: for a value out of range. Layer names are checked when the net is opened.
    """

    content_layers: tuple[str, ...] = _field(("block3_conv3",), "layers whose activations should match the content image")
    style_layers: tuple[str, ...] = _field(
        ("block1_conv1", "block2_conv1", "block3_conv1"), "layers whose Gram matrices should match the style image"
    )
    style_weight: float = _field(10.0, "weight of the style loss, relative to the content loss")
    smoothness: float = _field(1e-4, "weight of the total variation")
    steps: int = _field(100, "number of optimizer steps")
    optimizer: str = _field("lbfgs", "optimizer of the pixels", OPTIMIZERS)
    pooling: str = _field("avg", "pooling of the net", POOLINGS)
    init: str = _field("content", "initial picture", INITS)
    seed: int = _field(0, "random seed of the noise")
    precision: str = _field(FLOAT32, "compute precision of the net; losses and pixels are float32", COMPUTED_IN)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            choices, value = field.metadata["choices"], getattr(self, field.name)
            if choices and value not in choices:
                raise InputError(f"`{field.name}` must be one of {', '.join(choices)}. Received: {value!r}.")
        for name in ("content_layers", "style_layers"):
            if isinstance(getattr(self, name), str):
                raise InputError(f"`{name}` must be a list of layer names. Received: {getattr(self, name)!r}.")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.content_layers and not self.style_layers:
            raise InputError("Pass `content_layers` or `style_layers`; without them there is no loss.")
        for name, lowest in (("style_weight", 0), ("smoothness", 0), ("steps", 1), ("seed", 0)):
            if not lowest <= getattr(self, name) < math.inf:
                raise InputError(f"`{name}` must be at least {lowest}. Received: {getattr(self, name)!r}.")

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers, each once."""
        return tuple(dict.fromkeys(self.content_layers + self.style_layers))
