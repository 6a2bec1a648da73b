"""Tests nets on other datasets (Table 11): `python -m keras_vgg.transfer_eval --model vgg16 --dataset folder:PATH`.

Trains linear SVMs on a net's descriptors of images, computed as in Appendix B. Prints a table with the paper's figures beside
ours and writes it and the figures of each class to a folder; running the same command again computes no feature twice. `--recipe
recipes/table11.toml` is the paper's whole table; `--features` reads what `keras_vgg.extract` wrote.
"""

import dataclasses
import pathlib
import re
import sys
from collections.abc import Iterable

from keras_vgg.errors import InputError
from keras_vgg.support import cli, entry, extras, files, naming

_OF_TASK = ("train_images", "test_images", "splits", "leave_out", "test_set")


def main(argv: list[str]) -> None:
    """Parses `argv`, runs the tests and prints the table."""
    arguments = _parser().parse_args(argv)
    extras.require("transfer")
    if arguments.batch < 1:
        raise InputError(f"`--batch` must be at least 1. Received: {arguments.batch}.")
    if arguments.seed < 0:
        raise InputError(f"`--seed` must not be negative. Received: {arguments.seed}.")
    if sum(map(bool, (arguments.recipe, arguments.features, arguments.model and not arguments.recipe))) != 1:
        raise InputError("Pass either --model RUN_OR_FILE with --dataset, or --features FILE, or --recipe FILE.")
    entry.import_tensorflow()
    from keras_vgg.descriptors.extraction import open_feature_source
    from keras_vgg.evaluation.run import devices_for
    from keras_vgg.linear import report, run, svm

    costs = tuple(arguments.costs or svm.COSTS)
    svm.check_costs(costs)
    save = pathlib.Path(arguments.save) if arguments.save else None
    if save and not arguments.model:
        raise InputError("`--save` combines a net with its classifier. Pass --model.")
    settings = run.TransferSettings(costs, arguments.seed, arguments.batch, save=save)
    if arguments.features:
        folder = _folder(arguments, pathlib.Path(arguments.features[0]).stem)
        lines = run.evaluate_files(arguments.features, _task_of_file(arguments), folder, settings)
    else:
        models, benchmarks, rows = _of_recipe(arguments) if arguments.recipe else _of_flags(arguments)
        sources = {name: open_feature_source(path, preprocessing=arguments.preprocessing) for name, path in models.items()}
        for name, source in sources.items():
            print(f"{name}: {source.preprocessing_text}", flush=True)
        settings = dataclasses.replace(settings, devices=devices_for(arguments.replicas))
        name = (
            pathlib.Path(arguments.recipe).stem if arguments.recipe else f"{'-'.join(models)}-{naming.dataset_slug(rows[0].data)}"
        )
        folder = _folder(arguments, name)
        lines = run.evaluate(benchmarks, sources, rows, folder, settings, stream=sys.stdout)
    print(f"\n{report.format_table(lines)}\n\nfolder: {folder}")


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m keras_vgg.transfer_eval", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--model", type=cli.path, action="append", default=[], metavar="[NAME=]PATH",
        help="run folder, weight file or public name (vgg16); several are tested separately and stacked. With --recipe, NAME is "
        "the net it replaces",
    )  # fmt: skip
    parser.add_argument(
        "--dataset", type=cli.path, action="append", default=[], metavar="[NAME=]DATA",
        help="folder:PATH, csv:FILE, tfds:NAME[/CONFIG]; with several labels per image voc:PATH or tfds:voc/YEAR. With --recipe, "
        "NAME is the dataset it replaces",
    )  # fmt: skip
    parser.add_argument("--recipe", type=cli.path, metavar="FILE", help="test recipe (TOML), e.g. recipes/table11.toml")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="datasets of the recipe whose rows to run (default: all)")
    parser.add_argument(
        "--features",
        type=cli.path,
        nargs="+",
        metavar="FILE",
        help="descriptor files written by keras_vgg.extract, instead of nets",
    )
    parser.add_argument(
        "--protocol", choices=("random", "fixed", "multi-label"),
        help="random splits, the dataset's own split, or VOC's sets (default: multi-label for VOC, else random)",
    )  # fmt: skip
    parser.add_argument("--train-images", type=int, help="training images per class in a random split (default: 30)")
    parser.add_argument("--test-images", type=int, help="maximum number of test images per class in a random split (default: 50)")
    parser.add_argument("--splits", type=int, help="number of random splits (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    parser.add_argument("--leave-out", nargs="+", metavar="CLASS", help="classes to leave out, such as BACKGROUND_Google")
    parser.add_argument(
        "--test-set",
        choices=("test", "val"),
        help="VOC set to test on: val if test images have no annotations, as in 2012 (default: test)",
    )
    parser.add_argument(
        "--costs", nargs="+", type=float, metavar="C",
        help="candidate values of C, validated on 20%% of the training images, for VOC on val; a single value skips validation "
        "(default: 0.01 0.1 1 10 100)",
    )  # fmt: skip
    cli.add_net_flags(parser, *cli.OF_DESCRIPTOR)
    parser.set_defaults(pooling=None)  # the default is that of `DescriptorProtocol`, or of a recipe
    parser.add_argument(
        "--out", type=cli.path, metavar="FOLDER", help="folder for the results (default: evaluations/transfer-NAME)"
    )
    parser.add_argument(
        "--save", type=cli.path, metavar="FILE.keras",
        help="save net and classifier as one net for predict, evaluate and export; needs one net, one scale, no mirror images",
    )  # fmt: skip
    cli.add_net_flags(parser, "preprocessing", "batch", "replicas")
    return parser


def _of_recipe(arguments):
    from keras_vgg.linear.recipe import read_transfer

    if given := cli.given(arguments, "protocol", *_OF_TASK, *(flag for flag in cli.OF_DESCRIPTOR if flag != "precision")):
        raise InputError(f"A recipe sets {_flags(given)}. Pass it without --recipe.")
    recipe = read_transfer(arguments.recipe)
    models = recipe.models | _renamed("model", arguments.model, recipe.models)
    datasets = _renamed("dataset", arguments.dataset, recipe.data)
    benchmarks = recipe.data | {name: dataclasses.replace(recipe.data[name], dataset=dataset) for name, dataset in datasets.items()}
    if arguments.precision:
        benchmarks = {name: _computed_in(benchmark, arguments.precision) for name, benchmark in benchmarks.items()}
    if unknown := set(arguments.only or ()) - set(benchmarks):
        raise InputError(
            f"`--only` must name datasets of the recipe: {', '.join(benchmarks)}. Received: {', '.join(sorted(unknown))}."
        )
    rows = [row for row in recipe.rows if not arguments.only or row.data in arguments.only]
    if not rows:
        raise InputError(f"Recipe {arguments.recipe} has no rows for {', '.join(arguments.only)}.")
    used = {name for row in rows for name in row.models}
    return {name: path for name, path in models.items() if name in used}, benchmarks, rows


def _computed_in(benchmark, precision: str):
    return dataclasses.replace(benchmark, descriptor=dataclasses.replace(benchmark.descriptor, precision=precision))


def _of_flags(arguments):
    from keras_vgg.linear.benchmarks import Row

    if len(arguments.dataset) != 1:
        raise InputError("Pass one --dataset: folder:PATH, csv:FILE, tfds:NAME[/CONFIG] or voc:PATH.")
    if arguments.only:
        raise InputError("`--only` selects datasets of a recipe. Pass --recipe.")
    models = naming.named_models(arguments.model)
    dataset = arguments.dataset[0]
    of_voc = dataset.startswith("voc:") or re.match(r"tfds:voc\b", dataset)
    benchmark = _benchmark(arguments, dataset, "multi-label" if of_voc else "random")
    groups = [(name,) for name in models] + ([tuple(models)] if len(models) > 1 else [])
    return models, {dataset: benchmark}, [Row(dataset, group) for group in groups]


def _task_of_file(arguments):
    if given := cli.given(arguments, "dataset", "only", "preprocessing", "replicas", *cli.OF_DESCRIPTOR):
        raise InputError(f"Descriptors in files do not use {_flags(given)}. Pass --model.")
    return _benchmark(arguments, "", "random")


def _benchmark(arguments, dataset: str, usual_protocol: str):
    from keras_vgg.descriptors.descriptor import DescriptorProtocol
    from keras_vgg.linear.benchmarks import Benchmark

    protocol = arguments.protocol or usual_protocol
    apart = {"train_images": "random", "test_images": "random", "splits": "random", "test_set": "multi-label"}
    if wrong := [name for name in cli.given(arguments, *apart) if apart[name] != protocol]:
        raise InputError(f"Only the protocol {apart[wrong[0]]} uses {_flags(wrong)}. Received: --protocol {protocol}.")
    descriptor = DescriptorProtocol(**cli.given(arguments, *cli.OF_DESCRIPTOR))
    return Benchmark(dataset, protocol, **cli.given(arguments, *_OF_TASK), descriptor=descriptor)


def _renamed(flag: str, given: list[str], known: dict) -> dict[str, str]:
    """Returns `{name: path}` of flags that replace entries of a recipe."""
    pairs = [text.partition("=") for text in given]
    for text, (name, _, path) in zip(given, pairs, strict=True):
        if name not in known or not path:
            raise InputError(f"With --recipe, --{flag} must be NAME=… with NAME one of {', '.join(known)}. Received: {text}.")
    return {name: path for name, _, path in pairs}


def _flags(names: Iterable[str]) -> str:
    return ", ".join(f"`--{name.replace('_', '-')}`" for name in names)


def _folder(arguments, name: str) -> pathlib.Path:
    folder = pathlib.Path(arguments.out or f"evaluations/transfer-{naming.slug(name)}")
    files.check_folder(folder)
    print(f"folder: {folder}", flush=True)
    return folder


if __name__ == "__main__":
    entry.run(main)
