"""Tests localisers as in Appendix A: `python -m keras_vgg.localise --model runs/pcr --classifier runs/d --dataset ilsvrc:PATH`.

Without --classifier or --posteriors, the class of each image is known, as in Table 8. Prints a table of errors and writes tables,
guesses and a sheet of boxes to a folder; rerunning the same command resumes an interrupted test. `--recipe recipes/table9.toml`
tests a whole table of the paper.
"""

import dataclasses
import itertools
import pathlib
import sys

from keras_vgg.errors import InputError
from keras_vgg.support import cli, entry, extras, files, naming, paths
from keras_vgg.support.counts import counted

_OF_RECIPE = ("protocol", "scales", "flip", "merge_threshold", "class_count")  # flags that a recipe sets


def main(argv: list[str]) -> None:
    """Parses `argv`, tests and prints the table."""
    arguments = _parser().parse_args(argv)
    extras.require("evaluate")
    extras.require("boxes")
    wanted = _wanted(arguments)
    entry.import_tensorflow()
    from keras_vgg.data.boxes.datasets import open_boxes
    from keras_vgg.evaluation import run as classification
    from keras_vgg.inference.net_files import open_net_file
    from keras_vgg.localisation import run

    sources = {
        name: open_net_file(path, name=name, preprocessing=arguments.preprocessing, classes=arguments.classes)
        for name, path in wanted.localisers.items()
    }
    run.check_localisers(sources)
    dataset = open_boxes(wanted.dataset, limit_images=arguments.limit_images)
    devices = classification.devices_for(arguments.replicas)
    name = pathlib.Path(arguments.recipe).stem if arguments.recipe else "-".join(wanted.localisers)
    folder = pathlib.Path(arguments.out or f"localisations/{naming.slug(f'{name}-{naming.dataset_slug(wanted.dataset)}')}")
    files.check_folder(folder)
    print(f"folder: {folder}", flush=True)
    for name, source in sources.items():
        print(f"{name}: {source.preprocessing_text}", flush=True)
    which = classification.split_of(dataset, sources, sources, arguments.split)
    split = dataset.split(which)
    print(f"data: {dataset.description}, {counted(split.size, 'image')}, {counted(len(dataset.classes), 'class')}")
    for note in dataset.notes:
        print(note)
    posteriors = _posteriors(wanted, arguments, dataset, which, folder, devices)
    settings = run.LocalisationSettings(
        arguments.pooling,
        arguments.batch,
        devices,
        arguments.blacklist,
        arguments.above_half,
        wanted.precision,
    )
    found = run.localise(
        split, dataset.classes, sources, posteriors, wanted.rows, folder, settings, data=dataset.description, stream=sys.stdout
    )
    if arguments.trivial:
        from keras_vgg.localisation.trivial import trivial_guesses

        found += trivial_guesses(found[0], dataset.train, dataset.classes, scoring=settings.scoring, stream=sys.stdout)
    _report(folder, found, split, arguments)


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m keras_vgg.localise", description=__doc__.split("\n")[0])
    _add_test(parser)
    _add_guesses(parser)
    _add_scoring(parser)
    parser.add_argument("--out", type=cli.path, metavar="FOLDER", help="folder for the results (default: localisations/NAME)")
    cli.add_net_flags(parser, "pooling", "preprocessing", "precision", "classes", "batch", "replicas")
    cli.add_net_flags(parser, **{"limit-images": "maximum number of images to test (default: all)"})
    return parser


def _add_test(parser: cli.Parser) -> None:
    """Adds the flags of nets, images and views."""
    from keras_vgg.inference.views import OF_LOCALISERS

    parser.add_argument(
        "--model", type=cli.path, action="append", default=[], metavar="[NAME=]PATH",
        help="run folder or weight file of a localiser; several are tested alone and combined; with --recipe, PATH replaces NAME",
    )  # fmt: skip
    cli.add_net_flags(
        parser,
        dataset="dataset with boxes: ilsvrc:PATH, voc:PATH, csv:FILE with xmin, ymin, xmax and ymax, or tfds:NAME",
        split="split to test (default: val; if the dataset has none and the nets were trained on another, test or all)",
    )
    parser.add_argument("--recipe", type=cli.path, metavar="FILE", help="test recipe (TOML), e.g. recipes/table9.toml")
    parser.add_argument(
        "--protocol", nargs="+", choices=OF_LOCALISERS, help="testing protocols, one table row each (default: dense)"
    )
    cli.add_net_flags(parser, "scales", flip="also predict boxes from mirror images (default: off, as in the paper)")


def _add_guesses(parser: cli.Parser) -> None:
    """Adds the flags of the way from boxes to guesses."""
    from keras_vgg.localisation.merging_settings import Merging

    usual = Merging()
    parser.add_argument(
        "--classifier", type=cli.path, action="append", default=[], metavar="[NAME=]PATH",
        help="classifier, evaluated densely; the posteriors of several are averaged (default: the class is known)",
    )  # fmt: skip
    parser.add_argument(
        "--classifier-scales",
        type=int,
        nargs="+",
        metavar="Q",
        help="scales of the classifiers (default: their own)",
    )
    parser.add_argument(
        "--posteriors", type=cli.path, nargs="+", default=[], metavar="FILE",
        help="posteriors (.npz) of earlier evaluations of the same images, instead of or with --classifier",
    )  # fmt: skip
    parser.add_argument(
        "--merge-threshold", type=float, nargs="+", metavar="T",
        help=f"maximum match score of merged boxes, in [0, 2); one table row each (default: {usual.threshold:g})",
    )  # fmt: skip
    parser.add_argument(
        "--class-count", type=int, nargs="+", metavar="K",
        help=f"number of classes whose boxes are merged and rated; one table row each (default: {usual.classes})",
    )  # fmt: skip


def _add_scoring(parser: cli.Parser) -> None:
    """Adds the flags of how guesses are judged."""
    parser.add_argument(
        "--trivial", action="store_true",
        help="add rows for guesses that ignore the image: the whole image, and mean boxes of the training set",
    )  # fmt: skip
    parser.add_argument("--blacklist", type=cli.path, metavar="FILE", help="list of images to ignore, as in ILSVRC's devkit")
    parser.add_argument(
        "--above-half", action="store_true", help="require an IoU above 0.5, as the paper states (default: at least 0.5)"
    )
    parser.add_argument(
        "--submission", type=cli.path, metavar="FILE",
        help="also write guesses in the devkit's format; FILE lists one class per line in ILSVRC's order, like map_clsloc.txt",
    )  # fmt: skip


def _wanted(arguments):
    """Returns what to test, as a recipe."""
    from keras_vgg.localisation.merging_settings import Merging
    from keras_vgg.localisation.recipe import LocalisationRecipe, Row, read_localisation
    from keras_vgg.precision import FLOAT32

    precision = arguments.precision
    if arguments.batch < 1:
        raise InputError(f"`--batch` must be at least 1. Received: {arguments.batch}.")
    classifiers = naming.named_models(arguments.classifier) if arguments.classifier else {}
    classifiers |= {path: path for path in arguments.posteriors}
    if arguments.recipe:
        if given := [name for name in _OF_RECIPE if getattr(arguments, name) not in (None, [])]:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise InputError(f"{flags} cannot be combined with --recipe, whose rows set these values.")
        recipe = read_localisation(arguments.recipe)
        nets = {"model": dict(recipe.localisers), "classifier": dict(recipe.classifiers)}
        for kind in nets:
            for name, path in map(naming.name_and_path, getattr(arguments, kind)):
                if name not in nets[kind]:
                    raise InputError(
                        f"With --recipe, --{kind} must be NAME=PATH with NAME one of {', '.join(nets[kind]) or 'none'}. "
                        f"Received: {name or path}."
                    )
                nets[kind][name] = path
        scales = tuple(arguments.classifier_scales or ()) or recipe.classifier_scales
        dataset, precision = arguments.dataset or recipe.dataset, precision or recipe.precision
        wanted = LocalisationRecipe(dataset, nets["model"], nets["classifier"], scales, recipe.rows)
    else:
        if not arguments.model:
            raise InputError("Pass --model RUN_OR_FILE (or --recipe).")
        localisers = naming.named_models(arguments.model)
        scales = tuple(arguments.scales) if arguments.scales else None
        groups = [(name,) for name in localisers] + ([tuple(localisers)] if len(localisers) > 1 else [])
        usual = Merging()
        each = itertools.product(
            groups,
            arguments.protocol or ["dense"],
            arguments.merge_threshold or [usual.threshold],
            arguments.class_count or [usual.classes],
        )
        rows = [
            Row(group, protocol, (scales,) * len(group), bool(arguments.flip), tuple(classifiers), Merging(threshold, count))
            for group, protocol, threshold, count in each
        ]
        of_classifiers = tuple(arguments.classifier_scales) if arguments.classifier_scales else None
        wanted = LocalisationRecipe(arguments.dataset, localisers, classifiers, of_classifiers, tuple(rows))
    if not wanted.dataset:
        raise InputError("Pass --dataset: ilsvrc:PATH, voc:PATH, csv:FILE or tfds:NAME[/CONFIG], with boxes.")
    return dataclasses.replace(wanted, precision=precision or FLOAT32)


def _posteriors(wanted, arguments, dataset, which: str, folder: pathlib.Path, devices) -> dict:
    """Returns the posteriors of the classifiers in the rows: read, or computed densely as by `keras_vgg.evaluate`."""
    from keras_vgg.data.boxes.targets import labelled
    from keras_vgg.evaluation import results, run
    from keras_vgg.evaluation.recipe import Row
    from keras_vgg.inference.net_files import open_net_file

    used = dict.fromkeys(name for row in wanted.rows for name in row.classes)
    nets = {name: path for name, path in wanted.classifiers.items() if name in used and not path.endswith(".npz")}
    found = {name: results.Posteriors.read(wanted.classifiers[name]) for name in used if name not in nets}
    if nets:
        sources = {name: open_net_file(path, name=name, preprocessing=arguments.preprocessing) for name, path in nets.items()}
        rows = [Row((name,), "dense", (wanted.classifier_scales,)) for name in nets]
        options = {"batch": arguments.batch, "devices": devices, "precision": wanted.precision}
        settings = run.EvaluationSettings(pooling=arguments.pooling, **options)
        told = run.evaluate(labelled(dataset), sources, rows, folder, settings, split=which, stream=sys.stdout)
        found |= dict(zip(nets, told, strict=True))
    return found


def _order(path: str) -> list[str]:
    """Returns the classes listed in a file: the first word of each line."""
    try:
        return [line.split()[0] for line in paths.path_of(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"`--submission` must be a text file with one class per line. Received: {path} ({error}).") from error


def _report(folder: pathlib.Path, found, split, arguments) -> None:
    from keras_vgg.evaluation import report as tables
    from keras_vgg.localisation import report
    from keras_vgg.localisation.submission import numbers_of, write_submission

    order = _order(arguments.submission) if arguments.submission else ()
    files.make_folder(folder)
    lines = [report.table_line(result) for result in found]
    slugs = [naming.slug("-".join(filter(None, (line[key] for key in ("net", "protocol", "Q", "settings"))))) for line in lines]
    for result, line, name in zip(found, lines, tables.file_names(folder, lines, slugs), strict=True):
        result.save(folder / name)
        line["posteriors"] = name
        stem = name.removesuffix(".npz")
        report.write_tables(folder, stem, result)
        report.draw_boxes(folder, stem, result, split)
        if arguments.submission:
            write_submission(folder / f"{stem}.txt", result.labels, result.boxes, numbers_of(result.classes, order))
    tables.write_tables(folder, lines)
    print(f"\n{tables.format_table(lines, report.shown)}\n\nfolder: {folder}")


if __name__ == "__main__":
    entry.run(main)
