"""Prints or draws a net of Table 1, or all six side by side, or lists public weights: `python -m keras_vgg.describe --arch D`."""

import math
import pathlib

from keras_vgg import configs, diagram
from keras_vgg.support import cli, entry
from keras_vgg.weights import catalogue


def main(argv: list[str]) -> None:
    """Parses `argv` and prints."""
    parser = cli.Parser(prog="python -m keras_vgg.describe", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--arch",
        **cli.named(configs.arch_called, configs.CONFIGS),
        help="net to print layer by layer (default: compare all six)",
    )
    parser.add_argument(
        "--size", type=int, metavar="PIXELS", default=configs.TRAINING_SIZE, help="side of the input (default: %(default)s)"
    )
    parser.add_argument("--classes", type=int, metavar="N", default=1000, help="number of classes (default: %(default)s)")
    parser.add_argument("--width", type=float, default=1.0, help="factor on all filters and FC units (default: %(default)s)")
    parser.add_argument("--diagram", type=cli.path, metavar="FILE.png", help="draw the nets instead, as in Table 1")
    parser.add_argument("--weights", action="store_true", help="list public weights (only of net --arch, if given)")
    arguments = parser.parse_args(argv)
    if arguments.weights:
        print(_public_weights(arguments.arch))
        return
    largest = max(configs.CONFIGS.values(), key=configs.Config.side)
    config = configs.get_config(arguments.arch) if arguments.arch else largest
    if arguments.size < (smallest := config.side()):
        parser.error(f"argument --size: must be at least {smallest}, {config.halvings} halve it (received {arguments.size})")
    if arguments.classes < 1 or not 0 < arguments.width < math.inf:
        parser.error(f"--classes and --width must be positive (received {arguments.classes}, {arguments.width})")
    shape = (arguments.size, arguments.size, 3)
    options = {"input_shape": shape, "classes": arguments.classes, "width": arguments.width}
    if arguments.diagram:
        nets = [config] if arguments.arch else list(configs.CONFIGS.values())
        diagram.draw_nets(
            pathlib.Path(arguments.diagram), nets, size=arguments.size, classes=arguments.classes, width=arguments.width
        )
        print(arguments.diagram)
        return
    print(_layers(arguments.arch, options) if arguments.arch else _comparison(options))


_UNITS = {"G": 1e9, "M": 1e6}


def _unit(multiply_adds: int) -> str:
    return "G" if multiply_adds >= 1e8 else "M"


def _table(data, **options) -> str:
    import pandas as pd  # not for --help and --diagram, which it would slow down

    return pd.DataFrame(data).to_string(**options)


def _layers(arch: str, options: dict) -> str:
    facts = configs.layer_facts(arch, **options)
    rows = [
        {
            "layer": layer.name,
            "output": "x".join(map(str, layer.shape)),
            "receptive field": layer.receptive_field or "whole input",
            "parameters": f"{layer.parameters:,}" if layer.parameters else "",
            "multiply-adds": f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
        }
        for layer in facts
    ]
    parameters, multiply_adds = (sum(getattr(layer, name) for layer in facts) for name in ("parameters", "multiply_adds"))
    config = configs.get_config(arch)
    unit = _unit(multiply_adds)
    told = f"{multiply_adds / _UNITS[unit]:.2f} {unit} multiply-adds"
    heading = f"Net {arch}: {config.depth} weight layers, {parameters:,} parameters, {told}"
    return f"{heading}\n\n{_table(rows, index=False, na_rep='–')}"


def _comparison(options: dict) -> str:
    columns: dict[str, dict[str, int | str]] = {}
    unit = _unit(sum(layer.multiply_adds for layer in configs.layer_facts("A", **options)))
    for arch, config in configs.CONFIGS.items():
        facts = configs.layer_facts(arch, **options)
        columns[arch] = {"weight layers": config.depth}
        for block, convolutions in enumerate(config.blocks, start=1):
            filters = dict.fromkeys(configs.scaled_width(each.filters, options["width"]) for each in convolutions)
            name = f"block {block}, {'/'.join(map(str, filters))} filters"
            columns[arch][name] = " ".join(f"{each.kernel}{' LRN' if each.lrn else ''}" for each in convolutions)
        columns[arch]["receptive field"] = max(layer.receptive_field or 0 for layer in facts)
        columns[arch]["parameters (M)"] = f"{sum(layer.parameters for layer in facts) / 1e6:.1f}"
        columns[arch][f"multiply-adds ({unit})"] = f"{sum(layer.multiply_adds for layer in facts) / _UNITS[unit]:.2f}"
    note = "Numbers in the blocks are kernel sizes, one per convolution. Every net ends in fc1, fc2, predictions."
    return f"{_table(columns)}\n\n{note}"


def _public_weights(arch: str | None) -> str:
    rows = [
        {
            "net": f"{entry.arch}{', batch norm' if entry.batch_norm else ''}",
            "name": catalogue.reference(entry),
            "weights=": " or ".join(entry.names),
            "parameters": f"{entry.parameters:,}",
            "top-1 (%)": entry.top1,
            "top-5 (%)": entry.top5,
            "measured": entry.protocol,
            "input": entry.preprocessing,
            "license": entry.licence,
            "file": entry.file.name,
        }
        for entry in catalogue.CATALOGUE
        if arch in (None, entry.arch)
    ]
    if not rows:
        return f"There are no public weights of net {arch}."
    names = "These names can be used wherever a weight file is expected."
    note = f"{names} Accuracies are those published for ILSVRC-2012's validation set. Nets C and A-LRN have no public weights."
    return f"{_table(rows, index=False, na_rep='–')}\n\n{note}"


if __name__ == "__main__":
    entry.run(main)
