"""The choices that make a style transfer, as one frozen dataclass. Imports no TensorFlow."""

import dataclasses
import math

from keras_vgg.errors import InputError
from keras_vgg.precision import BFLOAT16, FLOAT32

POOLINGS, OPTIMIZERS, INITS = ("max", "avg"), ("lbfgs", "adam"), ("content", "noise")
COMPUTED_IN = (FLOAT32, BFLOAT16)
"""Not float16, whose smallest numbers are larger than most gradients of a picture."""


def _field(default, help: str, choices: tuple[str, ...] = ()):
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a picture is made; each field's help is in its metadata.

    The layers are those of the first three blocks, which on a CPU is fast; Gatys et al. take content from `block4_conv2` and style
    from the first convolution of all five.

    Raises:
        InputError: for a value out of range. Whether a net has the layers is found when it is opened.
    """

    content_layers: tuple[str, ...] = _field(("block3_conv3",), "layers that should see what they see in the content image")
    style_layers: tuple[str, ...] = _field(
        ("block1_conv1", "block2_conv1", "block3_conv1"), "layers whose Gram matrices should be those of the style image"
    )
    style_weight: float = _field(10.0, "weight of the style; that of the content is 1")
    smoothness: float = _field(1e-4, "weight of the total variation")
    steps: int = _field(100, "steps of the optimiser")
    optimizer: str = _field("lbfgs", "how the pixels are optimised", OPTIMIZERS)
    pooling: str = _field("avg", "pooling of the net", POOLINGS)
    init: str = _field("content", "what the picture starts as", INITS)
    seed: int = _field(0, "seed of the noise")
    precision: str = _field(FLOAT32, "what the net's layers compute in; losses and pixels are float32", COMPUTED_IN)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            choices, value = field.metadata["choices"], getattr(self, field.name)
            if choices and value not in choices:
                raise InputError(f"`{field.name}` must be one of {', '.join(choices)}. Received: {value!r}.")
        for name in ("content_layers", "style_layers"):
            if isinstance(getattr(self, name), str):
                raise InputError(f"`{name}` must be a list of names of layers. Received: {getattr(self, name)!r}.")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.content_layers and not self.style_layers:
            raise InputError("Give `content_layers` or `style_layers`; without them there is no aim.")
        for name, lowest in (("style_weight", 0), ("smoothness", 0), ("steps", 1), ("seed", 0)):
            if not lowest <= getattr(self, name) < math.inf:
                raise InputError(f"`{name}` must be at least {lowest}. Received: {getattr(self, name)!r}.")

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers, each once."""
        return tuple(dict.fromkeys(self.content_layers + self.style_layers))
