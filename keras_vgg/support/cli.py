"""Command-line flags: those that several commands share, and those of a dataclass. Imports no TensorFlow."""

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from absl.flags import argparse_flags

from keras_vgg.errors import InputError
from keras_vgg.precision import PRECISIONS
from keras_vgg.support import paths

Parsed = TypeVar("Parsed")

USER_ERROR = 2
"""Exit code for a user error."""

BooleanOptionalAction = argparse_flags.argparse.BooleanOptionalAction

PREPROCESSINGS = ("caffe", "torch", "caffe_rgb", "tf", "unit", "none")
"""Names of input preprocessings: those in `preprocessing.BY_NAME`, which imports TensorFlow."""


def checked(function: Callable[[str], Parsed]) -> Callable[[str], Parsed]:
    """Returns an argparse type that parses text with `function` and shows the message of its `InputError`."""

    @functools.wraps(function)
    def parse(text: str) -> Parsed:
        try:
            return function(text)
        except InputError as error:
            raise argparse_flags.argparse.ArgumentTypeError(str(error)) from error

    return parse


def named(function: Callable[[str], str], names: Collection[str]) -> dict[str, Any]:
    """Returns argparse options for a flag that accepts whatever `function` maps to one of `names`."""
    return {"type": checked(function), "metavar": f"{{{','.join(names)}}}"}


path = checked(paths.expanded)
"""The type of every flag that takes a path, a dataset (`folder:PATH`) or `NAME=` and one of these; expands `~`."""


_NET_FLAGS: dict[str, dict[str, Any]] = {
    "scales": {
        "nargs": "+",
        "type": int,
        "metavar": "Q",
        "help": "test scales Q, in pixels (default: S, or the middle of its range)",
    },
    "flip": {"action": BooleanOptionalAction, "help": "average with the mirror image (default: as in training)"},
    "dense": {"action": BooleanOptionalAction, "help": "use whole images instead of the center crop (default: on)"},
    "layer": {"help": "layer whose activations are used: fc2, fc1, block5_pool, … (default: fc2)"},
    "combine": {"choices": ("average", "stack"), "help": "how to combine several scales (default: average)"},
    "normalize": {"action": BooleanOptionalAction, "help": "L2-normalize descriptors (default: on)"},
    "localiser": {
        "type": path,
        "metavar": "PATH",
        "help": "run folder or weight file of a localization net (keras_vgg.fit --task localisation)",
    },
    "localiser-scales": {"nargs": "+", "type": int, "metavar": "Q", "help": "test scales Q for --localiser (default: its S)"},
    "merge-threshold": {
        "type": float,
        "metavar": "T",
        "help": "largest match score at which boxes are merged, in [0, 2) (default: as in keras_vgg.localise)",
    },
    "average": {
        "choices": ("posteriors", "scores"),
        "default": "posteriors",
        "help": "average a dense score map after or before the softmax (default: %(default)s)",
    },
    "pooling": {
        "choices": ("floor", "ceil"),
        "default": "floor",
        "help": "rounding of odd sizes: floor as in Keras, ceil as in Caffe (default: %(default)s)",
    },
    "preprocessing": {"choices": PREPROCESSINGS, "help": "input preprocessing, overriding what the file records"},
    "precision": {
        "choices": PRECISIONS,
        "help": "compute precision of the layers, as for fit; weights and outputs stay float32 (default: float32)",
    },
    "classes": {
        "type": path,
        "metavar": "FILE",
        "help": "class names in label order: one name or WordNet ID per line, or JSON as in keras.applications",
    },
    "batch": {
        "type": int,
        "default": 32,
        "help": "batch size at the network's resolution (default: %(default)s)",
    },
    "replicas": {"type": int, "help": "number of devices to use in parallel (default: all GPUs)"},
    "dataset": {"type": path, "help": "digits, folder:PATH, csv:FILE, tfds:NAME[/CONFIG], wds:PATH or voc:PATH"},
    "split": {
        "type": lambda text: "validation" if text == "val" else text,
        "choices": ("train", "validation", "test", "all"),
        "metavar": "{train,val,test,all}",
    },
}
"""Flags that several commands share: which images a net sees, and how."""

OF_DESCRIPTOR = ("layer", "dense", "scales", "flip", "combine", "normalize", "pooling", "precision")
"""The flags among them that define an image's descriptor."""


class Parser(argparse_flags.ArgumentParser):
    """An argument parser that reports errors in one line."""

    def error(self, message):
        """Prints `message` and exits with 2."""
        self.exit(USER_ERROR, f"{message[0].upper()}{message[1:]}; --help shows all flags.\n")


def add_net_flags(parser: Parser, *names: str, **more: str) -> None:
    """Adds shared flags by name; those in `more` get their own help text."""
    for name in (*names, *more):
        parser.add_argument(f"--{name}", **_NET_FLAGS[name] | ({"help": more[name]} if name in more else {}))


def add_field_flags(parser: Parser, of: type, groups: Mapping[str, Any] | None = None) -> None:
    """Adds one flag for each field of the dataclass `of`; a flag that is not given sets no attribute.

    A field's metadata contains its `help`, and may contain `choices`, `path` (expands `~`), `metavar` of several values, `parse`,
    which converts the text to the value, and `once`, a former name that is still accepted. With `groups`, `group` names the
    argument group of `parser` that the flag belongs to.
    """
    for field in dataclasses.fields(of):
        into = groups[field.metadata["group"]] if groups else parser
        told, choices, omit = field.metadata, field.metadata.get("choices"), argparse_flags.argparse.SUPPRESS
        flags = [f"--{name.replace('_', '-')}" for name in (field.name, told.get("once")) if name]
        help = told["help"] if "default:" in told["help"] else f"{told['help']} (default: {_shown(field.default)})"
        shared: dict[str, Any] = {"dest": field.name, "default": omit, "help": help.replace("%", "%%")}
        if bool in _kinds(field.type):
            into.add_argument(*flags, action=BooleanOptionalAction, **shared)
        elif metavar := told.get("metavar"):
            into.add_argument(*flags, nargs=len(metavar), type=_kinds(field.type)[0], metavar=metavar, **shared)
        else:
            kind = path if told.get("path") else told.get("parse") or _kinds(field.type)[0]
            into.add_argument(*flags, type=kind, choices=choices, metavar=None if choices else field.name.upper(), **shared)


def field_values(arguments, of: type) -> dict:
    """Returns the fields of the dataclass `of` that were given on the command line."""
    names = {field.name for field in dataclasses.fields(of)}
    return {name: value for name, value in vars(arguments).items() if name in names}


def _kinds(annotation) -> tuple[type, ...]:
    """Returns the plain types in a field's annotation, except `None`."""
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
    """Parses the value of a flag that takes an integer or `auto`."""
    if text != "auto" and not re.fullmatch(r"[+-]?\d+", text):
        raise argparse_flags.argparse.ArgumentTypeError(f"must be an integer or auto (received {text})")
    return text if text == "auto" else int(text)


def given(arguments, *names: str) -> dict:
    """Returns the flags among `names` that were given; lists become tuples without duplicates."""
    values = {name: getattr(arguments, name) for name in names}
    given = {name: value for name, value in values.items() if value not in (None, [])}
    return {name: tuple(dict.fromkeys(value)) if isinstance(value, list) else value for name, value in given.items()}
