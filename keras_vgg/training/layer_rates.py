"""Discriminative learning rates: early layers, whose features are general, change more slowly. Imports no TensorFlow."""

from keras_vgg import configs

LAST = "predictions"


def layer_rates(arch: str, decay: float, head_rate: float) -> dict[str, float]:
    """Returns the learning rate multiplier of each layer with weights, including batch norm.

    >>> from keras_vgg.training.layer_rates import layer_rates
    >>> rates = layer_rates("A", 0.5, 10)
    >>> rates["block1_conv1"], rates["block5_conv2"], rates["fc1"], rates["predictions"]
    (0.03125, 0.5, 1.0, 10.0)

    Args:
        arch: a net of Table 1.
        decay: factor from a block to the one before it; the layers after the convolutions form one block (timm's `layer_decay`).
        head_rate: factor for the last layer, which is new if the classes are.
    """
    names = [layer.name for layer in configs.layer_facts(arch) if layer.parameters]
    blocks = list(dict.fromkeys(_block(name) for name in names))
    rates = {name: decay ** (len(blocks) - 1 - blocks.index(_block(name))) for name in names}
    rates[LAST] *= head_rate
    return rates | {name.replace("_conv", "_bn"): rate for name, rate in rates.items()}


def _block(layer: str) -> str:
    return layer.split("_")[0] if layer.startswith("block") else ""
