"""Flags: those that several commands have alike, and those of a dataclass. Imports no TensorFlow."""

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from absl.flags import argparse_flags

from keras_vgg.errors import InputError
from keras_vgg.precision import PRECISIONS
from keras_vgg.support import paths

Parsed = TypeVar("Parsed")

USER_ERROR = 2
"""Exit code for a user's mistake."""

BooleanOptionalAction = argparse_flags.argparse.BooleanOptionalAction

PREPROCESSINGS = ("caffe", "torch", "caffe_rgb", "tf", "unit", "none")
"""What weights may want of an image: the names in `preprocessing.BY_NAME`, which imports TensorFlow."""


def checked(function: Callable[[str], Parsed]) -> Callable[[str], Parsed]:
    """Returns the type of a flag whose value `function` makes of its text, of whose `InputError` people are to see the line."""

    @functools.wraps(function)
    def parse(text: str) -> Parsed:
        try:
            return function(text)
        except InputError as error:
            raise argparse_flags.argparse.ArgumentTypeError(str(error)) from error

    return parse


def named(function: Callable[[str], str], names: Collection[str]) -> dict[str, Any]:
    """Returns what makes a flag take what `function` takes for the name of one of `names`."""
    return {"type": checked(function), "metavar": f"{{{','.join(names)}}}"}


path = checked(paths.expanded)
"""The type of every flag that takes a path, a data set (`folder:PATH`) or `NAME=` and one of these: `~` is a home folder."""


_NET_FLAGS: dict[str, dict[str, Any]] = {
    "scales": {"nargs": "+", "type": int, "metavar": "Q", "help": "smallest sides (default: S, or the middle of the jitter)"},
    "flip": {"action": BooleanOptionalAction, "help": "look at mirror images too (default: where the net was trained with them)"},
    "dense": {"action": BooleanOptionalAction, "help": "look at whole images, else at the centre crop (default: on)"},
    "layer": {"help": "whose activations describe an image: fc2, fc1, block5_pool, … (default: fc2)"},
    "combine": {"choices": ("average", "stack"), "help": "descriptors at several scales (default: average)"},
    "normalize": {"action": BooleanOptionalAction, "help": "make descriptors of length one (default: on)"},
    "localiser": {
        "type": path,
        "metavar": "PATH",
        "help": "run folder or weight file of a net that localises (keras_vgg.fit --task localisation)",
    },
    "localiser-scales": {"nargs": "+", "type": int, "metavar": "Q", "help": "smallest sides for --localiser (default: its S)"},
    "merge-threshold": {
        "type": float,
        "metavar": "T",
        "help": "match score up to which boxes are merged, in [0, 2) (default: as keras_vgg.localise)",
    },
    "average": {
        "choices": ("posteriors", "scores"),
        "default": "posteriors",
        "help": "average a dense score map after the soft-max or before it (default: %(default)s)",
    },
    "pooling": {"choices": ("floor", "ceil"), "default": "floor", "help": "odd sizes: as Keras or as Caffe (default: %(default)s)"},
    "preprocessing": {"choices": PREPROCESSINGS, "help": "what the net wants of an image, whatever its file says"},
    "precision": {
        "choices": PRECISIONS,
        "help": "what layers compute in, as for fit; weights and what a net puts out stay float32 (default: float32)",
    },
    "classes": {
        "type": path,
        "metavar": "FILE",
        "help": "names of the net's classes in label order: one (or a WordNet id) a line, or JSON as keras.applications has it",
    },
    "batch": {
        "type": int,
        "default": 32,
        "help": "images of the net's own size that go through at a time (default: %(default)s)",
    },
    "replicas": {"type": int, "help": "devices that work side by side (default: all GPUs)"},
    "dataset": {"type": path, "help": "digits, folder:PATH, csv:FILE, tfds:NAME[/CONFIG], wds:PATH or voc:PATH"},
    "split": {
        "type": lambda text: "validation" if text == "val" else text,
        "choices": ("train", "validation", "test", "all"),
        "metavar": "{train,val,test,all}",
    },
}
"""What several commands ask of how a net looks at images, and of which."""

OF_DESCRIPTOR = ("layer", "dense", "scales", "flip", "combine", "normalize", "pooling", "precision")
"""Of those, what makes an image's descriptor."""


class Parser(argparse_flags.ArgumentParser):
    """An argument parser that tells a mistake in one line."""

    def error(self, message):
        """Prints `message` and exits with 2."""
        self.exit(USER_ERROR, f"{message[0].upper()}{message[1:]}; --help shows all flags.\n")


def add_net_flags(parser: Parser, *names: str, **more: str) -> None:
    """Adds the flags of these names, which several commands have alike; `more` are further ones, each with a help of its own."""
    for name in (*names, *more):
        parser.add_argument(f"--{name}", **_NET_FLAGS[name] | ({"help": more[name]} if name in more else {}))


def add_field_flags(parser: Parser, of: type) -> None:
    """Adds one flag for each field of the dataclass `of`; a flag not given leaves no attribute behind.

    A field's metadata tells its `help`, and may tell `choices`, `path` (`~` is a home folder), `metavar` of several values,
    `parse`, which makes the value of its text, and `once`, a name that it had before and still goes by.
    """
    for field in dataclasses.fields(of):
        told, choices, omit = field.metadata, field.metadata.get("choices"), argparse_flags.argparse.SUPPRESS
        flags = [f"--{name.replace('_', '-')}" for name in (field.name, told.get("once")) if name]
        help = told["help"] if "default:" in told["help"] else f"{told['help']} (default: {_shown(field.default)})"
        shared: dict[str, Any] = {"dest": field.name, "default": omit, "help": help.replace("%", "%%")}
        if bool in _kinds(field.type):
            parser.add_argument(*flags, action=BooleanOptionalAction, **shared)
        elif metavar := told.get("metavar"):
            parser.add_argument(*flags, nargs=len(metavar), type=_kinds(field.type)[0], metavar=metavar, **shared)
        else:
            kind = path if told.get("path") else told.get("parse") or _kinds(field.type)[0]
            parser.add_argument(*flags, type=kind, choices=choices, metavar=None if choices else field.name.upper(), **shared)


def field_values(arguments, of: type) -> dict:
    """Returns the fields of the dataclass `of` that were given on the command line."""
    names = {field.name for field in dataclasses.fields(of)}
    return {name: value for name, value in vars(arguments).items() if name in names}


def _kinds(annotation) -> tuple[type, ...]:
    """Returns the plain types that a field's annotation is made of, `None` apart."""
    inner = typing.get_args(annotation)
    if not inner:
        return () if annotation is types.NoneType else (annotation,)
    return tuple(dict.fromkeys(kind for each in inner for kind in _kinds(each)))


def _shown(default) -> str:
    match default:
        case bool():
            return "on" if default else "off"
        case None:
            return "none"
        case float():
            return f"{default:g}"
    return str(default)


def number_or_auto(text: str) -> int | str:
    """The type of a flag that takes a whole number or `auto`."""
    if text != "auto" and not re.fullmatch(r"[+-]?\d+", text):
        raise argparse_flags.argparse.ArgumentTypeError(f"must be a number or auto (received {text})")
    return text if text == "auto" else int(text)


def given(arguments, *names: str) -> dict:
    """Returns those of the flags `names` that were given; lists as tuples, each value once."""
    values = {name: getattr(arguments, name) for name in names}
    given = {name: value for name, value in values.items() if value not in (None, [])}
    return {name: tuple(dict.fromkeys(value)) if isinstance(value, list) else value for name, value in given.items()}
