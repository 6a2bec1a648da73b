"""Draws what a net has learned: `python -m keras_vgg.look photo.jpg --model runs/flowers17 --layer block3_conv3 --maps maps.png`.

`--filters` draws the filters of the first convolution in image colors, `--maps` the feature maps of a layer for an image. The
plots contain the SHA-256 digests of the net, the image and the code.
"""

import pathlib
import sys

from keras_vgg.errors import InputError
from keras_vgg.support import cli, entry, extras, files
from keras_vgg.support.counts import agree, counted
from keras_vgg.support.image_files import printable


def main(argv: list[str]) -> None:
    """Parses `argv` and draws."""
    arguments = _parsed(argv)
    extras.require("plots")
    for path in filter(None, (arguments.filters, arguments.maps)):
        files.check_file(pathlib.Path(path))
    entry.import_tensorflow()
    from keras_vgg.evaluation import learnt, prediction
    from keras_vgg.fully_convolutional import smallest_side
    from keras_vgg.identity import digest_of_net, short
    from keras_vgg.inference.code_digest import digest_of_code
    from keras_vgg.inference.net_files import open_net_file
    from keras_vgg.support import sheet

    source = open_net_file(arguments.model, preprocessing=arguments.preprocessing, needs_top=False)
    model = source.load_model()
    digest = digest_of_net(model)
    print(f"{source.name} ({short(digest)}): {source.preprocessing_text}", file=sys.stderr)
    facts = {"net": source.name, "net sha256": digest, "code sha256": digest_of_code()}
    net = f"net {source.arch} ({short(digest)})"
    if arguments.maps:
        learnt.check_layer(model, arguments.layer)
        scale = source.default_scale if arguments.scale is None else arguments.scale
        if scale < (least := smallest_side(model)):
            raise InputError(f"`--scale` must be at least {least}, the net's smallest input. Received: {scale}.")
        image, of_image = prediction.read_image(arguments.image, scale)
    if arguments.filters:
        filters = learnt.first_filters(model)
        title = f"{counted(len(filters), 'filter')} of the first convolution, {net}"
        sheet.draw(
            pathlib.Path(arguments.filters), list(filters), [""] * len(filters), title=title, facts=facts, columns=16, side=0.5
        )
        print(f"{counted(len(filters), 'filter')}: {arguments.filters}")
    if arguments.maps:
        maps = learnt.feature_maps(model, image, arguments.layer)
        channels = learnt.strongest(maps, arguments.channels)
        name = printable(pathlib.Path(arguments.image).name)
        strongest = agree(len(channels), "strongest", f"{len(channels)} strongest")
        title = f"{name}, {arguments.layer} of {net}, Q = {scale}: the {strongest} of {counted(maps.shape[-1], 'channel')}"
        pictures = [image, *(maps[..., channel] for channel in channels)]
        captions = ["image", *(f"{channel}: mean {maps[..., channel].mean():.3g}" for channel in channels)]
        told = facts | {"image": name, "image sha256": of_image, "layer": arguments.layer, "scale": scale, "channels": channels}
        sheet.draw(pathlib.Path(arguments.maps), pictures, captions, title=title, facts=told, columns=6)
        print(f"{len(channels)} of {maps.shape[-1]} maps of {arguments.layer}: {arguments.maps}")


def _parsed(argv: list[str]):
    parser = cli.Parser(prog="python -m keras_vgg.look", description=__doc__.split("\n")[0])
    parser.add_argument("image", type=cli.path, nargs="?", metavar="IMAGE", help="image file for --maps")
    parser.add_argument(
        "--model", type=cli.path, required=True, metavar="PATH", help="run folder, weight file or public name (vgg16)"
    )
    parser.add_argument("--filters", type=cli.path, metavar="FILE", help="draw the filters of the first convolution (PNG)")
    parser.add_argument("--maps", type=cli.path, metavar="FILE", help="draw the feature maps of a layer for the image (PNG)")
    parser.add_argument("--layer", help="layer of the feature maps: block3_conv3, block1_pool, …")
    parser.add_argument(
        "--channels", type=int, default=16, help="number of channels to draw, the strongest first (default: %(default)s)"
    )
    parser.add_argument(
        "--scale", type=int, metavar="Q", help="smallest side of the image, in pixels (default: S, or the middle of its range)"
    )
    cli.add_net_flags(parser, "preprocessing")
    arguments = parser.parse_args(argv)
    if not arguments.filters and not arguments.maps:
        parser.error("pass --filters FILE, --maps FILE or both")
    for flag in ("filters", "maps"):
        if (path := getattr(arguments, flag)) and not path.endswith(".png"):
            parser.error(f"argument --{flag}: must end in .png (received {path})")
    of_maps = [arguments.image, arguments.layer, arguments.maps]
    if any(of_maps) and not all(of_maps):
        parser.error("IMAGE, --layer and --maps must be passed together")
    if arguments.channels < 1:
        parser.error(f"argument --channels: must be at least 1 (received {arguments.channels})")
    return arguments


if __name__ == "__main__":
    entry.run(main)
