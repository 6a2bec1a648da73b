"""Reads the pickle inside a PyTorch file, without torch and without Python's unpickler.

A pickle is a program for a stack machine, and it can make Python's machine call anything. The machine here supports only the
opcodes of state dicts and builds numbers, strings, tuples, lists, dicts, `Storage` and `Tensor`. It imports nothing, and
calls only functions in the table of `torch_tensors`.
"""

import io
import pathlib
import pickletools

from keras_vgg.errors import InputError
from keras_vgg.weights.torch_tensors import (
    INERT,
    Function,
    Parameter,
    RefusedError,
    Storage,
    StorageType,
    Tensor,
    are_counts,
    find,
    kind_of,
    string_dict,
    without_parameter,
)

MAX_BYTES = 2**24  # a pickle names arrays but does not contain them: that of VGG-19 with its optimizer takes 20 kB
_MAX_STEPS = 2_000_000  # bounds time and memory for any pickle
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "EMPTY_SET": INERT}


class _Machine:
    """The stack machine; `step` executes one opcode."""

    def __init__(self, storages: dict[str, Storage] | None):
        self.stack: list = []
        self.marked: list[list] = []
        self.memo: dict[int, object] = {}
        self.storages, self.steps = storages, 0

    def spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > _MAX_STEPS:
            raise ValueError(f"it takes more than {_MAX_STEPS:,} steps")

    def pop_to_mark(self) -> list:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def step(self, opcode: str, argument) -> None:
        self.spend(1)
        stack = self.stack
        match opcode:
            case "INT" | "BININT" | "BININT1" | "BININT2" | "LONG" | "LONG1" | "LONG4" | "FLOAT" | "BINFLOAT":
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "BINSTRING" | "SHORT_BINSTRING":
                stack.append(argument)
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8":
                stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE" | "EMPTY_SET":
                stack.append(_CONSTANTS[opcode])
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self.marked.append(stack)
                self.stack = []
            case "POP":
                stack.pop()
            case "POP_MARK":
                self.pop_to_mark()
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode[-1])
                if len(stack) < count:
                    raise IndexError("the stack is empty")
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                items = self.pop_to_mark()
                self.stack.append(tuple(items))
            case "EMPTY_LIST":
                stack.append([])
            case "LIST":
                items = self.pop_to_mark()
                self.stack.append(items)
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                items = self.pop_to_mark()
                self.stack.append(string_dict(zip(items[::2], items[1::2], strict=True)))
            case "FROZENSET":
                self.pop_to_mark()
                self.stack.append(INERT)
            case "APPEND":
                _extend(stack[-2], [stack.pop()])
            case "APPENDS" | "ADDITEMS":
                items = self.pop_to_mark()
                _extend(self.stack[-1], items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _set_items(stack[-1], [key, value])
            case "SETITEMS":
                items = self.pop_to_mark()
                _set_items(self.stack[-1], items)
            case "GLOBAL" | "INST":
                stack.append(find(argument.replace(" ", ".")))
                if opcode == "INST":
                    raise RefusedError("opcode INST")
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(find(f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "a nameless object"))
            case "REDUCE" | "NEWOBJ":
                args, function = stack.pop(), stack.pop()
                stack.append(self.call(function, args))
            case "BUILD":
                state, target = stack.pop(), stack[-1]
                _set_state(target, state)
            case "BINPERSID":
                stack.append(self.find_storage(stack.pop()))
            case _:
                raise RefusedError(f"opcode {opcode}")

    def call(self, function, args):
        if function is INERT:
            return INERT
        if not isinstance(function, Function) or not isinstance(args, tuple):
            raise RefusedError(f"a call of {kind_of(function)}")
        self.spend(len(args) + sum(len(value) for value in args if isinstance(value, (list, tuple, dict))))
        return function.call(*args)

    def find_storage(self, name) -> Storage:
        """Returns the storage named by the persistent id `("storage", type, key, location, numel[, view])`."""
        if self.storages is None or not isinstance(name, tuple) or len(name) not in (5, 6) or name[0] != "storage":
            raise RefusedError("a persistent id that is not a storage")
        _, kind, key, _, numel, *view = name
        if not isinstance(kind, StorageType) or not isinstance(key, str) or not are_counts(numel):
            raise RefusedError("a persistent id that is not a storage")
        storage = Storage(kind.kind, key, numel)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError("one storage has two types or sizes")
        if not view or view[0] is None:
            return storage
        _, start, count = view[0]
        if not are_counts(start, count) or start + count > numel:
            raise ValueError("a view lies outside its storage")
        return Storage(kind.kind, key, count, start)


def _extend(target, items: list) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif target is not INERT:
        raise RefusedError(f"items added to {kind_of(target)}")


def _set_items(target, items: list) -> None:
    if isinstance(target, dict):
        target.update(string_dict(zip(items[::2], items[1::2], strict=True)))
    elif target is not INERT:
        raise RefusedError(f"items added to {kind_of(target)}")


def _set_state(target, state) -> None:
    if isinstance(target, Parameter) and isinstance(state, tuple):
        target.set_state(state)
    elif target is not INERT and not isinstance(target, (dict, Tensor, Parameter)):  # their attributes contain no values
        raise RefusedError(f"attributes set on {kind_of(target)}")


def load(stream: io.BytesIO, path: pathlib.Path, storages: dict[str, Storage] | None = None):
    """Reads the pickle at the stream's position and leaves the stream after it; dicts keep only string keys.

    Args:
        stream: the pickle, in memory, since a string in it may claim any length.
        path: the file, for errors.
        storages: receives the pickle's storages by key. Without it, a pickle with storages is refused.

    Raises:
        InputError: for garbage, and for a pickle that requests anything but tensors, before it is executed.
    """
    machine = _Machine(storages)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            machine.step(opcode.name, argument)
        return without_parameter(machine.stack.pop())
    except RefusedError as error:
        raise InputError(
            f"{path} was refused: its pickle requests {_printable(error)}; a state dict contains tensors only. Nothing was run."
        ) from None
    except Exception as error:  # on garbage the machine and `genops` raise about ten kinds of exceptions
        raise InputError(f"{path} is damaged or truncated: its pickle cannot be read ({_printable(error)}).") from error


def _printable(error: Exception) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(error)[:120])
