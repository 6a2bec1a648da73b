"""Command-line flags: those that several commands share, and those of a dataclass. Imports no TensorFlow."""

import dataclasses
import functools
import re
import sys
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
        "help": "maximum match score of merged boxes, in [0, 2) (default: as in keras_vgg.localise)",
    },
    "average": {
        "choices": ("posteriors", "scores"),
        "default": "posteriors",
        "help": "average a dense score map after or before the softmax (default: %(default)s)",
    },
    "pooling": {
        "choices": ("floor", "ceil"),
        "default": "floor",
        "help": "rounding of odd sizes: floor as in Keras, ceil as in Caffe (default: floor)",
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
        "metavar": "N",
        "default": 32,
        "help": "batch size at the network's resolution (default: %(default)s)",
    },
    "replicas": {"type": int, "metavar": "N", "help": "number of devices to use in parallel (default: all GPUs)"},
    "limit-images": {"type": int, "metavar": "N", "help": "maximum number of images of each split (default: all)"},
    "top": {"type": int, "metavar": "K", "help": "number of classes to return (default: 5)"},
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


AMERICAN = {
    "--labeled": "--labelled",
    "--license": "--licence",
    "--localize": "--localise",
    "--localizer": "--localiser",
    "--localizer-scales": "--localiser-scales",
}
"""American spellings of flags, accepted by every command that has the flag."""


class Parser(argparse_flags.ArgumentParser):
    """An argument parser that reports errors in one line, and accepts other names of flags without showing them in `--help`."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._names: dict[str, str] = {}
        if full := self._option_string_actions.get("--helpfull"):
            full.help = argparse_flags.argparse.SUPPRESS  # adds the flags of absl itself to ours

    def also_accept(self, flag: str, *others: str) -> None:
        """Accepts other names of `flag`, such as a former one; for an on/off flag also with `--no-`."""
        for other in others:
            self._names |= {other: flag, f"--no-{other[2:]}": f"--no-{flag[2:]}"}

    def parse_known_args(self, args=None, namespace=None):
        """Parses `args`, by default those of the process, with the shown names in place of others."""
        flags, ends, others = list(sys.argv[1:] if args is None else args), "--", AMERICAN | self._names
        count = flags.index(ends) if ends in flags else len(flags)
        return super().parse_known_args([self._shown(flag, others) for flag in flags[:count]] + flags[count:], namespace)

    def _shown(self, flag: str, others: Mapping[str, str]) -> str:
        name, equals, value = flag.partition("=")
        shown = others.get(name, name)
        return f"{shown}{equals}{value}" if shown in self._option_string_actions else flag

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
    which converts the text to the value, `once`, a former name that is still accepted, and `also`, other spellings of choices. With
    `groups`, `group` names the argument group of `parser` that the flag belongs to.
    """
    for field in dataclasses.fields(of):
        into = groups[field.metadata["group"]] if groups else parser
        told, choices, omit = field.metadata, field.metadata.get("choices"), argparse_flags.argparse.SUPPRESS
        flag = f"--{field.name.replace('_', '-')}"
        if once := told.get("once"):
            parser.also_accept(flag, f"--{once.replace('_', '-')}")
        help = told["help"] if "default:" in told["help"] else f"{told['help']} (default: {_shown(field.default)})"
        shared: dict[str, Any] = {"dest": field.name, "default": omit, "help": help.replace("%", "%%")}
        if bool in _kinds(field.type):
            into.add_argument(flag, action=BooleanOptionalAction, **shared)
        elif metavar := told.get("metavar"):
            into.add_argument(flag, nargs=len(metavar), type=_kinds(field.type)[0], metavar=metavar, **shared)
        else:
            kind = path if told.get("path") else told.get("parse") or _kinds(field.type)[0]
            if also := told.get("also"):
                kind = functools.partial(_spelled, also)
            into.add_argument(flag, type=kind, choices=choices, metavar=None if choices else field.name.upper(), **shared)


def _spelled(also: Mapping[str, str], text: str) -> str:
    return also.get(text, text)


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
