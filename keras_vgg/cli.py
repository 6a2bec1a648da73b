"""What the commands share: flags from a dataclass, and how a command ends. Imports no TensorFlow."""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import re
import signal
import sys
import weakref
from collections.abc import Callable

from absl.flags import argparse_flags

from keras_vgg import paths, streams
from keras_vgg.errors import InputError
from keras_vgg.recipe import PREPROCESSINGS, Recipe

USER_ERROR = 2
_ENDING = (signal.SIGTERM, signal.SIGHUP)
_PATIENCE = 0.2  # seconds
_LONGEST_SLUG = 120  # bytes, well below the 255 of file systems: more is put around it
BooleanOptionalAction = argparse_flags.argparse.BooleanOptionalAction

_NET_FLAGS = {
    "scales": {"nargs": "+", "type": int, "metavar": "Q", "help": "smallest sides (default: S, or the middle of the jitter)"},
    "flip": {"action": BooleanOptionalAction, "help": "look at mirror images too (default: where the net was trained with them)"},
    "dense": {"action": BooleanOptionalAction, "help": "look at whole images, else at the centre crop (default: on)"},
    "layer": {"help": "whose activations describe an image: fc2, fc1, block5_pool, … (default: fc2)"},
    "combine": {"choices": ("average", "stack"), "help": "descriptors at several scales (default: average)"},
    "normalize": {"action": BooleanOptionalAction, "help": "make descriptors of length one (default: on)"},
    "average": {
        "choices": ("posteriors", "scores"),
        "default": "posteriors",
        "help": "average a dense score map after the soft-max or before it (default: %(default)s)",
    },
    "pooling": {"choices": ("floor", "ceil"), "default": "floor", "help": "odd sizes: as Keras or as Caffe (default: %(default)s)"},
    "preprocessing": {"choices": PREPROCESSINGS, "help": "what the net wants of an image, whatever its file says"},
    "batch": {
        "type": int,
        "default": 32,
        "help": "images of the net's own size that go through at a time (default: %(default)s)",
    },
    "replicas": {"type": int, "help": "devices that work side by side (default: all GPUs)"},
}
"""What several commands ask of how a net looks at images."""

OF_DESCRIPTOR = ("layer", "dense", "scales", "flip", "combine", "normalize", "pooling")
"""Of those, what makes an image's descriptor."""


class Parser(argparse_flags.ArgumentParser):
    """An argument parser that tells a mistake in one line."""

    def error(self, message):
        """Prints `message` and exits with 2."""
        self.exit(USER_ERROR, f"{message[0].upper()}{message[1:]}; --help shows all flags.\n")


def add_net_flags(parser: Parser, *names: str) -> None:
    """Adds the flags of these names, which several commands have alike."""
    for name in names:
        parser.add_argument(f"--{name}", **_NET_FLAGS[name])


def add_recipe_flags(parser: Parser) -> None:
    """Adds one flag for each field of `Recipe`; a flag not given leaves no attribute behind."""
    for field in dataclasses.fields(Recipe):
        flag, omit = f"--{field.name.replace('_', '-')}", argparse_flags.argparse.SUPPRESS
        help = field.metadata["help"]
        if "default:" not in help:
            help += f" (default: {_shown(field.default)})"
        types = {"width": float, "micro_batch": _number_or_auto} | ({field.name: path} if field.metadata["path"] else {})
        if field.type in (bool, bool | None):
            parser.add_argument(flag, action=BooleanOptionalAction, default=omit, help=help)
        elif field.name == "jitter":
            parser.add_argument(flag, nargs=2, type=int, metavar=("SMIN", "SMAX"), default=omit, help=help)
        else:
            type_ = types.get(field.name) or next(t for t in (float, int, str) if field.type in (t, t | None))
            parser.add_argument(
                flag,
                type=type_,
                choices=field.metadata["choices"],
                metavar=None if field.metadata["choices"] else field.name.upper(),
                default=omit,
                help=help.replace("%", "%%"),
            )


def _shown(default) -> str:
    match default:
        case bool():
            return "on" if default else "off"
        case None:
            return "none"
        case float():
            return f"{default:g}"
    return str(default)


def _number_or_auto(text: str) -> int | str:
    if text != "auto" and not re.fullmatch(r"[+-]?\d+", text):
        raise argparse_flags.argparse.ArgumentTypeError(f"must be a number or auto (received {text})")
    return text if text == "auto" else int(text)


def path(text: str) -> str:
    """The type of every flag that takes a path, a data set (`folder:PATH`) or `NAME=` and one of these: `~` is a home folder."""
    return paths.expanded(text)


def name_and_path(text: str) -> tuple[str | None, str]:
    """Returns the two parts of a flag `[NAME=]PATH`; `None` where there is no name, as with a path that has an = itself."""
    is_named = re.match(r"[\w.+/-]+=", text) and not os.path.exists(text)  # runs/lr=0.1 is a path
    name, path = text.split("=", 1) if is_named else (None, text)
    return name, path


def named_models(given: list[str]) -> dict[str, str]:
    """Returns `{name: path}` of flags `--model [NAME=]PATH`.

    A net without a name is called as its file or folder, with as many folders before it as tell it from the others.

    Raises:
        InputError: for a name or a path that is given twice.
    """
    pairs = [name_and_path(model) for model in given]
    tails = [pathlib.Path(path).parts for name, path in pairs if name is None]
    names = []
    for name, path in pairs:
        parts = pathlib.Path(path).parts
        lengths = range(1, len(parts) + 1)
        length = next((n for n in lengths if sum(each[-n:] == parts[-n:] for each in tails) < 2), 1)
        names.append(name or "/".join(parts[-length:]))
    if len(set(names)) < len(names):
        raise InputError("Several models of one name; call them by --model NAME=PATH.")
    return {name: path for name, (_, path) in zip(names, pairs, strict=True)}


def dataset_slug(dataset: str) -> str:
    """Returns what a data set is called in names of folders: the same for whatever spelling of the path to a folder or list.

    Others may be called the same; what is kept there is told apart by what it is of.
    """
    kind, colon, path = dataset.partition(":")
    if kind in ("folder", "csv", "voc") and path:
        dataset = f"{kind}{colon}{paths.path_of(path).resolve().name}"
    return slug(dataset)


def slug(text: str) -> str:
    """Returns `text` as a name for a file or folder; of a long one the beginning, and what tells it from others that begin so."""
    name = re.sub(r"[^\w.-]+", "-", text).strip("-")
    if len(name.encode()) <= _LONGEST_SLUG:
        return name
    return f"{name.encode()[: _LONGEST_SLUG - 9].decode(errors='ignore')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def given(arguments, *names: str) -> dict:
    """Returns those of the flags `names` that were given; lists as tuples, each value once."""
    values = {name: getattr(arguments, name) for name in names}
    given = {name: value for name, value in values.items() if value not in (None, [])}
    return {name: tuple(dict.fromkeys(value)) if isinstance(value, list) else value for name, value in given.items()}


def recipe_flags(arguments) -> dict:
    """Returns the recipe's fields that were given on the command line."""
    names = {field.name for field in dataclasses.fields(Recipe)}
    return {name: value for name, value in vars(arguments).items() if name in names}


def run(command: Callable[[list[str]], int | None]) -> None:
    """Runs a command's main function on the arguments and ends the process.

    A user's mistake is one line on the error stream and exit code 2, as is an output that takes no more, once all else is done;
    a traceback means a bug.
    """
    streams.prepare()
    sys.unraisablehook = _unless_ended
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup ignores SIGHUP
            signal.signal(number, _end)
    try:
        code = command(sys.argv[1:])
        sys.stdout.flush()
    except SystemExit as ended:  # of argparse, or by a signal
        code = ended.code
    except InputError as error:
        print(f"{' '.join(str(error).split())}", file=sys.stderr, flush=True)
        code = USER_ERROR
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        code = 128 + signal.SIGINT
    except BrokenPipeError:  # whoever reads our output, such as `head`, has enough of it
        streams.turn_away(sys.stdout)
        code = 128 + signal.SIGPIPE
    except Exception:
        if not _Ended.last:
            raise
        code = 128 + _Ended.number  # TensorFlow makes an error of its own of what ends a function that it calls
    finally:
        _Ended.is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
    sys.exit(_code_with_output(code))


def _code_with_output(code):
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    if not sys.stdout.refused:
        return code
    print(f"Could not write to the standard output ({sys.stdout.refused}); the work itself was done.", file=sys.stderr)
    return code or USER_ERROR


class _Ended(SystemExit):
    """Ends a command that got a signal: an exception, so that what was begun beside files and folders is removed.

    Attributes:
        last: refers to the one that is on its way; to nothing once it has arrived or was lost. `None` before there is one.
        number: the signal.
        is_over: whether the command has come to its end, so that there is nothing left to end.
    """

    last: weakref.ref | None = None
    number = signal.SIGTERM
    is_over = False

    def __init__(self):
        super().__init__(128 + _Ended.number)
        _Ended.last = weakref.ref(self)


def _unless_ended(told):
    if not isinstance(told.exc_value, _Ended):  # which is raised again until it is heard
        sys.__unraisablehook__(told)


def _end(number, frame):
    if _Ended.is_over:
        return
    _Ended.number = number
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    signal.signal(signal.SIGALRM, _end_again)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE, _PATIENCE)
    raise _Ended


def _end_again(number, frame):
    if not _Ended.is_over and _Ended.last() is None:  # lost, as in what C code calls back or in a destructor
        raise _Ended


def import_tensorflow() -> None:
    """Imports TensorFlow and Keras without the lines they write to file descriptor 2 meanwhile, whatever the log level.

    Commands compute on TensorFlow and in `channels_last`, whatever Keras' environment or configuration file says. An error of
    the import is raised as ever.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # at 2 its own graph rewriter complains of itself; errors raise anyway
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow

            tensorflow.config.list_physical_devices()  # looks for CUDA, and says much where there is none
            tensorflow.get_logger().setLevel("ERROR")
            import keras

            keras.config.set_image_data_format("channels_last")
        finally:
            os.dup2(kept, 2)
            os.close(kept)
