"""Tests nets on other data sets (Table 11): `python -m keras_vgg.transfer_eval --model D --dataset folder:PATH --protocol random`.

A net's descriptors of images, made as in Appendix B, train linear SVMs. Prints a table with the paper's figures beside ours, and
leaves it and each class' figures in a folder; the same command again computes no feature twice. `--recipe recipes/table11.toml` is
the paper's whole table; `--features` takes what `keras_vgg.extract` wrote.
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
    """Parses `argv`, tests and prints the table."""
    arguments = _parser().parse_args(argv)
    extras.require("transfer")
    if arguments.batch < 1:
        raise InputError(f"`--batch` must be at least 1. Received: {arguments.batch}.")
    if arguments.seed < 0:
        raise InputError(f"`--seed` must not be negative. Received: {arguments.seed}.")
    if sum(map(bool, (arguments.recipe, arguments.features, arguments.model and not arguments.recipe))) != 1:
        raise InputError("Give either --model RUN_OR_FILE with --dataset, or --features FILE, or --recipe FILE.")
    entry.import_tensorflow()
    from keras_vgg.descriptors.extraction import open_feature_source
    from keras_vgg.evaluation.run import devices_for
    from keras_vgg.linear import report, run, svm

    costs = tuple(arguments.costs or svm.COSTS)
    svm.check_costs(costs)
    save = pathlib.Path(arguments.save) if arguments.save else None
    if save and not arguments.model:
        raise InputError("`--save` makes a net of a net and its classifier: it goes with --model.")
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
        help="run folder or weight file; several are tested each and stacked. With --recipe, NAME says which of its nets it is",
    )  # fmt: skip
    parser.add_argument(
        "--dataset", type=cli.path, action="append", default=[], metavar="[NAME=]DATA",
        help="folder:PATH, csv:FILE, tfds:NAME[/CONFIG]; of many labels an image voc:PATH or tfds:voc/YEAR. With --recipe, NAME "
        "says which of its data it is",
    )  # fmt: skip
    parser.add_argument("--recipe", type=cli.path, metavar="FILE", help="recipe of a table (TOML), e.g. recipes/table11.toml")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of a recipe, only the rows on these data")
    parser.add_argument(
        "--features", type=cli.path, nargs="+", metavar="FILE", help="descriptors that keras_vgg.extract wrote, in place of nets"
    )
    parser.add_argument(
        "--protocol", choices=("random", "fixed", "multi-label"),
        help="random splits; the data set's own split; VOC's sets (default: multi-label for VOC, else random)",
    )  # fmt: skip
    parser.add_argument("--train-images", type=int, help="of each class in a random split (default: 30)")
    parser.add_argument("--test-images", type=int, help="most of each class in a random split (default: 50)")
    parser.add_argument("--splits", type=int, help="number of random splits (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: %(default)s)")
    parser.add_argument("--leave-out", nargs="+", metavar="CLASS", help="classes that do not take part, such as BACKGROUND_Google")
    parser.add_argument(
        "--test-set", choices=("test", "val"), help="of VOC: val where test images have no annotations, as in 2012 (default: test)"
    )
    parser.add_argument(
        "--costs", nargs="+", type=float, metavar="C",
        help="C is chosen among them, on 20%% of the training images, for VOC on val; a single one is taken as it is "
        "(default: 0.01 0.1 1 10 100)",
    )  # fmt: skip
    cli.add_net_flags(parser, *cli.OF_DESCRIPTOR)
    parser.set_defaults(pooling=None)  # what is not given is left to `DescriptorProtocol`, or to a recipe
    parser.add_argument("--out", type=cli.path, metavar="FOLDER", help="where results go (default: evaluations/transfer-NAME)")
    parser.add_argument(
        "--save", type=cli.path, metavar="FILE.keras",
        help="keep net and classifier as one net, for predict, evaluate and export; of one net at one scale, without mirror images",
    )  # fmt: skip
    cli.add_net_flags(parser, "preprocessing", "batch", "replicas")
    return parser


def _of_recipe(arguments):
    from keras_vgg.linear.recipe import read_transfer

    if given := cli.given(arguments, "protocol", *_OF_TASK, *(flag for flag in cli.OF_DESCRIPTOR if flag != "precision")):
        raise InputError(f"{_flags(given)} is what a recipe says; it goes without --recipe.")
    recipe = read_transfer(arguments.recipe)
    models = recipe.models | _renamed("model", arguments.model, recipe.models)
    datasets = _renamed("dataset", arguments.dataset, recipe.data)
    benchmarks = recipe.data | {name: dataclasses.replace(recipe.data[name], dataset=dataset) for name, dataset in datasets.items()}
    if arguments.precision:
        benchmarks = {name: _computed_in(benchmark, arguments.precision) for name, benchmark in benchmarks.items()}
    if unknown := set(arguments.only or ()) - set(benchmarks):
        raise InputError(f"`--only` must name data out of {', '.join(benchmarks)}. Received: {', '.join(sorted(unknown))}.")
    rows = [row for row in recipe.rows if not arguments.only or row.data in arguments.only]
    if not rows:
        raise InputError(f"Recipe {arguments.recipe} must have rows on {', '.join(arguments.only)}. Received: none.")
    used = {name for row in rows for name in row.models}
    return {name: path for name, path in models.items() if name in used}, benchmarks, rows


def _computed_in(benchmark, precision: str):
    return dataclasses.replace(benchmark, descriptor=dataclasses.replace(benchmark.descriptor, precision=precision))


def _of_flags(arguments):
    from keras_vgg.linear.benchmarks import Row

    if len(arguments.dataset) != 1:
        raise InputError("Give one --dataset: folder:PATH, csv:FILE, tfds:NAME[/CONFIG] or voc:PATH.")
    if arguments.only:
        raise InputError("`--only` chooses among the data of a recipe; it goes with --recipe.")
    models = naming.named_models(arguments.model)
    dataset = arguments.dataset[0]
    of_voc = dataset.startswith("voc:") or re.match(r"tfds:voc\b", dataset)
    benchmark = _benchmark(arguments, dataset, "multi-label" if of_voc else "random")
    groups = [(name,) for name in models] + ([tuple(models)] if len(models) > 1 else [])
    return models, {dataset: benchmark}, [Row(dataset, group) for group in groups]


def _task_of_file(arguments):
    if given := cli.given(arguments, "dataset", "only", "preprocessing", "replicas", *cli.OF_DESCRIPTOR):
        raise InputError(f"{_flags(given)} goes with nets; descriptors in a file are what they are.")
    return _benchmark(arguments, "", "random")


def _benchmark(arguments, dataset: str, usual_protocol: str):
    from keras_vgg.descriptors.descriptor import DescriptorProtocol
    from keras_vgg.linear.benchmarks import Benchmark

    protocol = arguments.protocol or usual_protocol
    apart = {"train_images": "random", "test_images": "random", "splits": "random", "test_set": "multi-label"}
    if wrong := [name for name in cli.given(arguments, *apart) if apart[name] != protocol]:
        raise InputError(f"{_flags(wrong)} is of the protocol {apart[wrong[0]]}. Received: --protocol {protocol}.")
    descriptor = DescriptorProtocol(**cli.given(arguments, *cli.OF_DESCRIPTOR))
    return Benchmark(dataset, protocol, **cli.given(arguments, *_OF_TASK), descriptor=descriptor)


def _renamed(flag: str, given: list[str], known: dict) -> dict[str, str]:
    """Returns `{name: path}` of flags that say which of a recipe's own they stand for."""
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
