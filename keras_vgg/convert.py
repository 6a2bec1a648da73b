"""Converts weights between files: `python -m keras_vgg.convert vgg16-397923af.pth vgg16.keras`.

Reads .keras, .weights.h5, legacy .h5, .pth, .safetensors, .caffemodel and run folders, told by their content; writes .keras,
.weights.h5, legacy .h5, .pth and .safetensors, told by the name.
"""

from keras_vgg import configs
from keras_vgg.support import cli, entry


def main(argv: list[str]) -> None:
    """Parses `argv`, converts and prints what was converted."""
    parser = cli.Parser(prog="python -m keras_vgg.convert", description=__doc__.split("\n")[0])
    parser.add_argument(
        "input",
        type=cli.path,
        metavar="IN",
        help="weight file (.keras, .weights.h5, .h5, .pth, .safetensors or .caffemodel, told by its content) or run folder",
    )
    parser.add_argument(
        "output", type=cli.path, metavar="OUT", help="file to write: .keras, .weights.h5, .h5, .pth, .pt or .safetensors"
    )
    parser.add_argument(
        "--arch",
        **cli.named(configs.arch_called, configs.CONFIGS),
        help="the net (default: told from IN; A-LRN looks like A)",
    )
    parser.add_argument(
        "--swap-colors", action="store_true", help="turn round the first convolution's channels: weights for RGB from BGR, or back"
    )
    parser.add_argument("--preprocessing", choices=cli.PREPROCESSINGS, help="what IN wants of an image, where it does not say so")
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
