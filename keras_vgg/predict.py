"""Says what images show: `python -m keras_vgg.predict photo.jpg --model runs/flowers17`.

Images are looked at densely (Sec. 3.2), with their mirror images if the net was trained with such. JSON and heat maps carry the
digests of the net, the image and the code (SHA-256), and how the image was looked at.
"""

import json
import pathlib
import sys

from keras_vgg.errors import InputError
from keras_vgg.support import cli, entry, extras, files
from keras_vgg.support.image_files import find_images, printable

_BAR = 30
_HEATMAP_WINDOWS = 16 / 7  # smallest side of the image in windows of the net: 512 pixels for 224


def main(argv: list[str]) -> int | None:
    """Parses `argv`, prints the most probable classes, and returns the exit code."""
    parser = cli.Parser(prog="python -m keras_vgg.predict", description=__doc__.split("\n")[0])
    parser.add_argument("images", type=cli.path, nargs="+", metavar="IMAGE", help="image files, globs or folders")
    parser.add_argument("--model", type=cli.path, required=True, metavar="PATH", help="run folder or weight file")
    cli.add_net_flags(parser, "scales", "flip", "average", "pooling")
    parser.add_argument("--top", type=int, default=5, help="how many classes to print (default: %(default)s)")
    cli.add_net_flags(parser, "preprocessing", "classes")
    parser.add_argument("--json", action="store_true", help="print JSON: a line for each image")
    parser.add_argument(
        "--heatmap", type=cli.path, metavar="FILE", help="write a picture of where the net sees the class (PNG; one image)"
    )
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="class of the heatmap (default: the most probable one)")
    arguments = parser.parse_args(argv)
    if arguments.heatmap and not arguments.heatmap.endswith(".png"):
        parser.error(f"argument --heatmap: must end in .png (received {arguments.heatmap})")
    if arguments.class_name and not arguments.heatmap:
        parser.error(f"argument --class: goes with --heatmap (received {arguments.class_name})")
    if arguments.top < 1:
        parser.error(f"argument --top: must be at least 1 (received {arguments.top})")
    paths = find_images(arguments.images)
    if arguments.heatmap and len(paths) > 1:
        raise InputError(f"`--heatmap` takes one image. Received: {len(paths)}.")
    if arguments.heatmap:
        extras.require("plots")
        files.check_file(pathlib.Path(arguments.heatmap))
    entry.import_tensorflow()
    from keras_vgg.evaluation import prediction
    from keras_vgg.identity import digest_of_net, short
    from keras_vgg.inference.code_digest import digest_of_code
    from keras_vgg.inference.net_files import open_net_file
    from keras_vgg.inference.views import passes

    source = open_net_file(arguments.model, preprocessing=arguments.preprocessing, classes=arguments.classes)
    network = source.load(average=arguments.average, pooling=arguments.pooling)
    digest = digest_of_net(network.model)
    print(f"{source.name} ({short(digest)}): {source.preprocessing_text}", file=sys.stderr)
    names = source.class_names(network.classes)
    if arguments.class_name and arguments.class_name not in names:
        raise InputError(
            f"`--class` must be one of the net's classes, e.g. {', '.join(names[:3])}. Received: {arguments.class_name!r}."
        )
    flip = source.flip if arguments.flip is None else arguments.flip
    views = passes("dense", tuple(arguments.scales or (max(source.default_scale, network.crop),)), flip=flip)
    made_by = {"net sha256": digest, "code sha256": digest_of_code()}
    settings = prediction.settings_of(network, views)
    found = prediction.predict(network, paths, views, stream=sys.stderr)
    for index, (path, posteriors) in enumerate(zip(found.paths, found.posteriors, strict=True)):
        if index not in found.problems:
            told = {"image sha256": found.digests[index]} | made_by | {"settings": settings}
            _print(printable(path), posteriors, names, told, arguments)
    for index, problem in found.problems.items():
        print(f"Expected an image. Received: {printable(found.paths[index])} ({problem}).", file=sys.stderr)
    if arguments.heatmap and not found.problems:
        _draw(network, paths[0], found.posteriors[0], names, source, made_by, arguments)
    return cli.USER_ERROR if found.problems else None


def _print(path: str, posteriors, names, told, arguments) -> None:
    from keras_vgg.evaluation.metrics import best_first

    best = best_first(posteriors, arguments.top)
    if arguments.json:
        top = [{"class": names[label], "label": int(label), "posterior": float(posteriors[label])} for label in best]
        print(json.dumps({"image": path, "top": top} | told))
        return
    print(path)
    for label in best:
        print(f"  {100 * posteriors[label]:5.1f}%  {'█' * round(_BAR * posteriors[label]):{_BAR}}  {names[label]}")


def _draw(network, path: str, posteriors, names, source, made_by, arguments) -> None:
    from keras_vgg.evaluation import heatmap, prediction
    from keras_vgg.identity import short
    from keras_vgg.inference.views import passes

    scale = max(arguments.scales) if arguments.scales else round(_HEATMAP_WINDOWS * network.crop)
    label = names.index(arguments.class_name) if arguments.class_name else int(posteriors.argmax())
    seen = prediction.see(network, path, scale)
    name = pathlib.Path(printable(path)).name
    title = f"{name}, net {source.arch} ({short(made_by['net sha256'])}), Q = {scale}"
    settings = prediction.settings_of(network, passes("dense", (scale,), flip=False))
    facts = {"image": name} | made_by | {"settings": settings}
    heatmap.draw(pathlib.Path(arguments.heatmap), seen, label, names[label], title=title, facts=facts)
    print(f"heatmap of {names[label]}: {arguments.heatmap}", file=sys.stderr if arguments.json else sys.stdout)


if __name__ == "__main__":
    entry.run(main)
