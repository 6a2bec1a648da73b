"""Tests nets as in Sec. 3.2: `python -m keras_vgg.evaluate --model runs/d-jitter --dataset tfds:imagenet2012 --protocol dense`.

Prints a table of errors and writes tables, posteriors and plots to a folder; rerunning the same command resumes an interrupted
evaluation. `--recipe recipes/table5.toml` tests a whole table of the paper; `--posteriors` fuses the results of earlier runs.
"""

import pathlib
import sys

from keras_vgg.errors import InputError
from keras_vgg.support import cli, entry, extras, files, naming
from keras_vgg.support.counts import agree, counted

_OF_FUSING = ("posteriors", "out", "real_labels")  # flags allowed beside `--posteriors`


def main(argv: list[str]) -> None:
    """Parses `argv`, evaluates and prints the table."""
    arguments = _parser().parse_args(argv)
    extras.require("evaluate")
    if arguments.posteriors:
        _fuse(arguments)
        return
    rows, models, dataset, precision = _wanted(arguments)
    entry.import_tensorflow()
    from keras_vgg.data.datasets import open_dataset
    from keras_vgg.evaluation import run
    from keras_vgg.evaluation.real_labels import columns_of
    from keras_vgg.inference.net_files import open_net_file

    options = {"preprocessing": arguments.preprocessing, "classes": arguments.classes}
    sources = {name: open_net_file(path, name=name, **options) for name, path in models.items()}
    for source in sources.values():
        source.check_classifier()  # before the dataset is opened
    devices = run.devices_for(arguments.replicas)
    name = pathlib.Path(arguments.recipe).stem if arguments.recipe else "-".join(models)
    folder = pathlib.Path(arguments.out or f"evaluations/{naming.slug(f'{name}-{naming.dataset_slug(dataset)}')}")
    _check(folder)
    print(f"folder: {folder}", flush=True)
    for name, source in sources.items():
        print(f"{name}: {source.preprocessing_text}", flush=True)
    settings = run.EvaluationSettings(arguments.average, arguments.pooling, arguments.batch, devices, precision)
    opened = open_dataset(dataset, limit_images=arguments.limit_images)
    used = {name for row in rows for name in row.models}
    tested = opened.split(run.split_of(opened, sources, used, arguments.split))
    measure = _real_measure(arguments.real_labels, map(tested.file_name, range(tested.size)))
    if arguments.real_labels:
        for name in used:  # fail now rather than hours later
            columns_of(sources[name].class_names(sources[name].count_classes()))
    found = run.evaluate(opened, sources, rows, folder, settings, split=arguments.split, stream=sys.stdout)
    _report(folder, [*map(measure, found)], tested)


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m keras_vgg.evaluate", description=__doc__.split("\n")[0])
    from keras_vgg.inference.views import PROTOCOLS

    parser.add_argument(
        "--model", type=cli.path, action="append", default=[], metavar="[NAME=]PATH",
        help="run folder, weight file or public name (vgg16); several are tested individually and fused; with --recipe, PATH "
        "replaces its net NAME",
    )  # fmt: skip
    cli.add_net_flags(
        parser,
        "dataset",
        split="split to test (default: val; if the dataset has none and the nets were trained on another, test or all)",
    )
    parser.add_argument("--recipe", type=cli.path, metavar="FILE", help="test recipe (TOML), e.g. recipes/table5.toml")
    parser.add_argument(
        "--protocol", nargs="+", choices=tuple(PROTOCOLS), help="testing protocols, one table row each (default: dense)"
    )
    cli.add_net_flags(parser, "scales", "flip")
    parser.add_argument(
        "--posteriors", type=cli.path, nargs="+", metavar="FILE", help="fuse posteriors of earlier evaluations (.npz)"
    )
    parser.add_argument("--out", type=cli.path, metavar="FOLDER", help="folder for the results (default: evaluations/NAME)")
    cli.add_net_flags(parser, "average", "pooling", "preprocessing", "precision", "classes", "batch", "replicas")
    parser.add_argument(
        "--real-labels", type=cli.path, metavar="FILE",
        help="for ImageNet's validation set, also report errors by the ReaL labels in real.json (Beyer et al. 2020)",
    )  # fmt: skip
    cli.add_net_flags(parser, **{"limit-images": "maximum number of images to test (default: all)"})
    return parser


def _real_measure(path: str | None, names):
    """Returns a function that adds ReaL labels to the results of images with these names; without a file, the identity."""
    if not path:
        return lambda result: result
    from keras_vgg.evaluation.real_labels import read_real_labels

    real = read_real_labels(path)
    of_images = real.of_images([*names])
    return lambda result: real.measure(result, of_images)


def _fuse(arguments) -> None:
    from keras_vgg.evaluation import results

    usual = _parser().parse_args([])
    if given := [name for name in vars(usual) if name not in _OF_FUSING and getattr(arguments, name) != getattr(usual, name)]:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"`--posteriors` fuses existing results and cannot be combined with {flags}.")
    folder = pathlib.Path(arguments.out or "evaluations/fused")
    _check(folder)
    found = [results.Posteriors.read(path) for path in arguments.posteriors]
    for path, each in zip(arguments.posteriors, found, strict=True):
        if each.fingerprints is None:
            print(f"{path} was written by an earlier version and does not identify its images; they are compared by name")
    if len({each.facts.get("code sha256") for each in found}) > 1:
        print("these posteriors were computed by different versions of the code or of TensorFlow; evaluate again to be sure")
    found += [results.fuse(found)] if len(found) > 1 else []
    _report(folder, [_real_measure(arguments.real_labels, each.images)(each) for each in found])


def _check(folder: pathlib.Path) -> None:
    """Raises for an unusable results folder before hours of computation."""
    from keras_vgg.evaluation import report

    files.check_folder(folder)
    if before := sum(not line.get("nets sha256") for line in report.read_tables(folder)):
        were, do, their, they = agree(before, ("was", "does", "its", "it is"), ("were", "do", "their", "they are"))
        written = f"{were} written by an earlier version and {do} not record {their} weights"
        print(f"{counted(before, 'row')} in {folder} {written}; {they} kept")


def _wanted(arguments):
    from keras_vgg.evaluation.recipe import Row, read_evaluation
    from keras_vgg.precision import FLOAT32

    precision = arguments.precision
    given = [naming.name_and_path(model) for model in arguments.model]
    if arguments.recipe:
        if arguments.protocol or arguments.scales or arguments.flip is not None:
            raise InputError("`--protocol`, `--scales` and `--flip` are set by the recipe and cannot be combined with --recipe.")
        recipe = read_evaluation(arguments.recipe)
        models = dict(recipe.models)
        for name, path in given:
            if name not in models:
                raise InputError(
                    f"With --recipe, --model must be NAME=PATH with NAME one of {', '.join(models)}. Received: {name or path}."
                )
            models[name] = path
        rows, dataset, precision = list(recipe.rows), arguments.dataset or recipe.dataset, precision or recipe.precision
    else:
        if not given:
            raise InputError("Pass --model RUN_OR_FILE (or --recipe, or --posteriors).")
        models = naming.named_models(arguments.model)
        scales = tuple(arguments.scales) if arguments.scales else None
        groups = [(name,) for name in models] + ([tuple(models)] if len(models) > 1 else [])
        protocols = arguments.protocol or ["dense"]
        rows = [Row(group, protocol, (scales,) * len(group), arguments.flip) for group in groups for protocol in protocols]
        dataset = arguments.dataset
    if not dataset:
        raise InputError("Pass --dataset: digits, folder:PATH, csv:FILE or tfds:NAME[/CONFIG].")
    if arguments.batch < 1:
        raise InputError(f"`--batch` must be at least 1. Received: {arguments.batch}.")
    return rows, models, dataset, precision or FLOAT32


def _report(folder: pathlib.Path, found, split=None) -> None:
    from keras_vgg.evaluation import report, single
    from keras_vgg.evaluation.measures import measure_of

    files.make_folder(folder)
    lines = [report.table_line(result) for result in found]
    slugs = [naming.slug("-".join(filter(None, (line[key] for key in ("net", "protocol", "Q", "settings"))))) for line in lines]
    names = report.file_names(folder, lines, slugs)
    for result, line, name in zip(found, lines, names, strict=True):
        result.save(folder / name)
        line["posteriors"] = name
        single.write_tables(folder, name.removesuffix(".npz"), result)
        if split is not None:
            single.draw_worst(folder, name.removesuffix(".npz"), result, split)
    report.write_tables(folder, lines)
    measure = measure_of(result)
    of_classes = measure.write(folder, name.removesuffix(".npz"), result)
    print(f"\n{report.format_table(lines, measure.shown)}\n\nlast row, {of_classes}\n\nfolder: {folder}")


if __name__ == "__main__":
    entry.run(main)
