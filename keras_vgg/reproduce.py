"""Reproduces the paper as a study: `python -m keras_vgg.reproduce plan recipes/paper.toml`.

The workflow (`workflow/Snakefile`) runs a study's trainings and tests with `keras_vgg.fit` and `keras_vgg.evaluate`. The commands
here are its other nodes: `prepare` checks the data and writes recipes, `plan` estimates the cost, `table` aggregates a table over
all seeds, `report` writes the report.
"""

import pathlib
import sys

from keras_vgg.support import cli, entry, extras
from keras_vgg.support.counts import agree, counted


def main(argv: list[str]) -> None:
    """Parses `argv` and runs the command."""
    arguments = _parser().parse_args(argv)
    extras.require("paper")
    from keras_vgg.reproduction.study_file import read_study
    from keras_vgg.reproduction.work_folder import WorkFolder

    study = read_study(arguments.study).changed(
        **{name: getattr(arguments, name) for name in ("dataset", "held_out", "seeds", "precision")}
    )
    arguments.act(study, WorkFolder.at(arguments.work or f"runs/{study.name}"), arguments)


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m keras_vgg.reproduce", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, act, told in (
        ("prepare", _prepare, "checks the data and writes the recipes for all other nodes"),
        ("plan", _plan, "estimates time, disk and memory of all trainings and tests"),
        ("table", _table, "aggregates a table over all seeds"),
        ("report", _report, "writes the report as HTML and Markdown"),
    ):
        command = commands.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}.")
        command.set_defaults(act=act)
        command.add_argument("study", type=cli.path, metavar="STUDY", help="study file (TOML), e.g. recipes/paper-miniature.toml")
        command.add_argument("--work", type=cli.path, metavar="FOLDER", help="work folder (default: runs/STUDY)")
        cli.add_net_flags(
            command, dataset="dataset that replaces the study's: folder:PATH, csv:FILE, tfds:NAME[/CONFIG] or wds:PATH"
        )
        cli.add_net_flags(command, precision="compute precision of trainings and tests (default: the study's)")
        command.add_argument("--held-out", type=float, help="share of each class's training images held out for testing")
        command.add_argument("--seeds", type=int, help="number of trainings per net (default: the study's)")
        if name == "table":
            command.add_argument("--table", required=True, help="name of the table, e.g. table3")
        if name == "report":
            command.add_argument("--out", type=cli.path, metavar="FOLDER", help="folder of the report (default: the work folder)")
            command.add_argument(
                "--without-images",
                action="store_true",
                help="leave out images of the dataset, whose license may not allow publication",
            )
        if name == "plan":
            command.add_argument("--probe", action="store_true", help="measure this machine first, with a short run of each net")
    return parser


def _prepare(study, work, arguments) -> None:
    entry.import_tensorflow()
    from keras_vgg.reproduction.prepare import prepare

    facts = prepare(study, work, stream=sys.stdout)
    told = ", ".join(f"{number:,} for {name}" for name, number in facts["images"].items())
    print(f"{facts['description']}: {told}; {counted(facts['classes'], 'class')}")
    for name, broken in facts["broken"].items():
        if broken:
            print(f"{counted(len(broken), 'image')} for {name} {agree(len(broken), 'is', 'are')} unreadable, such as {broken[0]}")


def _plan(study, work, arguments) -> None:
    from keras_vgg.reproduction import plan

    probed = None
    if arguments.probe:
        entry.import_tensorflow()
        from keras_vgg.reproduction.probe import probe

        probed = probe(study, work, stream=sys.stdout)
    print(plan.told(plan.make_plan(study, work, probed)))


def _table(study, work, arguments) -> None:
    entry.import_tensorflow()
    from keras_vgg.reproduction.tables import measure_table
    from keras_vgg.reproduction.work_folder import write_json

    write_json(work.table(arguments.table), measure_table(study, work, arguments.table))


def _report(study, work, arguments) -> None:
    entry.import_tensorflow()
    from keras_vgg.reproduction.report import write_report

    out = pathlib.Path(arguments.out) if arguments.out else None
    print(write_report(study, work, out=out, with_images=not arguments.without_images, stream=sys.stdout))


if __name__ == "__main__":
    entry.run(main)
