"""What every way of asking a server has in common: its methods, and the ways in which a request can fail."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

Rows = Sequence[Any] | np.ndarray
"""The values of an output: a row for each image."""


class AwayError(Exception):
    """The server did not answer, or was too busy; the same request may be answered later."""


class SlowError(AwayError):
    """The time was up before the answer came: the server may be away, or a smaller request may be answered in time."""


class RefusedError(Exception):
    """The server answered that it cannot do what was asked; asking again is of no use.

    Attributes:
        divisible: whether a part of the same request may be answered, as when it is too large or one image is at fault.
        missing: whether the server said that it has no such model or version.
    """

    def __init__(self, reason: str, *, divisible: bool = False, missing: bool = False):
        super().__init__(reason)
        self.divisible, self.missing = divisible, missing


@dataclasses.dataclass(frozen=True)
class Model:
    """Which model at a server is asked.

    Attributes:
        name: its name there.
        version: the number of the version; the server's newest one for `None`.
        label: the label of the version, such as `canary`, in place of a number.
    """

    name: str = "vgg"
    version: int | None = None
    label: str | None = None


@dataclasses.dataclass(frozen=True)
class Signatures:
    """What the version of a model that answers can be asked.

    Attributes:
        version: its number.
        outputs: `{signature: {output: its values for an image}}`; `None` where that is not one fixed number.
    """

    version: int
    outputs: Mapping[str, Mapping[str, int | None]]


class Transport(Protocol):
    """A way to one model at one server. Threads may use it together.

    Every method but `close` raises `AwayError` or `RefusedError`, whose text is one line.
    """

    def states(self) -> dict[int, str]:
        """Returns `{version: state}` of the model, such as `{2: "AVAILABLE"}`."""

    def signatures(self) -> Signatures:
        """Returns what the model can be asked."""

    def pin(self, version: int) -> None:
        """Asks only this version from now on, whatever the server takes up and wherever a label moves."""

    def predict(self, signature: str, images: Sequence[bytes], outputs: Sequence[str]) -> dict[str, Rows]:
        """Returns the named outputs, a row for each of the encoded images; texts are `str`, numbers may be NaN."""

    def close(self) -> None:
        """Ends what is under way, as far as the protocol lets."""


def width_of(sizes: Sequence[int]) -> int | None:
    """Returns how many values an output of this shape, -1 where unknown, has for an image: D of `(B, D)`, else `None`."""
    return sizes[1] if len(sizes) == 2 and sizes[1] >= 0 else None


def one_line(text: str, most: int = 300) -> str:
    """Returns `text` without line breaks and what cannot be printed, cut to `most` characters."""
    text = "".join(each if each.isprintable() else " " for each in text)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
