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
        "--heatmap", type=cli.path, metavar="OUT",
        help="write a picture of where the net sees the class: a .png file for one image, else a folder, with a PNG for each",
    )  # fmt: skip
    parser.add_argument(
        "--heatmap-of", choices=("scores", "grad-cam"),
        help="posteriors of the dense score map, or Grad-CAM on the last convolution (default: scores; for nets that pool "
        "globally, grad-cam)",
    )  # fmt: skip
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="class of the heatmap (default: the most probable one)")
    arguments = parser.parse_args(argv)
    for flag, given in (("--class", arguments.class_name), ("--heatmap-of", arguments.heatmap_of)):
        if given and not arguments.heatmap:
            parser.error(f"argument {flag}: goes with --heatmap (received {given})")
    if arguments.top < 1:
        parser.error(f"argument --top: must be at least 1 (received {arguments.top})")
    paths = find_images(arguments.images)
    if arguments.heatmap:
        _check_heatmap(arguments.heatmap, len(paths))
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
    is_whole = not found.problems
    for path, posteriors in _usable(found) if arguments.heatmap else ():
        is_whole &= _draw(network, path, posteriors, names, source, made_by, arguments)
    return None if is_whole else cli.USER_ERROR


def _check_heatmap(out: str, number: int) -> None:
    """Tells what is wrong with where heatmaps go, before anything is computed."""
    extras.require("plots")
    if not _is_file(out):
        files.check_folder(pathlib.Path(out))
    elif number > 1:
        raise InputError(f"`--heatmap` takes one image where it ends in .png; give a folder for several. Received: {number}.")
    else:
        files.check_file(pathlib.Path(out))


def _is_file(out: str) -> bool:
    return out.endswith(".png")


def _usable(found):
    """Yields paths and posteriors of the images that could be used."""
    for index, (path, posteriors) in enumerate(zip(found.paths, found.posteriors, strict=True)):
        if index not in found.problems:
            yield path, posteriors


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


def _draw(network, path: str, posteriors, names, source, made_by, arguments) -> bool:
    """Draws the heatmap of an image, and returns whether it could be; if not, one line says why."""
    from keras_vgg.evaluation import heatmap, prediction
    from keras_vgg.identity import short
    from keras_vgg.inference.views import passes

    kind = arguments.heatmap_of or (prediction.GRAD_CAM if network.pools_globally else prediction.SCORES)
    # The score map of an image at S has few places; Grad-CAM has many, and shows what was looked at for the posteriors.
    usual = round(_HEATMAP_WINDOWS * network.crop) if kind == prediction.SCORES else max(source.default_scale, network.crop)
    scale = max(arguments.scales) if arguments.scales else usual
    label = names.index(arguments.class_name) if arguments.class_name else int(posteriors.argmax())
    try:
        seen = prediction.see(network, path, scale, label, kind)
    except InputError as error:
        print(error, file=sys.stderr)
        return False
    name = pathlib.Path(printable(path)).name
    title = f"{name}, net {source.arch} ({short(made_by['net sha256'])}), Q = {scale}"
    settings = prediction.settings_of(network, passes("dense", (scale,), flip=False))
    facts = {"image": name} | made_by | {"settings": settings}
    out = pathlib.Path(arguments.heatmap)
    if not _is_file(arguments.heatmap):
        files.make_folder(out)
        out = heatmap.file_of(out, path)
    heatmap.draw(out, seen, names[label], title=title, facts=facts)
    print(f"heatmap of {names[label]}: {out}", file=sys.stderr if arguments.json else sys.stdout)
    return True


if __name__ == "__main__":
    entry.run(main)
