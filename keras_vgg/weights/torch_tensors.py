"""The names that the pickle of a state dict may use, and their replacements: tensors as metadata, without their values.

Each name maps to a function of this module, a type of storage, or one inert value that is never used; none of them can do
harm, and names not in the table are refused.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable

_MAX_RANK = 16
ITEM_SIZE = {"Float": 4, "Double": 8, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1}
ITEM_SIZE |= {"ComplexFloat": 8, "ComplexDouble": 16, "QInt8": 1, "QUInt8": 1, "QInt32": 4, "Untyped": 1}


@dataclasses.dataclass(frozen=True)
class Storage:
    """`numel` values of type `kind`, from index `start` of the file's storage `key`."""

    kind: str
    key: str
    numel: int
    start: int = 0


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage; offset and strides count values from the start of the storage in the file and lie within it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Function:
    """A function that a pickle may call."""

    call: Callable


@dataclasses.dataclass(frozen=True)
class StorageType:
    """The type of a storage, a key of `ITEM_SIZE`."""

    kind: str


class Parameter:
    """A `Parameter` or a tensor of the first PyTorch versions: created first, then filled by its state."""

    def __init__(self, data=None, requires_grad=None):
        self.tensor = without_parameter(data)

    def set_state(self, state: tuple) -> None:
        """Sets the tensor from its pickled state."""
        if len(state) == 4:  # storage, offset, size, stride
            self.tensor = _tensor(*state)
        elif len(state) == 5:  # data, gradient, hooks, requires_grad, volatile
            self.tensor = without_parameter(state[0])


INERT = object()


def without_parameter(value):
    """Returns the tensor of a `Parameter`, any other value unchanged."""
    return value.tensor if isinstance(value, Parameter) else value


def are_counts(*values) -> bool:
    """Returns whether all values are integers in the range of sizes."""
    return all(type(value) is int and 0 <= value < 2**63 for value in values)


def _tensor(storage, offset, size, stride, *_) -> Tensor:
    """Checks, like PyTorch's rebuilding function, that the tensor lies within its storage."""
    if not isinstance(storage, Storage) or not len(size) == len(stride) <= _MAX_RANK or not are_counts(offset, *size, *stride):
        raise ValueError("a tensor is malformed")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if math.prod(size) > storage.numel or (math.prod(size) and last >= storage.numel):
        raise ValueError(f"a tensor of shape {tuple(size)} does not fit in its storage of {storage.numel} values")
    return Tensor(storage, storage.start + offset, tuple(size), tuple(stride))


def _tensor_of_type(function, _, args, __) -> Tensor:
    """Returns a tensor with attributes or of a subclass, of which only the values matter."""
    if function not in (GLOBALS["torch._utils._rebuild_tensor_v2"], GLOBALS["torch._utils._rebuild_tensor"]):
        raise ValueError("a tensor is malformed")
    return _tensor(*args)


def string_dict(items: Iterable = ()) -> dict:
    """Returns the items with string keys: no other key can name an array."""
    return {key: without_parameter(value) for key, value in items if isinstance(key, str)}


GLOBALS = {
    "collections.OrderedDict": Function(string_dict),
    "torch._utils._rebuild_tensor": Function(_tensor),
    "torch._utils._rebuild_tensor_v2": Function(_tensor),
    "torch._utils._rebuild_parameter": Function(lambda data, *_: data),
    "torch._utils._rebuild_parameter_with_state": Function(lambda data, *_: data),
    "torch._tensor._rebuild_from_type_v2": Function(_tensor_of_type),
    "torch.nn.parameter.Parameter": Function(Parameter),
    "torch.autograd.variable.Variable": Function(Parameter),
    "torch.storage.UntypedStorage": StorageType("Untyped"),
}
for _module in ("torch", "torch.cuda"):
    GLOBALS |= {f"{_module}.{kind}Storage": StorageType(kind) for kind in ITEM_SIZE}
    GLOBALS |= {f"{_module}.{kind}Tensor": Function(Parameter) for kind in ITEM_SIZE}
_INERT_NAMES = {
    "torch": "Size device Tensor float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool uint16 uint32 uint64 complex64 "
    "complex128 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu",
    "torch.serialization": "_get_layout",
    "torch._utils": "_rebuild_tensor_v3",  # types without their own storage type, none of which is a float used here
    "builtins": "set dict list int float complex bytearray",
    "__builtin__": "set dict list int float complex bytearray",
    "collections": "Counter defaultdict",
    "argparse": "Namespace",
    "numpy": "dtype ndarray",
    "numpy.core.multiarray": "scalar _reconstruct",
    "numpy._core.multiarray": "scalar _reconstruct",
    "_codecs": "encode",
}
GLOBALS |= {f"{module}.{name}": INERT for module, names in _INERT_NAMES.items() for name in names.split()}


class RefusedError(Exception):
    """Names what a pickle requested and was refused."""


def find(name: str):
    """Returns the replacement of a name; raises `RefusedError` for names not in the table."""
    if name not in GLOBALS:
        raise RefusedError(name)
    return GLOBALS[name]


def kind_of(value) -> str:
    """Describes a value, for errors."""
    return next((name for name, known in GLOBALS.items() if known is value), type(value).__name__)
