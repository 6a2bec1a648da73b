"""What every way of asking a server has in common: its methods, and the two ways in which a request can fail."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class AwayError(Exception):
    """The server did not answer, or was too busy; the same request may be answered later."""


class RefusedError(Exception):
    """The server answered that it cannot do what was asked; asking again is of no use.

    Attributes:
        divisible: whether a part of the same request may be answered, as when it is too large or one image is at fault.
    """

    def __init__(self, reason: str, *, divisible: bool = False):
        super().__init__(reason)
        self.divisible = divisible


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
        outputs: `{signature: names of its outputs}`.
    """

    version: int
    outputs: Mapping[str, frozenset[str]]


class Transport(Protocol):
    """A way to one model at one server. Threads may use it together.

    Every method but `close` raises `AwayError` or `RefusedError`, whose text is one line.
    """

    def states(self) -> dict[int, str]:
        """Returns `{version: state}` of the model, such as `{2: "AVAILABLE"}`."""

    def signatures(self) -> Signatures:
        """Returns what the model can be asked."""

    def predict(self, signature: str, images: Sequence[bytes], outputs: Sequence[str]) -> dict[str, Sequence[Any]]:
        """Returns the named outputs, a row for each of the encoded images; texts are `str`, numbers may be NaN."""

    def close(self) -> None:
        """Ends what is under way, as far as the protocol lets."""


def one_line(text: str, most: int = 300) -> str:
    """Returns `text` without line breaks and what cannot be printed, cut to `most` characters."""
    text = "".join(each if each.isprintable() else " " for each in text)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
