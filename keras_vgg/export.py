"""Exports a net for TensorFlow Serving: `python -m keras_vgg.export --model runs/flowers17 --out models/vgg`.

Writes the next version of the model, a SavedModel that takes pixels or image files. With `--format onnx`, `litert` or `openvino`
it writes a single file for pixels instead, a quarter of the size with `--quantize int8 --calibrate folder:PATH`.
"""

import pathlib
import sys

from keras_vgg import configs
from keras_vgg.precision import FLOAT32, told
from keras_vgg.support import cli, entry, extras
from keras_vgg.support.counts import counted

_OF_SAVED_MODELS = (
    "version",
    "scales",
    "top_k",
    "features",
    "check",
    "localiser",
    "localiser_scales",
    "merge_threshold",
)  # flags that apply only to SavedModels
_ARGUMENTS = {"top": "top_k", "classes": "labels"}  # of `export_saved_model`, by flag, where the names differ
_OF_FILES = ("quantize", "calibrate", "calibration_images", "labelled")  # flags that do not apply to SavedModels


def main(argv: list[str]) -> None:
    """Parses `argv`, exports the net and prints a summary."""
    parser = cli.Parser(prog="python -m keras_vgg.export", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--model", type=cli.path, required=True, metavar="PATH", help="run folder, weight file or public name (vgg16)"
    )
    parser.add_argument(
        "--out", type=cli.path, required=True, metavar="PATH", help="model folder, e.g. models/vgg; with --format, the file"
    )
    parser.add_argument(
        "--model-version", dest="version", type=int, metavar="N", help="version number of the model (default: the next one)"
    )
    parser.also_accept("--model-version", "--version")
    cli.add_net_flags(parser, "dense", "scales", "flip")
    cli.add_net_flags(parser, "top")
    cli.add_net_flags(
        parser,
        classes="class names in label order, one per line (default: the run's, or ImageNet's)",
    )
    parser.add_argument(
        "--layer",
        dest="features",
        choices=configs.feature_layers(),
        help="layer of the signature features (default: fc2, or block5_pool if the net has no fc2)",
    )
    for flag, former in (("--top", "--top-k"), ("--classes", "--labels"), ("--layer", "--features")):
        parser.also_accept(flag, former)
    cli.add_net_flags(parser, "average", "pooling", "preprocessing", "precision")
    cli.add_net_flags(parser, localiser="run folder or weight file of a localization net, for the signature localise")
    cli.add_net_flags(parser, "localiser-scales", "merge-threshold")
    parser.add_argument(
        "--evaluation",
        type=cli.path,
        metavar="FOLDER",
        help="keras_vgg.evaluate folder whose errors for these weights go on the model card",
    )
    parser.add_argument("--licence", metavar="TEXT", help="license of the weights, for the model card")
    parser.add_argument(
        "--format",
        choices=("saved_model", "onnx", "litert", "openvino"),
        default="saved_model",
        help="output format (default: %(default)s)",
    )
    parser.add_argument("--quantize", choices=("int8",), help="quantize weights and activations to int8; not for SavedModels")
    parser.add_argument(
        "--calibrate",
        type=cli.path,
        metavar="DATA",
        help="with --quantize, images to calibrate activation ranges with: folder:PATH, csv:FILE, … or a folder of images",
    )
    parser.add_argument(
        "--calibration-images", type=int, metavar="N", help="maximum number of calibration images, spread evenly (default: 300)"
    )
    parser.add_argument(
        "--labelled", type=cli.path, metavar="DATA", help="with --quantize, a dataset with the net's classes to measure errors on"
    )
    parser.add_argument(
        "--check", action=cli.BooleanOptionalAction, help="reload the SavedModel and compare its outputs (default: on)"
    )
    given = {_ARGUMENTS.get(name, name): value for name, value in vars(parser.parse_args(argv)).items() if value is not None}
    model, out, format_ = (given.pop(name) for name in ("model", "out", "format"))
    if format_ != "saved_model" and (of_saved_models := [name for name in _OF_SAVED_MODELS if name in given]):
        parser.error(f"argument --{_flag_of(of_saved_models[0])}: applies only to SavedModels (received --format {format_})")
    if format_ != "saved_model" and told(given.get("precision", FLOAT32)):
        parser.error(f"argument --precision: --format {format_} supports only float32 (received {given['precision']})")
    _check_quantization(parser, format_, given)
    extras.require("serve" if format_ == "saved_model" else format_)
    entry.import_tensorflow()
    if format_ == "saved_model":
        from keras_vgg.saved_model import export_saved_model

        exported = export_saved_model(model, out, **given)
        print(f"{exported.path}: {_size(exported.path) / 1e6:,.1f} MB, signatures {', '.join(exported.signatures)}")
        _tell(exported.card, exported.largest_difference)
    else:
        from keras_vgg.serving.formats import export_file

        file = export_file(model, out, format=format_, stream=sys.stdout, **given)
        print(f"{file.path}: {file.size / 1e6:,.1f} MB, {file.inputs} to {file.outputs}")
        if file.figures is None:
            _tell(file.card, file.largest_difference)
        else:
            _tell(file.card, None)
            _tell_figures(file.card["quantization"])


def _flag_of(argument: str) -> str:
    """Returns the flag of an argument that applies only to SavedModels."""
    return {"top_k": "top", "features": "layer", "version": "model-version"}.get(argument, argument.replace("_", "-"))


def _tell(card: dict, difference: float | None) -> None:
    print(card["preprocessing"]["statement"])
    print(_told(card))
    if difference is not None:
        print(f"once reloaded, its outputs differ from the net's by at most {difference:.1g}")


def _check_quantization(parser: cli.Parser, format_: str, given: dict) -> None:
    for name in _OF_FILES:
        flag = f"argument --{name.replace('_', '-')}"
        if name in given and format_ == "saved_model":
            parser.error(f"{flag}: requires --format onnx, litert or openvino (received --format saved_model)")
        if name in given and "quantize" not in given:
            parser.error(f"{flag}: requires --quantize int8")
    if "quantize" in given and "calibrate" not in given:
        parser.error("argument --quantize: requires --calibrate, images to calibrate activation ranges with")
    if (most := given.get("calibration_images", 1)) < 1:
        parser.error(f"argument --calibration-images: must be at least 1 (received {most})")


def _tell_figures(facts: dict) -> None:
    from keras_vgg.serving.file_figures import format_table

    print(f"quantized by {facts['tool']}; measured one image at a time, {facts['seen as']}:")
    for name in ("calibration", "labelled"):
        if name in facts:
            print(f"{name}: {facts[name]['data']}, {counted(facts[name]['images'], 'image')}")
    print(f"\n{format_table(facts['figures'])}")


def _size(folder: pathlib.Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _told(card: dict) -> str:
    protocol, labels = card["protocol"], card["classes"]
    views = protocol["kind"]
    if "scales" in protocol:  # files of other formats do not rescale images
        views += f" at Q = {', '.join(map(str, protocol['scales']))}"
    views += ", with mirror images" if protocol["flip"] else ""
    if localiser := card["localiser"]:
        views += f"; boxes by net {localiser['configuration']} at Q = {', '.join(map(str, localiser['scales']))}"
    precision = card["net"]["precision"]
    views += f"; computed in {precision}" if told(precision) else ""
    classes = f"{len(labels)} classes from {labels[0]} to {labels[-1]}" if len(labels) > 1 else f"1 class, {labels[0]}"
    return f"net {card['net']['configuration']}, {classes}, {views}"


if __name__ == "__main__":
    entry.run(main)
