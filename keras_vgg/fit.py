"""Trains a net of Table 1: `python -m keras_vgg.fit --arch D --jitter 256 512 --dataset tfds:imagenet2012`.

Defaults are the paper's; a recipe file overrides them and flags override the recipe. The same command again goes on where a
stopped run left off.
"""

import pathlib
import signal

from keras_vgg import recipe
from keras_vgg.errors import InputError
from keras_vgg.support import backend, cli, entry, extras
from keras_vgg.support.huge_pages import restart_with_huge_pages
from keras_vgg.training.freezing import frozen_layers
from keras_vgg.training.run_folder import choose_folder
from keras_vgg.training.workers import many_workers


def main(argv: list[str]) -> int | None:
    """Parses `argv`, trains, and returns the exit code."""
    parser = cli.Parser(prog="python -m keras_vgg.fit", description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", type=cli.path, metavar="FILE", help="recipe file (TOML), e.g. recipes/quickstart.toml")
    parser.add_argument(
        "--workdir", type=cli.path, metavar="FOLDER", help="run folder (default: runs/<recipe>-<time>, or the unfinished one)"
    )
    cli.add_field_flags(parser, recipe.Recipe)
    arguments = parser.parse_args(argv)
    extras.require("train")
    backend.require_tensorflow()  # before there is a run folder
    flags = cli.field_values(arguments, recipe.Recipe)
    from_file = recipe.read_recipe(arguments.recipe) if arguments.recipe else {}
    recipe.check_scales(from_file, f"Recipe {arguments.recipe}")
    recipe.check_scales(flags, "The command line")
    wanted = recipe.resolve(_unsaid(from_file | flags, arguments), from_file, flags)
    if wanted.dataset == "digits":
        extras.require("digits")
    frozen_layers(wanted.arch, wanted.freeze)  # its mistakes are told before TensorFlow is imported
    name = pathlib.Path(arguments.recipe).stem if arguments.recipe else f"net-{wanted.arch.lower()}"
    if "dataset" not in from_file | flags:
        print("no --dataset given: training on the embedded digits; random flip and colour shift are off for them unless asked for")
    if not arguments.workdir and many_workers():
        raise InputError("Several workers need --workdir, a folder that all of them see. Received: none.")
    folder, unfinished = choose_folder(arguments.workdir, wanted, name)
    if folder.is_finished(wanted):
        print(f"{folder.path} holds a finished run; give another --workdir to train anew")
        return None
    print(f"run folder: {folder.path}{' (unfinished)' if unfinished else ''}", flush=True)
    return _train(wanted, folder)


def _unsaid(given: dict, arguments) -> dict:
    """Returns what a run has where nobody says, if it begins from given weights; says what was chosen."""
    chooses = not arguments.recipe
    if not given.get("init_from") or ("arch" in given and not chooses):
        return {}
    if arguments.workdir and pathlib.Path(arguments.workdir, "recipe.toml").exists():
        from keras_vgg import fine_tuning

        return fine_tuning.of_run(pathlib.Path(arguments.workdir), given, fine_tuning=chooses)
    asked = recipe.resolve(given)  # its mistakes are told before TensorFlow is imported
    if "arch" in given:
        frozen_layers(asked.arch, asked.freeze)
    entry.import_tensorflow()
    from keras_vgg import fine_tuning

    net, chosen = fine_tuning.of_weights(given, fine_tuning=chooses)
    for choice in chosen:
        print(f"chosen: {choice.field} {choice.text}: {choice.reason}")
    return net | {choice.field: choice.value for choice in chosen}


def _train(wanted: recipe.Recipe, folder) -> int | None:
    entry.import_tensorflow()  # only once everything that can be checked without it is
    from keras_vgg.training import run, trainer

    try:
        run.train(wanted, folder)
    except trainer.Stopped as stopped:
        by = stopped.signal.name if stopped.signal else "another worker"
        print(f"\nstopped by {by}; saved in {folder.path}. The same command goes on from here.")
        return 128 + (stopped.signal or signal.SIGTERM)  # to a scheduler the job is stopped, not done, whoever was asked
    finally:
        folder.release()
    return None


if __name__ == "__main__":
    restart_with_huge_pages()
    entry.run(main)
