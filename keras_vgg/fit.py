"""Trains a network of Table 1 of the paper.

Defaults are the paper's; a recipe file overrides them and flags override the recipe. The same command resumes a stopped run.
"""

import pathlib
import signal
import sys

from keras_vgg import recipe
from keras_vgg.errors import InputError
from keras_vgg.support import backend, cli, entry, extras
from keras_vgg.support.huge_pages import restart_with_huge_pages
from keras_vgg.training.freezing import frozen_layers
from keras_vgg.training.workers import many_workers

_EXAMPLES = """\
examples:
  python -m keras_vgg.fit --recipe recipes/quickstart.toml
  python -m keras_vgg.fit --arch D --jitter 256 512 --dataset tfds:imagenet2012
  python -m keras_vgg.fit --init-from vgg16 --dataset folder:flowers17
"""


def main(argv: list[str]) -> int | None:
    """Parses `argv`, trains, and returns the exit code."""
    parser = cli.Parser(
        prog="python -m keras_vgg.fit",
        description=__doc__.split("\n")[0],
        epilog=_EXAMPLES,
        formatter_class=cli.argparse_flags.argparse.RawDescriptionHelpFormatter,
    )
    groups = {name: parser.add_argument_group(name) for name in recipe.GROUPS}
    groups[recipe.RUN].add_argument(
        "--recipe", type=cli.path, metavar="FILE", help="training recipe (TOML), e.g. recipes/quickstart.toml"
    )
    groups[recipe.RUN].add_argument(
        "--workdir",
        type=cli.path,
        metavar="FOLDER",
        help="run directory (default: the unfinished run of this recipe, or runs/<recipe>-<time>)",
    )
    cli.add_field_flags(parser, recipe.Recipe, groups)
    arguments = parser.parse_args(argv)
    from keras_vgg.training.run_folder import choose_folder

    extras.require("train")
    backend.require_tensorflow()  # before the run folder is created
    flags = cli.field_values(arguments, recipe.Recipe)
    from_file = recipe.read_recipe(arguments.recipe) if arguments.recipe else {}
    recipe.check_scales(from_file, f"Recipe {arguments.recipe}")
    recipe.check_scales(flags, "The command line")
    wanted = recipe.resolve(_unsaid(from_file | flags, arguments), from_file, flags)
    if wanted.dataset == "digits":
        extras.require("digits")
    frozen_layers(wanted.arch, wanted.freeze)  # reports errors before TensorFlow is imported
    name = pathlib.Path(arguments.recipe).stem if arguments.recipe else f"net-{wanted.arch.lower()}"
    if "dataset" not in from_file | flags:
        print("no --dataset given: training on the embedded digits, without random flip and color shift unless enabled by flags")
    if not arguments.workdir and many_workers():
        raise InputError("Training with several workers requires --workdir, a folder shared by all workers. Received: none.")
    folder, unfinished = choose_folder(arguments.workdir, wanted, name)
    if folder.is_finished(wanted):
        print(f"{folder.path} contains a finished run. Pass another --workdir to start a new run.")
        return None
    print(f"run folder: {folder.path}{' (unfinished)' if unfinished else ''}", flush=True)
    return _train(wanted, folder)


def _unsaid(given: dict, arguments) -> dict:
    """Returns the defaults of a run that starts from given weights, and prints those chosen."""
    chooses = not arguments.recipe
    if not given.get("init_from") or ("arch" in given and not chooses):
        return {}
    if arguments.workdir and pathlib.Path(arguments.workdir, "recipe.toml").exists():
        from keras_vgg import fine_tuning

        return fine_tuning.of_run(pathlib.Path(arguments.workdir), given, fine_tuning=chooses)
    asked = recipe.resolve(given)  # reports errors before TensorFlow is imported
    if "arch" in given:
        frozen_layers(asked.arch, asked.freeze)
    entry.import_tensorflow()
    from keras_vgg import fine_tuning

    net, chosen = fine_tuning.of_weights(given, fine_tuning=chooses)
    for choice in chosen:
        print(f"chosen: {choice.field} {choice.text}: {choice.reason}")
    return net | {choice.field: choice.value for choice in chosen}


def _train(wanted: recipe.Recipe, folder) -> int | None:
    entry.import_tensorflow()  # only after all checks that do without it
    from keras_vgg.training import run, trainer

    try:
        run.train(wanted, folder)
    except trainer.Stopped as stopped:
        by = stopped.signal.name if stopped.signal else "another worker"
        print(f"\nstopped by {by}; saved in {folder.path}. Run the same command again to resume.")
        return 128 + (stopped.signal or signal.SIGTERM)  # so that schedulers see a stopped job on every worker
    finally:
        folder.release()
    return None


if __name__ == "__main__":
    if not {"-h", "--help"} & set(sys.argv):
        restart_with_huge_pages()
    entry.run(main)
