"""Rewrites a net's Dense layers as convolutions: `python tools/dense_to_conv.py runs/d-jitter d_fully_convolutional.keras`.

Reads a run folder or a weight file of any kind and writes a plain Keras model for images of any size.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # uses this checkout, whatever is installed

from keras_vgg.errors import InputError
from keras_vgg.support import cli, entry, files


def main(argv: list[str]) -> None:
    """Parses `argv`, converts and saves."""
    parser = cli.Parser(prog="python tools/dense_to_conv.py", description=__doc__.split("\n")[0])
    parser.add_argument("input", type=cli.path, metavar="IN", help="run folder or weight file, with its top")
    parser.add_argument("output", type=cli.path, metavar="OUT", help=".keras file to write")
    parser.add_argument(
        "--pooling",
        choices=("floor", "ceil"),
        default="floor",
        help="pooling of odd sizes, as in Keras or in Caffe (default: %(default)s)",
    )
    parser.add_argument("--scores", action="store_true", help="output scores, without the classifier's activation")
    arguments = parser.parse_args(argv)
    if not arguments.output.endswith(".keras"):
        raise InputError(f"The output file name must end in .keras. Received: {arguments.output}.")
    files.check_file(pathlib.Path(arguments.output))
    entry.import_tensorflow()
    from keras_vgg import transfer
    from keras_vgg.fully_convolutional import KEEP, to_fully_convolutional
    from keras_vgg.weights.saving import save_model

    model = transfer.load_model(arguments.input)
    dense = to_fully_convolutional(model, activation=None if arguments.scores else KEEP, pooling=arguments.pooling)
    save_model(dense, arguments.output)
    print(f"{arguments.output}: {dense.name}, {dense.count_params():,} parameters, for images of at least {model.input_shape[1:3]}")


if __name__ == "__main__":
    entry.run(main)
