"""Compares two folders of images: `python -m keras_vgg.compare folder:REAL folder:GENERATED --metric lpips`.

LPIPS and DISTS compare pairs of images with the same name; improved precision and recall (Kynkäänniemi et al. 2019) compare the
two sets. Rerunning the same command resumes an interrupted comparison. Prints a table and writes it as CSV and JSON.
"""

import pathlib
import sys

from keras_vgg.errors import InputError
from keras_vgg.precision import FLOAT32, told
from keras_vgg.support import cli, entry, files, naming
from keras_vgg.support.counts import agree, counted

LPIPS, DISTS, PRECISION_RECALL = METRICS = ("lpips", "dists", "precision-recall")
_OF_METRIC = {
    "calibration": (LPIPS, DISTS),
    "version": (LPIPS,),
    "k": (PRECISION_RECALL,),
    "preprocessing": (PRECISION_RECALL,),
}
_DEFAULTS = {LPIPS: "imagenet_torchvision", DISTS: "imagenet_torchvision", PRECISION_RECALL: "imagenet"}


def main(argv: list[str]) -> None:
    """Parses `argv`, compares, prints the table and writes it."""
    arguments = _parser().parse_args(argv)
    for name, metrics in _OF_METRIC.items():
        if getattr(arguments, name) is not None and arguments.metric not in metrics:
            raise InputError(f"`--{name}` requires --metric {' or '.join(metrics)}. Received: --metric {arguments.metric}.")
    if arguments.batch < 1:
        raise InputError(f"`--batch` must be at least 1. Received: {arguments.batch}.")
    entry.import_tensorflow()
    from keras_vgg.comparison import report
    from keras_vgg.evaluation.run import devices_for

    of_second = naming.dataset_slug(f"folder:{arguments.generated.removeprefix('folder:')}").removeprefix("folder-")
    folder = pathlib.Path(arguments.out or f"comparisons/{of_second}")
    files.check_folder(folder)
    compare = _compare_sets if arguments.metric == PRECISION_RECALL else _compare_pairs
    line = compare(arguments, arguments.weights or _DEFAULTS[arguments.metric], folder, devices_for(arguments.replicas))
    report.write(folder, line)
    print(f"\n{report.told(line)}\n\nfolder: {folder}")


def _compare_pairs(arguments, weights: str, folder: pathlib.Path, devices) -> dict:
    import tensorflow as tf

    from keras_vgg.comparison import report
    from keras_vgg.comparison.distances import measure
    from keras_vgg.comparison.pairs import pair_up
    from keras_vgg.features import dists_model, lpips_model

    metric, precision = arguments.metric, arguments.precision or FLOAT32
    pairs = pair_up(arguments.real, arguments.generated)
    version, settings = arguments.version or "0.1", [*_precision(arguments)]
    models = []
    for device in devices:
        with tf.device(device):
            if metric == DISTS:
                models.append(dists_model(weights, calibration=arguments.calibration, precision=precision))
            else:
                models.append(lpips_model(weights, calibration=arguments.calibration, version=version, precision=precision))
    if metric == LPIPS:
        settings.insert(0, f"version {version}")
    print(f"{metric}: net D, {weights}")
    print(f"data: {counted(len(pairs.names), 'pair of images', 'pairs of images')} with the same name")
    for where, names in pairs.alone.items():
        if names:
            have, are = agree(len(names), ("has", "is"), ("have", "are"))
            print(f"{counted(len(names), 'image')} of {where} {have} no partner and {are} skipped, e.g. {names[0]}")
    found = measure(pairs, metric, models, folder, batch=arguments.batch, devices=devices, stream=sys.stdout)
    print(f"pairs: {report.write_pairs(folder, metric, pairs.names, found.values, found.digests)}")
    return report.line_of_pairs(metric, ", ".join(settings), found.values, found.left_out, found.digests)


def _compare_sets(arguments, weights: str, folder: pathlib.Path, devices) -> dict:
    import numpy as np

    from keras_vgg.comparison import report, sets
    from keras_vgg.comparison.pairs import image_paths
    from keras_vgg.data.split import UNKNOWN, files
    from keras_vgg.descriptors.extraction import open_feature_source
    from keras_vgg.features.neighbours import NEIGHBOUR

    found = [image_paths(each) for each in (arguments.real, arguments.generated)]
    real, generated = (files(paths, np.full(len(paths), UNKNOWN)) for paths in found)
    source = open_feature_source(weights, preprocessing=arguments.preprocessing)
    print(f"{source.name}: {source.preprocessing_text}")
    print(f"data: {counted(real.size, 'real image')} and {counted(generated.size, 'generated image')}", flush=True)
    options = {"precision": arguments.precision or FLOAT32, "batch": arguments.batch, "devices": devices, "stream": sys.stdout}
    k = NEIGHBOUR if arguments.k is None else arguments.k
    result = sets.compare(real, generated, source, folder, k=k, **options)
    figures = result.figures._asdict() | {"k": k, "real": result.real, "generated": result.generated}
    settings = ", ".join(_precision(arguments))
    return report.line_of(arguments.metric, settings, figures, result.left_out, result.digests)


def _precision(arguments) -> list[str]:
    return [arguments.precision] if arguments.precision and told(arguments.precision) else []


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m keras_vgg.compare", description=__doc__.split("\n")[0])
    parser.add_argument("real", type=cli.path, metavar="REAL", help="folder of reference images: PATH or folder:PATH")
    parser.add_argument("generated", type=cli.path, metavar="GENERATED", help="folder of images to judge")
    parser.add_argument("--metric", choices=METRICS, default=LPIPS, help="metric to compute (default: %(default)s)")
    parser.add_argument(
        "--weights", type=cli.path, metavar="PATH",
        help="weight file, run folder or public name of net D (default: imagenet_torchvision; for precision-recall imagenet)",
    )  # fmt: skip
    parser.add_argument("--calibration", type=cli.path, metavar="FILE", help="weights of the metric itself (default: the authors')")
    parser.add_argument("--version", choices=("0.1", "0.0"), help="version of LPIPS (default: 0.1)")
    parser.add_argument("--k", type=int, help="nearest neighbor that sets the radius in precision-recall (default: 3)")
    parser.add_argument(
        "--out", type=cli.path, metavar="FOLDER", help="folder for the results (default: comparisons/NAME of GENERATED)"
    )
    cli.add_net_flags(
        parser,
        "preprocessing",
        "precision",
        "replicas",
        batch="batch size at 224x224 pixels (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    entry.run(main)
