"""Classifies images and locates their objects: `python -m keras_vgg.predict photo.jpg --model runs/flowers17`.

Images are evaluated densely (Sec. 3.2), with their mirror images if the net was trained with them. `--localiser` also predicts
boxes, which `--boxes` draws (Appendix A). JSON and plots contain the SHA-256 digests of the nets, the image and the code, and the
settings of the prediction.
"""

import json
import pathlib
import sys
from collections.abc import Sequence

from keras_vgg.errors import InputError
from keras_vgg.precision import FLOAT32, told
from keras_vgg.support import cli, entry, extras, files
from keras_vgg.support.image_files import find_images, printable

_BAR = 30
_TOP = 5
_HEATMAP_WINDOWS = 16 / 7  # smallest side of the image per input side of the net: 512 pixels for 224


def main(argv: list[str]) -> int | None:
    """Parses `argv`, prints the most probable classes and their boxes, and returns the exit code."""
    arguments = _parsed(argv)
    paths = find_images(arguments.images)
    for flag, out in (("--heatmap", arguments.heatmap), ("--boxes", arguments.boxes)):
        if out:
            _check_pictures(flag, out, len(paths))
    entry.import_tensorflow()
    from keras_vgg.identity import digest_of_net, short
    from keras_vgg.inference.code_digest import digest_of_code
    from keras_vgg.inference.net_files import open_net_file
    from keras_vgg.inference.views import passes

    source = open_net_file(arguments.model, preprocessing=arguments.preprocessing, classes=arguments.classes)
    if source.regression is not None:
        return _by_localiser_alone(source, paths, arguments)
    from keras_vgg.evaluation import prediction

    if not arguments.localiser:
        _check_without_localiser(source, arguments)
    network = source.load(average=arguments.average, pooling=arguments.pooling, precision=arguments.precision)
    digest = digest_of_net(network.model)
    print(f"{_named(source, digest, arguments)}: {source.preprocessing_text}", file=sys.stderr)
    names = source.class_names(network.classes)
    _check_class(arguments.class_name, names)
    flip = source.flip if arguments.flip is None else arguments.flip
    views = passes("dense", tuple(arguments.scales or (max(source.default_scale, network.crop),)), flip=flip)
    made_by = {"net sha256": digest, "code sha256": digest_of_code()}
    settings = prediction.settings_of(network, views)
    finder = _open_finder(arguments.localiser, names, arguments.localiser_scales, arguments) if arguments.localiser else None
    found = prediction.predict(network, paths, views, stream=sys.stderr)
    is_whole = not found.problems
    for index, (path, posteriors) in enumerate(zip(found.paths, found.posteriors, strict=True)):
        if index not in found.problems:
            told = {"image sha256": found.digests[index]} | made_by | {"settings": settings}
            seen = _locate(finder, path, posteriors, names, arguments) if finder else None
            is_whole &= seen is not None or finder is None
            _print(printable(path), posteriors, names, seen, finder, told, arguments)
            if seen and arguments.boxes:
                is_whole &= _draw_boxes(path, seen, finder, f"classes by net {source.arch} ({short(digest)}), ", made_by, arguments)
    for index, problem in found.problems.items():
        print(f"Expected an image. Received: {printable(found.paths[index])} ({problem}).", file=sys.stderr)
    for path, posteriors in _usable(found) if arguments.heatmap else ():
        is_whole &= _draw(network, path, posteriors, names, source, made_by, arguments)
    return None if is_whole else cli.USER_ERROR


def _parsed(argv: list[str]):
    parser = cli.Parser(prog="python -m keras_vgg.predict", description=__doc__.split("\n")[0])
    parser.add_argument("images", type=cli.path, nargs="+", metavar="IMAGE", help="image files, globs or folders")
    parser.add_argument(
        "--model", type=cli.path, required=True, metavar="PATH",
        help="run folder, weight file or public name (vgg16) of a classifier, or run folder or file of a localiser alone",
    )  # fmt: skip
    cli.add_net_flags(parser, "scales", "flip", "average", "pooling")
    cli.add_net_flags(parser, top=f"number of classes and boxes to print (default: {_TOP}), and of boxes to draw (default: 1)")
    parser.also_accept("--top", "--top-k")
    cli.add_net_flags(parser, "preprocessing", "precision", "classes")
    parser.set_defaults(precision=FLOAT32)
    parser.add_argument("--json", action="store_true", help="print JSON, one line per image")
    cli.add_net_flags(parser, "localiser", "localiser-scales")
    parser.add_argument(
        "--boxes", type=cli.path, metavar="OUT",
        help="draw the best boxes on the image (see --top): a .png file for one image, or a folder for one PNG per image",
    )  # fmt: skip
    cli.add_net_flags(parser, "merge-threshold")
    parser.add_argument(
        "--heatmap", type=cli.path, metavar="OUT",
        help="draw a heatmap of the class: a .png file for one image, or a folder for one PNG per image",
    )  # fmt: skip
    parser.add_argument(
        "--heatmap-of", choices=("scores", "grad-cam"),
        help="posteriors of the dense score map, or Grad-CAM of the last convolution (default: scores; grad-cam for nets "
        "with global pooling)",
    )  # fmt: skip
    parser.add_argument(
        "--class", dest="class_name", metavar="NAME", help="class of the heatmap and boxes (default: the most probable)"
    )
    arguments = parser.parse_args(argv)
    if arguments.heatmap_of and not arguments.heatmap:
        parser.error(f"argument --heatmap-of: requires --heatmap (received {arguments.heatmap_of})")
    if arguments.localiser_scales and not arguments.localiser:
        parser.error(f"argument --localiser-scales: requires --localiser (received {arguments.localiser_scales[0]})")
    if arguments.top is not None and arguments.top < 1:
        parser.error(f"argument --top: must be at least 1 (received {arguments.top})")
    if arguments.heatmap and arguments.boxes and arguments.heatmap == arguments.boxes:
        parser.error(f"argument --boxes: must differ from --heatmap (received {arguments.boxes})")
    return arguments


def _named(source, digest: str, arguments) -> str:
    """Returns the display name of a net, with its precision unless that is float32."""
    from keras_vgg.identity import short

    return f"{source.name} ({', '.join(filter(None, (short(digest), told(arguments.precision))))})"


def _check_class(name: str | None, names: tuple[str, ...]) -> None:
    if name and name not in names:
        raise InputError(f"`--class` must be one of the net's classes, e.g. {', '.join(names[:3])}. Received: {name!r}.")


def _check_without_localiser(source, arguments) -> None:
    of_boxes = {"--boxes": arguments.boxes, "--merge-threshold": arguments.merge_threshold}
    for flag, given in of_boxes.items():
        if given is not None:
            raise InputError(
                f"`{flag}` requires a localiser. Received: --model {source.path}, a classifier; pass --localiser, too."
            )
    if arguments.class_name and not arguments.heatmap:
        raise InputError(f"`--class` requires --heatmap or --localiser. Received: --class {arguments.class_name} alone.")


def _check_pictures(flag: str, out: str, number: int) -> None:
    """Raises for an unusable output path before anything is computed."""
    extras.require("plots")
    if not _is_file(out):
        files.check_folder(pathlib.Path(out))
    elif number > 1:
        raise InputError(f"`{flag}` with a .png file takes one image. Received: {number}; pass a folder.")
    else:
        files.check_file(pathlib.Path(out))


def _is_file(out: str) -> bool:
    return out.endswith(".png")


def _usable(found):
    """Yields paths and posteriors of the usable images."""
    for index, (path, posteriors) in enumerate(zip(found.paths, found.posteriors, strict=True)):
        if index not in found.problems:
            yield path, posteriors


def _file_of(out: str, path: str) -> pathlib.Path:
    """Returns the output file for an image: `out` itself, or one in the folder `out`, which is created."""
    from keras_vgg.evaluation import heatmap

    if _is_file(out):
        return pathlib.Path(out)
    files.make_folder(pathlib.Path(out))
    return heatmap.file_of(pathlib.Path(out), path)


def _print(path: str, posteriors, names, seen, finder, told, arguments) -> None:
    """Prints an image's predicted classes, if any, and its boxes."""
    from keras_vgg.evaluation.metrics import best_first

    best: Sequence[int] = [] if posteriors is None else best_first(posteriors, arguments.top or _TOP).tolist()
    if arguments.json:
        line: dict = {"image": path}
        if posteriors is not None:
            line["top"] = [{"class": names[label], "label": label, "posterior": float(posteriors[label])} for label in best]
        if seen:
            line["boxes"] = [
                {"class": each.label, "label": names.index(each.label), "score": each.score, "box": each.box}
                if each.label
                else {"score": each.score, "box": each.box}
                for each in seen.guesses
            ]
        if finder:
            told = told | {"localiser sha256": finder.digest, "localiser settings": finder.settings}
        print(json.dumps(line | told))
        return
    print(path)
    for label in best:
        print(f"  {100 * posteriors[label]:5.1f}%  {'█' * round(_BAR * posteriors[label]):{_BAR}}  {names[label]}")
    if seen:
        print(f"  boxes in pixels of {seen.size[0]}x{seen.size[1]}: x_min y_min x_max y_max")
    for each in seen.guesses if seen else ():
        edges = " ".join(f"{round(edge):5}" for edge in each.box)
        print(f"  {100 * each.score:5.1f}%  {edges}  {each.label}".rstrip())


# --- Boxes ----------------------------------------------------------------------------------------------------------------


def _open_finder(run_or_file: str, names, scales, arguments):
    from keras_vgg.localisation.finder import open_finder

    extras.require("boxes")
    options = {"flip": bool(arguments.flip), "pooling": arguments.pooling, "merge_threshold": arguments.merge_threshold}
    options["precision"] = arguments.precision
    finder = open_finder(run_or_file, names, scales=scales, **options)
    print(f"localiser {_named(finder.source, finder.digest, arguments)}: {finder.source.preprocessing_text}", file=sys.stderr)
    return finder


def _by_localiser_alone(source, paths, arguments) -> int | None:
    """Predicts boxes without a classifier, and returns the exit code."""
    import numpy as np

    from keras_vgg.inference.code_digest import digest_of_code
    from keras_vgg.regression import PCR

    if arguments.localiser:
        raise InputError(f"`--model` must be a classifier if --localiser is passed. Received: {source.path}, a localiser.")
    if arguments.heatmap:
        raise InputError(f"`--heatmap` requires a classifier. Received: {source.path}, a localiser.")
    if source.regression == PCR and not arguments.class_name:
        raise InputError(
            f"{source.path} predicts a box per class. Pass --class NAME, or a classifier as --model and this net as --localiser."
        )
    names = source.class_names(source.count_classes()) if source.regression == PCR else source.classes
    if names:
        _check_class(arguments.class_name, names)
    if source.regression != PCR:  # one box for all classes
        names = (arguments.class_name or "",)
    finder = _open_finder(arguments.model, None, arguments.scales, arguments)
    told, is_whole = {"code sha256": digest_of_code()}, True
    label = names.index(arguments.class_name or "")
    for path in paths:
        seen = _locate(finder, path, np.ones(len(names), np.float32), names, arguments, label=label)
        is_whole &= seen is not None
        if seen:
            _print(printable(path), None, names, seen, finder, {"image sha256": seen.digest} | told, arguments)
        if seen and arguments.boxes:
            is_whole &= _draw_boxes(path, seen, finder, "", told, arguments)
    return None if is_whole else cli.USER_ERROR


def _locate(finder, path: str, posteriors, names, arguments, *, label: int | None = None):
    """Returns the boxes found in an image; on failure, prints why and returns `None`."""
    from keras_vgg.evaluation.prediction import read_encoded
    from keras_vgg.localisation import single

    if label is None and arguments.class_name:
        label = names.index(arguments.class_name)
    try:
        most = min(arguments.top or _TOP, single.MOST_GUESSES)
        return single.see(finder, read_encoded(path), posteriors, names, label=label, most=most, told=path)
    except InputError as error:
        print(error, file=sys.stderr)
        return None


def _draw_boxes(path: str, seen, finder, classes_by: str, made_by, arguments) -> bool:
    """Draws the boxes of an image and returns `True`; on failure, prints why and returns `False`."""
    from keras_vgg.evaluation.prediction import read_encoded, rescaled
    from keras_vgg.identity import short
    from keras_vgg.localisation import drawing

    try:
        pixels = rescaled(read_encoded(path), None, told=path)
    except InputError as error:
        print(error, file=sys.stderr)
        return False
    name = pathlib.Path(printable(path)).name
    title = (
        f"{name}, {classes_by}boxes by net {finder.source.arch} ({short(finder.digest)}), Q = {', '.join(map(str, finder.scales))}"
    )
    facts = {"image": name, "image sha256": seen.digest} | made_by
    facts |= {"localiser sha256": finder.digest, "localiser settings": finder.settings}
    out = _file_of(arguments.boxes, path)
    guesses = seen.guesses[: arguments.top or 1]
    drawing.draw(out, pixels, guesses, title=title, facts=facts)
    what = ", ".join(dict.fromkeys(each.label for each in guesses if each.label))
    print(f"boxes{f' of {what}' if what else ''}: {out}", file=sys.stderr if arguments.json else sys.stdout)
    return True


# --- Heatmaps -------------------------------------------------------------------------------------------------------------


def _draw(network, path: str, posteriors, names, source, made_by, arguments) -> bool:
    """Draws the heatmap of an image and returns `True`; on failure, prints why and returns `False`."""
    from keras_vgg.evaluation import heatmap, prediction
    from keras_vgg.identity import short
    from keras_vgg.inference.views import passes

    kind = arguments.heatmap_of or (prediction.GRAD_CAM if network.pools_globally else prediction.SCORES)
    # A score map at S has few positions; Grad-CAM has many, and shows the image at the scale of the posteriors.
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
    out = _file_of(arguments.heatmap, path)
    heatmap.draw(out, seen, names[label], title=title, facts=facts)
    print(f"heatmap of {names[label]}: {out}", file=sys.stderr if arguments.json else sys.stdout)
    return True


if __name__ == "__main__":
    entry.run(main)
