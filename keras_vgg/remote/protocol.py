"""What all transports have in common: their methods, and the ways in which a request can fail."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

MOST_BYTES = 2**28
"""Maximum size of a response: a thousand times that of the usual one, and bounded, whatever a server sends."""

Rows = Sequence[Any] | np.ndarray
"""The values of an output: a row for each image."""


class AwayError(Exception):
    """The server did not answer or was too busy; the same request may succeed later."""


class SlowError(AwayError):
    """The request timed out: the server may be unavailable, or a smaller request may succeed."""


class RefusedError(Exception):
    """The server answered that it cannot process the request; retrying is pointless.

    Attributes:
        divisible: whether parts of the request may succeed, as when it is too large or one image is at fault.
        missing: whether the server has no such model or version.
    """

    def __init__(self, reason: str, *, divisible: bool = False, missing: bool = False):
        super().__init__(reason)
        self.divisible, self.missing = divisible, missing


@dataclasses.dataclass(frozen=True)
class Model:
    """A model on a server.

    Attributes:
        name: its name on the server.
        version: version number; `None` for the server's newest.
        label: version label, such as `canary`, in place of a number.
    """

    name: str = "vgg"
    version: int | None = None
    label: str | None = None


@dataclasses.dataclass(frozen=True)
class Signatures:
    """The signatures of a version of a model.

    Attributes:
        version: its number.
        outputs: `{signature: {output: values per image}}`; `None` where that is not one fixed number.
    """

    version: int
    outputs: Mapping[str, Mapping[str, int | None]]


class Transport(Protocol):
    """A connection to one model on one server. Thread-safe.

    Every method but `close` raises `AwayError` or `RefusedError`, whose text is one line.
    """

    def states(self) -> dict[int, str]:
        """Returns `{version: state}` of the model, such as `{2: "AVAILABLE"}`."""

    def signatures(self) -> Signatures:
        """Returns the signatures of the model."""

    def pin(self, version: int) -> None:
        """Queries only this version from now on, whatever the server loads and wherever a label moves."""

    def predict(self, signature: str, images: Sequence[bytes], outputs: Sequence[str]) -> dict[str, Rows]:
        """Returns the named outputs, a row for each of the encoded images; text is `str`, numbers may be NaN."""

    def close(self) -> None:
        """Aborts requests in progress, as far as the protocol allows."""


@contextlib.contextmanager
def reading(whose: str) -> Iterator[None]:
    """Converts the errors of reading a response, which may be anything, to a `RefusedError` that says whose form it lacks."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise RefusedError(f"the response is not {whose}: {one_line(reason, 80)}") from error


def width_of(sizes: Sequence[int]) -> int | None:
    """Returns the number of values per image of an output of this shape (-1 where unknown): D of `(B, D)`, otherwise `None`."""
    return sizes[1] if len(sizes) == 2 and sizes[1] >= 0 else None


def one_line(text: str, most: int = 300) -> str:
    """Returns `text` without line breaks and unprintable characters, cut to `most` characters; raises `TypeError` for no text."""
    if not isinstance(text, str):
        raise TypeError(f"expected text, received {type(text).__name__}")
    text = "".join(each if each.isprintable() else " " for each in text)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
