"""Converts weights between file formats: `python -m keras_vgg.convert vgg16-397923af.pth vgg16.keras`.

Reads .keras, .weights.h5, legacy .h5, .pth, .safetensors, .caffemodel and run folders, detected by content; writes .keras,
.weights.h5, legacy .h5, .pth and .safetensors, selected by the suffix.
"""

from keras_vgg import configs
from keras_vgg.support import cli, entry


def main(argv: list[str]) -> None:
    """Parses `argv`, converts and prints a table of the converted variables."""
    parser = cli.Parser(prog="python -m keras_vgg.convert", description=__doc__.split("\n")[0])
    parser.add_argument(
        "input",
        type=cli.path,
        metavar="IN",
        help="weight file (.keras, .weights.h5, .h5, .pth, .safetensors or .caffemodel, detected by content) or run folder",
    )
    parser.add_argument(
        "output", type=cli.path, metavar="OUT", help="file to write: .keras, .weights.h5, .h5, .pth, .pt or .safetensors"
    )
    parser.add_argument(
        "--arch",
        **cli.named(configs.arch_called, configs.CONFIGS),
        help="the net (default: inferred from IN; A-LRN looks like A)",
    )
    parser.add_argument(
        "--swap-colors", action="store_true", help="reverse the first convolution's channels: BGR weights to RGB, or vice versa"
    )
    parser.add_argument("--preprocessing", choices=cli.PREPROCESSINGS, help="preprocessing of IN, if IN does not record it")
    arguments = parser.parse_args(argv)
    entry.import_tensorflow()
    from keras_vgg.weights.conversion import convert

    print(
        convert(
            arguments.input,
            arguments.output,
            arch=arguments.arch,
            swap_colors=arguments.swap_colors,
            preprocessing=arguments.preprocessing,
        )
    )


if __name__ == "__main__":
    entry.run(main)
